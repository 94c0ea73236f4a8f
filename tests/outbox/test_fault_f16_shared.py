"""F16: many processes on one outbox: each event is accepted, none is sent by two that live, a dead one is replaced."""

import asyncio
import os
import time
from collections import Counter
from pathlib import Path

import pytest
from support.applications import Application
from support.groups import bodies, group
from support.redis_server import RedisServer

from algolia_events.outbox import SQLiteOutbox
from algolia_events.sandbox import Hang, Sandbox

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
