"""Closing ends when its time is up, whatever the outbox does, and leaves nothing behind in the loop."""

import asyncio
import os
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from support.applications import ROOT
from support.books import check_books
from support.groups import group
from support.rigs import until

from algolia_events import ClickedObjectIDs
from algolia_events._durable import DurableQueue
from algolia_events._relay import RelayWork
from algolia_events._retry import Accepted, Outcome
from algolia_events.config import QueueOptions
from algolia_events.errors import OutboxError
from algolia_events.outbox import ClaimedGroup, MemoryOutbox, RedisOutbox, SQLiteOutbox
from algolia_events.reports import HealthState, QueueStats

TIMEOUT = 0.05
SOON = 3.0
"""In seconds: what closing takes at most here, however busy the machine is; a built-in outbox waits for 5 and more."""


def event(name: object) -> ClickedObjectIDs:
    return ClickedObjectIDs(event_name="Clicked", index="products", object_ids=[str(name)], user_token="user-1")


async def accept(_: bytes) -> Outcome:
    return Accepted()


def queue_of(outbox: Any, *, deliver: bool = True) -> DurableQueue:
    return DurableQueue(accept if deliver else None, outbox, options=QueueOptions(linger=0.02))


def our_tasks() -> "list[asyncio.Task[object]]":
    """List the tasks of the library that have not ended."""
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("algolia_events")]


class StuckOutbox(MemoryOutbox):
    """Never ends what it is told not to; an obstinate one not even when it is cancelled, until it is released."""

    def __init__(self, *, obstinate: bool = False) -> None:
        super().__init__()
        self.stuck_in = ""
        self.released = asyncio.Event()
        self.was_told_to_close = False
        self._obstinate = obstinate

    async def _pass(self, call: str) -> None:
        while call == self.stuck_in and not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                if not self._obstinate:
                    raise

    async def open(self) -> None:
        await self._pass("open")

    async def exchange(self, *args: Any, **terms: Any) -> Sequence[ClaimedGroup]:
        await self._pass("exchange")
        return await super().exchange(*args, **terms)

    async def claim(self, max_events: int, max_bytes: int) -> Sequence[ClaimedGroup]:
        await self._pass("claim")
        return await super().claim(max_events, max_bytes)

    async def settle(self, **verdicts: Any) -> None:
        await self._pass("settle")
        await super().settle(**verdicts)

    async def aclose(self) -> None:
        self.was_told_to_close = True
        await self._pass("aclose")
        await super().aclose()


@pytest.mark.parametrize("obstinate", [False, True], ids=["cancellable", "obstinate"])
@pytest.mark.parametrize("call", ["open", "exchange", "claim", "settle", "aclose"])
async def test_a_queue_closes_in_time(call: str, obstinate: bool) -> None:
    outbox = StuckOutbox(obstinate=obstinate)
    outbox.stuck_in = "open" if call == "open" else ""
    queue = queue_of(outbox)
    await queue.start()
    queue.track(event("before"))
    await queue.flush(5)
    outbox.stuck_in = call
    for number in range(10):
        queue.track(event(number))

    begun = time.monotonic()
    report = await asyncio.wait_for(queue.aclose(TIMEOUT), 30)
    seconds = time.monotonic() - begun
    left_behind = our_tasks()
    outbox.released.set()
    await asyncio.gather(*left_behind, return_exceptions=True)

    check_books(queue.stats())
    assert seconds < SOON
    assert outbox.was_told_to_close
    assert (report.pending, report.possible_duplicates) == (0, 0)
    assert obstinate or not left_behind
    assert {task.get_name() for task in left_behind} <= {"algolia_events.outbox_call"}


async def test_what_the_outbox_has_not_answered_about_is_told_from_what_is_lost() -> None:
    outbox = StuckOutbox()
    queue = queue_of(outbox, deliver=False)
    await queue.start()
    await queue.put(event("stored"))
    outbox.store = outbox.exchange  # type: ignore[method-assign, assignment]  # who only stores does not exchange
    outbox.stuck_in = "exchange"
    queue.track(event("unknown"))

    report = await asyncio.wait_for(queue.aclose(TIMEOUT), 30)

    assert (report.stored, report.dropped, report.timed_out) == (1, 1, True)
    assert queue.stats().dropped == {"ambiguous": 1}


async def test_a_queue_whose_outbox_fails_leaves_no_task_behind() -> None:
    """Not the one that looks whether the outbox works again."""

    class AwayOutbox(MemoryOutbox):
        async def open(self) -> None:
            raise OutboxError("the outbox is away")

    queue = queue_of(AwayOutbox(), deliver=False)
    await queue.start()

    report = await asyncio.wait_for(queue.aclose(), 30)

    assert our_tasks() == []
    assert not report.timed_out


@pytest.mark.parametrize("deliver", [True, False], ids=["sends", "only stores"])
async def test_a_queue_that_could_not_store_in_time_says_so(deliver: bool) -> None:
    outbox = StuckOutbox()
    queue = queue_of(outbox, deliver=deliver)
    await queue.start()
    outbox.store = outbox.exchange  # type: ignore[method-assign, assignment]
    outbox.stuck_in = "exchange"
    queue.track(event("unknown"))

    report = await asyncio.wait_for(queue.aclose(TIMEOUT), 30)

    assert (report.stored, report.dropped, report.timed_out) == (0, 1, True)


@asynccontextmanager
async def locked_sqlite(directory: Path) -> AsyncIterator[SQLiteOutbox]:
    """An outbox whose file another program holds locked."""
    path = directory / "events.db"
    outbox = SQLiteOutbox(path)
    await outbox.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield outbox


@asynccontextmanager
async def silent_redis(_: Path) -> AsyncIterator[RedisOutbox]:
    """An outbox whose server takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield RedisOutbox(f"redis://127.0.0.1:{server.getsockname()[1]}/0")


OUTBOXES = pytest.mark.parametrize("make_outbox", [locked_sqlite, silent_redis])


@OUTBOXES
@pytest.mark.parametrize("deliver", [True, False], ids=["sends", "only stores"])
async def test_a_program_ends_in_time(tmp_path: Path, make_outbox: Any, deliver: bool) -> None:
    """Nor does what is left behind hold up the end of the loop."""
    stats: list[QueueStats] = []

    async def program() -> None:
        async with make_outbox(tmp_path) as outbox:
            queue = queue_of(outbox, deliver=deliver)
            await queue.start()
            for number in range(10):
                queue.track(event(number))
            begun.append(time.monotonic())
            await queue.aclose(TIMEOUT)
            stats.append(queue.stats())

    begun: list[float] = []
    await asyncio.wait_for(asyncio.to_thread(asyncio.run, program()), 60)
    seconds = time.monotonic() - begun[0]

    check_books(stats[0])
    assert seconds < SOON
    assert stats[0].dropped == {"ambiguous": 10}


@OUTBOXES
async def test_a_relay_begins_and_ends_in_time(tmp_path: Path, make_outbox: Any) -> None:
    healths = []

    async def program() -> None:
        async with make_outbox(tmp_path) as outbox:
            relay = RelayWork(accept, outbox)
            await relay.start()
            healths.append(relay.health())
            begun.append(time.monotonic())
            await relay.aclose(TIMEOUT)

    begun: list[float] = [time.monotonic()]
    await asyncio.wait_for(asyncio.to_thread(asyncio.run, program()), 60)
    ended = time.monotonic()

    assert begun[1] - begun[0] < SOON
    assert ended - begun[1] < SOON
    assert make_outbox is locked_sqlite or healths[0].state is HealthState.DEGRADED


async def test_what_a_relay_could_not_settle_is_on_its_books() -> None:
    outbox = StuckOutbox()
    await outbox.store([group("a", "b")])
    relay = RelayWork(accept, outbox)
    outbox.stuck_in = "settle"
    await relay.start()
    await until(lambda: relay.stats().accepted > 0)

    stats = await asyncio.wait_for(relay.aclose(TIMEOUT), 30)

    assert (stats.claimed, stats.accepted, stats.in_flight) == (2, 2, 0)
    assert (await outbox.sizes()).events == 2
    assert our_tasks() == []


async def test_the_command_says_that_the_outbox_is_silent_and_ends_on_sigterm() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        outbox = f"redis://:secret@127.0.0.1:{silent.getsockname()[1]}/0"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "algolia_events.cli", "relay", "--timeout", "0.1", "--outbox", outbox),
            env={**os.environ, "PYTHONPATH": str(ROOT), "ALGOLIA_APP_ID": "APP", "ALGOLIA_API_KEY": "key"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        words = await asyncio.wait_for(process.stderr.readline(), 60)
        begun = time.monotonic()
        process.terminate()
        _, errors = await asyncio.wait_for(process.communicate(), 60)
        seconds = time.monotonic() - begun

    assert words == b"the relay works; the outbox has not answered in time\n"
    assert errors == b""
    assert seconds < SOON
