"""Write an event as one line of ASCII JSON, by a function compiled for its class.

ASCII, so that the length of the text is its length in bytes: everything beyond is escaped. A control character is
escaped too, so that no line break stands in the text.
"""

import linecache
from collections.abc import Callable, Iterable, Mapping
from json.encoder import encode_basestring_ascii
from types import MappingProxyType
from typing import Any, Final, cast

import attrs

from algolia_events._native import speedups
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

_LONGEST_REMEMBERED: Final = 256
_quote = encode_basestring_ascii


class _Memo:
    """Remembers how a few thousand values are written, and the constant text on both sides with them.

    Safe in threads: each step is one operation of a dict, and losing an entry costs one call.
    """

    def __init__(self, write: Callable[[Any], str], capacity: int, before: str, after: str) -> None:
        self._write = write
        self._capacity = capacity
        self._before = before
        self._after = after
        self.known: dict[Any, str] = {}
        """A plain dict, for the encoder to look into: one with a `__missing__` takes three times as long."""

    def write(self, value: Any) -> str:
        """Write a value, and remember it unless it is long."""
        text = self._write(value)
        member = f"{self._before}{text}{self._after}"
        if len(text) <= _LONGEST_REMEMBERED:
            if len(self.known) >= self._capacity:
                self.known.clear()
            self.known[value] = member
        return member


def _write_positions(place: tuple[int, ...] | int) -> str:
    return f"[{place}]" if isinstance(place, int) else f"[{','.join(map(str, place))}]"


def _write_amount(value: float | str) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


# Tokens, currencies and the query IDs of searches hold nothing that JSON escapes: the rules saw to that.
_PIECES: Final = {
    "user_token": '"{event._user_token}"',
    "authenticated_user_token": '"{event._authenticated_user_token}"',
    "object_ids": "[{texts}]",
    "query_id": '"{query_id}"',
    "object_data": "{write_object_data(event._object_data)}",
    "currency": '"{event._currency}"',
    "value": "{write_amount(event._value)}",
    "filters": "[{texts}]",
    "agent_id": "{quote(event._agent_id)}",
    "price": "{write_amount(event._price)}",
    "quantity": "{event._quantity}",
    "discount": "{write_amount(event._discount)}",
}
# Written by functions that remember, and how many values they do.
_REMEMBERED: Final[Mapping[str, tuple[Callable[[Any], str], int]]] = MappingProxyType(
    {
        "event_name": (_quote, 1024),
        "index": (_quote, 1024),
        "positions": (_write_positions, 4096),
        "timestamp": (str, 16),
    }
)
_LISTS_OF_TEXTS: Final = ("object_ids", "filters")
# Quoting the joined texts escapes two quotation marks between each two of them. If it adds no more than these,
# the texts need no escaping: one call for all, and the join is what goes out.
_WRITE_TEXTS: Final = """\
    items = event._{0}
    if len(items) == 1:
        texts = quote(items[0]){1}
    else:{2}
        joined = '","'.join(items)
        if len(quote(joined)) == len(joined) + 2 * len(items):
            texts = f'"{{joined}}"'
        else:
            texts = ','.join(map(quote, items))
"""
# A number is found in a memo in half the time of a tuple.
_FIND_PLACES: Final = ("\n        place = event._positions[0]", "\n        place = event._positions")
# Of an event only: it may be that of an agent's message, which holds any visible ASCII and begins with an "m".
_WRITE_QUERY_ID: Final = """\
    query_id = event._query_id
    if query_id > 'g':
        query_id = quote(query_id)[1:-1]
"""


def _compile(cls: type, source: str, **more: Any) -> Callable[..., str]:
    filename = f"<compiled encoder of {cls.__module__}.{cls.__qualname__}>"
    scope: dict[str, Any] = {"quote": _quote, "write_amount": _write_amount, **more}
    exec(compile(source, filename, "exec"), scope)  # noqa: S102 - as attrs does; every part of the source stands above
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    return cast("Callable[..., str]", scope["encode"])


class _Template:
    """Puts together the f-string that writes an object, and the memos that it looks into.

    Constant texts and values take turns. A piece of an f-string costs as much as a look into a memo: so a memo holds
    the texts on both sides of its value as well.
    """

    def __init__(self, start: str) -> None:
        self._texts = [start]
        self._values: list[str] = []

    def required(self, name: str) -> None:
        """Add a member that is always there."""
        opening, value, closing = "", name, ""
        if name not in _REMEMBERED:
            opening, _, rest = _PIECES[name].partition("{")
            value, _, closing = rest.rpartition("}")
        self._texts[-1] += f',"{WIRE_NAMES[name]}":{opening}'
        self._values.append(value)
        self._texts.append(closing)

    def optional(self, name: str) -> None:
        """Add a member that is left out where it is None."""
        member = f',"{WIRE_NAMES[name]}":{_PIECES[name]}'
        self._values.append(f"'' if event._{name} is None else f'{member}'")
        self._texts.append("")

    def sources(self, end: str, memos: list[_Memo]) -> tuple[str, str]:
        """Write the f-string twice, and put its memos behind the others.

        The first raises a KeyError where it meets a value that no memo knows; the second writes it.
        """
        texts = [*self._texts[:-1], self._texts[-1] + end]
        known, unknown = [], []
        for number, value in enumerate(self._values):
            if value not in _REMEMBERED:
                known.append(value)
                unknown.append(value)
                continue
            before, after = texts[number : number + 2]
            texts[number : number + 2] = "", ""
            # Many events share the moment at which they are tracked, but not one that they bring.
            key, given = "place" if value == "positions" else f"event._{value}", ""
            if value == "timestamp":
                key = "now_ms"
                given = f" if event._timestamp is None else f'{_braced(before)}{{event._timestamp}}{_braced(after)}'"
            known.append(f"known_{len(memos)}[{key}]{given}")
            unknown.append(f"write_{len(memos)}({key}){given}")
            memos.append(_Memo(*_REMEMBERED[value], before, after))
        return _f_string(texts, known), _f_string(texts, unknown)


def _f_string(texts: list[str], values: list[str]) -> str:
    pieces = [f"{_braced(text)}{{{value}}}" for text, value in zip(texts, values, strict=False)]
    return f"f'''{''.join(pieces)}{_braced(texts[-1])}'''"


def _braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _required(cls: type) -> set[str]:
    return {field.name for field in attrs.fields(cls) if field.default is attrs.NOTHING}


def _template(cls: type, names: list[str], start: str, *, always: str = "timestamp") -> _Template:
    required = _required(cls) | {"timestamp", always}
    template = _Template(start)
    for name in names:
        (template.required if name in required else template.optional)(name)
    return template


def sent_fields(cls: type[TypedEvent] | type[ObjectData]) -> list[str]:
    """Name the fields of a class that the wire has; a purchase after search has its query IDs in the items only."""
    names = [field.name for field in attrs.fields(cls)]
    return [name for name in names if not (name == "query_id" and cls is PurchasedObjectIDsAfterSearch)]


def _places(names: list[str]) -> tuple[str, str]:
    return _FIND_PLACES if "positions" in names else ("", "")


def _start(cls: type[TypedEvent]) -> str:
    subtype = "" if cls.event_subtype is None else f',"eventSubtype":"{cls.event_subtype}"'
    return f'{{"eventType":"{cls.event_type}"{subtype}'


def encoder_in_python(cls: type[TypedEvent]) -> Encoder:
    """Compile the encoder of a class, which writes whatever its events may hold."""
    names, start = sent_fields(cls), _start(cls)
    statements = "".join(_WRITE_TEXTS.format(name, *_places(names)) for name in names if name in _LISTS_OF_TEXTS)
    if "query_id" in names:
        statements += _WRITE_QUERY_ID
    memos: list[_Memo] = []
    # Written out twice, since a piece that is left out or not costs a string of its own, and most events have this one.
    present = _template(cls, names, start, always="authenticated_user_token").sources("}", memos)
    absent = _template(cls, [name for name in names if name != "authenticated_user_token"], start).sources("}", memos)
    known, unknown = (
        f"        return {without} if event._authenticated_user_token is None else {with_it}\n"
        for without, with_it in zip(absent, present, strict=True)
    )
    return _compile(
        cls,
        f"def encode(event, now_ms):\n{statements}    try:\n{known}    except KeyError:\n{unknown}",
        write_object_data=_write_object_data,
        **{f"known_{number}": memo.known for number, memo in enumerate(memos)},
        **{f"write_{number}": memo.write for number, memo in enumerate(memos)},
    )


def _encoder(cls: type[TypedEvent]) -> Encoder:
    encoder = encoder_in_python(cls)
    if speedups is not None:
        # In C: texts that need no escaping, whole numbers and lists of them. What holds anything else is handed on.
        required = _required(cls)
        members = tuple(
            (
                f',"{WIRE_NAMES[name]}":',
                getattr(cls, f"_{name}"),
                "n" if name == "timestamp" else "r" if name in required else "-",  # if it is None
            )
            for name in sent_fields(cls)
        )
        encoder = speedups.Encoder(cls, _start(cls), members, encoder)
    return encoder


_write_members = _compile(
    ObjectData,
    "def encode(event):\n    query_id = event._query_id\n"
    f"    return {_template(ObjectData, sent_fields(ObjectData), '').sources('', [])[0]}\n",
)


def _write_object_data(items: tuple[ObjectData, ...]) -> str:
    return f"[{','.join([f'{{{_write_members(item)[1:]}}}' for item in items])}]"


def _encode_raw(event: RawEvent, now_ms: int) -> str:
    if event.stamped:
        return event.text
    return f'{event.text[:-1]}{"," if len(event.text) > len("{}") else ""}"timestamp":{now_ms}}}'


_encoders: Final[dict[type[Event], Encoder]] = {**{cls: _encoder(cls) for cls in KINDS}, RawEvent: _encode_raw}
ENCODERS: Final[Mapping[type[Event], Encoder]] = MappingProxyType(_encoders)
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


def encode_all(entries: Iterable[tuple[Event, int]]) -> list[str]:
    """Encode events, each with the time for one that has none, as `encode()` does, but faster than one at a time.

    Raises:
        KeyError: one is of no class of events.
    """
    return [_encoders[type(event)](event, now_ms) for event, now_ms in entries]


def encode(event: Event, now_ms: int) -> str:
    """Write an event as a JSON object on one line of ASCII, timed `now_ms` (since 1970) unless it has its own time."""
    return encoder_for(type(event))(event, now_ms)
