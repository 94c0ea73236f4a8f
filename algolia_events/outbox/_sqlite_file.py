"""The file of an SQLite outbox: where it may lie, how it is made and opened, how a broken one is moved aside."""

import itertools
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from algolia_events.errors import ConfigurationError, OutboxError
from algolia_events.outbox._sqlite_look import code, log_bytes, look

SCHEMA_VERSION: Final = 1
BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
LOG_BYTES: Final = 16 * 1024 * 1024
"""How large the log may be without counting: what is left of it after it was copied, and some more while it is."""
_APPLICATION_ID: Final = 0x416C4576
"""Marks the file as ours ("AlEv")."""
_SIDE_FILES: Final = ("", "-wal", "-shm")
_BUSY_SECONDS: Final = 10.0
_PAGE_BYTES: Final = 16 * 1024
"""Of a new file. A group of 1000 events takes 20 pages in place of the usual 77, which halves its cost; a commit of one
event writes two."""
_CHECKPOINT_BYTES: Final = 12 * 1024 * 1024
"""How far the log grows before it is copied into the file: what has been sent by then is not copied at all."""
_VACUUM_BYTES: Final = 64 * 1024 * 1024
"""How much may be left in a file that is made smaller: it takes twice as much memory."""
_NETWORK: Final = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"ocfs2", "orangefs", "pvfs2", "smb3", "smbfs", "virtiofs", "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs"}
    | {"fuse.rclone", "fuse.davfs", "fuse.ceph", "fuse.juicefs", "fuse.gcsfuse", "fuse.smbnetfs", "fuse.goofys"}
)

_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS groups (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice: a lock on it must not mean another row
    count INTEGER NOT NULL,
    oldest_ms INTEGER NOT NULL,
    origin TEXT NOT NULL,
    size INTEGER NOT NULL,
    body BLOB NOT NULL                     -- last: the rest is read without it
);
CREATE TABLE IF NOT EXISTS rejected (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    rejected_ms INTEGER NOT NULL,
    status INTEGER NOT NULL,
    message TEXT NOT NULL,
    upto INTEGER NOT NULL,                 -- bytes of all dead letters there ever were, this one included
    event BLOB NOT NULL
);
-- The numbers of a new file are no other's: one that is deleted under a process leaves claims, and often its inode.
INSERT INTO sqlite_sequence (name, seq) SELECT 'groups', abs(random() >> 20)
WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'groups');  -- another process may have been quicker
PRAGMA user_version = {SCHEMA_VERSION};
PRAGMA application_id = {_APPLICATION_ID};
COMMIT;
"""  # noqa: S608 - made of constants


def refuse_network_file_system(directory: Path) -> None:
    """Raise `ConfigurationError` where locks and shared memory do not work: another machine may write as well.

    Known from the kernel's list of mounts; where there is none, nothing is refused.
    """
    with suppress(OSError):
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        kind = file_system_of(directory.resolve(), mounts)
        if kind in _NETWORK:
            raise ConfigurationError(
                f"an SQLite outbox cannot lie on a network file system ({directory} is on {kind}):"
                " use a local directory, or a RedisOutbox"
            )


def refuse_directory(path: Path) -> None:
    """Raise `OutboxError` where a directory lies in the place of the file, for as long as it does."""
    if path.is_dir():
        raise OutboxError(f"the outbox {path} fails: that is a directory")


def file_system_of(directory: Path, mounts: str) -> str | None:
    """Find the type of the file system of a directory in the text of /proc/self/mountinfo; see proc(5)."""
    best, found = -1, None
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(fields) < 5 or not kind:  # noqa: PLR2004 - the mount point is the fifth field
            continue
        point = fields[4].encode().decode("unicode_escape")
        if directory.is_relative_to(point) and len(point) >= best:  # of two in one place, the later hides the other
            best, found = len(point), kind[0]
    return found


def locks_of(path: Path) -> Path:
    """Name the file of the locks, which lies beside the outbox's as soon as somebody has used that."""
    return Path(f"{path}-locks")


def refuse_foreign(path: Path) -> None:
    """Raise `OutboxError` where the database of something else lies at the path, and leave that as it is.

    Raises:
        sqlite3.Error: it cannot be opened; not where it is damaged, which the one who opens it will find.
    """
    try:
        look(path, lambda connection: check(connection, path), busy_seconds=_BUSY_SECONDS)
    except FileNotFoundError:
        return
    except sqlite3.DatabaseError as exc:
        if code(exc) not in BROKEN:
            raise


def check(connection: sqlite3.Connection, path: Path) -> bool:
    """Say whether there is an outbox in it, and not nothing yet.

    Raises:
        OutboxError: it belongs to something else, or to a newer version of this library.
    """
    connection.execute("BEGIN")  # one look at all of it: another process may be making it just now
    try:
        mark, version, tables = (
            connection.execute(question).fetchone()[0]
            for question in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_schema")
        )
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    if mark != _APPLICATION_ID:
        if tables:
            raise OutboxError(f"{path} is a database of something else; choose another path for the outbox")
        return False
    if version > SCHEMA_VERSION:
        raise OutboxError(f"{path} was made by a newer version of this library (schema {version})")
    return True


def connect(path: Path, synchronous: str) -> sqlite3.Connection:
    """Open the file, and make it where there is none: readable by its owner only, in WAL mode.

    Raises:
        OutboxError: it belongs to something else, or to a newer version of this library.
        sqlite3.Error: it cannot be opened.
    """
    # Never opened by ourselves where it exists: closing that descriptor would drop SQLite's locks in this process.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)  # its -wal and -shm are made by SQLite with the same mode
    # Used by the worker's thread only, but closed by whoever collects it.
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path, synchronous)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, synchronous: str) -> None:
    is_new = not check(connection, path)
    if is_new:
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_BYTES // page_bytes}")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
    connection.execute("PRAGMA secure_delete = OFF")  # some builds overwrite what is deleted, which doubles the writing
    if is_new:
        connection.executescript(_SCHEMA)


@contextmanager
def alone(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file so that no other is needed, for a disk without any room; afterwards give back what is free in it.

    How to undo a transaction is only in memory: if the process dies in the middle of one, the file may be damaged.
    Nothing is given back where much is left.

    Raises:
        OutboxError: somebody else has it open.
        sqlite3.Error: it cannot be opened.
    """
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        try:
            for setting in ("locking_mode = EXCLUSIVE", "journal_mode = MEMORY", "temp_store = MEMORY"):
                connection.execute(f"PRAGMA {setting}")
        except sqlite3.OperationalError as exc:
            if code(exc) != sqlite3.SQLITE_BUSY:
                raise
            raise OutboxError(f"the disk of {path} is full, and others have the outbox open: stop them first") from exc
        yield connection
        if used_bytes(connection) <= _VACUUM_BYTES:
            connection.execute("VACUUM")


def used_bytes(connection: sqlite3.Connection) -> int:
    """Count what the file holds, without the pages that are free in it and without its log."""
    page, pages, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
    )
    used: int = (pages - free) * page
    return used


def has_room(path: Path) -> bool:
    """Say whether the log can grow to its usual length on the disk."""
    return shutil.disk_usage(path.parent).free >= LOG_BYTES


def shorten_log(connection: sqlite3.Connection, path: Path) -> bool:
    """Empty the log where it is so long that it counts; False where it is not, or a reader still needs it."""
    if log_bytes(path) <= LOG_BYTES:
        return False
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        blocked: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        connection.execute(f"PRAGMA busy_timeout = {round(_BUSY_SECONDS * 1000)}")
    return not blocked


def write_mark(connection: sqlite3.Connection) -> None:
    """Mark the file as ours, once more: the least that can be written."""
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")


def move_aside(path: Path) -> Path:
    """Give a broken file, and what belongs to it, another name beside it; return that."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    name = f"{path.name}.corrupt-{stamp}-{os.getpid()}"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    aside = next(free for free in map(path.with_name, names) if not _is_taken(free))
    for suffix in _SIDE_FILES:
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    return aside


def _is_taken(path: Path) -> bool:
    return any(os.path.lexists(f"{path}{suffix}") for suffix in _SIDE_FILES)
