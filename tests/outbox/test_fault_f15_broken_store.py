"""F15: disk full, read-only, corrupt; Redis down: nothing reaches `track()`, delivery goes on, the store comes back."""

import asyncio
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.binaries import require_binary
from support.redis_server import RedisServer
from support.rigs import until

from algolia_events import AlgoliaEvents, ClickedObjectIDs
from algolia_events.config import QueueOptions, RetryOptions
from algolia_events.outbox import RedisOutbox, SQLiteOutbox
from algolia_events.reports import HealthState
from algolia_events.sandbox import Sandbox

PROMPT = RetryOptions(backoff_base=0.02, backoff_cap=0.1)


def event(name: object) -> ClickedObjectIDs:
    return ClickedObjectIDs(event_name="Clicked", index="products", object_ids=[str(name)], user_token="u" * 100)


def client(sandbox: Sandbox, outbox: SQLiteOutbox | RedisOutbox) -> AlgoliaEvents:
    queue = QueueOptions(linger=0.02)
    return AlgoliaEvents(
        app_id="APP", api_key="key", insights_url=sandbox.url, outbox=outbox, queue=queue, retry=PROMPT
    )


def names(sandbox: Sandbox) -> set[str]:
    return {each["objectIDs"][0] for each in sandbox.events}


async def until_healthy(algolia: AlgoliaEvents) -> int:
    """Go on tracking until the store is in use again; return how many events that took."""
    count = 0
    async with asyncio.timeout(20):
        while not algolia.health().ok:
            assert algolia.events.track(event(f"meanwhile-{count}"))
            count += 1
            await asyncio.sleep(0.05)
    return count


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file of this process may grow beyond 200 kB: a quota, and no root needed. Python ignores SIGXFSZ."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk_costs_no_event(tmp_path: Path, small_disk: None) -> None:
    async with Sandbox() as sandbox, client(sandbox, SQLiteOutbox(tmp_path / "events.db")) as algolia:
        taken = [algolia.events.track(event(number)) for number in range(3000)]
        await sandbox.wait_for(lambda: len(names(sandbox)) == 3000, timeout=20)
        health = algolia.health()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        meanwhile = await until_healthy(algolia)
        report = await algolia.events.flush(10)

    assert all(taken)
    assert health.state is HealthState.DEGRADED
    assert (report.dropped, report.pending) == (0, 0)
    assert len(names(sandbox)) == 3000 + meanwhile


async def test_a_place_that_cannot_be_written_costs_no_event(tmp_path: Path) -> None:
    # A directory in the place of the file can be written by nobody, not even by root.
    path = tmp_path / "events.db"
    path.mkdir()

    async with Sandbox() as sandbox, client(sandbox, SQLiteOutbox(path)) as algolia:
        taken = [algolia.events.track(event(number)) for number in range(100)]
        await sandbox.wait_for(100)
        health = algolia.health()
        await asyncio.to_thread(path.rmdir)
        await until_healthy(algolia)

    assert all(taken)
    assert health.state is HealthState.DEGRADED
    assert path.is_file()


async def test_a_corrupt_file_is_moved_aside_and_said_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "events.db"
    before = SQLiteOutbox(path)
    await before.open()
    await before.aclose()
    await asyncio.to_thread(path.write_bytes, os.urandom(50_000))

    async with Sandbox() as sandbox, client(sandbox, SQLiteOutbox(path)) as algolia:
        for number in range(100):
            algolia.events.track(event(number))
        report = await algolia.events.flush(10)
        health = algolia.health()
    aside = await asyncio.to_thread(lambda: [each.stat().st_size for each in tmp_path.glob("*.corrupt-*")])

    assert (report.delivered, report.dropped) == (100, 0)
    assert health.ok
    assert "moved to" in str(health.reason)
    assert "algolia_events.outbox_corrupt" in caplog.messages
    assert aside == [50_000]


async def test_redis_that_is_killed_costs_no_event_and_is_used_again(tmp_path: Path) -> None:
    with RedisServer(require_binary("redis-server"), tmp_path) as server:
        async with Sandbox() as sandbox, client(sandbox, RedisOutbox(server.url)) as algolia:
            for number in range(100):
                algolia.events.track(event(number))
            await algolia.events.flush(10)
            await asyncio.to_thread(server.stop)
            taken = [algolia.events.track(event(number)) for number in range(100, 200)]
            await sandbox.wait_for(lambda: len(names(sandbox)) == 200, timeout=20)
            health = algolia.health()
            await asyncio.to_thread(server.start)
            meanwhile = await until_healthy(algolia)
            report = await algolia.events.flush(10)

    assert all(taken)
    assert health.state is HealthState.DEGRADED
    assert (report.dropped, report.pending, report.stored) == (0, 0, 0)
    assert len(names(sandbox)) == 200 + meanwhile


async def test_redis_that_comes_back_is_noticed_without_an_event(tmp_path: Path) -> None:
    with RedisServer(require_binary("redis-server"), tmp_path) as server:
        await asyncio.to_thread(server.stop)
        async with Sandbox() as sandbox, client(sandbox, RedisOutbox(server.url)) as algolia:
            before = algolia.health()
            await asyncio.to_thread(server.start)
            await until(lambda: algolia.health().ok)
            tracked = algolia.stats().tracked

    assert before.state is HealthState.DEGRADED
    assert tracked == 0


async def test_redis_that_was_never_there_is_no_reason_not_to_start() -> None:
    async with Sandbox() as sandbox, client(sandbox, RedisOutbox("redis://127.0.0.1:1/0")) as algolia:
        for number in range(100):
            assert algolia.events.track(event(number))
        await sandbox.wait_for(100)
        health = algolia.health()

    assert health.state is HealthState.DEGRADED


async def test_a_store_that_stalls_blocks_nobody(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    locker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "db.execute('PRAGMA journal_mode = WAL'); db.execute('CREATE TABLE IF NOT EXISTS x (y)');"
        "db.execute('DROP TABLE x'); db.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()",
        str(path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert locker.stdin is not None
    assert locker.stdout is not None
    outbox = SQLiteOutbox(path)

    async with Sandbox() as sandbox:
        await locker.stdout.readline()
        async with client(sandbox, outbox) as algolia:
            begun = time.perf_counter()
            taken = [algolia.events.track(event(number)) for number in range(1000)]
            seconds = time.perf_counter() - begun
            locker.stdin.close()
            await locker.wait()
            report = await algolia.events.flush(20)

    assert all(taken)
    assert seconds < 1
    assert (report.delivered, report.dropped) == (1000, 0)
