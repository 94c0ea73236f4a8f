"""The SQLite outbox as calls that block: everything here runs in the worker's thread."""

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from algolia_events._fork import keep_for_parent
from algolia_events._groups import ClaimedGroup, DeadLetter, EventGroup, OutboxSizes
from algolia_events.errors import OutboxError, OutboxFullError
from algolia_events.outbox import _sqlite_file as files
from algolia_events.outbox import _sqlite_rows as rows
from algolia_events.outbox._claim_locks import WHOLE_STORE, ClaimLocks, KernelLocks
from algolia_events.outbox._exchange import Exchange
from algolia_events.outbox._letters import groups_of
from algolia_events.outbox._sqlite_look import code, log_bytes, look

_log: Final = logging.getLogger("algolia_events")
_Result = TypeVar("_Result")
_PASSING: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL})
"""Errors after which the connection is as good as before."""
_NO_ROOM: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
"""Errors of a disk where neither the log can grow nor its index be made."""
_LETTERS_SHARE: Final = 4
"""Dead letters may take one part in so many of the bound, whatever comes in: they never keep an event out."""
_WITHOUT_LOG: Final = "the outbox was read without its log, which needs room: what was stored last is not in it"
_GONE: Final = "the outbox file was deleted or moved while it was in use: what had been stored in it may be lost"
_CANDIDATES: Final = 100
"""Rows that are looked at together in search of one to claim."""
_WAIT_FOR_OPENING_SECONDS: Final = 10.0


class _Key(NamedTuple):
    """Names a row: its number, and the file it is in, since that may have been replaced in the meantime."""

    file: tuple[int, int]
    number: int


class SQLiteStore:
    """The tables, the claims of this process, and the connection, which is made again whenever it is gone."""

    def __init__(self, path: Path, *, synchronous: str, max_bytes: int, locks: Callable[[Path], ClaimLocks]) -> None:
        self._named = path
        self._synchronous = synchronous
        self._max_bytes = max_bytes
        self._make_locks = locks
        self._locks: ClaimLocks | None = None
        self._locks_file = (0, 0)
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)
        self._claimed: set[int] = set()
        self.notice: str | None = None

    @cached_property
    def _path(self) -> Path:
        """Where the file is, past symbolic links: the locks beside it must be one file for all who use it."""
        return Path(os.path.realpath(self._named))  # Path.resolve() fails for a link that leads nowhere but to itself

    # --- what an outbox does ---------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the file, and write what it holds already: one that is open may have become full or read-only."""
        self._attempt(files.write_mark)

    def exchange(self, exchange: Exchange) -> list[ClaimedGroup]:
        """Delete, keep, and lock what is oldest, in one transaction."""
        try:
            return self._attempt(lambda db: self._exchange(db, exchange))
        except OutboxFullError:
            if not self._attempt(lambda db: files.shorten_log(db, self._path)):
                raise
        return self._attempt(lambda db: self._exchange(db, exchange))

    def claim(self, max_events: int, max_bytes: int) -> list[ClaimedGroup]:
        """Lock rows and read them."""
        return self._attempt(lambda db: self._claim(db, max_events, max_bytes, {}))

    def settle(
        self, done: Sequence[ClaimedGroup], rejected: Sequence[DeadLetter], left: Sequence[ClaimedGroup]
    ) -> None:
        """Delete, keep as dead letters and give back, in one transaction; then unlock."""
        self._attempt(lambda db: self._settle(db, done, rejected, left))

    def sizes(self) -> OutboxSizes:
        """Count rows."""
        return self._look(rows.sizes)

    def groups(self, after: object, limit: int) -> list[ClaimedGroup]:
        """Read rows without locking them."""
        return self._look(lambda db: self._read(db, _number(after), limit))

    def dead_letters(self, after: object, limit: int) -> list[DeadLetter]:
        """Read dead letters."""
        return self._look(lambda db: rows.read_letters(db, _number(after), limit))

    def retry_dead_letters(self) -> int:
        """Move all dead letters back among the groups, in one transaction."""
        self._look(_nothing)
        return self._attempt(self._retry_dead_letters)

    def purge(self, *, events: bool, dead_letters: bool) -> int:
        """Delete what is asked for; rows that somebody holds stay. On a full disk, give the space back to it."""
        self._look(_nothing)
        purge = partial(self._purge, events=events, dead_letters=dead_letters)
        purged: int | None = None
        try:
            purged = self._attempt(purge)
        except OutboxError as exc:
            if code(exc.__cause__) not in _NO_ROOM:
                raise
        if purged is not None and files.has_room(self._path):
            return purged
        self._disconnect()
        try:
            with self._translated(), files.alone(self._path) as db:
                return (purged or 0) + purge(db)
        except OutboxError:
            if purged is None:
                raise
        return purged

    def close(self) -> None:
        """Close the file, and give back what was claimed."""
        self._disconnect()
        self._release()

    def abandon(self) -> None:
        """Forget, in a forked child, what is the parent's, without touching it: SQLite forbids to close it here."""
        keep_for_parent(self._connection)
        self._connection = None
        self._claimed.clear()
        locks, self._locks = self._locks, None
        if isinstance(locks, KernelLocks):
            locks.close()  # only our copy of the descriptor: while it is open, the parent's death frees nothing

    # --- connection ------------------------------------------------------------------------------------------------

    def _attempt(self, call: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Make a call; move a broken file aside and make it again; translate what else goes wrong."""
        with self._translated():
            try:
                return call(self._connected())
            except sqlite3.DatabaseError as exc:
                if code(exc) not in files.BROKEN:
                    raise
                self._replace()
                return call(self._connected())

    def _look(self, call: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Make a call that only reads; where the file is not open, nothing is made, moved or changed for it."""
        if self._connection is not None:
            return self._attempt(call)

        def read(db: sqlite3.Connection) -> _Result:
            if not files.check(db, self._path):
                raise OutboxError(f"there is no outbox in {self._path} yet")
            return call(db)

        with self._translated():
            files.refuse_directory(self._path)
            try:
                result, is_all = look(self._path, read)
            except FileNotFoundError as exc:
                raise OutboxError(f"there is no outbox {self._path}") from exc
        if not is_all:
            self.notice = _WITHOUT_LOG
        return result

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as exc:
            if code(exc) not in _PASSING:
                self._disconnect()
            raise OutboxError(f"the outbox {self._path} fails: {exc}") from exc

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None:
            if _identity(self._path) == self._file:
                return self._connection
            self._leave()
        files.refuse_directory(self._path)
        files.refuse_network_file_system(self._path.parent)
        files.refuse_foreign(self._path)
        with self._opening():
            self._connection = files.connect(self._path, self._synchronous)
            file = _identity(self._path)  # before anybody else may move it aside
        if self.notice == _WITHOUT_LOG:
            self.notice = None
        if file != self._file:  # what was claimed in another file would shadow rows of this one
            self._unlock(tuple(self._claimed))
            self._file = file
        return self._connection

    def _leave(self) -> None:
        """Give up a file that is no longer where it was: deleted, replaced, or its whole directory is gone for now."""
        self._disconnect()
        self.notice = _GONE
        _log.error("algolia_events.outbox_gone")
        if self._path.parent.is_dir():
            self._release()

    def _release(self) -> None:
        self._claimed.clear()
        locks, self._locks = self._locks, None
        if locks is not None:
            locks.close()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """Let one process at a time make, open or replace the file: SQLite's own locks do not cover these."""
        if self._path.parent.is_dir() and _identity(files.locks_of(self._path)) != self._locks_file:
            self._release()  # they were deleted, it may be with the directory: another process would make new ones
        locks = self._held_locks()
        give_up = time.monotonic() + _WAIT_FOR_OPENING_SECONDS
        while not locks.take(WHOLE_STORE):
            if time.monotonic() > give_up:
                raise OutboxError(f"the outbox {self._path} is being opened by another process")
            time.sleep(0.01)
        try:
            yield
        finally:
            locks.drop(WHOLE_STORE)

    def _replace(self) -> None:
        """Move the broken file aside, unless another process was faster."""
        broken = self._file if self._connection is not None else _identity(self._path)
        self._disconnect()
        with self._opening():
            if _identity(self._path) == broken:
                aside = files.move_aside(self._path)
                self.notice = f"the outbox file was damaged; it was moved to {aside} and a new one was begun"
                _log.error("algolia_events.outbox_corrupt", extra={"moved_to": str(aside)})

    # --- storing ---------------------------------------------------------------------------------------------------

    def _exchange(self, db: sqlite3.Connection, exchange: Exchange) -> list[ClaimedGroup]:
        deleted = self._ours(exchange.done)
        claimed: list[ClaimedGroup] = []
        try:
            with rows.transaction(db):
                rows.delete(db, deleted)
                self._check_room(db, sum(len(group.body) for group in exchange.groups))
                new = rows.insert(db, exchange.groups)
                # Locked before the commit: nobody else sees a row of these that he could have first.
                claimed = self._claim(db, exchange.max_events, exchange.max_bytes, new)
        except BaseException:
            self._unlock(self._ours(claimed))
            raise
        self._unlock(deleted)
        return claimed

    def _check_room(self, db: sqlite3.Connection, size: int) -> None:
        beyond = max(0, log_bytes(self._path) - files.LOG_BYTES)
        if files.used_bytes(db) + beyond + size > self._max_bytes:
            raise OutboxFullError(self._max_bytes)

    # --- claiming --------------------------------------------------------------------------------------------------

    def _claim(
        self, db: sqlite3.Connection, max_events: int, max_bytes: int, known: Mapping[int, EventGroup]
    ) -> list[ClaimedGroup]:
        """Lock rows until it is enough, and read those that are not `known`."""
        claimed: list[ClaimedGroup] = []
        events = size = 0
        candidates = rows.numbers(db, _CANDIDATES)
        try:
            while events < max_events and size < max_bytes and (number := next(candidates, None)) is not None:
                group = self._lock_and_read(db, number, known)
                if group is not None:
                    claimed.append(group)
                    events += group.count
                    size += len(group.body)
        except BaseException:
            self._unlock(self._ours(claimed))
            raise
        return claimed

    def _lock_and_read(
        self, db: sqlite3.Connection, number: int, known: Mapping[int, EventGroup]
    ) -> ClaimedGroup | None:
        """Make a row ours; None where it is, where another process has it, or has settled it since it was seen."""
        locks = self._held_locks()
        if number in self._claimed or not locks.take(number):
            return None
        row = _row(number, known[number]) if number in known else rows.read(db, number)
        if row is None:
            locks.drop(number)
            return None
        self._claimed.add(number)
        return self._group(row)

    def _group(self, row: rows.Row) -> ClaimedGroup:
        number, count, oldest_ms, origin, body = row
        return ClaimedGroup(key=_Key(self._file, number), count=count, oldest_ms=oldest_ms, origin=origin, body=body)

    def _held_locks(self) -> ClaimLocks:
        if self._locks is None:
            path = files.locks_of(self._path)
            self._locks = self._make_locks(path)
            self._locks_file = _identity(path)
        return self._locks

    # --- settling --------------------------------------------------------------------------------------------------

    def _settle(
        self,
        db: sqlite3.Connection,
        done: Sequence[ClaimedGroup],
        rejected: Sequence[DeadLetter],
        left: Sequence[ClaimedGroup],
    ) -> None:
        deleted, changed = self._ours(done), self._ours(left)
        with rows.transaction(db):
            rows.delete(db, deleted)
            rows.cut(db, changed)
            if rejected:
                rows.keep_letters(db, rejected, self._max_bytes // _LETTERS_SHARE)
        self._unlock((*deleted, *changed))

    def _unlock(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._claimed.discard(number)
            self._held_locks().drop(number)

    def _ours(self, groups: Sequence[ClaimedGroup]) -> dict[int, ClaimedGroup]:
        """Sort out what is claimed by us, in the file that lies there now."""
        keyed = [(group.key, group) for group in groups]
        return {
            key.number: group
            for key, group in keyed
            if isinstance(key, _Key) and key.file == self._file and key.number in self._claimed
        }

    # --- looking into it -------------------------------------------------------------------------------------------

    def _read(self, db: sqlite3.Connection, after: int, limit: int) -> list[ClaimedGroup]:
        return [self._group(row) for row in rows.read_after(db, after, limit)]

    def _retry_dead_letters(self, db: sqlite3.Connection) -> int:
        with rows.transaction(db):
            letters = rows.read_letters(db, 0, -1)
            db.execute("DELETE FROM rejected")
            rows.insert(db, groups_of(letters))
        return len(letters)

    def _purge(self, db: sqlite3.Connection, *, events: bool, dead_letters: bool) -> int:
        purged = 0
        if events:
            while groups := self._claim(db, 100_000, 64 * 1024 * 1024, {}):
                try:
                    self._settle(db, groups, (), ())
                except BaseException:
                    self._unlock(self._ours(groups))
                    raise
                purged += sum(group.count for group in groups)
        if dead_letters:
            purged += db.execute("DELETE FROM rejected").rowcount
        return purged


def _identity(path: Path) -> tuple[int, int]:
    """Tell which file lies at a path now."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_dev, status.st_ino


def _row(number: int, group: EventGroup) -> rows.Row:
    return number, group.count, group.oldest_ms, group.origin, group.body


def _number(key: object) -> int:
    """Read the number out of a key; before all others where there is none."""
    if isinstance(key, _Key):
        return key.number
    return key if isinstance(key, int) else 0


def _nothing(_: sqlite3.Connection) -> None:
    """Read no more than it takes to know the file."""
