"""Write an event as one line of ASCII JSON, by a function compiled for its class.

ASCII, so that the length of the text is its length in bytes: everything beyond is escaped. A control character is
escaped too, so that no line break stands in the text.
"""

import linecache
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring_ascii
from types import MappingProxyType
from typing import Any, Final, cast

import attrs

from algolia_events.events import KINDS, Event, ObjectData, PurchasedObjectIDsAfterSearch, RawEvent, TypedEvent

Encoder = Callable[[Any, int], str]
"""Takes an event of the class it was compiled for, and the time in milliseconds for one that has none."""

WIRE_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "event_name": "eventName",
        "index": "index",
        "user_token": "userToken",
        "authenticated_user_token": "authenticatedUserToken",
        "timestamp": "timestamp",
        "object_ids": "objectIDs",
        "positions": "positions",
        "query_id": "queryID",
        "object_data": "objectData",
        "currency": "currency",
        "value": "value",
        "filters": "filters",
        "agent_id": "agentID",
        "price": "price",
        "quantity": "quantity",
        "discount": "discount",
    }
)
"""The wire's names of the fields."""

_quote = encode_basestring_ascii


class _Memo(dict[Any, str]):
    """Remembers how a few thousand values are written; twice as quick as `lru_cache`, and as writing them again.

    Safe in threads: each step is one operation of a dict, and losing an entry costs one call.
    """

    def __init__(self, write: Callable[[Any], str], capacity: int, longest: int) -> None:
        super().__init__()
        self._write = write
        self._capacity = capacity
        self._longest = longest

    def __missing__(self, value: Any) -> str:
        text = self._write(value)
        if len(text) <= self._longest:
            if len(self) >= self._capacity:
                self.clear()
            self[value] = text
        return text


def _write_integers(values: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, values))}]"


def _write_amount(value: float | str) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


# Tokens, currencies and the query IDs of searches hold nothing that JSON escapes: the rules saw to that.
_PIECES: Final = {
    "event_name": "{quoted[event.event_name]}",
    "index": "{quoted[event.index]}",
    "user_token": '"{event.user_token}"',
    "authenticated_user_token": '"{event.authenticated_user_token}"',
    "timestamp": "{times[now_ms] if event.timestamp is None else event.timestamp}",
    "object_ids": "[{texts}]",
    "positions": "{integers[event.positions]}",
    "query_id": '"{event.query_id}"',
    "object_data": "{write_object_data(event.object_data)}",
    "currency": '"{event.currency}"',
    "value": "{write_amount(event.value)}",
    "filters": "[{texts}]",
    "agent_id": "{quote(event.agent_id)}",
    "price": "{write_amount(event.price)}",
    "quantity": "{event.quantity}",
    "discount": "{write_amount(event.discount)}",
}
_LISTS_OF_TEXTS: Final = ("object_ids", "filters")
# Quoting the joined texts escapes two quotation marks between each two of them. If it adds no more than these,
# the texts need no escaping: one call for all, and the join is what goes out.
_WRITE_TEXTS: Final = """\
    items = event.{0}
    if len(items) == 1:
        texts = quote(items[0])
    else:
        joined = '","'.join(items)
        if len(quote(joined)) == len(joined) + 2 * len(items):
            texts = f'"{{joined}}"'
        else:
            texts = ','.join(map(quote, items))
"""
# Of an event only: it may be that of an agent's message, which holds any visible ASCII and begins with an "m".
_WRITE_QUERY_ID: Final = """\
    query_id = event.query_id
    if query_id > 'g':
        query_id = quote(query_id)[1:-1]
"""


def _compile(cls: type, source: str, **more: Any) -> Callable[..., str]:
    filename = f"<compiled encoder of {cls.__module__}.{cls.__qualname__}>"
    scope: dict[str, Any] = {
        "quote": _quote,
        "quoted": _Memo(_quote, capacity=1024, longest=256),
        "integers": _Memo(_write_integers, capacity=4096, longest=256),
        "times": _Memo(str, capacity=16, longest=64),
        "write_amount": _write_amount,
        **more,
    }
    exec(compile(source, filename, "exec"), scope)  # noqa: S102 - as attrs does; every part of the source stands above
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    return cast("Callable[..., str]", scope["encode"])


def _pieces(cls: type, names: list[str]) -> str:
    """Write the members of an object, each with a comma before it and left out where it is None."""
    required = {field.name for field in attrs.fields(cls) if field.default is attrs.NOTHING} | {"timestamp"}
    pieces = []
    for name in names:
        piece = f',"{WIRE_NAMES[name]}":{_PIECES[name]}'
        pieces.append(piece if name in required else f"{{'' if event.{name} is None else f'{piece}'}}")
    return "".join(pieces)


def sent_fields(cls: type[TypedEvent] | type[ObjectData]) -> list[str]:
    """Name the fields of a class that the wire has; a purchase after search has its query IDs in the items only."""
    names = [field.name for field in attrs.fields(cls)]
    return [name for name in names if not (name == "query_id" and cls is PurchasedObjectIDsAfterSearch)]


def _encoder(cls: type[TypedEvent]) -> Encoder:
    names = sent_fields(cls)
    start = f'"eventType":"{cls.event_type}"'
    if cls.event_subtype is not None:
        start += f',"eventSubtype":"{cls.event_subtype}"'
    statements = "".join(_WRITE_TEXTS.format(name) for name in names if name in _LISTS_OF_TEXTS)
    pieces = _pieces(cls, names)
    if "query_id" in names:
        statements += _WRITE_QUERY_ID
        pieces = pieces.replace(_PIECES["query_id"], '"{query_id}"')
    # Written out twice, since a piece that is left out or not costs a string of its own, and most events have this one.
    optional = _pieces(cls, ["authenticated_user_token"])
    present = f',"{WIRE_NAMES["authenticated_user_token"]}":{_PIECES["authenticated_user_token"]}'
    source = (
        f"def encode(event, now_ms):\n{statements}"
        f"    if event.authenticated_user_token is None:\n"
        f"        return f'''{{{{{start}{pieces.replace(optional, '')}}}}}'''\n"
        f"    return f'''{{{{{start}{pieces.replace(optional, present)}}}}}'''\n"
    )
    return _compile(cls, source, write_object_data=_write_object_data)


_write_members = _compile(
    ObjectData, f"def encode(event):\n    return f'''{_pieces(ObjectData, sent_fields(ObjectData))}'''\n"
)


def _write_object_data(items: tuple[ObjectData, ...]) -> str:
    return f"[{','.join([f'{{{_write_members(item)[1:]}}}' for item in items])}]"


def _encode_raw(event: RawEvent, now_ms: int) -> str:
    if event.stamped:
        return event.text
    return f'{event.text[:-1]}{"," if len(event.text) > len("{}") else ""}"timestamp":{now_ms}}}'


ENCODERS: Final[Mapping[type[Event], Encoder]] = MappingProxyType(
    {**{cls: _encoder(cls) for cls in KINDS}, RawEvent: _encode_raw}
)
"""The encoder of each class of events."""


def encoder_for(cls: type[Event]) -> Encoder:
    """Return the encoder of a class; look it up once and keep it.

    Raises:
        TypeError: it is no class of events.
    """
    try:
        return ENCODERS[cls]
    except KeyError:
        raise TypeError(f"{cls.__qualname__} is no kind of event; RawEvent sends any mapping") from None


def encode(event: Event, now_ms: int) -> str:
    """Write an event as a JSON object on one line of ASCII, timed `now_ms` (since 1970) unless it has its own time."""
    return encoder_for(type(event))(event, now_ms)
