"""A step of the outbox that fails, or whose answer is lost, leaves nothing behind that nobody or two would send."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from support.groups import bodies, group
from support.redis_server import RedisServer
from support.rigs import turns

from algolia_events.errors import OutboxError
from algolia_events.outbox import DeadLetter, RedisOutbox, SQLiteOutbox
from algolia_events.outbox._claim_leases import LeaseLocks
from algolia_events.outbox._exchange import Exchange
from algolia_events.outbox._sqlite_file import move_aside
from algolia_events.outbox._sqlite_store import SQLiteStore

EVERYTHING = (1000, 1 << 40)


class LossyProxy:
    """Stands between an outbox and Redis; decides, for each script in the order they come, what becomes of its answer.

    None loses it, with the connection; an event holds it back until it is set; scripts beyond those are answered.
    """

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self.fates: deque[asyncio.Event | None] = deque()
        self.scripts = 0
        self._news = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.close()
        for writer in self._open:
            writer.close()
        await self._listener.wait_closed()

    @property
    def url(self) -> str:
        port = self._listener.sockets[0].getsockname()[1]
        return self._server.url.replace(f":{self._server.port}/", f":{port}/")

    async def has_passed(self, scripts: int) -> None:
        """Wait until Redis has answered so many scripts."""
        async with asyncio.timeout(10):
            while self.scripts < scripts:
                self._news.clear()
                await self._news.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_redis, to_redis = await asyncio.open_connection("127.0.0.1", self._server.port)
        self._open |= {writer, to_redis}
        try:
            while command := await reader.read(1 << 16):
                to_redis.write(command)
                answer = await from_redis.read(1 << 16)
                if b"$4\r\nEVAL\r\n" in command[:20]:
                    self.scripts += 1
                    self._news.set()
                    fate = self.fates.popleft() if self.fates else _now()
                    if fate is None:
                        break
                    await fate.wait()
                writer.write(answer)
        finally:
            writer.close()
            to_redis.close()


def _now() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[LossyProxy]:
    async with LossyProxy(redis_server) as proxy:
        yield proxy


@pytest.fixture
async def remote(proxy: LossyProxy, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[RedisOutbox]:
    outbox = RedisOutbox(proxy.url, stream=redis_server.new_stream(tmp_path))
    await outbox.open()
    yield outbox
    await outbox.aclose()


async def test_what_comes_while_a_step_is_under_way_waits_for_its_answer(
    remote: RedisOutbox, proxy: LossyProxy
) -> None:
    answer = asyncio.Event()
    proxy.fates.append(answer)
    before = proxy.scripts

    first = asyncio.create_task(remote.store([group("a")]))
    await proxy.has_passed(before + 1)
    second = asyncio.create_task(remote.store([group("b")]))
    await turns()
    answer.set()
    await asyncio.gather(first, second)

    assert bodies(await remote.claim(*EVERYTHING)) == [group("a").body, group("b").body]


async def test_what_a_lost_answer_claimed_is_stored_once_and_claimed_again(
    remote: RedisOutbox, proxy: LossyProxy
) -> None:
    proxy.fates.append(None)  # the script runs again, and Redis knows it

    at_first = await remote.exchange([group("a")], max_events=10, max_bytes=1 << 40)
    sizes = await remote.sizes()
    again = await remote.claim(*EVERYTHING)

    assert bodies(at_first) == []
    assert sizes.events == 1
    assert bodies(again) == [group("a").body]


async def test_what_a_lost_answer_claimed_comes_with_the_next_exchange(remote: RedisOutbox, proxy: LossyProxy) -> None:
    """Who stores all the time need not look besides."""
    await remote.store([group("sent")])
    sent = await remote.claim(*EVERYTHING)
    proxy.fates.append(None)

    at_first = await remote.exchange([group("a")], max_events=10, max_bytes=1 << 40)
    again = await remote.exchange([group("b")], done=sent, max_events=10, max_bytes=1 << 40)
    await remote.settle(done=again)
    sizes = await remote.sizes()

    assert bodies(at_first) == []
    assert bodies(again) == [group("a").body, group("b").body]
    assert (sizes.events, sizes.groups, sizes.bytes) == (0, 0, 0)


async def test_an_exchange_whose_answers_are_all_lost_fails_and_holds_nothing(
    remote: RedisOutbox, proxy: LossyProxy
) -> None:
    await remote.store([group("sent")])
    done = await remote.claim(*EVERYTHING)
    proxy.fates += [None, None]

    with pytest.raises(OutboxError):
        await remote.exchange([group("a")], done=done, max_events=10, max_bytes=1 << 40)
    await remote.settle(done=done)  # as whoever has learned nothing does
    claimed = await remote.claim(*EVERYTHING)
    await remote.settle(done=claimed)
    sizes = await remote.sizes()

    assert bodies(claimed) == [group("a").body]
    assert (sizes.events, sizes.groups, sizes.bytes) == (0, 0, 0)


async def test_what_a_claim_lost_beside_an_exchange_is_claimed_again(remote: RedisOutbox, proxy: LossyProxy) -> None:
    await remote.store([group("a")])
    answered = asyncio.Event()
    proxy.fates += [answered, None, None, None]  # the exchange, the claim, and twice what gives back what it took
    passed = proxy.scripts

    storing = asyncio.create_task(remote.exchange([group("b")]))
    await proxy.has_passed(passed + 1)
    with pytest.raises(OutboxError):
        await remote.claim(1, 1 << 40)
    answered.set()
    await storing
    claimed = await remote.claim(*EVERYTHING)

    assert bodies(claimed) == [group("a").body, group("b").body]


async def test_what_a_claim_takes_whose_answer_is_lost_is_claimed_again_at_once(
    remote: RedisOutbox, proxy: LossyProxy
) -> None:
    await remote.store([group("held"), group("a"), group("b")])
    held = await remote.claim(1, 1 << 40)
    proxy.fates.append(None)

    claimed = await remote.claim(1, 1 << 40)
    rest = await remote.claim(*EVERYTHING)
    await remote.settle(done=[*held, *claimed, *rest])
    sizes = await remote.sizes()

    assert bodies(claimed) == [group("a").body]
    assert bodies(rest) == [group("b").body]
    assert sizes.events == 0


async def test_after_giving_back_without_an_answer_it_claims_under_another_name(
    remote: RedisOutbox, proxy: LossyProxy
) -> None:
    """If it were carried out late, it would give back what has been claimed anew."""
    await remote.store([group("a")])
    claimed = await remote.claim(*EVERYTHING)
    name = remote._consumer.name
    proxy.fates.extend([None, None])  # the second time as well

    with pytest.raises(OutboxError):
        await remote.settle(left=claimed)
    again = await remote.claim(*EVERYTHING)

    assert bodies(again) == [group("a").body]
    assert remote._consumer.name != name


async def test_what_a_claim_takes_whose_answer_is_lost_is_given_back_without_another_claim(
    remote: RedisOutbox, proxy: LossyProxy, redis_server: RedisServer
) -> None:
    other = RedisOutbox(redis_server.url, stream=remote._stream)
    await remote.store([group("held"), group("lost")])
    await remote.claim(1, 1 << 40)
    proxy.fates += [None, None, None]

    with pytest.raises(OutboxError):
        await remote.claim(1, 1 << 40)
    async with asyncio.timeout(10):
        while not (claimed := await other.claim(*EVERYTHING)):  # noqa: ASYNC110 - nobody tells when
            await asyncio.sleep(0.01)
    await other.aclose()

    assert bodies(claimed) == [group("lost").body]


async def test_a_dead_letter_whose_answer_is_lost_is_kept_once(remote: RedisOutbox, proxy: LossyProxy) -> None:
    await remote.store([group("a")])
    done = await remote.claim(*EVERYTHING)
    letter = DeadLetter(event=b"{}", status=422, message="EventType is required", rejected_ms=1_750_000_000_000)
    proxy.fates.append(None)

    await remote.settle(done=done, rejected=[letter])
    sizes = await remote.sizes()

    assert (sizes.events, sizes.rejected) == (0, 1)


@pytest.fixture
async def hurried(proxy: LossyProxy, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[RedisOutbox]:
    """Waits a second for each answer."""
    outbox = RedisOutbox(f"{proxy.url}?socket_timeout=1", stream=redis_server.new_stream(tmp_path))
    await outbox.open()
    yield outbox
    await outbox.aclose()


async def test_a_step_whose_answer_is_late_is_done_once(hurried: RedisOutbox, proxy: LossyProxy) -> None:
    late = asyncio.Event()
    proxy.fates.append(late)

    at_first = await hurried.exchange([group("a")], max_events=10, max_bytes=1 << 40)
    late.set()
    claimed = await hurried.claim(*EVERYTHING)

    assert bodies(at_first) == []
    assert bodies(claimed) == [group("a").body]


async def test_an_answer_that_comes_too_late_is_taken_for_no_other(hurried: RedisOutbox, proxy: LossyProxy) -> None:
    late = asyncio.Event()
    proxy.fates += [late, late]

    with pytest.raises(OutboxError, match="no answer in time"):
        await hurried.exchange([group("a")], max_events=10, max_bytes=1 << 40)
    late.set()
    claimed = await hurried.exchange([group("b")], max_events=1, max_bytes=1 << 40)
    rest = await hurried.claim(*EVERYTHING)
    await hurried.settle(done=[*claimed, *rest])
    sizes = await hurried.sizes()

    assert sorted(bodies([*claimed, *rest])) == [group("a").body, group("b").body]
    assert sizes.groups == 0


async def test_claims_on_a_file_that_was_replaced_do_not_shadow_those_on_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    outbox, other = SQLiteOutbox(path), SQLiteOutbox(path)
    held = await outbox.exchange([group("old")], max_events=10, max_bytes=1 << 40)
    await asyncio.to_thread(move_aside, path)

    await outbox.store([group("new")])
    claimed = await other.claim(*EVERYTHING)
    await outbox.settle(done=held)
    sizes = await outbox.sizes()
    await other.aclose()
    await outbox.aclose()

    assert bodies(claimed) == [group("new").body]
    assert sizes.events == 1


def leased(path: Path) -> SQLiteStore:
    """A store as on other systems than Linux."""
    return SQLiteStore(path, synchronous="normal", max_bytes=1 << 30, locks=LeaseLocks)


def test_with_leases_what_is_claimed_with_the_storing_is_nobody_elses(tmp_path: Path) -> None:
    one, two = leased(tmp_path / "events.db"), leased(tmp_path / "events.db")

    mine = one.exchange(Exchange(groups=[group("a")], max_events=10, max_bytes=1 << 40))
    theirs = two.exchange(Exchange(groups=[group("b")], max_events=10, max_bytes=1 << 40))
    one.settle([], [], mine)
    left = two.exchange(Exchange(groups=[group("c")], done=theirs, max_events=10, max_bytes=1 << 40))
    sizes = two.sizes()
    one.close()
    two.close()

    assert [bodies(each) for each in (mine, theirs)] == [[group("a").body], [group("b").body]]
    assert bodies(left) == [group("a").body, group("c").body]
    assert sizes.events == 2
