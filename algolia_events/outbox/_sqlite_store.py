"""The SQLite outbox as calls that block: everything here runs in the worker's thread."""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from algolia_events._groups import ClaimedGroup, DeadLetter, EventGroup, OutboxSizes
from algolia_events.errors import OutboxError, OutboxFullError
from algolia_events.outbox._claim_locks import WHOLE_STORE, ClaimLocks, KernelLocks
from algolia_events.outbox._letters import groups_of
from algolia_events.outbox._sqlite_file import connect, move_aside, refuse_network_file_system

_log: Final = logging.getLogger("algolia_events")
_Result = TypeVar("_Result")
_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PASSING: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL})
"""Errors after which the connection is as good as before."""
_PRIMARY_CODE: Final = 0xFF
_CANDIDATES: Final = 100
_WAIT_FOR_OPENING_SECONDS: Final = 10.0
_MAX_DEAD_LETTERS: Final = 100_000


class _Key(NamedTuple):
    """Names a row: its number, and the file it is in, since that may have been replaced in the meantime."""

    file: tuple[int, int]
    number: int


class SQLiteStore:
    """The tables, the claims of this process, and the connection, which is made again whenever it is gone."""

    def __init__(self, path: Path, *, synchronous: str, max_bytes: int, locks: Callable[[], ClaimLocks]) -> None:
        self._path = path
        self._synchronous = synchronous
        self._max_bytes = max_bytes
        self._make_locks = locks
        self._locks: ClaimLocks | None = None
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)
        self._claimed: set[int] = set()
        self.notice: str | None = None

    # --- what an outbox does ---------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the file, unless it is open."""
        self._attempt(lambda _: None)

    def store(self, groups: Sequence[EventGroup]) -> None:
        """Keep groups in one transaction."""
        self._attempt(lambda db: self._store(db, groups))

    def claim(self, max_events: int, max_bytes: int) -> list[ClaimedGroup]:
        """Lock rows and read them."""
        return self._attempt(lambda db: self._claim(db, max_events, max_bytes))

    def settle(
        self, done: Sequence[ClaimedGroup], rejected: Sequence[DeadLetter], left: Sequence[ClaimedGroup]
    ) -> None:
        """Delete, keep as dead letters and give back, in one transaction; then unlock."""
        self._attempt(lambda db: self._settle(db, done, rejected, left))

    def sizes(self) -> OutboxSizes:
        """Count rows."""
        return self._attempt(_sizes)

    def groups(self, after: object, limit: int) -> list[ClaimedGroup]:
        """Read rows without locking them."""
        return self._attempt(lambda db: self._read(db, _number(after), limit))

    def dead_letters(self, after: object, limit: int) -> list[DeadLetter]:
        """Read dead letters."""
        return self._attempt(lambda db: _read_letters(db, _number(after), limit))

    def retry_dead_letters(self) -> int:
        """Move all dead letters back among the groups, in one transaction."""
        return self._attempt(self._retry_dead_letters)

    def purge(self, *, events: bool, dead_letters: bool) -> int:
        """Delete what is asked for; rows that somebody holds stay."""
        return self._attempt(lambda db: self._purge(db, events=events, dead_letters=dead_letters))

    def close(self) -> None:
        """Close the file, and give back what was claimed."""
        self._disconnect()
        self._claimed.clear()
        locks, self._locks = self._locks, None
        if locks is not None:
            locks.close()

    def abandon(self) -> None:
        """Forget, in a forked child, what is the parent's, without touching it: SQLite forbids to close it here."""
        _leaked.append(self._connection)
        self._connection = None
        self._claimed.clear()
        locks, self._locks = self._locks, None
        if isinstance(locks, KernelLocks):
            locks.close()  # only our copy of the descriptor: while it is open, the parent's death frees nothing

    # --- connection ------------------------------------------------------------------------------------------------

    def _attempt(self, call: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Make a call; move a broken file aside and make it again; translate what else goes wrong."""
        try:
            try:
                return call(self._connected())
            except sqlite3.DatabaseError as exc:
                if _code(exc) not in _BROKEN:
                    raise
                self._replace()
                return call(self._connected())
        except (sqlite3.Error, OSError) as exc:
            if _code(exc) not in _PASSING:
                self._disconnect()
            raise OutboxError(f"the outbox {self._path} fails: {exc}") from exc

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and self._identity() == self._file:
            return self._connection
        self._disconnect()
        refuse_network_file_system(self._path.parent)
        with self._opening():
            self._connection = connect(self._path, self._synchronous)
        self._file = self._identity()
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _identity(self) -> tuple[int, int]:
        """Tell which file lies at the path now."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return 0, 0
        return status.st_dev, status.st_ino

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """Let one process at a time make, open or replace the file: SQLite's own locks do not cover these."""
        if self._locks is None:
            self._locks = self._make_locks()
        give_up = time.monotonic() + _WAIT_FOR_OPENING_SECONDS
        while not self._locks.take(WHOLE_STORE):
            if time.monotonic() > give_up:
                raise OutboxError(f"the outbox {self._path} is being opened by another process")
            time.sleep(0.01)
        try:
            yield
        finally:
            self._locks.drop(WHOLE_STORE)

    def _replace(self) -> None:
        """Move the broken file aside, unless another process was faster."""
        broken = self._file if self._connection is not None else self._identity()
        self._disconnect()
        with self._opening():
            if self._identity() == broken:
                aside = move_aside(self._path)
                self.notice = f"the outbox file was damaged; it was moved to {aside} and a new one was begun"
                _log.error("algolia_events.outbox_corrupt", extra={"moved_to": str(aside)})

    # --- storing ---------------------------------------------------------------------------------------------------

    def _store(self, db: sqlite3.Connection, groups: Sequence[EventGroup]) -> None:
        with _transaction(db):
            self._check_room(db, sum(len(group.body) for group in groups))
            _insert(db, groups)

    def _check_room(self, db: sqlite3.Connection, size: int) -> None:
        page, pages, free = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
        if (pages - free) * page + size > self._max_bytes:
            raise OutboxFullError(self._max_bytes)

    # --- claiming --------------------------------------------------------------------------------------------------

    def _claim(self, db: sqlite3.Connection, max_events: int, max_bytes: int) -> list[ClaimedGroup]:
        claimed: list[ClaimedGroup] = []
        events = size = 0
        try:
            for number in self._unclaimed(db):
                group = self._lock_and_read(db, number)
                if group is None:
                    continue
                claimed.append(group)
                events += group.count
                size += len(group.body)
                if events >= max_events or size >= max_bytes:
                    break
        except BaseException:
            self._unlock(self._ours(claimed))
            raise
        return claimed

    def _unclaimed(self, db: sqlite3.Connection) -> Iterator[int]:
        after = 0
        query = "SELECT id FROM groups WHERE id > ? ORDER BY id LIMIT ?"
        while numbers := [row[0] for row in db.execute(query, (after, _CANDIDATES))]:
            yield from (number for number in numbers if number not in self._claimed)
            after = numbers[-1]

    def _lock_and_read(self, db: sqlite3.Connection, number: int) -> ClaimedGroup | None:
        """Make a row ours; None where another process has it, or has settled it since it was seen."""
        locks = self._held_locks()
        if not locks.take(number):
            return None
        row = db.execute(_SELECT + "WHERE id = ?", (number,)).fetchone()
        if row is None:
            locks.drop(number)
            return None
        self._claimed.add(number)
        return self._group(row)

    def _group(self, row: tuple[int, int, int, str, bytes]) -> ClaimedGroup:
        number, count, oldest_ms, origin, body = row
        return ClaimedGroup(key=_Key(self._file, number), count=count, oldest_ms=oldest_ms, origin=origin, body=body)

    def _held_locks(self) -> ClaimLocks:
        if self._locks is None:
            self._locks = self._make_locks()
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
        with _transaction(db):
            db.executemany("DELETE FROM groups WHERE id = ?", [(number,) for number in deleted])
            # What comes back whole need not be written again.
            db.executemany(
                "UPDATE groups SET count = ?, oldest_ms = ?, size = ?, body = ? WHERE id = ? AND count != ?",
                [(g.count, g.oldest_ms, len(g.body), g.body, n, g.count) for n, g in changed.items()],
            )
            if rejected:
                _keep_letters(db, rejected)
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
        rows = db.execute(_SELECT + "WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
        return [self._group(row) for row in rows]

    def _retry_dead_letters(self, db: sqlite3.Connection) -> int:
        with _transaction(db):
            letters = _read_letters(db, 0, -1)
            db.execute("DELETE FROM rejected")
            _insert(db, groups_of(letters))
        return len(letters)

    def _purge(self, db: sqlite3.Connection, *, events: bool, dead_letters: bool) -> int:
        purged = 0
        if events:
            while groups := self._claim(db, 100_000, 64 * 1024 * 1024):
                purged += sum(group.count for group in groups)
                self._settle(db, groups, (), ())
        if dead_letters:
            purged += db.execute("DELETE FROM rejected").rowcount
        return purged


_SELECT: Final = "SELECT id, count, oldest_ms, origin, body FROM groups "
_leaked: Final[list[object]] = []
"""Connections that a fork left behind; see `SQLiteStore.abandon`."""


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Write all or nothing. It begins as a writer: to become one later could fail however long one waits."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            if db.in_transaction:
                db.execute("ROLLBACK")
        raise


def _insert(db: sqlite3.Connection, groups: Iterable[EventGroup]) -> None:
    db.executemany(
        "INSERT INTO groups (count, oldest_ms, origin, size, body) VALUES (?, ?, ?, ?, ?)",
        [(g.count, g.oldest_ms, g.origin, len(g.body), g.body) for g in groups],
    )


def _keep_letters(db: sqlite3.Connection, letters: Sequence[DeadLetter]) -> None:
    db.executemany(
        "INSERT INTO rejected (rejected_ms, status, message, event) VALUES (?, ?, ?, ?)",
        [(letter.rejected_ms, letter.status, letter.message, letter.event) for letter in letters],
    )
    db.execute("DELETE FROM rejected WHERE id <= (SELECT max(id) FROM rejected) - ?", (_MAX_DEAD_LETTERS,))


def _sizes(db: sqlite3.Connection) -> OutboxSizes:
    groups, events, size = db.execute(
        "SELECT count(*), coalesce(sum(count), 0), coalesce(sum(size), 0) FROM groups"
    ).fetchone()
    first = db.execute("SELECT oldest_ms FROM groups ORDER BY id LIMIT 1").fetchone()
    rejected = db.execute("SELECT count(*) FROM rejected").fetchone()[0]
    return OutboxSizes(events=events, groups=groups, bytes=size, rejected=rejected, oldest_ms=first and first[0])


def _read_letters(db: sqlite3.Connection, after: int, limit: int) -> list[DeadLetter]:
    rows = db.execute(
        "SELECT id, rejected_ms, status, message, event FROM rejected WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
    )
    return [
        DeadLetter(event=event, status=status, message=message, rejected_ms=rejected_ms, key=number)
        for number, rejected_ms, status, message, event in rows
    ]


def _number(key: object) -> int:
    """Read the number out of a key; before all others where there is none."""
    if isinstance(key, _Key):
        return key.number
    return key if isinstance(key, int) else 0


def _code(exc: BaseException) -> int:
    """Find SQLite's primary result code; see sqlite.org/rescode.html."""
    return getattr(exc, "sqlite_errorcode", 0) & _PRIMARY_CODE
