"""How groups and dead letters lie in Redis: entries of streams."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from algolia_events._groups import ClaimedGroup, DeadLetter, EventGroup
from algolia_events.outbox._exchange import Exchange

_OWN_ROW_LENGTH: Final = 2


def group_of(row: Sequence[Any]) -> ClaimedGroup:
    """Make a claimed group of an entry: its ID and its four values."""
    key, count, oldest_ms, origin, body = row
    name = origin.decode(errors="replace")  # what looks like ours may be somebody else's all the same
    return ClaimedGroup(key=key, count=int(count), oldest_ms=int(oldest_ms), origin=name, body=body)


def exchanged_group_of(row: Sequence[Any], groups: Sequence[EventGroup]) -> ClaimedGroup:
    """Make a claimed group of an entry as `group_of()` does; one of `groups` comes as its ID and its index only."""
    if len(row) != _OWN_ROW_LENGTH:
        return group_of(row)
    key, index = row
    group = groups[index]
    return ClaimedGroup(key=key, count=group.count, oldest_ms=group.oldest_ms, origin=group.origin, body=group.body)


def read_group(key: bytes, fields: Mapping[bytes, bytes]) -> ClaimedGroup | None:
    """Make a group of an entry as it lies in the stream; none, if it is somebody else's."""
    if fields.keys() != {b"n", b"t", b"o", b"b"}:
        return None
    try:
        return group_of((key, fields[b"n"], fields[b"t"], fields[b"o"], fields[b"b"]))
    except ValueError:
        return None


def read_letter(key: bytes, fields: Mapping[bytes, bytes]) -> DeadLetter | None:
    """Make a dead letter of an entry; none, if it is somebody else's."""
    try:
        return DeadLetter(
            event=fields[b"e"],
            status=int(fields[b"s"]),
            message=fields[b"m"].decode(),
            rejected_ms=int(fields[b"t"]),
            key=key,
        )
    except (KeyError, ValueError):
        return None


def terms_of(exchange: Exchange, *, done: Iterable[tuple[bytes, int, int]], **others: str | int) -> bytes:
    """Write down what the script of an exchange is told besides the bodies; `done` holds keys, bytes and events.

    Times are strings: Lua's numbers hold 53 bits, and what sorts last has more. So is any number without a bound.
    """
    return orjson.dumps(
        {
            "max_events": exchange.max_events,
            "max_bytes": exchange.max_bytes,
            "done": [(key.decode(), size, events) for key, size, events in done],
            "groups": [(group.count, str(group.oldest_ms), group.origin) for group in exchange.groups],
            **others,
        }
    )


def settlement_of(
    known: Mapping[bytes, tuple[int, int]],
    *,
    done: Iterable[ClaimedGroup],
    left: Iterable[ClaimedGroup],
    rejected: Iterable[DeadLetter],
) -> list[Any]:
    """List what the script of a settlement is told of groups and dead letters: how many of each kind, then these.

    `known` holds bytes and events of the groups' entries as they are in the stream. Groups that are left come in two
    kinds: whole ones, whose entries stay as they are, and those of which only some events are.
    """
    removed = [(key_of(group), *known[key_of(group)]) for group in done]
    whole: list[tuple[Any, ...]] = []
    parts: list[tuple[Any, ...]] = []
    for group in left:
        key = key_of(group)
        size, events = known[key]
        if group.count == events:
            whole.append((key,))
        else:
            parts.append((key, size, events, group.count, group.oldest_ms, group.origin, group.body))
    letters = [(letter.rejected_ms, letter.status, letter.message, letter.event) for letter in rejected]
    arguments: list[Any] = []
    for rows in (removed, whole, parts, letters):
        arguments.append(len(rows))
        arguments += [value for row in rows for value in row]
    return arguments


def key_of(item: ClaimedGroup | DeadLetter) -> bytes:
    """Find the ID of an entry; raise `TypeError` for what no Redis outbox has made."""
    if not isinstance(item.key, bytes):
        raise TypeError("this comes from another outbox")
    return item.key


def behind(after: object) -> str:
    """Say where a range begins: behind a key, or at the first."""
    return f"({after.decode()}" if isinstance(after, bytes) else "-"
