"""Every store keeps what it is given for a while and forgets it in time; Redis never sees a user's token."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from support.binaries import require_binary

from algolia_events import attribution_stores
from algolia_events.abc import AttributionStore
from algolia_events.attribution_stores import MemoryAttributionStore, RedisAttributionStore
from algolia_events.errors import AttributionError, ConfigurationError


@asynccontextmanager
async def redis_server(folder: Path) -> AsyncIterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    program = require_binary("redis-server")
    process = await asyncio.create_subprocess_exec(program, *options, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async for line in process.stdout:
        if b"Ready to accept connections" in line:
            break
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.communicate()


@pytest.fixture
async def redis_url(tmp_path: Path) -> AsyncIterator[str]:
    async with redis_server(tmp_path) as url:
        yield url


@pytest.fixture(params=["memory", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "redis":
        require_binary("redis-server")
    return str(request.param)


@pytest.fixture
async def store(kind: str, tmp_path: Path) -> AsyncIterator[AttributionStore]:
    if kind == "memory":
        yield MemoryAttributionStore()
        return
    async with redis_server(tmp_path) as url:
        store = RedisAttributionStore(url)
        yield store
        await store.aclose()


async def test_what_was_put_is_found_in_the_order_asked(store: AttributionStore) -> None:
    await store.put_many({b"\x00a": b"1", b"\xffb": b"2 \xff"})

    assert list(await store.get_many([b"\xffb", b"none", b"\x00a"])) == [b"2 \xff", None, b"1"]
    assert list(await store.get_many([])) == []


async def test_the_last_value_of_a_key_counts(store: AttributionStore) -> None:
    await store.put_many({b"a": b"1"})
    await store.put_many({b"a": b"2"})

    assert list(await store.get_many([b"a"])) == [b"2"]


async def test_a_store_is_what_the_protocol_asks_for(store: AttributionStore) -> None:
    assert isinstance(store, AttributionStore)


# --- memory


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_memory_forgets_in_time() -> None:
    clock = Clock()
    store = MemoryAttributionStore(ttl=10, clock=clock)
    await store.put_many({b"a": b"1"})
    clock.now = 5.0
    await store.put_many({b"b": b"2"})

    clock.now = 10.0
    found = await store.get_many([b"a", b"b"])

    assert found == [None, b"2"]
    assert len(store) == 1


async def test_memory_holds_the_newest_up_to_its_bound() -> None:
    store = MemoryAttributionStore(max_entries=3)

    await store.put_many({b"a": b"1", b"b": b"2", b"c": b"3"})
    await store.put_many({b"a": b"4", b"d": b"5"})

    assert await store.get_many([b"a", b"b", b"c", b"d"]) == [b"4", None, b"3", b"5"]
    assert len(store) == 3


@pytest.mark.parametrize("options", [{"max_entries": 0}, {"ttl": 0}, {"ttl": -1}])
def test_memory_without_room_or_time_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        MemoryAttributionStore(**options)


# --- Redis


async def test_redis_entries_expire_and_stand_under_their_prefix(redis_url: str) -> None:
    store = RedisAttributionStore(redis_url, ttl=3600, prefix="shop:")
    await store.put_many({b"key": b"value"})

    async with Redis.from_url(redis_url) as redis:
        names = await redis.keys("*")
        left = await redis.pttl(names[0])
    await store.aclose()

    assert names == [b"shop:" + b"key".hex().encode()]
    assert 0 < left <= 3_600_000


async def test_a_borrowed_redis_is_never_closed(redis_url: str) -> None:
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        await redis.ping()
        store = RedisAttributionStore(redis)
        await store.put_many({b"key": b"value"})
        await store.aclose()

        assert await store.get_many([b"key"]) == [b"value"]


async def test_a_redis_that_is_gone_is_an_error_of_ours() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        store = RedisAttributionStore(f"redis://127.0.0.1:{taken.getsockname()[1]}")

        with pytest.raises(AttributionError, match="read"):
            await store.get_many([b"a"])
        with pytest.raises(AttributionError, match="written"):
            await store.put_many({b"a": b"1"})
        await store.aclose()


def test_redis_without_time_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        RedisAttributionStore("redis://127.0.0.1", ttl=0)


def test_without_redis_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['redis'] = None\n"
        "from algolia_events.attribution_stores import MemoryAttributionStore\n"
        "from algolia_events.attribution_stores import RedisAttributionStore"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert "ConfigurationError: RedisAttributionStore needs redis: pip install 'algolia-events[redis]'" in done.stderr


def test_there_is_no_other_store() -> None:
    with pytest.raises(AttributeError, match="NoSuchStore"):
        attribution_stores.NoSuchStore  # noqa: B018
