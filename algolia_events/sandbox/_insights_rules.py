"""What ``POST /1/events`` demands of a request body, judged on the JSON as it arrived.

The order of the checks: the document (400 when it is not JSON), the batch, then event by event its types, its name and
type, its index and user tokens, its objects or filters, positions, query ID, amounts, timestamp. The first fault found
refuses the whole batch, as with Algolia ("all events must be valid").

Where the documents name no message for a rule, the answer is ``Invalid payload``; ``RefusedError.detail`` then tells
which rule it was. An unknown field of an event is let through, as the OpenAPI description has it; ``objectData`` is
closed there, and here.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from algolia_events.sandbox._answers import RefusedError

Event = Mapping[str, Any]

MAX_EVENTS: Final = 1000
MAX_ITEMS: Final = 20  # objectIDs, filters, positions, objectData
MAX_AMOUNT_LENGTH: Final = 16
MAX_QUERY_ID_LENGTH: Final = 128

_EVENT_NAME = re.compile(r"[\x20-\x7E]{1,64}").fullmatch
_USER_TOKEN = re.compile(r"[a-zA-Z0-9_=/+-]{1,128}").fullmatch
_QUERY_ID = re.compile(r"[0-9a-f]{32}").fullmatch
_MESSAGE_ID = re.compile(r"message_[!-~]+").fullmatch
_CURRENCY = re.compile(r"[A-Za-z]{3}").fullmatch
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?").fullmatch
# attribute and value are percent-encoded: printable ASCII without blanks, and every % starts an escape; the colon
# between them may be encoded as well, as Algolia's own search-insights does (2.17.3: it encodes the filter as a whole)
_FILTER = re.compile(r"(?:[!-$&-9;-~]|%[0-9A-Fa-f]{2})+(?::|%3[Aa])(?:[!-$&-~]|%[0-9A-Fa-f]{2})+").fullmatch

_INT32: Final = range(-(2**31), 2**31)

# the field's JSON type, by the server's name for it
_TYPE_NAMES: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("eventName", "eventType", "eventSubtype", "index", "userToken", "authenticatedUserToken"), "string"
    ),
    **dict.fromkeys(("queryID", "currency", "agentID"), "string"),
    **dict.fromkeys(("objectIDs", "filters"), "[]string"),
    "positions": "[]int",
    "objectData": "[]insights.ObjectData",
    "timestamp": "int64",
}
_TYPES: Final[Mapping[str, type]] = {
    name: {"string": str, "int64": int}.get(type_name, list) for name, type_name in _TYPE_NAMES.items()
}
_JSON_NAMES: Final[Mapping[type, str]] = {
    bool: "bool",
    dict: "object",
    float: "number",
    int: "number",
    list: "array",
    str: "string",
    type(None): "null",
}

_TARGETS: Final = frozenset({"objectIDs", "filters"})
_MONEY: Final = frozenset({"objectData", "currency", "value"})
_FIELDS_OF_SOME: Final = _MONEY | {"index", "objectIDs", "filters", "agentID"}
_FIELDS_OF_KIND: Final[Mapping[tuple[str, str | None], frozenset[str]]] = {
    ("click", None): _TARGETS | {"index"},
    ("view", None): _TARGETS | {"index"},
    ("conversion", None): _TARGETS | {"index"},
    ("conversion", "addToCart"): _MONEY | {"index", "objectIDs"},
    ("conversion", "purchase"): _MONEY | {"index", "objectIDs"},
    ("instantsearch", None): frozenset({"agentID"}),
}
_FOREIGN_TO_KIND: Final = {kind: _FIELDS_OF_SOME - fields for kind, fields in _FIELDS_OF_KIND.items()}
_EVENT_TYPES: Final = frozenset(kind for kind, _ in _FIELDS_OF_KIND)
_ITEM_FIELDS: Final = frozenset({"price", "quantity", "discount", "queryID"})

_BAD_USER: Final = (
    "UserToken must contain only alphanumeric, equal, plus, slash, hyphen, or underscore characters, "
    "and be between 1 and 128 characters long"
)
_BAD_QUERY_ID: Final = "Query ID must be a search query ID (32 characters hexadecimal string)"
_BAD_POSITIONS: Final = "Event of type click should have the same number of ObjectIDs and Positions"
_BOTH_TARGETS: Final = "Event should specify ObjectIDs or Filters, but not both"
_INVALID: Final = "Invalid payload"


class MalformedBodyError(Exception):
    """The body is not JSON: the one error that the Insights API answers in HTML."""


def parse_events(body: bytes) -> list[Any]:
    """Give the events of a request body, unchecked but between 1 and 1000.

    Raises:
        MalformedBodyError: it is not JSON in UTF-8.
        RefusedError: it is not a batch of events.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise MalformedBodyError from None
    if type(document) is not dict:
        raise _refused(
            f"Invalid type for field : expected insights.PublicEventsBatch, got {_JSON_NAMES[type(document)]}"
        )
    events = document.get("events")
    if events is None or events == []:
        raise _refused("No events to process")
    if type(events) is not list:
        raise _wrong_type("[]insights.PublicEvent", events, "events")
    if len(events) > MAX_EVENTS:
        raise _refused("Cannot process more than 1000 events in a batch")
    return events


def check_event(event: Any, *, oldest_ms: float) -> None:
    """Check one event; ``oldest_ms`` is the earliest timestamp allowed, in milliseconds since the epoch.

    Raises:
        RefusedError: with the server's message for the first rule it breaks.
    """
    if type(event) is not dict:
        raise _refused(_INVALID, "an event is an object")
    for name, value in event.items():
        if type(value) is not _TYPES.get(name) and name in _TYPES:
            raise _wrong_type(_TYPE_NAMES[name], value, name)
    kind = _check_kind(event)
    _check_user(event)
    if kind != "instantsearch":
        if not event.get("index"):
            raise _refused("The index field is required")
        _check_targets(event)
    _check_query(event, kind)
    if not _MONEY.isdisjoint(event):
        _check_money(event)
    if event.get("agentID") == "":
        raise _refused(_INVALID, "agentID: empty")
    timestamp = event.get("timestamp")
    if timestamp is not None and timestamp < oldest_ms:
        raise _refused("The timestamp is too far in the past")


def check_user_token(token: str) -> None:
    """Check a user token that stands alone."""
    if _USER_TOKEN(token) is None:
        raise _refused(_BAD_USER)


def _check_kind(event: Event) -> str:
    """Check name, type and subtype, and that the event has no field that its kind does not have."""
    name, kind = event.get("eventName"), event.get("eventType")
    if not name:
        raise _refused("EventName is required")
    if _EVENT_NAME(name) is None:
        raise _refused("EventName must contain only visible ASCII characters, and be between 1 and 64 characters long")
    if not kind:
        raise _refused("EventType is required")
    if kind not in _EVENT_TYPES:
        raise _refused('EventType must be one of "click", "conversion", "view" or "instantsearch"')
    foreign = _FOREIGN_TO_KIND.get((kind, event.get("eventSubtype")))
    if foreign is None:
        raise _refused(_INVALID, f"eventSubtype: not one of a {kind} event")
    if "positions" in event and kind != "click":
        raise _refused("Only event of type click should specify the positions attribute")
    if not foreign.isdisjoint(event):
        if "objectIDs" in event and "filters" in event:
            raise _refused(_BOTH_TARGETS)
        raise _refused(_INVALID, f"{next(field for field in event if field in foreign)}: not a field of this kind")
    return str(kind)


def _check_user(event: Event) -> None:
    token = event.get("userToken")
    if not token:
        raise _refused("The userToken field is required")
    if _USER_TOKEN(token) is None:
        raise _refused(_BAD_USER)
    authenticated = event.get("authenticatedUserToken")
    if authenticated is not None and _USER_TOKEN(authenticated) is None:
        raise _refused(_BAD_USER, "authenticatedUserToken")


def _check_targets(event: Event) -> None:
    """Check objectIDs or filters, of which there is one and only one."""
    object_ids, filters = event.get("objectIDs"), event.get("filters")
    if object_ids is not None and filters is not None:
        raise _refused(_BOTH_TARGETS)
    if object_ids:
        if len(object_ids) > MAX_ITEMS:
            raise _refused("Cannot process more that 20 objects in an event")
        _check_strings(object_ids, "objectIDs", _is_not_empty)
    elif filters:
        if len(filters) > MAX_ITEMS:
            raise _refused(_INVALID, "filters: more than 20")
        _check_strings(filters, "filters", _FILTER)
    else:
        raise _refused("Event should specify either some ObjectIDs or some Filters")


def _is_not_empty(text: str) -> bool:
    return text != ""


def _check_strings(values: Sequence[Any], name: str, rule: Callable[[str], object]) -> None:
    for value in values:
        if type(value) is not str:
            raise _wrong_type("string", value, name)
        if not rule(value):
            raise _refused(_INVALID, f"{name}: malformed or empty item")


def _check_query(event: Event, kind: str) -> None:
    """Check the query ID, and the positions that a click after a search needs."""
    query_id = event.get("queryID")
    if query_id is not None and _QUERY_ID(query_id) is None:
        is_message = len(query_id) <= MAX_QUERY_ID_LENGTH and _MESSAGE_ID(query_id)
        if not is_message:
            raise _refused(_BAD_QUERY_ID)
    if kind != "click":
        return
    if "positions" in event:
        _check_positions(event)
    elif query_id is not None and "objectIDs" in event:
        raise _refused(_BAD_POSITIONS)


def _check_positions(event: Event) -> None:
    if "queryID" not in event:
        raise _refused("Event of type click with positions should specify a queryID")
    positions = event["positions"]
    for position in positions:
        if type(position) is not int:
            raise _wrong_type("int", position, "positions")
        if position < 1:
            raise _refused("Event of type click may only have strictly positive positions")
    if len(positions) != len(event.get("objectIDs", ())):
        raise _refused(_BAD_POSITIONS)


def _check_money(event: Event) -> None:
    """Check objectData and value, and the currency that any amount needs."""
    has_amount = "value" in event
    if has_amount:
        _check_amount(event["value"], "value")
    items = event.get("objectData")
    if items is not None:
        if len(items) != len(event["objectIDs"]):
            raise _refused(_INVALID, "objectData: not as many as objectIDs")
        after_search = event.get("eventSubtype") == "purchase" or "queryID" in event
        for item in items:
            _check_item(item, after_search=after_search)
            has_amount = has_amount or "price" in item or "discount" in item
    currency = event.get("currency")
    if currency is None:
        if has_amount:
            raise _refused(_INVALID, "currency: required with an amount")
    elif _CURRENCY(currency) is None:
        raise _refused(_INVALID, "currency: not three letters")


def _check_item(item: Any, *, after_search: bool) -> None:
    """Check an item of objectData; only after a search may it carry a query ID, and only that of a search."""
    if type(item) is not dict:
        raise _wrong_type("insights.ObjectData", item, "objectData")
    if not item.keys() <= _ITEM_FIELDS:
        raise _refused(_INVALID, "objectData: unknown field")
    if "queryID" in item:
        _check_item_query(item["queryID"], after_search=after_search)
    if "quantity" in item:
        quantity = item["quantity"]
        if type(quantity) is not int:
            raise _wrong_type("int32", quantity, "objectData.quantity")
        if quantity not in _INT32:
            raise _refused(_INVALID, "objectData.quantity: not an int32")
    for name in ("price", "discount"):
        if name in item:
            _check_amount(item[name], f"objectData.{name}")


def _check_item_query(query_id: Any, *, after_search: bool) -> None:
    if type(query_id) is not str:
        raise _wrong_type("string", query_id, "objectData.queryID")
    if _QUERY_ID(query_id) is None:
        raise _refused(_BAD_QUERY_ID, "objectData.queryID")
    if not after_search:
        raise _refused(_INVALID, "objectData.queryID: the event comes after no search")


def _check_amount(value: Any, name: str) -> None:
    """Check an amount of money: a number, or a short decimal string without symbol or exponent."""
    if type(value) is float or type(value) is int:
        return
    if type(value) is not str:
        raise _wrong_type("float64", value, name)
    if len(value) > MAX_AMOUNT_LENGTH or _DECIMAL(value) is None:
        raise _refused(_INVALID, f"{name}: not a decimal of at most 16 characters")


def _refused(message: str, detail: str = "") -> RefusedError:
    return RefusedError(422, message, detail=detail)


def _wrong_type(expected: str, value: Any, name: str) -> RefusedError:
    # The servers name the batch, not the field: "Invalid type for field events: expected string, got number".
    got = _JSON_NAMES[type(value)]
    return _refused(f"Invalid type for field events: expected {expected}, got {got}", f"{name}: a {got}")
