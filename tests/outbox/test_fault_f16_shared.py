"""F16: many processes on one outbox: each event is accepted, none is sent by two that live, a dead one is replaced."""

import asyncio
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.applications import Application
from support.groups import bodies, group
from support.redis_server import RedisServer

from algolia_events.outbox import SQLiteOutbox
from algolia_events.sandbox import EventsAccepted, Hang, Notice, Request, Sandbox

EVENTS = int(os.environ.get("SHARED_EVENTS", "2000"))
"""From each writer; 12,500 make it 100,000 from eight."""
BATCH = 200


def ids(sandbox: Sandbox) -> Counter[str]:
    return Counter(event["objectIDs"][0] for event in sandbox.events)


def expected(writers: int) -> set[str]:
    return {f"writer-{writer}-{number}" for writer in range(writers) for number in range(EVENTS)}


async def all_accepted(sandbox: Sandbox, names: set[str]) -> None:
    """Wait for these events; their number comes first, since to look at each of them takes its time."""
    await sandbox.wait_for(lambda: sandbox.counts.events >= len(names) and names <= ids(sandbox).keys(), timeout=60)


@pytest.mark.parametrize("processes", [2, 8])
async def test_processes_that_share_a_file_send_each_event_once(tmp_path: Path, processes: int) -> None:
    url = f"sqlite:///{tmp_path / 'events.db'}"

    async with Sandbox() as sandbox:
        writers = [
            await Application.start(
                do="put_some", name=f"writer-{n}", events=EVENTS, outbox=url, insights_url=sandbox.url
            )
            for n in range(processes)
        ]
        codes = [await writer.ended() for writer in writers]
        accepted = ids(sandbox)

    assert [(writer.errors, code) for writer, code in zip(writers, codes, strict=True)] == [("", 0)] * processes
    assert accepted.keys() == expected(processes)
    assert set(accepted.values()) == {1}


class Senders:
    """Who sent each event that was accepted, by the application ID of the request."""

    def __init__(self, sandbox: Sandbox, expected: int) -> None:
        self.of: defaultdict[str, list[str]] = defaultdict(list)
        self._sandbox = sandbox
        self._expected = expected
        self._complete = asyncio.Event()

    async def read(self, notices: AsyncIterator[Notice]) -> None:
        """Read what the sandbox reports, for ever."""
        async for notice in notices:
            if isinstance(notice, EventsAccepted):
                sender = self._sandbox.requests[notice.request - 1].headers["x-algolia-application-id"]
                for attribution in notice.attributions:
                    self.of[attribution.event["objectIDs"][0]].append(sender)
                if len(self.of) >= self._expected:
                    self._complete.set()

    async def complete(self) -> None:
        """Wait until every event that is expected has been accepted."""
        async with asyncio.timeout(90):
            await self._complete.wait()


def held_by(sandbox: Sandbox, sender: str) -> list[Request]:
    """List the requests of one process whose events were accepted, and which it does not know yet."""
    return [
        request
        for request in sandbox.requests
        if request.headers["x-algolia-application-id"] == sender and request.events and request.answered_at is None
    ]


@pytest.mark.timeout(240)
async def test_of_eight_processes_with_a_hundred_thousand_events_one_is_killed(tmp_path: Path) -> None:
    """Each event is accepted; what was sent twice, the killed one had under way, and one other took it over."""
    url = f"sqlite:///{tmp_path / 'events.db'}"
    names = {f"writer-{writer}-{number}" for writer in range(8) for number in range(12_500)}

    async with Sandbox(latency=1.0) as sandbox, asyncio.TaskGroup() as background:
        senders = Senders(sandbox, len(names))
        with sandbox.subscribe(max_waiting=1_000_000) as notices:
            reading = background.create_task(senders.read(notices))
            todo = {"do": "share", "events": 12_500, "outbox": url, "insights_url": sandbox.url, "batch_events": 500}
            processes = [await Application.start(name=f"writer-{n}", app_id=f"APP{n}", **todo) for n in range(8)]
            for process in processes:
                await process.has_written(1)
            victim, *survivors = processes
            # As long as an answer takes a second, each process always waits for some.
            await sandbox.wait_for(lambda: bool(held_by(sandbox, "APP0")), timeout=30)
            held = sum(request.events for request in held_by(sandbox, "APP0"))
            await victim.kill()
            sandbox.latency = 0.0
            await senders.complete()
            codes = await asyncio.gather(*(survivor.terminate() for survivor in survivors))
            reading.cancel()

    repeated = {name: by for name, by in senders.of.items() if len(by) > 1}
    by_survivors = sum(sender != "APP0" for by in senders.of.values() for sender in by)
    reports = [json.loads(survivor.lines[-1]) for survivor in survivors]
    assert [(survivor.errors, code) for survivor, code in zip(survivors, codes, strict=True)] == [("", 0)] * 7
    assert senders.of.keys() == names
    assert all(len(by) == 2 and by.count("APP0") == 1 for by in repeated.values())
    assert held <= len(repeated) <= 2 * 500
    assert [report["dropped"] for report in reports] == [0] * 7
    assert sum(report["accepted"] for report in reports) == by_survivors


async def test_one_that_is_killed_costs_no_event_and_repeats_only_what_it_had_under_way(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'events.db'}"

    async with Sandbox(latency=0.01) as sandbox:
        writers = [
            await Application.start(
                do="put_some", name=f"writer-{n}", events=EVENTS, outbox=url, insights_url=sandbox.url, deliver=False
            )
            for n in range(3)
        ]
        relays = [await Application.start(do="relay", outbox=url, insights_url=sandbox.url) for _ in range(2)]
        await sandbox.wait_for(500, timeout=30)
        await relays[0].kill()
        codes = [await writer.ended() for writer in writers]
        await all_accepted(sandbox, expected(3))
        await relays[1].terminate()
        accepted = ids(sandbox)

    assert codes == [0, 0, 0]
    assert accepted.keys() == expected(3)
    assert sum(count - 1 for count in accepted.values()) <= 2 * BATCH
    assert "locked" not in "".join(each.errors for each in (*writers, *relays))


async def test_what_a_killed_process_held_is_claimed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    outbox = SQLiteOutbox(path)
    await outbox.store([group("a"), group("b")])

    async with Sandbox() as sandbox:
        with sandbox.fault(Hang()):
            holder = await Application.start(do="relay", outbox=f"sqlite:///{path}", insights_url=sandbox.url)
            await sandbox.wait_for(lambda: len(sandbox.requests) == 1, timeout=20)
            while_it_lives = await outbox.claim(1000, 1 << 40)
            await holder.kill()
            begun = time.monotonic()
            afterwards = await outbox.claim(1000, 1 << 40)
            seconds = time.monotonic() - begun
    await outbox.aclose()

    assert bodies(while_it_lives) == []
    assert bodies(afterwards) == [group("a").body, group("b").body]
    assert seconds < 1


async def test_four_writers_and_three_relays_on_one_redis_lose_nothing_when_one_is_killed(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    url = f"{redis_server.url}?stream={redis_server.new_stream(tmp_path)}"

    async with Sandbox(latency=0.01) as sandbox:
        relays = [await Application.start(do="relay", outbox=url, insights_url=sandbox.url) for _ in range(3)]
        writers = [
            await Application.start(
                do="put_some", name=f"writer-{n}", events=EVENTS, outbox=url, insights_url=sandbox.url, deliver=False
            )
            for n in range(4)
        ]
        await sandbox.wait_for(500, timeout=30)
        await relays[0].kill()
        codes = [await writer.ended() for writer in writers]
        await all_accepted(sandbox, expected(4))
        await asyncio.gather(*(relay.terminate() for relay in relays[1:]))
        accepted = ids(sandbox)

    assert codes == [0, 0, 0, 0]
    assert accepted.keys() == expected(4)
    assert sum(count - 1 for count in accepted.values()) <= 2 * BATCH
