"""F17: the wall clock jumps a day while events are in an SQLite outbox: no interval, claim or expiry notices."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from support.clock import HandClock
from support.groups import bodies, group
from support.rigs import click, numbers_in, turns, until

from algolia_events._durable import DurableQueue
from algolia_events._relay import RelayWork
from algolia_events._retry import Accepted
from algolia_events.config import QueueOptions
from algolia_events.outbox import ClaimedGroup, SQLiteOutbox
from algolia_events.reports import HealthState

DAY_S = 86_400.0
EVERYTHING = (1_000_000, 1 << 40)
pytestmark = pytest.mark.parametrize("jump", [DAY_S, -DAY_S], ids=["forth", "back"])


class CountingOutbox(SQLiteOutbox):
    """Counts how often it was asked."""

    openings = 0
    claims = 0

    async def open(self) -> None:
        self.openings += 1
        await super().open()

    async def claim(self, max_events: int, max_bytes: int) -> Sequence[ClaimedGroup]:
        self.claims += 1
        return await super().claim(max_events, max_bytes)


@pytest.fixture
def clock() -> HandClock:
    """Events must not be old by the library's own reckoning, so the wall shows the time."""
    return HandClock(wall=time.time())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.fixture
async def outbox(path: Path) -> AsyncIterator[CountingOutbox]:
    outbox = CountingOutbox(path)
    yield outbox
    await outbox.aclose()


class Server:
    """Accepts what it gets, once it is allowed to."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def deliver(self, body: bytes) -> Accepted:
        self.bodies.append(body)
        await self.may_answer.wait()
        return Accepted()


async def test_what_was_stored_before_and_after_is_sent_in_order_with_the_stamps_it_got(
    path: Path, clock: HandClock, jump: float
) -> None:
    server = Server()
    web = DurableQueue(None, SQLiteOutbox(path), clock=clock)
    stamps = []

    for number in range(20):
        if number == 10:
            await web.flush()
            clock.jump_wall(jump)
        stamps.append(clock.time_ns() // 1_000_000)
        web.track(click(number))
    await web.aclose()
    clock.jump_wall(jump)
    sender = DurableQueue(server.deliver, SQLiteOutbox(path), clock=clock)
    await sender.start()
    await sender.flush()
    report = await sender.aclose()
    sent = sender.stats().sending

    everything = b"".join(server.bodies)
    assert numbers_in(everything) == list(range(20))
    assert [int(stamp) for stamp in re.findall(rb'"timestamp":(\d+)', everything)] == stamps
    assert sent is not None
    assert (sent.accepted, sent.dropped, report.stored) == (20, {}, 0)


async def test_the_outbox_is_asked_as_often(outbox: CountingOutbox, clock: HandClock, jump: float) -> None:
    server = Server()
    relay = RelayWork(server.deliver, outbox, options=QueueOptions(), clock=clock)
    await relay.start()
    await until(lambda: outbox.claims == 1)
    await relay.drain()
    asked = outbox.claims

    clock.jump_wall(jump)
    clock.advance(0.4)
    await turns()
    early = outbox.claims
    clock.advance(0.2)
    await until(lambda: outbox.claims > asked)
    await relay.aclose()

    assert early == asked


async def test_what_is_being_sent_is_nobody_elses(
    outbox: CountingOutbox, path: Path, clock: HandClock, jump: float
) -> None:
    server, other = Server(), SQLiteOutbox(path)
    server.may_answer.clear()
    await outbox.store([group("a"), group("b")])
    relay = RelayWork(server.deliver, outbox, clock=clock)
    await relay.start()
    await until(lambda: len(server.bodies) == 1)

    clock.jump_wall(jump)
    while_it_is_sent = await other.claim(*EVERYTHING)
    server.may_answer.set()
    stats = await relay.aclose()
    afterwards = await other.sizes()
    await other.aclose()

    assert bodies(while_it_is_sent) == []
    assert (stats.accepted, afterwards.events) == (2, 0)


async def test_a_failing_outbox_is_looked_at_as_often(
    outbox: CountingOutbox, path: Path, clock: HandClock, jump: float
) -> None:
    await asyncio.to_thread(path.mkdir)
    queue = DurableQueue(None, outbox, clock=clock)
    await queue.start()
    before = queue.health().state
    await asyncio.to_thread(path.rmdir)

    clock.jump_wall(jump)
    clock.advance(0.9)
    await turns()
    early = outbox.openings
    clock.advance(0.2)
    await until(lambda: queue.health().ok)
    await queue.aclose()

    assert before is HealthState.DEGRADED
    assert (early, outbox.openings) == (1, 2)
