"""The statements on an SQLite outbox's tables."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from algolia_events._groups import ClaimedGroup, DeadLetter, EventGroup, OutboxSizes

Row = tuple[int, int, int, str, bytes]
"""A group: number, count, oldest_ms, origin, body."""
_SELECT: Final = "SELECT id, count, oldest_ms, origin, body FROM groups "
_MAX_INTEGER: Final = (1 << 63) - 1
"""SQLite's largest; a timestamp beyond it is as far from being too old, one as far below zero as old."""
_MAX_DEAD_LETTERS: Final = 100_000
_DEAD_LETTER_BYTES: Final = 32
"""What a dead letter takes besides the event and the words."""


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
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


def insert(db: sqlite3.Connection, groups: Iterable[EventGroup]) -> dict[int, EventGroup]:
    """Add groups; return them by the numbers that they were given."""
    statement = "INSERT INTO groups (count, oldest_ms, origin, size, body) VALUES (?, ?, ?, ?, ?)"
    added: dict[int, EventGroup] = {}
    for group in groups:
        values = (group.count, _bounded(group.oldest_ms), group.origin, len(group.body), group.body)
        number = db.execute(statement, values).lastrowid
        if number is not None:
            added[number] = group
    return added


def delete(db: sqlite3.Connection, numbers: Iterable[int]) -> None:
    """Forget groups."""
    db.executemany("DELETE FROM groups WHERE id = ?", [(number,) for number in numbers])


def cut(db: sqlite3.Connection, groups: dict[int, ClaimedGroup]) -> None:
    """Keep of groups what these hold; one that is whole need not be written again."""
    db.executemany(
        "UPDATE groups SET count = ?, oldest_ms = ?, size = ?, body = ? WHERE id = ? AND count != ?",
        [(g.count, _bounded(g.oldest_ms), len(g.body), g.body, number, g.count) for number, g in groups.items()],
    )


def numbers(db: sqlite3.Connection, at_once: int) -> Iterator[int]:
    """Yield the numbers of all groups, oldest first."""
    query = "SELECT id FROM groups WHERE id > ? ORDER BY id LIMIT ?"
    found = [0]
    while found:
        found = [row[0] for row in db.execute(query, (found[-1], at_once))]
        yield from found
        if len(found) < at_once:
            return


def read(db: sqlite3.Connection, number: int) -> Row | None:
    """Read one group, if it is there."""
    row: Row | None = db.execute(_SELECT + "WHERE id = ?", (number,)).fetchone()
    return row


def read_after(db: sqlite3.Connection, after: int, limit: int) -> list[Row]:
    """Read groups, oldest first, from behind a number."""
    return db.execute(_SELECT + "WHERE id > ? ORDER BY id LIMIT ?", (after, limit)).fetchall()


def sizes(db: sqlite3.Connection) -> OutboxSizes:
    """Count rows."""
    groups, events, size = db.execute(
        "SELECT count(*), coalesce(sum(count), 0), coalesce(sum(size), 0) FROM groups"
    ).fetchone()
    first = db.execute("SELECT oldest_ms FROM groups ORDER BY id LIMIT 1").fetchone()
    rejected = db.execute("SELECT count(*) FROM rejected").fetchone()[0]
    return OutboxSizes(events=events, groups=groups, bytes=size, rejected=rejected, oldest_ms=first and first[0])


def keep_letters(db: sqlite3.Connection, letters: Sequence[DeadLetter], max_bytes: int) -> None:
    """Add dead letters, and forget the oldest: beyond 100,000, or beyond so many bytes, the last one excepted."""
    newest = db.execute("SELECT upto FROM rejected ORDER BY id DESC LIMIT 1").fetchone()
    upto = 0 if newest is None else newest[0]
    for letter in letters:
        upto += len(letter.event) + len(letter.message.encode()) + _DEAD_LETTER_BYTES
        db.execute(
            "INSERT INTO rejected (rejected_ms, status, message, upto, event) VALUES (?, ?, ?, ?, ?)",
            (letter.rejected_ms, letter.status, letter.message, upto, letter.event),
        )
    db.execute("DELETE FROM rejected WHERE id <= (SELECT max(id) FROM rejected) - ?", (_MAX_DEAD_LETTERS,))
    db.execute(
        "DELETE FROM rejected WHERE id < (SELECT id FROM rejected WHERE upto > ? ORDER BY id LIMIT 1)",
        (upto - max_bytes,),
    )


def read_letters(db: sqlite3.Connection, after: int, limit: int) -> list[DeadLetter]:
    """Read dead letters, oldest first, from behind a number; all where `limit` is -1."""
    rows = db.execute(
        "SELECT id, rejected_ms, status, message, event FROM rejected WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
    )
    return [
        DeadLetter(event=event, status=status, message=message, rejected_ms=rejected_ms, key=number)
        for number, rejected_ms, status, message, event in rows
    ]


def _bounded(stamp_ms: int) -> int:
    return max(-_MAX_INTEGER, min(stamp_ms, _MAX_INTEGER))
