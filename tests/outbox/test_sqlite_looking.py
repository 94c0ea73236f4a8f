"""To look into an SQLite outbox changes nothing, and needs no room; what is not ours is refused and left as it is."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.applications import ROOT
from support.groups import bodies, group

from algolia_events.errors import OutboxError
from algolia_events.outbox import SQLiteOutbox

NO_DATABASE = b"this is no database, and never was " * 100


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.fixture
async def outbox(path: Path) -> AsyncIterator[SQLiteOutbox]:
    outbox = SQLiteOutbox(path)
    yield outbox
    await outbox.aclose()


@pytest.fixture
async def damaged(outbox: SQLiteOutbox, path: Path) -> Path:
    """An outbox of which nothing is left."""
    await outbox.open()
    await outbox.aclose()
    await asyncio.to_thread(path.write_bytes, NO_DATABASE)
    return path


def contents(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {each.name: (each.stat().st_mode, each.read_bytes()) for each in directory.iterdir()}


async def _inspect(outbox: SQLiteOutbox) -> None:
    for look in (outbox.sizes, outbox.groups, outbox.dead_letters):
        with pytest.raises(OutboxError):
            await look()


async def _mend(outbox: SQLiteOutbox) -> None:
    with pytest.raises(OutboxError):
        await outbox.retry_dead_letters()
    with pytest.raises(OutboxError):
        await outbox.purge(events=True, dead_letters=True)


@pytest.fixture(params=["text", "database", "database with a log"])
def foreign(request: pytest.FixtureRequest, path: Path) -> Iterator[Path]:
    """Something that is not ours, and that others may read."""
    if request.param == "text":
        path.write_bytes(NO_DATABASE)
        path.chmod(0o644)
        yield path
        return
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        if request.param == "database with a log":
            database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE theirs (x)")
        for each in path.parent.iterdir():
            each.chmod(0o644)
        yield path


@pytest.mark.parametrize("use", [_inspect, _mend])
async def test_what_is_not_ours_is_refused_and_left_as_it_is(
    foreign: Path, use: Callable[[SQLiteOutbox], Awaitable[None]]
) -> None:
    outbox = SQLiteOutbox(foreign)
    before = contents(foreign.parent)

    await use(outbox)
    await outbox.aclose()
    after = contents(foreign.parent)

    before.pop("events.db-shm", None)  # SQLite's memory, with the locks of those who read
    after.pop("events.db-shm", None)
    assert after == before


@pytest.mark.parametrize("foreign", ["database", "database with a log"], indirect=True)
async def test_somebody_elses_database_is_never_used(foreign: Path) -> None:
    outbox = SQLiteOutbox(foreign)
    before = contents(foreign.parent)

    with pytest.raises(OutboxError, match="something else"):
        await outbox.open()
    with pytest.raises(OutboxError, match="something else"):
        await outbox.store([group("a")])
    await outbox.aclose()
    after = contents(foreign.parent)

    before.pop("events.db-shm", None)
    after.pop("events.db-shm", None)
    assert after == before


async def test_what_is_no_database_is_moved_aside_by_whoever_wants_to_store(path: Path) -> None:
    await asyncio.to_thread(path.write_bytes, NO_DATABASE)
    outbox = SQLiteOutbox(path)

    await outbox.store([group("a")])
    sizes = await outbox.sizes()
    await outbox.aclose()

    assert [aside.read_bytes() for aside in path.parent.glob("events.db.corrupt-*")] == [NO_DATABASE]
    assert str(outbox.notice).startswith("the outbox file was damaged; it was moved to ")
    assert sizes.events == 1


@pytest.mark.parametrize("use", [_inspect, _mend])
async def test_to_look_where_there_is_nothing_makes_nothing(
    path: Path, use: Callable[[SQLiteOutbox], Awaitable[None]]
) -> None:
    outbox = SQLiteOutbox(path)

    await use(outbox)
    await outbox.aclose()

    assert contents(path.parent) == {}


@pytest.mark.parametrize("use", [_inspect, _mend])
async def test_to_look_into_a_damaged_file_leaves_it_where_it_is(
    damaged: Path, use: Callable[[SQLiteOutbox], Awaitable[None]]
) -> None:
    outbox = SQLiteOutbox(damaged)
    before = contents(damaged.parent)

    await use(outbox)
    await outbox.aclose()

    assert contents(damaged.parent) == before


async def test_to_look_makes_and_changes_nothing(outbox: SQLiteOutbox, path: Path) -> None:
    await outbox.store([group("a")])
    await outbox.aclose()
    await asyncio.to_thread(path.chmod, 0o640)
    before = contents(path.parent)

    sizes = await outbox.sizes()
    groups = await outbox.groups()
    await outbox.dead_letters()
    await outbox.aclose()

    assert (sizes.events, bodies(groups)) == (1, [group("a").body])
    assert contents(path.parent) == before


async def test_to_look_sees_what_others_have_only_in_their_log(outbox: SQLiteOutbox, path: Path) -> None:
    await outbox.store([group("a")])
    other = SQLiteOutbox(path)

    seen = await other.groups()
    await outbox.store([group("b")])
    rest = await other.groups(after=seen[-1].key)
    await other.aclose()

    assert bodies(seen) + bodies(rest) == [group("a").body, group("b").body]


async def test_an_empty_file_holds_no_outbox_yet(path: Path) -> None:
    await asyncio.to_thread(path.touch)
    outbox = SQLiteOutbox(path)

    await _inspect(outbox)
    before = contents(path.parent)
    await outbox.store([group("a")])
    after = await outbox.groups()
    await outbox.aclose()

    assert [content for _, content in before.values()] == [b""]
    assert bodies(after) == [group("a").body]


def in_a_namespace(*command: str) -> list[str]:
    return ["unshare", "--user", "--map-root-user", "--mount", *command]


def can_mount() -> bool:
    try:
        return subprocess.run(in_a_namespace("mount", "-t", "tmpfs", "tmpfs", "/mnt"), check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not can_mount(), reason="no file system of its own can be had")
def test_a_disk_that_is_full_or_read_only_can_be_looked_into_and_a_purge_makes_room(tmp_path: Path) -> None:
    program = Path(__file__).parent / "programs" / "small_disk.py"

    ended = subprocess.run(
        in_a_namespace(sys.executable, str(program), str(tmp_path)),
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    closed, logged, without_log = [29, 29, 1, False], [30, 30, 1, False], [29, 29, 1, True]
    found = json.loads(ended.stdout)
    assert found["full"] == [closed, logged, without_log]
    assert "stop them first" in found["purged"][0][0]
    assert found["purged"][1:] == [[29, True, 1, 1]] * 2
    assert "without its log" in found["without log"][0]
    assert found["without log"][1] is None
    assert found["read-only"][:2] == [[1, 1, 1, False], logged]
