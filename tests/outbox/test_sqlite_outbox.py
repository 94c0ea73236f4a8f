"""What is particular to the SQLite outbox: its file, who may read it, where it may lie, what happens when it breaks."""

import asyncio
import contextlib
import itertools
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from support.groups import bodies, group
from support.programs import forked

from algolia_events import AlgoliaEvents
from algolia_events.errors import ConfigurationError, OutboxError, OutboxFullError
from algolia_events.outbox import DeadLetter, SQLiteOutbox, open_outbox
from algolia_events.outbox._sqlite_file import _SCHEMA, check, file_system_of
from algolia_events.outbox._sqlite_rows import transaction

EVERYTHING = (1_000_000, 1 << 40)
MIB = 1024 * 1024


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.fixture
async def outbox(path: Path) -> AsyncIterator[SQLiteOutbox]:
    outbox = SQLiteOutbox(path)
    yield outbox
    await outbox.aclose()


async def test_only_its_owner_may_read_what_lies_on_the_disk(outbox: SQLiteOutbox, path: Path) -> None:
    await outbox.store([group("a")])
    await outbox.claim(*EVERYTHING)

    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}

    assert modes == dict.fromkeys(["events.db", "events.db-wal", "events.db-shm", "events.db-locks"], 0o600)


async def test_two_outboxes_of_one_process_exclude_each_other(outbox: SQLiteOutbox, path: Path) -> None:
    other = SQLiteOutbox(path)
    await outbox.store([group("a"), group("b")])

    first = await outbox.claim(1, 1 << 40)
    second = await other.claim(*EVERYTHING)
    await outbox.aclose()
    third = await other.claim(*EVERYTHING)
    await other.aclose()

    assert (bodies(first), bodies(second), bodies(third)) == ([group("a").body], [group("b").body], [group("a").body])


@pytest.mark.parametrize("is_new", [True, False], ids=["dangling", "made"])
async def test_one_file_by_two_names_is_one_outbox(outbox: SQLiteOutbox, path: Path, is_new: bool) -> None:
    if not is_new:
        await outbox.open()
    path.with_name("link.db").symlink_to(path)
    other = SQLiteOutbox(path.with_name("link.db"))

    await other.store([group("a")])
    first = await other.claim(*EVERYTHING)
    second = await outbox.claim(*EVERYTHING)
    await other.aclose()

    assert (bodies(first), bodies(second)) == ([group("a").body], [])


NO_DATABASE = b"this is no database, and never was " * 100


@pytest.fixture
async def damaged(outbox: SQLiteOutbox, path: Path) -> Path:
    """An outbox of which nothing is left."""
    await outbox.open()
    await outbox.aclose()
    await asyncio.to_thread(path.write_bytes, NO_DATABASE)
    return path


async def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(damaged: Path) -> None:
    outbox = SQLiteOutbox(damaged)

    await outbox.store([group("a")])
    claimed = await outbox.claim(*EVERYTHING)
    aside = [each for each in damaged.parent.iterdir() if "corrupt" in each.name]
    await outbox.aclose()

    assert bodies(claimed) == [group("a").body]
    assert [each.read_bytes()[:19] for each in aside] == [b"this is no database"]
    assert str(aside[0]) in str(outbox.notice)


async def test_a_file_that_breaks_while_it_is_used_is_moved_aside(outbox: SQLiteOutbox, path: Path) -> None:
    await outbox.store([group(str(n), padding=50_000) for n in range(40)])
    await outbox.aclose()
    with path.open("r+b") as file:
        file.seek(16_384)
        file.write(b"\xff" * 16_384 * 8)

    await outbox.claim(*EVERYTHING)
    await outbox.store([group("after")])

    assert bodies(await outbox.claim(*EVERYTHING)) == [group("after").body]
    assert outbox.notice is not None


async def test_two_damaged_files_are_both_kept(damaged: Path) -> None:
    outbox = SQLiteOutbox(damaged)

    for _ in range(3):  # within the same second, nearly always
        await asyncio.to_thread(damaged.write_bytes, NO_DATABASE)
        await outbox.open()
        await outbox.aclose()

    assert [each.read_bytes() for each in damaged.parent.glob("*.corrupt-*")] == [NO_DATABASE] * 3


async def test_what_another_process_moved_aside_is_noticed(outbox: SQLiteOutbox, path: Path) -> None:
    await outbox.store([group("old")])
    old = await outbox.claim(*EVERYTHING)
    await asyncio.to_thread(path.rename, path.with_name("gone"))

    await outbox.store([group("new")])
    await outbox.settle(done=old)

    assert bodies(await outbox.groups()) == [group("new").body]


async def test_a_file_that_is_deleted_while_it_is_used_costs_what_was_in_it_and_no_more(
    outbox: SQLiteOutbox, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await outbox.store([group("old")])
    old = await outbox.claim(*EVERYTHING)
    for each in path.parent.iterdir():  # many file systems give the next file the number of the deleted one
        await asyncio.to_thread(each.unlink)

    await outbox.store([group("new")])
    await outbox.settle(done=old)

    assert bodies(await outbox.claim(*EVERYTHING)) == [group("new").body]
    assert "deleted or moved" in str(outbox.notice)
    assert "algolia_events.outbox_gone" in caplog.messages


async def test_locks_that_were_deleted_with_the_directory_are_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    folder.mkdir()
    before, other = SQLiteOutbox(folder / "events.db"), SQLiteOutbox(folder / "events.db")
    await before.store([group("old")])
    await asyncio.to_thread(shutil.rmtree, folder)
    with pytest.raises(OutboxError):
        await before.store([group("lost")])
    folder.mkdir()

    await other.store([group("new")])
    first = await other.claim(*EVERYTHING)
    second = await before.claim(*EVERYTHING)
    await other.aclose()
    third = await before.claim(*EVERYTHING)
    await before.aclose()

    assert (bodies(first), bodies(second), bodies(third)) == ([group("new").body], [], [group("new").body])


async def test_what_was_claimed_is_still_held_when_the_directory_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    folder.mkdir()
    before, other = SQLiteOutbox(folder / "events.db"), SQLiteOutbox(folder / "events.db")
    await before.store([group("a")])
    claimed = await before.claim(*EVERYTHING)
    folder.rename(tmp_path / "away")
    with pytest.raises(OutboxError):
        await before.store([group("b")])
    (tmp_path / "away").rename(folder)

    second = await other.claim(*EVERYTHING)
    await before.settle(done=claimed)
    sizes = await other.sizes()
    await before.aclose()
    await other.aclose()

    assert (bodies(claimed), second, sizes.groups) == ([group("a").body], [], 0)


async def test_a_link_to_itself_is_an_error(path: Path) -> None:
    await asyncio.to_thread(path.symlink_to, path)
    outbox = SQLiteOutbox(path)

    with pytest.raises(OutboxError, match="symbolic links"):
        await outbox.open()
    with pytest.raises(OutboxError, match="symbolic links"):
        await outbox.sizes()

    await outbox.aclose()


async def test_a_database_of_something_else_is_left_alone(outbox: SQLiteOutbox, path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE theirs (x)")
    database.close()

    with pytest.raises(OutboxError, match="a database of something else"):
        await outbox.open()


def test_what_another_process_is_just_making_is_not_something_elses(tmp_path: Path) -> None:
    for at in itertools.count(1):
        path = tmp_path / f"{at}.db"
        looking, making = (sqlite3.connect(path, timeout=0, isolation_level=None) for _ in range(2))
        begun: list[str] = []

        def make(statement: str, begun: list[str] = begun, making: sqlite3.Connection = making, at: int = at) -> None:
            begun.append(statement)
            if len(begun) == at:
                with contextlib.suppress(sqlite3.OperationalError):  # it has to wait
                    making.executescript(_SCHEMA)

        looking.set_trace_callback(make)
        check(looking, path)
        looking.close()
        making.close()
        if len(begun) < at:
            break
    assert at > 3, "there were that many statements"


async def test_a_file_of_a_newer_version_is_left_alone(outbox: SQLiteOutbox, path: Path) -> None:
    await outbox.open()
    await outbox.aclose()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()

    with pytest.raises(OutboxError, match="newer version"):
        await outbox.open()


async def test_a_directory_that_does_not_exist_is_an_error_until_it_does(path: Path) -> None:
    outbox = SQLiteOutbox(path.parent / "later" / "events.db")
    with pytest.raises(OutboxError):
        await outbox.store([group("a")])

    (path.parent / "later").mkdir()
    await outbox.store([group("b")])

    assert bodies(await outbox.groups()) == [group("b").body]
    await outbox.aclose()


@pytest.mark.parametrize("call", [SQLiteOutbox.open, SQLiteOutbox.sizes], ids=["open", "sizes"])
def test_a_directory_in_the_place_of_the_file_is_named(
    tmp_path: Path, call: Callable[[SQLiteOutbox], Awaitable[object]]
) -> None:
    mode = tmp_path.stat().st_mode

    async def call_and_close() -> None:
        outbox = SQLiteOutbox(tmp_path)
        try:
            await call(outbox)
        finally:
            await outbox.aclose()

    with pytest.raises(OutboxError, match=f"{tmp_path} fails: that is a directory"):
        asyncio.run(call_and_close())

    assert tmp_path.stat().st_mode == mode
    assert not list(tmp_path.iterdir())


async def test_a_full_disk_is_an_error_that_loses_nothing(outbox: SQLiteOutbox) -> None:
    # SQLite's own limit stands in for the disk's: it is SQLITE_FULL either way.
    await outbox.store([group("before")])
    database = outbox._store._connection
    assert database is not None
    await outbox._run(lambda: database.execute("PRAGMA max_page_count = 10"))

    with pytest.raises(OutboxError, match="full"):
        await outbox.store([group("too much", padding=400_000)])
    await outbox._run(lambda: database.execute("PRAGMA max_page_count = 100000"))
    await outbox.store([group("after", padding=400_000)])

    assert bodies(await outbox.claim(*EVERYTHING)) == [group("before").body, group("after", padding=400_000).body]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anything")
async def test_a_file_that_may_only_be_read_is_an_error(outbox: SQLiteOutbox, path: Path) -> None:
    await outbox.store([group("a")])
    await outbox.aclose()
    path.parent.chmod(0o500)

    with pytest.raises(OutboxError):
        await outbox.store([group("b")])
    path.parent.chmod(0o700)


async def test_a_forked_child_leaves_the_parents_claims_alone(outbox: SQLiteOutbox, path: Path) -> None:
    await outbox.store([group("a")])
    await outbox.claim(*EVERYTHING)

    def in_child() -> int:
        async def claim() -> int:
            mine = await outbox.claim(*EVERYTHING)
            await outbox.store([group("from the child")])
            await outbox.aclose()
            return len(mine)

        return asyncio.run(claim())

    status = await asyncio.to_thread(forked, in_child)
    other = SQLiteOutbox(path)
    claimed = await other.claim(*EVERYTHING)
    await other.aclose()

    assert status == 0
    assert bodies(claimed) == [group("from the child").body]


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_the_file_system_of_a_directory_is_the_one_mounted_nearest(kind: str) -> None:
    mounts = (
        "22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw\n"
        f"90 22 0:50 / /mnt/far\\040away rw,relatime shared:1 - {kind} server:/export rw\n"
        "91 22 0:51 / /mnt/far rw - tmpfs tmpfs rw\n"
    )

    assert file_system_of(Path("/mnt/far away/shop"), mounts) == kind
    assert file_system_of(Path("/mnt/far/shop"), mounts) == "tmpfs"
    assert file_system_of(Path("/mnt/farther"), mounts) == "ext4"


@pytest.mark.parametrize(("synchronous", "level"), [("normal", 1), ("full", 2)])
async def test_what_a_power_cut_may_cost_is_chosen(path: Path, synchronous: str, level: int) -> None:
    outbox = SQLiteOutbox(path, synchronous=synchronous)  # type: ignore[arg-type]
    await outbox.open()

    database = outbox._store._connection
    assert database is not None
    journal, chosen = await outbox._run(
        lambda: [database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    )
    await outbox.aclose()

    assert (journal, chosen) == ("wal", level)


def test_a_wrong_argument_is_named(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="synchronous"):
        SQLiteOutbox(path, synchronous="sometimes")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="max_bytes"):
        SQLiteOutbox(path, max_bytes=10)


@pytest.mark.parametrize(
    "address",
    [
        "redis://:[S3cret]@queue.internal/0",
        "redis://:S3cret[x@queue.internal/0",
        "redis://:S3cret\u2100@queue.internal/0",
        "sqlite://:S3cret@queue.internal/0",
        "sqlite:///events.db?S3cret=1",
        "postgres://:S3cret@queue.internal/0",
    ],
)
@pytest.mark.parametrize(
    "use",
    [
        open_outbox,
        lambda address: AlgoliaEvents(app_id="APP", api_key="key", outbox=address),
        lambda address: AlgoliaEvents.from_env(
            {"ALGOLIA_APP_ID": "APP", "ALGOLIA_API_KEY": "key", "ALGOLIA_OUTBOX": address}
        ),
    ],
    ids=["open_outbox", "AlgoliaEvents", "from_env"],
)
def test_an_address_that_is_wrong_is_never_quoted(use: Callable[[str], object], address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        use(address)

    assert "S3cret" not in "".join(traceback.format_exception(caught.value))


async def test_forgetting_to_close_it_warns(path: Path) -> None:
    outbox = SQLiteOutbox(path)
    await outbox.open()

    with pytest.warns(ResourceWarning, match="unclosed outbox"):
        del outbox


async def test_what_is_claimed_with_the_storing_is_held_until_death_and_then_anothers(
    outbox: SQLiteOutbox, path: Path
) -> None:
    holder = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).parent / "programs" / "exchanger.py"), str(path), stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    said = await holder.stdout.readline()

    while_it_lives = await outbox.claim(*EVERYTHING)
    holder.kill()
    await holder.wait()
    begun = time.monotonic()
    afterwards = await outbox.claim(*EVERYTHING)
    seconds = time.monotonic() - begun

    assert said == b"2\n"
    assert bodies(while_it_lives) == []
    assert bodies(afterwards) == [group("a").body, group("b").body]
    assert seconds < 1


async def test_an_exchange_that_fails_settles_nothing_and_holds_nothing(outbox: SQLiteOutbox, path: Path) -> None:
    await outbox.store([group("before")])
    done = await outbox.claim(*EVERYTHING)
    other = SQLiteOutbox(path)
    database = outbox._store._connection
    assert database is not None
    await outbox._run(lambda: database.execute("PRAGMA max_page_count = 10"))

    with pytest.raises(OutboxError, match="full"):
        await outbox.exchange([group("too much", padding=400_000)], done=done, max_events=10, max_bytes=1 << 40)
    claimed = await other.exchange([group("theirs")], max_events=10, max_bytes=1 << 40)  # under the number given up
    kept = await other.groups()
    await outbox.settle(done=done)
    rest = await other.groups()
    await other.aclose()

    assert bodies(kept) == [group("before").body, group("theirs").body]
    assert bodies(claimed) == bodies(rest) == [group("theirs").body]


def letter(number: int, *, padding: int = 0) -> DeadLetter:
    return DeadLetter(event=b'{"n":%d}' % number + b" " * padding, status=422, message="no", rejected_ms=number)


def test_a_transaction_keeps_other_writers_out_from_its_beginning(path: Path) -> None:
    """One that became a writer later would fail where another had written in the meantime."""
    with (
        closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as one,
        closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other,
    ):
        one.execute("PRAGMA journal_mode = WAL")

        with transaction(one), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")


async def test_dead_letters_never_keep_an_event_out(path: Path) -> None:
    outbox = SQLiteOutbox(path, max_bytes=2 * MIB)

    for number in range(0, 3000, 100):
        await outbox.settle(rejected=[letter(number + n, padding=1000) for n in range(100)])
    kept = await outbox.dead_letters(limit=3000)
    await outbox.store([group("a", padding=MIB)])
    await outbox.aclose()

    assert [each.rejected_ms for each in kept] == list(range(3000 - len(kept), 3000))
    assert 0.45 * MIB < sum(len(each.event) for each in kept) < 0.5 * MIB


async def test_the_last_dead_letter_is_kept_however_large_and_counting_begins_anew_after_a_purge(path: Path) -> None:
    outbox = SQLiteOutbox(path, max_bytes=2 * MIB)

    await outbox.settle(rejected=[letter(1), letter(2, padding=MIB)])
    large = await outbox.dead_letters()
    await outbox.purge(events=False, dead_letters=True)
    await outbox.settle(rejected=[letter(3), letter(4)])
    small = await outbox.dead_letters()
    await outbox.aclose()

    assert [each.rejected_ms for each in large] == [2]
    assert [each.rejected_ms for each in small] == [3, 4]


async def test_a_log_that_a_reader_keeps_counts_until_he_goes(path: Path) -> None:
    outbox = SQLiteOutbox(path, max_bytes=5 * MIB)
    await outbox.open()

    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM groups").fetchall()
        stored = await _store_until_full(outbox)
        size = sum(each.stat().st_size for each in path.parent.iterdir())
    await outbox.store([group("after", padding=MIB)])
    afterwards = sum(each.stat().st_size for each in path.parent.iterdir())
    await outbox.aclose()

    assert 10 < stored < 30
    assert size < (5 + 16 + 2) * MIB
    assert afterwards < 5 * MIB


async def _store_until_full(outbox: SQLiteOutbox) -> int:
    """Store and settle groups of a mebibyte, at most 60; return how many could be stored."""
    for number in range(60):
        try:
            await outbox.store([group(str(number), padding=MIB)])
        except OutboxFullError:
            return number
        await outbox.settle(done=await outbox.claim(*EVERYTHING))
    return 60


async def test_a_log_that_nobody_keeps_is_no_reason_to_be_full(path: Path) -> None:
    outbox = SQLiteOutbox(path, max_bytes=40 * MIB)

    for _ in range(2):
        await outbox.store([group("a", padding=19 * MIB)])
    sizes = await outbox.sizes()
    await outbox.aclose()

    assert sizes.groups == 2
