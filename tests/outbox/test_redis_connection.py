"""The connection that an outbox in Redis has for itself: commands arrive whole, or not at all."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from support.redis_server import RedisServer

from algolia_events._redis_client import DirectConnection, make_client


@pytest.fixture
async def direct(redis_server: RedisServer) -> AsyncIterator[DirectConnection]:
    direct = DirectConnection(make_client(f"{redis_server.url}?db=9", timeout=5.0, retries=0))  # which is empty
    yield direct
    await direct.call(b"FLUSHDB")
    await direct.aclose()


SIZES = [0, 1, 65_535, 65_536, 65_537, 3_000_000]


@pytest.mark.parametrize("first", SIZES)
@pytest.mark.parametrize("second", SIZES)
async def test_arguments_of_any_size_arrive_as_they_are(direct: DirectConnection, first: int, second: int) -> None:
    values = [b"\r\n*" * (first // 3) + b"a" * (first % 3), b"$1\r" * (second // 3) + b"b" * (second % 3)]

    await direct.call(b"MSET", b"first", values[0], b"second", values[1])

    assert await direct.call(b"MGET", b"first", b"second") == values


async def test_a_sign_of_life_is_asked_for_before_a_command_and_not_in_the_middle_of_one(
    direct: DirectConnection,
) -> None:
    value = b"x" * 100_000
    await direct.call(b"PING")
    direct._connection.health_check_interval = 1e-9  # which is over each time

    for number in range(5):
        await direct.call_once(b"MSET", b"a%d" % number, value, b"b%d" % number, value)

    assert await direct.call_once(b"DBSIZE") == 10


async def test_a_connection_that_closes_in_the_middle_takes_the_rest_of_the_command_along(
    direct: DirectConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await direct.call(b"PING")
    connection: Any = direct._connection
    send, sent = connection.send_packed_command, []

    async def send_and_close(part: bytes, **options: bool) -> None:
        await send(part, **options)
        sent.append(part)
        await connection.disconnect()

    with monkeypatch.context() as patched:
        patched.setattr(connection, "send_packed_command", send_and_close)
        with pytest.raises(RedisConnectionError, match="in the middle of a command"):
            await direct.call_once(b"SET", b"key", b"FLUSHALL\r\n" * 10_000)

    assert len(sent) == 1
    assert await direct.call_once(b"EXISTS", b"key") == 0


async def test_what_is_raised_in_the_middle_does_not_have_the_next_command_taken_for_the_rest(
    direct: DirectConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await direct.call(b"PING")
    connection: Any = direct._connection
    send = connection.send_packed_command
    raised = list[bytes]()

    async def raise_once(part: bytes, **options: bool) -> None:
        if not raised and options:  # not the first part
            raised.append(part)
            raise TimeoutError  # as a signal handler may
        await send(part, **options)

    monkeypatch.setattr(connection, "send_packed_command", raise_once)
    await direct.call(b"SET", b"key", b"x" * 70_000)

    assert len(raised) == 1
    assert await direct.call_once(b"STRLEN", b"key") == 70_000


async def test_calls_at_the_same_time_take_turns(direct: DirectConnection) -> None:
    values = [bytes([ord("a") + number]) * 4_000_000 for number in range(4)]

    async with anyio.create_task_group() as group:
        for number, value in enumerate(values):
            group.start_soon(direct.call_once, b"SET", b"key%d" % number, value)

    assert [await direct.call_once(b"GET", b"key%d" % number) for number in range(4)] == values
