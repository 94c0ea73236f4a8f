"""Looking into the file of an SQLite outbox without changing anything, on a disk that is full or read-only as well."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

_Result = TypeVar("_Result")
_BUSY_SECONDS: Final = 2.0
_FROZEN: Final = "mode=ro&immutable=1"
"""As if nobody could write it: no locks, and no log."""
_NOTHING_CAN_BE_MADE: Final = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}
)
_PRIMARY_CODE: Final = 0xFF


class _State(NamedTuple):
    """What tells whether anybody wrote."""

    inode: int
    size: int
    changed_ns: int
    log_bytes: int


def look(
    path: Path, read: Callable[[sqlite3.Connection], _Result], *, busy_seconds: float = _BUSY_SECONDS
) -> tuple[_Result, bool]:
    """Read from the file; say with it whether all could be read, which the log cannot be where nothing can be made.

    To read even, SQLite makes a log and an index of it where there are none. So a file without a log is read as if
    nobody could write it, and once more if somebody did in the meantime.

    Raises:
        FileNotFoundError: there is none.
        sqlite3.Error: it cannot be read.
    """
    before = _state(path)
    if not before.log_bytes:
        try:
            result = _read(path, _FROZEN, read, busy_seconds)
        except sqlite3.DatabaseError:
            if _state(path) == before:
                raise
        else:
            if _state(path) == before:
                return result, True
    try:
        return _read(path, "mode=ro", read, busy_seconds), True
    except sqlite3.OperationalError as exc:
        if code(exc) not in _NOTHING_CAN_BE_MADE:
            raise
        return _read(path, _FROZEN, read, busy_seconds), False


def log_bytes(path: Path) -> int:
    """Tell how large the log is that lies beside the file."""
    try:
        return Path(f"{path}-wal").stat().st_size
    except FileNotFoundError:
        return 0


def code(exc: BaseException | None) -> int:
    """Find SQLite's primary result code; see sqlite.org/rescode.html."""
    return getattr(exc, "sqlite_errorcode", 0) & _PRIMARY_CODE


def _read(path: Path, mode: str, read: Callable[[sqlite3.Connection], _Result], busy_seconds: float) -> _Result:
    address = f"{path.as_uri()}?{mode}"
    with closing(sqlite3.connect(address, uri=True, timeout=busy_seconds, isolation_level=None)) as connection:
        return read(connection)


def _state(path: Path) -> _State:
    status = path.stat()
    return _State(status.st_ino, status.st_size, status.st_mtime_ns, log_bytes(path))
