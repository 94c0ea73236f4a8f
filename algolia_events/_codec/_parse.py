"""Read events from the wire's camelCase, and write them as mappings: the only home of cattrs.

Values are taken as they are and never coerced: the rules of the classes judge them, so that 5 is no "5".
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import orjson
from cattrs import Converter, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from algolia_events._codec._encode import WIRE_NAMES, sent_fields
from algolia_events._codec._problems import problems_of, take_kind, wire_fields
from algolia_events.errors import InvalidEventError
from algolia_events.events import KINDS, Event, ObjectData, RawEvent, TypedEvent, kind_of

_converter: Final = Converter(prefer_attrib_converters=True, unstruct_collection_overrides={tuple: list})
"""With `prefer_attrib_converters` a field that has a rule, as each has, is handed over untouched."""


def _structure_function(cls: type[TypedEvent]) -> Callable[[Any, Any], TypedEvent]:
    overrides: dict[str, Any] = {field.name: override(rename=WIRE_NAMES[field.name]) for field in attrs.fields(cls)}
    return make_dict_structure_fn(
        cls,
        _converter,
        _cattrs_forbid_extra_keys=True,
        _cattrs_detailed_validation=False,  # what is wrong is found out afterwards, in full
        **overrides,
    )


def _unstructure_function(cls: type[Any]) -> Callable[[Any], dict[str, Any]]:
    sent = sent_fields(cls)
    overrides: dict[str, Any] = {
        field.name: override(
            rename=WIRE_NAMES[field.name], omit=field.name not in sent, omit_if_default=field.default is None
        )
        for field in attrs.fields(cls)
    }
    return make_dict_unstructure_fn(cls, _converter, **overrides)


_structure: Final = {cls: _structure_function(cls) for cls in KINDS}
_converter.register_unstructure_hook(ObjectData, _unstructure_function(ObjectData))
_unstructure: Final = {cls: _unstructure_function(cls) for cls in KINDS}


def parse_event(mapping: Mapping[str, Any]) -> TypedEvent:
    """Read an event from the wire's names, its kind told by `eventType`, `eventSubtype` and the fields beside them.

    `indexName` may stand for `index`. A member that is None counts as absent. The mapping is not changed.

    Raises:
        InvalidEventError: with every problem by the wire's name of the field: missing, unknown or breaking a rule.
    """
    if not isinstance(mapping, Mapping):
        raise InvalidEventError("event", [("event", f"expected a mapping, got {kind_of(mapping)}")])
    try:
        return _parse(mapping)
    except InvalidEventError:
        raise
    except Exception as exc:  # a mapping of somebody else's class may raise anything when it is read
        raise InvalidEventError("event", [("event", f"cannot be read: it raised {type(exc).__name__}")]) from exc


def _parse(mapping: Mapping[str, Any]) -> TypedEvent:
    fields, problems = wire_fields(mapping)
    kind, of_type = take_kind(fields)
    problems += of_type
    if kind is not None and not problems:
        try:
            return _structure[kind](fields, kind)
        except (InvalidEventError, ForbiddenExtraKeysError, KeyError):
            pass  # each stops at the first thing that it finds
    raise InvalidEventError(kind.__name__ if kind else "event", problems + problems_of(kind, fields))


def to_mapping(event: Event, now_ms: int | None = None) -> dict[str, Any]:
    """Write an event as the mapping that the server gets, timed `now_ms` where given and it has no time of its own."""
    if isinstance(event, RawEvent):
        mapping: dict[str, Any] = json.loads(event.text)
        if now_ms is not None:
            mapping.setdefault("timestamp", now_ms)
        return mapping
    if not isinstance(event, TypedEvent):
        raise TypeError(f"expected an event, got {kind_of(event)}")
    mapping = {"eventType": event.event_type, **_unstructure[type(event)](event)}
    if event.event_subtype is not None:
        mapping["eventSubtype"] = event.event_subtype
    if now_ms is not None:
        mapping.setdefault("timestamp", now_ms)
    return mapping


def decode_events(body: bytes) -> list[dict[str, Any]]:
    """Read the events of a request's body, as mappings.

    Raises:
        ValueError: it is not the body of such a request.
    """
    envelope = orjson.loads(body)
    members = envelope.get("events") if isinstance(envelope, dict) else None
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise ValueError('expected {"events": [...]} with an object for each event')
    return members
