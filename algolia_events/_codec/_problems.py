"""Find out of which kind a mapping from the wire is, and everything that is wrong with it, in the wire's names."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from algolia_events import events
from algolia_events._codec._encode import WIRE_NAMES
from algolia_events.events import ObjectData, TypedEvent, find_problems, kind_of, shown

Problems = list[tuple[str, str]]

_MAX_UNKNOWN: Final = 20
"""How many unknown fields are named: a hostile mapping must not become a hostile message."""
_NAME: Final = re.compile("[a-z_]+")
_OBJECT_KINDS: Final[Mapping[tuple[str, str | None], tuple[type[TypedEvent], type[TypedEvent] | None]]] = {
    ("click", None): (events.ClickedObjectIDs, events.ClickedObjectIDsAfterSearch),
    ("conversion", None): (events.ConvertedObjectIDs, events.ConvertedObjectIDsAfterSearch),
    ("conversion", "addToCart"): (events.AddedToCartObjectIDs, events.AddedToCartObjectIDsAfterSearch),
    ("conversion", "purchase"): (events.PurchasedObjectIDs, events.PurchasedObjectIDsAfterSearch),
    ("view", None): (events.ViewedObjectIDs, None),
}
"""The plain kind and the after-search kind by `eventType` and `eventSubtype`."""
_FILTER_KINDS: Final[Mapping[str, type[TypedEvent]]] = {
    "click": events.ClickedFilters,
    "conversion": events.ConvertedFilters,
    "view": events.ViewedFilters,
}
_CART_FIELDS: Final = ("objectData", "currency", "value")
_ITEM_FIELDS: Final = ("price", "quantity", "discount")
_TYPES: Final = "click, conversion, view or instantsearch"


def wire_fields(mapping: Mapping[Any, Any]) -> tuple[dict[Any, Any], Problems]:
    """Copy the members that say something: null counts as absent, `indexName` as `index`."""
    fields = {name: value for name, value in mapping.items() if value is not None}
    if "indexName" not in fields:
        return fields, []
    name = fields.pop("indexName")
    if fields.setdefault("index", name) == name:
        return fields, []
    return fields, [("indexName", "says another index than the field index; give one of them")]


def take_kind(fields: dict[Any, Any]) -> tuple[type[TypedEvent] | None, Problems]:
    """Take `eventType` and `eventSubtype` out of the fields, and tell the kind by them and by what stands beside.

    The kind is None where `eventType` is missing or unknown.
    """
    event_type, subtype = fields.pop("eventType", None), fields.pop("eventSubtype", None)
    problems = list(_type_problems(event_type, subtype))
    if any(name == "eventType" for name, _ in problems):
        return None, problems
    if event_type == "instantsearch":
        return events.InstantSearchTelemetry, problems
    if "filters" in fields and "objectIDs" not in fields and subtype is None:
        return _FILTER_KINDS[event_type], problems
    plain, after_search = _OBJECT_KINDS[event_type, None if problems else subtype]
    return (after_search if after_search is not None and _follows_search(event_type, fields) else plain), problems


def _type_problems(event_type: object, subtype: object) -> Iterator[tuple[str, str]]:
    if event_type is None:
        yield "eventType", f"is required: {_TYPES}"
    elif not isinstance(event_type, str):
        yield "eventType", f"expected string, got {kind_of(event_type)}"
    elif event_type not in _FILTER_KINDS and event_type != "instantsearch":
        yield "eventType", f"must be one of {_TYPES}"
    if subtype is None:
        return
    if not isinstance(subtype, str):
        yield "eventSubtype", f"expected string, got {kind_of(subtype)}"
    elif event_type != "conversion":
        yield "eventSubtype", "is for events of type conversion"
    elif (event_type, subtype) not in _OBJECT_KINDS:
        yield "eventSubtype", "must be addToCart or purchase"


def _follows_search(event_type: str, fields: dict[Any, Any]) -> bool:
    if "queryID" in fields or (event_type == "click" and "positions" in fields):
        return True
    data = fields.get("objectData")
    return isinstance(data, list | tuple) and any(_has_query_id(item) for item in data)


def _has_query_id(item: object) -> bool:
    if isinstance(item, ObjectData):
        return item.query_id is not None
    return isinstance(item, Mapping) and (item.get("queryID") is not None or item.get("query_id") is not None)


def problems_of(kind: type[TypedEvent] | None, fields: dict[Any, Any]) -> Problems:
    """Name everything that is wrong with the fields of an event, in the order of the class's fields.

    Without a kind they are held against the rules that hold for all kinds with such fields.
    """
    cls = kind or (events.ViewedFilters if "filters" in fields else events.ViewedObjectIDs)
    known = {WIRE_NAMES[field.name]: field for field in attrs.fields(cls)}
    given = {field.name: None for field in known.values() if field.default is None}
    given |= {field.name: fields[name] for name, field in known.items() if name in fields}
    problems: Problems = [
        (_NAME.sub(lambda found: WIRE_NAMES.get(found[0], found[0]), path), what)
        for path, what in find_problems(cls, given)[1]
    ]
    problems += [(name, _absent(name)) for name, field in known.items() if field.name not in given]
    places = {name: place for place, name in enumerate(known)}
    problems.sort(key=lambda problem: places[problem[0].partition("[")[0]])
    strangers = [name for name in fields if name not in known and (kind or name not in WIRE_NAMES.values())]
    return problems + [_stranger(name, cls) for name in strangers[:_MAX_UNKNOWN]]


def _absent(name: str) -> str:
    return "is required, or filters" if name == "objectIDs" else "is required"


def _stranger(name: object, cls: type[TypedEvent]) -> tuple[str, str]:
    if not isinstance(name, str):
        return f"({kind_of(name)})", "expected the name of a field, a string"
    if name == "filters" and issubclass(cls, events.ObjectsEvent):
        return name, "stands beside objectIDs; an event has one or the other"
    if name == "positions":
        return name, "is for events of type click about objects"
    return shown(name) or "(empty name)", _way_out(WIRE_NAMES.get(name, name), cls)


def _way_out(wire_name: str, cls: type[TypedEvent]) -> str:
    if wire_name in {WIRE_NAMES[field.name] for field in attrs.fields(cls)}:
        return f"is no field on the wire; write {wire_name}"
    if wire_name in _ITEM_FIELDS:
        return "is no field of an event, but of the items of objectData"
    if wire_name in _CART_FIELDS:
        return f"is no field of {cls.__name__}; {_way_to_cart(cls)}"
    return f"is no field of {cls.__name__}; RawEvent sends any field"


def _way_to_cart(cls: type[TypedEvent]) -> str:
    subtypes = 'eventSubtype "addToCart" or "purchase"'
    if issubclass(cls, events.ObjectsEvent) and cls.event_type == "conversion":
        return f"give the {subtypes}, whose events have it"
    return f'events about objectIDs of eventType "conversion" and {subtypes} have it'
