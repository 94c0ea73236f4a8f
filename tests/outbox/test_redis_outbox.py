"""What is particular to the Redis outbox: dead consumers, a server that goes away, lost answers, out of memory."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from support.binaries import require_binary
from support.groups import bodies, group
from support.programs import forked
from support.redis_server import RedisServer, free_port
from support.rigs import turns

from algolia_events._redis_client import describe
from algolia_events.errors import ConfigurationError, OutboxError
from algolia_events.outbox import DeadLetter, RedisOutbox, open_outbox
from algolia_events.outbox._exchange import Exchange

EVERYTHING = (1_000_000, 1 << 40)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that a test may stop."""
    with RedisServer(require_binary("redis-server"), tmp_path) as server:
        yield server


@pytest.fixture
async def outbox(own_server: RedisServer) -> AsyncIterator[RedisOutbox]:
    outbox = RedisOutbox(own_server.url)
    yield outbox
    await outbox.aclose()


@pytest.fixture
def plain(own_server: RedisServer) -> Iterator[redis.Redis]:
    """A client to look behind the scenes with."""
    with redis.Redis.from_url(own_server.url) as client:
        yield client


async def test_what_is_settled_leaves_nothing_in_redis(outbox: RedisOutbox, plain: redis.Redis) -> None:
    await outbox.store([group("a"), group("b")])

    await outbox.settle(done=await outbox.claim(*EVERYTHING))
    length, pending = await asyncio.to_thread(
        lambda: (plain.xlen("algolia_events"), plain.xpending("algolia_events", "senders")["pending"])
    )

    assert (length, pending) == (0, 0)


async def test_it_goes_on_after_redis_was_away(outbox: RedisOutbox, own_server: RedisServer) -> None:
    await outbox.store([group("before")])
    await asyncio.to_thread(own_server.stop)
    with pytest.raises(OutboxError, match="the outbox in Redis fails"):
        await outbox.store([group("lost to the outbox, not to the queue")])

    await asyncio.to_thread(own_server.start)
    await outbox.store([group("after")])

    assert bodies(await outbox.claim(*EVERYTHING)) == [group("before").body, group("after").body]


async def test_it_goes_on_after_everything_was_deleted(outbox: RedisOutbox, plain: redis.Redis) -> None:
    await outbox.open()
    await asyncio.to_thread(plain.flushall)

    nothing = await outbox.claim(*EVERYTHING)
    await outbox.store([group("a")])

    assert bodies(nothing) == []
    assert bodies(await outbox.claim(*EVERYTHING)) == [group("a").body]


async def test_what_is_given_back_after_everything_was_deleted_is_an_error_once(
    outbox: RedisOutbox, plain: redis.Redis
) -> None:
    await outbox.store([group("a")])
    claimed = await outbox.claim(*EVERYTHING)
    await asyncio.to_thread(plain.flushall)

    with pytest.raises(OutboxError):
        await outbox.settle(left=claimed)
    await outbox.settle(left=claimed)

    assert (await outbox.sizes()).groups == 0


async def test_a_forked_child_leaves_the_parents_claims_and_connections_alone(outbox: RedisOutbox) -> None:
    await outbox.store([group("a"), group("b")])
    held = await outbox.claim(1, 1 << 40)

    def in_child() -> int:
        async def claim() -> int:
            mine = await outbox.claim(*EVERYTHING)
            await outbox.settle(done=[*held, *mine])
            await outbox.aclose()
            return len(mine)

        return asyncio.run(claim())

    status = await asyncio.to_thread(forked, in_child)
    left = await outbox.groups()
    await outbox.settle(done=held)

    assert status == 1
    assert bodies(left) == [group("a").body]
    assert (await outbox.sizes()).groups == 0


async def test_a_user_needs_no_more_rights_than_the_documentation_says(
    own_server: RedisServer, plain: redis.Redis
) -> None:
    needed = "~algolia_events ~{algolia_events}:* +@stream +@hash +eval +del +time"
    await asyncio.to_thread(plain.execute_command, "ACL", "SETUSER", "shop", "on", ">password", *needed.split())
    outbox = RedisOutbox(own_server.url.replace(":secret@", "shop:password@"))

    await outbox.open()
    await outbox.store([group("a"), group("b"), group("c"), group("d")])
    first, second, *others = await outbox.claim(*EVERYTHING)
    await outbox.settle(done=[first], rejected=[DeadLetter(event=b"{}", status=422, message="no", rejected_ms=1)])
    await outbox.settle(left=[second])
    sizes = await outbox.sizes()
    retried, purged = await outbox.retry_dead_letters(), await outbox.purge(events=True, dead_letters=True)
    await outbox.settle(left=others)
    await outbox.aclose()

    assert (sizes.groups, sizes.rejected, retried, purged) == (3, 1, 1, 2)
    assert outbox.notice is None


async def test_out_of_memory_refuses_and_still_empties(outbox: RedisOutbox, plain: redis.Redis) -> None:
    await outbox.open()
    await outbox.store([group("a", padding=1000)])
    await asyncio.to_thread(plain.config_set, "maxmemory", "1")

    with pytest.raises(OutboxError, match="memory") as refused:
        await outbox.store([group("b")])
    claimed = await outbox.claim(*EVERYTHING)
    await outbox.settle(done=claimed)
    sizes = await outbox.sizes()

    assert bodies(claimed) == [group("a", padding=1000).body]
    assert (sizes.events, sizes.bytes) == (0, 0)
    assert "script" not in str(refused.value)


@pytest.mark.parametrize("parameter", ["decode_responses=true", "encoding=utf-16"])
async def test_parameters_that_would_change_how_it_reads_change_nothing(
    own_server: RedisServer, parameter: str
) -> None:
    outbox = RedisOutbox(f"{own_server.url}?{parameter}")

    await outbox.store([group("é")])
    claimed = await outbox.claim(*EVERYTHING)
    await outbox.aclose()

    assert bodies(claimed) == [group("é").body]


@pytest.mark.parametrize(
    "text",
    [
        f"No memory. script: {'0a' * 20}, on @user_script:58.",
        f"Error running script (call to f_{'0a' * 20}): @user_script:58: @user_script: 58: -No memory.",
    ],
    ids=["Redis 7", "Redis 6"],
)
def test_refusals_name_no_script(text: str) -> None:
    assert describe(redis.ResponseError(text)) == "No memory."


async def test_a_policy_that_evicts_is_pointed_out(outbox: RedisOutbox, plain: redis.Redis) -> None:
    await asyncio.to_thread(plain.config_set, "maxmemory", "100mb")
    await asyncio.to_thread(plain.config_set, "maxmemory-policy", "allkeys-lru")

    await outbox.sizes()
    evicting = outbox.notice
    await asyncio.to_thread(plain.config_set, "maxmemory-policy", "noeviction")
    await outbox.open()

    assert evicting == "Redis may evict the outbox: its maxmemory-policy is allkeys-lru"
    assert outbox.notice is None


@pytest.mark.parametrize("stores", [1, 10])
async def test_a_store_whose_answer_was_lost_is_not_kept_twice(outbox: RedisOutbox, stores: int) -> None:
    for number in range(stores):
        await outbox.store([group(str(number))])

    await outbox._exchange(Exchange(groups=[group("a")]))  # the same number again, as after a connection that broke
    sizes = await outbox.sizes()

    assert sizes.groups == stores


@pytest.mark.parametrize("after", range(1, 4))
async def test_what_is_being_stored_when_all_tasks_are_cancelled_is_stored(outbox: RedisOutbox, after: int) -> None:
    """As `asyncio.run` does at the end: some have not begun by then."""
    await outbox.open()
    storing = asyncio.create_task(outbox.store([group("a")]))
    await turns(after)

    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        if task is storing or task.get_name().startswith("algolia_events"):
            task.cancel()
    await asyncio.wait({storing}, timeout=10)
    sizes = await outbox.sizes()

    assert storing.cancelled()
    assert sizes.groups == 1


async def test_what_a_lost_answer_claimed_is_claimed_again(outbox: RedisOutbox) -> None:
    await outbox.store([group("known"), group("unknown")])
    await outbox.claim(1, 1 << 40)
    await outbox.claim(*EVERYTHING)
    # As if the second answer had never come.
    forgotten = max(outbox._consumer.known)
    del outbox._consumer.known[forgotten]
    outbox._consumer.lost_an_answer = True

    again = await outbox.claim(*EVERYTHING)

    assert bodies(again) == [group("unknown").body]


async def test_dead_letters_that_are_written_once_more_late_are_kept_once(outbox: RedisOutbox) -> None:
    letters = [DeadLetter(event=b"{}", status=422, message=word, rejected_ms=1) for word in ("first", "second")]
    for letter in letters:
        await outbox.settle(rejected=[letter])
    outbox._settlement_number -= 2  # as if the first had been given again, and were carried out only now

    await outbox.settle(rejected=letters[:1])
    kept = await outbox.dead_letters()

    assert [each.message for each in kept] == ["first", "second"]


async def test_a_wrong_password_is_an_error_that_does_not_show_it(own_server: RedisServer) -> None:
    outbox = RedisOutbox(own_server.url.replace("secret", "not-the-password"))

    with pytest.raises(OutboxError) as caught:
        await outbox.open()
    await outbox.aclose()

    assert "not-the-password" not in str(caught.value)


async def test_words_about_a_server_that_is_gone_do_not_show_its_address() -> None:
    port = free_port()
    outbox = RedisOutbox(f"redis://127.0.0.1:{port}")

    with pytest.raises(OutboxError) as caught:
        await outbox.store([group("a")])
    await outbox.aclose()

    assert str(caught.value) == "the outbox in Redis fails: Connection refused"


async def test_a_bound_may_be_larger_than_any_integer_of_redis(own_server: RedisServer) -> None:
    outbox = RedisOutbox(own_server.url, max_bytes=1 << 80)

    await outbox.store([group("a")])
    sizes = await outbox.sizes()
    await outbox.aclose()

    assert sizes.events == 1


async def test_a_group_that_cannot_be_written_is_an_error(outbox: RedisOutbox) -> None:
    with pytest.raises(TypeError):
        await outbox.store([group("a", origin="\ud800")])
    await outbox.store([group("b")])

    assert (await outbox.sizes()).events == 1


@pytest.mark.parametrize("wrong", [{"max_bytes": 0}, {"max_bytes": True}, {"stream": ""}, {"group": ""}])
def test_a_wrong_argument_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        RedisOutbox("redis://127.0.0.1", **wrong)


def test_an_address_names_stream_group_and_bound(own_server: RedisServer) -> None:
    outbox = open_outbox(f"{own_server.url}?stream=shop&group=eu&max_bytes=1000000")

    assert isinstance(outbox, RedisOutbox)
    assert (outbox._stream, outbox._group, outbox._max_bytes) == ("shop", "eu", 1_000_000)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://x",
        "sqlite://host/x",
        "sqlite:///",
        "sqlite:///x?max_bytes=many",
        "redis://127.0.0.1:port",
        "redis://127.0.0.1?no_such_parameter=1",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        open_outbox(url)
