"""Several processes on one stream in Redis: the dead one's entries are taken over, and nobody's who lives."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import attrs
import pytest
import redis
from support.binaries import require_binary
from support.groups import bodies, group
from support.redis_server import RedisServer

from algolia_events.errors import OutboxError, OutboxFullError
from algolia_events.outbox import ClaimedGroup, DeadLetter, RedisOutbox
from algolia_events.outbox._redis_watch import Watch

EVERYTHING = (1_000_000, 1 << 40)
LESS_THAN_A_BEAT = 0.1


@pytest.fixture
def plain(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A client to look behind the scenes with."""
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
def stream(redis_server: RedisServer, tmp_path: Path) -> str:
    return redis_server.new_stream(tmp_path)


@pytest.fixture
async def outbox(redis_server: RedisServer, stream: str) -> AsyncIterator[RedisOutbox]:
    outbox = RedisOutbox(redis_server.url, stream=stream)
    await outbox.open()
    yield outbox
    await outbox.aclose()


@pytest.fixture
async def hasty(redis_server: RedisServer, stream: str) -> AsyncIterator[RedisOutbox]:
    """Takes for dead whoever is silent for less than there is between two signs of life."""
    outbox = RedisOutbox(redis_server.url, stream=stream)
    outbox._consumer.watch = Watch(silence=LESS_THAN_A_BEAT)
    yield outbox
    await outbox.aclose()


async def claim_until_there_is_some(
    outbox: RedisOutbox, max_events: int = 1_000_000, *, pause: float = 0.01
) -> Sequence[ClaimedGroup]:
    """Look again and again, as a sender does that has nothing else to do."""
    async with asyncio.timeout(20):
        while not (claimed := await outbox.claim(max_events, 1 << 40)):  # noqa: ASYNC110 - nobody tells when
            await asyncio.sleep(pause)
    return claimed


async def dies_with_everything(plain: redis.Redis, stream: str) -> None:
    """Claim all as a process does that says nothing more."""
    await asyncio.to_thread(plain.xreadgroup, "senders", "dead", {stream: ">"})


async def test_what_a_dead_process_held_is_taken_over(outbox: RedisOutbox, hasty: RedisOutbox) -> None:
    await outbox.store([group("a"), group("b")])
    await outbox.claim(*EVERYTHING)

    while_it_lives = await hasty.claim(*EVERYTHING)
    afterwards = await claim_until_there_is_some(hasty)

    assert bodies(while_it_lives) == []
    assert bodies(afterwards) == [group("a").body, group("b").body]


async def test_what_a_dead_process_held_waits_for_nothing_once_it_is_known_to_be_dead(
    outbox: RedisOutbox, hasty: RedisOutbox, plain: redis.Redis, stream: str
) -> None:
    stored = [group(str(n)) for n in range(1250)]  # more than are given back at a time
    await outbox.store(stored)
    await dies_with_everything(plain, stream)

    first = await claim_until_there_is_some(hasty, max_events=1)
    second = await hasty.claim(149, 1 << 40)
    rest = await outbox.claim(*EVERYTHING)

    assert bodies([*first, *second, *rest]) == bodies(stored)


async def test_an_exchange_takes_over_what_a_dead_process_held_before_what_it_stores(
    outbox: RedisOutbox, hasty: RedisOutbox
) -> None:
    await outbox.store([group("a"), group("b")])
    await outbox.claim(*EVERYTHING)
    await hasty.claim(*EVERYTHING)
    while_it_lives = await hasty.exchange([group("c")], max_events=1000, max_bytes=1 << 40)
    await hasty.settle(left=while_it_lives)
    await asyncio.sleep(2 * LESS_THAN_A_BEAT)

    without_a_claim = await hasty.exchange([group("d")])
    afterwards = await hasty.exchange([group("e")], max_events=1000, max_bytes=1 << 40)

    assert bodies(while_it_lives) == [group("c").body]
    assert bodies(without_a_claim) == []
    assert bodies(afterwards) == [group(name).body for name in "abcde"]


async def test_it_takes_five_seconds_of_silence_until_a_dead_process_is_replaced(
    outbox: RedisOutbox, plain: redis.Redis, stream: str
) -> None:
    await outbox.store([group("a")])
    await dies_with_everything(plain, stream)
    begun = time.monotonic()

    claimed = await claim_until_there_is_some(outbox, pause=0.1)
    seconds = time.monotonic() - begun

    assert bodies(claimed) == [group("a").body]
    assert 5.0 <= seconds < 10.0


async def test_who_holds_something_while_redis_is_away_keeps_it(tmp_path: Path) -> None:
    """Redis is away for longer than any silence lasts; its append-only file brings back what was held."""
    with RedisServer(require_binary("redis-server"), tmp_path) as server:
        holder, other = RedisOutbox(server.url), RedisOutbox(server.url)
        await holder.store([group("a")])
        held = await holder.claim(*EVERYTHING)
        await other.claim(*EVERYTHING)
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(5.5)
        with pytest.raises(OutboxError):
            await other.claim(*EVERYTHING)
        await asyncio.to_thread(server.start)

        taken = list(await other.claim(*EVERYTHING))
        async with asyncio.timeout(10):
            while other._consumer.watch.is_in_doubt:  # until the holder's next sign of life
                await asyncio.sleep(0.05)
                taken += await other.claim(*EVERYTHING)
        await holder.settle(done=held)
        sizes = await other.sizes()
        await holder.aclose()
        await other.aclose()

    assert bodies(taken) == []
    assert sizes.events == 0


async def test_who_shows_a_sign_of_life_just_before_he_is_taken_for_dead_keeps_what_he_holds(
    outbox: RedisOutbox, hasty: RedisOutbox
) -> None:
    hasty._consumer.watch = Watch(silence=0)
    await outbox.store([group("a")])
    await outbox.claim(*EVERYTHING)
    await hasty.claim(*EVERYTHING)
    async with outbox._translated() as connections:
        await outbox._consumer.beat(connections)

    taken = await hasty.claim(*EVERYTHING)

    assert bodies(taken) == []


async def test_a_claim_that_is_carried_out_late_strands_nothing(
    outbox: RedisOutbox, hasty: RedisOutbox, plain: redis.Redis, stream: str
) -> None:
    """Its answer was waited for no longer, nor was that of what came after it."""
    late = hasty._consumer.name
    hasty._consumer.lost_an_answer = True
    await hasty.claim(*EVERYTHING)
    await outbox.store([group("a")])
    await asyncio.to_thread(plain.xreadgroup, "senders", late, {stream: ">"})

    claimed = await claim_until_there_is_some(hasty)

    assert bodies(claimed) == [group("a").body]


async def test_nothing_of_it_expires(outbox: RedisOutbox, plain: redis.Redis, stream: str) -> None:
    """A policy that evicts what expires (volatile-…) evicts nothing that it needs."""
    await outbox.store([group("a"), group("b")])
    await outbox.claim(1, 1 << 40)
    await outbox.exchange([group("c")], max_events=10, max_bytes=1 << 40)

    ttls = await asyncio.to_thread(lambda: {key: plain.ttl(key) for key in plain.keys(f"*{stream}*")})

    assert set(ttls.values()) == {-1}


async def test_who_closes_leaves_nothing_of_his_own(outbox: RedisOutbox, plain: redis.Redis, stream: str) -> None:
    await outbox.settle(done=await outbox.exchange([group("a")], max_events=2, max_bytes=1 << 40))

    await outbox.aclose()
    consumers, marks = await asyncio.to_thread(
        lambda: (plain.xinfo_consumers(stream, "senders"), plain.hgetall(f"{{{stream}}}:marks"))
    )

    assert (consumers, marks) == ([], {})


async def test_what_processes_left_that_died_long_ago_is_tidied_up(
    outbox: RedisOutbox, hasty: RedisOutbox, plain: redis.Redis, stream: str
) -> None:
    marks = f"{{{stream}}}:marks"
    await outbox.store([group("a")])
    an_hour_ago = f"17 {int(time.time()) - 3600}"
    await asyncio.to_thread(plain.hset, marks, mapping={"dead": "17 1750000000", "may be asleep": an_hour_ago})

    await hasty.open()
    left = await asyncio.to_thread(plain.hkeys, marks)

    assert left == [outbox._consumer.process.encode(), b"may be asleep"]


async def test_a_purge_takes_what_a_dead_process_held(
    outbox: RedisOutbox, hasty: RedisOutbox, plain: redis.Redis, stream: str
) -> None:
    await outbox.store([group("a", "b"), group("c")])
    await dies_with_everything(plain, stream)

    purged = await hasty.purge(events=True, dead_letters=False)

    assert purged == 3


async def test_a_purge_spares_what_another_process_is_sending(outbox: RedisOutbox, redis_server: RedisServer) -> None:
    purging = RedisOutbox(redis_server.url, stream=outbox._stream)
    await outbox.store([group("a"), group("b", "c")])
    held = await outbox.claim(1, 1 << 40)

    purged = await purging.purge(events=True, dead_letters=False)
    await purging.aclose()
    sizes = await outbox.sizes()
    await outbox.settle(done=held)

    assert (purged, sizes.events) == (2, 1)


async def test_entries_of_somebody_elses_are_passed_over(outbox: RedisOutbox, plain: redis.Redis, stream: str) -> None:
    theirs = ["foo bar", "n x t 1 o z b {}", "n 1 t y o z b {}", "n 1 foo 1 o z b {}", "n 1 t 1 foo z b {}"]
    for fields in [*theirs, "n 1 t 1 o z b {} foo bar"]:
        await asyncio.to_thread(plain.execute_command, "XADD", stream, "*", *fields.split())
    await outbox.store([group("a")])

    listed = await outbox.groups(limit=1)
    sizes = await outbox.sizes()
    claimed = await outbox.claim(*EVERYTHING)
    await outbox.settle(done=claimed)
    pending = await asyncio.to_thread(lambda: plain.xpending(stream, "senders")["pending"])

    assert bodies(listed) == bodies(claimed) == [group("a").body]
    assert (sizes.events, sizes.oldest_ms) == (1, group("a").oldest_ms)
    assert pending == 0


async def test_an_entry_that_was_deleted_while_it_was_held_is_in_nobodys_way(
    outbox: RedisOutbox, hasty: RedisOutbox, plain: redis.Redis, stream: str
) -> None:
    await outbox.store([group("a"), group("b")])
    await dies_with_everything(plain, stream)
    first, _ = await outbox.groups()
    assert isinstance(first.key, bytes)
    await asyncio.to_thread(plain.xdel, stream, first.key)

    claimed = await claim_until_there_is_some(hasty)
    await hasty.settle(done=claimed)
    pending = await asyncio.to_thread(lambda: plain.xpending(stream, "senders")["pending"])

    assert bodies(claimed) == [group("b").body]
    assert pending == 0


async def test_an_entry_that_was_deleted_while_nobody_held_it_is_in_nobodys_way(
    outbox: RedisOutbox, plain: redis.Redis, stream: str
) -> None:
    await outbox.store([group("a"), group("b")])
    given_back = await outbox.claim(*EVERYTHING)
    await outbox.settle(left=given_back)
    assert isinstance(given_back[0].key, bytes)
    await asyncio.to_thread(plain.xdel, stream, given_back[0].key)

    claimed = await outbox.claim(*EVERYTHING)

    assert bodies(claimed) == [group("b").body]


async def test_who_was_taken_for_dead_leaves_alone_what_the_next_one_does(
    outbox: RedisOutbox, hasty: RedisOutbox, plain: redis.Redis, stream: str
) -> None:
    await outbox.store([group("sent", "by both"), group("sent in", "part"), group("is being", "sent")])
    held = await outbox.claim(*EVERYTHING)
    done, part, late = held
    taken = await claim_until_there_is_some(hasty)
    await hasty.settle(done=taken[:2])

    await outbox.settle(done=[done], left=[attrs.evolve(part, body=group("part").body, count=1), late])
    sizes = await outbox.sizes()
    free = await outbox.claim(*EVERYTHING)

    assert bodies(taken) == bodies(held)
    assert (sizes.events, sizes.groups, sizes.bytes) == (2, 1, len(late.body))
    assert bodies(free) == []


async def test_a_stream_that_was_deleted_makes_room(redis_server: RedisServer, plain: redis.Redis, stream: str) -> None:
    outbox = RedisOutbox(redis_server.url, stream=stream, max_bytes=1000)
    await outbox.store([group("a", padding=700)])
    await asyncio.to_thread(plain.delete, stream)

    gone = await outbox.sizes()
    await outbox.store([group("b", padding=700)])
    sizes = await outbox.sizes()
    await outbox.aclose()

    assert (gone.events, gone.bytes) == (0, 0)
    assert (sizes.events, sizes.bytes) == (1, len(group("b", padding=700).body))


async def test_what_was_held_of_a_stream_that_was_deleted_makes_no_room(
    redis_server: RedisServer, plain: redis.Redis, stream: str
) -> None:
    outbox = RedisOutbox(redis_server.url, stream=stream, max_bytes=1000)
    await outbox.store([group("a", padding=700)])
    held = await outbox.claim(*EVERYTHING)
    await asyncio.to_thread(plain.delete, stream)

    with pytest.raises(OutboxFullError):
        await outbox.exchange([group("b", padding=700), group("c", padding=700)], done=held)
    await outbox.aclose()


@pytest.mark.parametrize("at_once", [1, 100])
async def test_dead_letters_take_a_quarter_of_the_bound_and_the_oldest_give_way(
    redis_server: RedisServer, plain: redis.Redis, stream: str, at_once: int
) -> None:
    outbox = RedisOutbox(redis_server.url, stream=stream, max_bytes=8 * 1024 * 1024)
    letters = [DeadLetter(event=b"." * 50_000, status=422, message=str(n), rejected_ms=n) for n in range(100)]

    for first in range(0, 100, at_once):
        await outbox.settle(rejected=letters[first : first + at_once])
    kept = await outbox.dead_letters()
    size = await asyncio.to_thread(plain.memory_usage, f"{{{stream}}}:rejected")
    await outbox.aclose()

    assert size is not None
    assert size <= 2 * 1024 * 1024
    assert len(kept) > 20
    assert kept[-1].message == "99"


async def test_the_last_dead_letter_is_kept_however_large(redis_server: RedisServer, stream: str) -> None:
    outbox = RedisOutbox(redis_server.url, stream=stream, max_bytes=1)

    await outbox.settle(
        rejected=[DeadLetter(event=b"." * 1_500_000, status=422, message=str(n), rejected_ms=n) for n in range(3)]
    )
    kept = await outbox.dead_letters()
    await outbox.aclose()

    assert [each.message for each in kept] == ["2"]


async def test_dead_letters_are_kept_for_a_user_who_may_not_ask_how_much_memory_they_take(
    redis_server: RedisServer, plain: redis.Redis, stream: str
) -> None:
    await asyncio.to_thread(plain.execute_command, "ACL", "SETUSER", "shop", "on", ">pw", "~*", "+@all", "-memory")
    outbox = RedisOutbox(redis_server.url.replace(":secret@", "shop:pw@"), stream=stream)

    await outbox.settle(
        rejected=[DeadLetter(event=b"{}", status=422, message=word, rejected_ms=1) for word in ("no", "nor this")]
    )
    kept = await outbox.dead_letters()
    await outbox.aclose()

    assert [each.message for each in kept] == ["no", "nor this"]
