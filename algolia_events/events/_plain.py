"""Have events of plain values built in C, where that part of the library could be built.

What is plain is said here, and needs no thought: whoever is in doubt leaves it to the rules.
"""

from typing import Any, Final, NamedTuple

import attrs

from algolia_events import _limits
from algolia_events._native import speedups
from algolia_events.events._rules import MAX_INT64

_LONGEST_INDEX: Final = 128


class _Plain(NamedTuple):
    """Which values of a field are plain; the kinds are those of `_speedups.c`."""

    kind: str
    alphabet: bytes = b""
    low: int = 0
    high: int = 0
    most: int = 0


_ASCII: Final = bytes(range(128))
_VISIBLE: Final = bytes(range(ord(" "), ord("~") + 1))
_TOKEN: Final = _Plain("t", _limits.USER_TOKEN_ALPHABET.encode(), 1, _limits.MAX_USER_TOKEN_LENGTH)
_ABSENT: Final = _Plain("-")
_PLAIN: Final = {
    "event_name": _Plain("t", _VISIBLE, 1, _limits.MAX_EVENT_NAME_LENGTH),
    "index": _Plain("t", _ASCII, 1, _LONGEST_INDEX),
    "user_token": _TOKEN,
    "authenticated_user_token": _TOKEN,
    "timestamp": _Plain("i", low=_limits.MIN_TIMESTAMP_MS, high=_limits.MAX_TIMESTAMP_MS - 1),
    # With the index no more than a small event may hold.
    "object_ids": _Plain("T", _ASCII, 1, _limits.SMALL_EVENT_CHARACTERS - _LONGEST_INDEX, _limits.MAX_OBJECT_IDS),
    "positions": _Plain("I", low=1, high=MAX_INT64),
    "query_id": _Plain("t", _limits.QUERY_ID_ALPHABET.encode(), _limits.QUERY_ID_LENGTH, _limits.QUERY_ID_LENGTH),
}


def accelerate(cls: Any) -> None:
    """Have a class of events built in C where its values are plain, if it can be built of such values at all."""
    fields = attrs.fields(cls)
    required = {field.name for field in fields if field.default is not None}
    if speedups is None or not cls.plain_will_do or not required <= _PLAIN.keys():
        return
    described = tuple(
        (field.name, getattr(cls, f"_{field.name}"), field.name in required, *_PLAIN.get(field.name, _ABSENT))
        for field in fields
    )
    speedups.accelerate(cls, described, cls._is_small)
