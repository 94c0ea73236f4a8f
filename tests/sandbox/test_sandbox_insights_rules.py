"""Each rule for an event is enforced on the JSON types that arrived, with the server's documented message."""

import time
from typing import Any

import orjson
import pytest

from algolia_events.sandbox._answers import RefusedError
from algolia_events.sandbox._insights_rules import MalformedBodyError, check_event, parse_events

NOW_MS = int(time.time() * 1000)
THIRTY_DAYS_MS = 30 * 86_400_000
OLDEST_MS = NOW_MS - THIRTY_DAYS_MS
QUERY_ID = "0123456789abcdef" * 2

CLICK: dict[str, Any] = {
    "eventName": "Product Clicked",
    "eventType": "click",
    "index": "products",
    "userToken": "user-1",
    "objectIDs": ["a", "b"],
}
AFTER_SEARCH = {**CLICK, "queryID": QUERY_ID, "positions": [1, 2]}
FILTERS = {**{name: value for name, value in CLICK.items() if name != "objectIDs"}, "filters": ["brand:apple"]}
CONVERSION = {**CLICK, "eventType": "conversion"}
PURCHASE = {
    **CONVERSION,
    "eventSubtype": "purchase",
    "objectData": [{"price": 9.99, "quantity": 1, "queryID": QUERY_ID}, {"price": "5", "discount": 0}],
    "currency": "EUR",
    "value": "14.99",
}
CART = {**PURCHASE, "eventSubtype": "addToCart", "queryID": QUERY_ID}
TELEMETRY = {"eventName": "Telemetry", "eventType": "instantsearch", "userToken": "user-1"}

BAD_NAME = "EventName must contain only visible ASCII characters, and be between 1 and 64 characters long"
BAD_TYPE = 'EventType must be one of "click", "conversion", "view" or "instantsearch"'
BAD_USER = (
    "UserToken must contain only alphanumeric, equal, plus, slash, hyphen, or underscore characters, "
    "and be between 1 and 128 characters long"
)
BAD_QUERY_ID = "Query ID must be a search query ID (32 characters hexadecimal string)"
NO_TARGET = "Event should specify either some ObjectIDs or some Filters"
TWO_TARGETS = "Event should specify ObjectIDs or Filters, but not both"
FOREIGN_POSITIONS = "Only event of type click should specify the positions attribute"
BAD_POSITIONS = "Event of type click should have the same number of ObjectIDs and Positions"
NO_QUERY_ID = "Event of type click with positions should specify a queryID"
NOT_POSITIVE = "Event of type click may only have strictly positive positions"
TOO_OLD = "The timestamp is too far in the past"
TOO_MANY_OBJECTS = "Cannot process more that 20 objects in an event"
INVALID = "Invalid payload"
ABSENT = object()


def wrong_type(expected: str, got: str) -> str:
    return f"Invalid type for field events: expected {expected}, got {got}"


@pytest.mark.parametrize(
    "event",
    [
        CLICK,
        AFTER_SEARCH,
        FILTERS,
        CONVERSION,
        PURCHASE,
        CART,
        TELEMETRY,
        {**TELEMETRY, "agentID": "agent-1", "queryID": "message_x!"},
        {**CONVERSION, "queryID": QUERY_ID},
        {**FILTERS, "eventType": "conversion"},
        {**FILTERS, "eventType": "view"},
        {**CLICK, "eventType": "view"},
        {**CLICK, "eventName": "~" * 64, "userToken": "aZ0_=/+-" * 16, "authenticatedUserToken": "x"},
        {**CLICK, "objectIDs": ["x"] * 20, "index": "ä index"},
        {**FILTERS, "filters": ["discount:10%25", "a%3Ab:c:d"]},
        {**CLICK, "timestamp": OLDEST_MS},
        {**CLICK, "timestamp": NOW_MS + THIRTY_DAYS_MS},
        {**CLICK, "algoliaSource": ["unknown fields are let through"]},
        {**PURCHASE, "objectData": [{}, {"quantity": 2**31 - 1}], "value": 1},
        {**CONVERSION, "eventSubtype": "addToCart"},
        {**CONVERSION, "eventSubtype": "purchase", "value": "-1.5", "currency": "usd"},
    ],
)
def test_valid_events_pass(event: dict[str, Any]) -> None:
    body = orjson.dumps({"events": [event]})

    (parsed,) = parse_events(body)
    check_event(parsed, oldest_ms=OLDEST_MS)

    assert parsed == event


@pytest.mark.parametrize(
    ("event", "changes", "message"),
    [
        (CLICK, {"eventName": ABSENT}, "EventName is required"),
        (CLICK, {"eventName": ""}, "EventName is required"),
        (CLICK, {"eventName": "x" * 65}, BAD_NAME),
        (CLICK, {"eventName": "tab\t"}, BAD_NAME),
        (CLICK, {"eventName": "é"}, BAD_NAME),
        (CLICK, {"eventName": "newline\n"}, BAD_NAME),
        (CLICK, {"eventName": 5}, wrong_type("string", "number")),
        (CLICK, {"eventName": True}, wrong_type("string", "bool")),
        (CLICK, {"eventName": None}, wrong_type("string", "null")),
        (CLICK, {"eventType": ABSENT}, "EventType is required"),
        (CLICK, {"eventType": "Click"}, BAD_TYPE),
        (CLICK, {"eventType": []}, wrong_type("string", "array")),
        (CLICK, {"eventSubtype": "purchase"}, INVALID),
        (CONVERSION, {"eventSubtype": "addtocart"}, INVALID),
        (CLICK, {"index": ABSENT}, "The index field is required"),
        (CLICK, {"index": ""}, "The index field is required"),
        (CLICK, {"index": {}}, wrong_type("string", "object")),
        (TELEMETRY, {"index": "products"}, INVALID),
        (TELEMETRY, {"objectIDs": ["a"]}, INVALID),
        (TELEMETRY, {"agentID": ""}, INVALID),
        (CLICK, {"agentID": "agent-1"}, INVALID),
        (CLICK, {"userToken": ABSENT}, "The userToken field is required"),
        (CLICK, {"userToken": ""}, "The userToken field is required"),
        (CLICK, {"userToken": "x" * 129}, BAD_USER),
        (CLICK, {"userToken": "a b"}, BAD_USER),
        (CLICK, {"userToken": "a\n"}, BAD_USER),
        (CLICK, {"userToken": 1.5}, wrong_type("string", "number")),
        (CLICK, {"authenticatedUserToken": "a@b"}, BAD_USER),
        (CLICK, {"authenticatedUserToken": ""}, BAD_USER),
        (CLICK, {"objectIDs": ABSENT}, NO_TARGET),
        (CLICK, {"objectIDs": []}, NO_TARGET),
        (CLICK, {"filters": ["brand:apple"]}, TWO_TARGETS),
        (PURCHASE, {"filters": ["brand:apple"]}, TWO_TARGETS),
        (CLICK, {"objectIDs": ["x"] * 21}, TOO_MANY_OBJECTS),
        (CLICK, {"objectIDs": [""]}, INVALID),
        (CLICK, {"objectIDs": [1]}, wrong_type("string", "number")),
        (CLICK, {"objectIDs": "a"}, wrong_type("[]string", "string")),
        (FILTERS, {"filters": []}, NO_TARGET),
        (FILTERS, {"filters": ["a:b"] * 21}, INVALID),
        (FILTERS, {"filters": ["no colon"]}, INVALID),
        (FILTERS, {"filters": ["nocolon"]}, INVALID),
        (FILTERS, {"filters": ["a:"]}, INVALID),
        (FILTERS, {"filters": [":b"]}, INVALID),
        (FILTERS, {"filters": ["discount:10%"]}, INVALID),
        (FILTERS, {"filters": ["brand:Dr. Müller"]}, INVALID),
        (FILTERS, {"filters": [None]}, wrong_type("string", "null")),
        (CONVERSION, {"positions": [1, 2]}, FOREIGN_POSITIONS),
        (CLICK, {"positions": [1, 2]}, NO_QUERY_ID),
        (AFTER_SEARCH, {"positions": ABSENT}, BAD_POSITIONS),
        (AFTER_SEARCH, {"positions": [1]}, BAD_POSITIONS),
        (AFTER_SEARCH, {"positions": []}, BAD_POSITIONS),
        (AFTER_SEARCH, {"positions": [0, 1]}, NOT_POSITIVE),
        (AFTER_SEARCH, {"positions": [-1, 1]}, NOT_POSITIVE),
        (AFTER_SEARCH, {"positions": [True, 1]}, wrong_type("int", "bool")),
        (AFTER_SEARCH, {"positions": [1.0, 2]}, wrong_type("int", "number")),
        (AFTER_SEARCH, {"positions": 1}, wrong_type("[]int", "number")),
        (AFTER_SEARCH, {"queryID": "x"}, BAD_QUERY_ID),
        (AFTER_SEARCH, {"queryID": ""}, BAD_QUERY_ID),
        (AFTER_SEARCH, {"queryID": QUERY_ID.upper()}, BAD_QUERY_ID),
        (AFTER_SEARCH, {"queryID": QUERY_ID + "\n"}, BAD_QUERY_ID),
        (AFTER_SEARCH, {"queryID": "message_"}, BAD_QUERY_ID),
        (AFTER_SEARCH, {"queryID": "message_a b"}, BAD_QUERY_ID),
        (AFTER_SEARCH, {"queryID": "message_" + "x" * 121}, BAD_QUERY_ID),
        (AFTER_SEARCH, {"queryID": 7}, wrong_type("string", "number")),
        (CLICK, {"timestamp": OLDEST_MS - 1}, TOO_OLD),
        (CLICK, {"timestamp": NOW_MS // 1000}, TOO_OLD),
        (CLICK, {"timestamp": str(NOW_MS)}, wrong_type("int64", "string")),
        (CLICK, {"timestamp": float(NOW_MS)}, wrong_type("int64", "number")),
        (CLICK, {"timestamp": True}, wrong_type("int64", "bool")),
        (CONVERSION, {"value": 1, "currency": "EUR"}, INVALID),
        (PURCHASE, {"currency": ABSENT}, INVALID),
        (PURCHASE, {"currency": "EURO"}, INVALID),
        (PURCHASE, {"currency": "E1R"}, INVALID),
        (PURCHASE, {"value": "1e3"}, INVALID),
        (PURCHASE, {"value": "€ 5"}, INVALID),
        (PURCHASE, {"value": "NaN"}, INVALID),
        (PURCHASE, {"value": "1,5"}, INVALID),
        (PURCHASE, {"value": "1" * 17}, INVALID),
        (PURCHASE, {"value": True}, wrong_type("float64", "bool")),
        (PURCHASE, {"value": None}, wrong_type("float64", "null")),
        (PURCHASE, {"objectData": []}, INVALID),
        (PURCHASE, {"objectData": [{}]}, INVALID),
        (PURCHASE, {"objectData": [{}, "x"]}, wrong_type("insights.ObjectData", "string")),
        (PURCHASE, {"objectData": [{}, {"name": "x"}]}, INVALID),
        (PURCHASE, {"objectData": [{}, {"quantity": 1.0}]}, wrong_type("int32", "number")),
        (PURCHASE, {"objectData": [{}, {"quantity": True}]}, wrong_type("int32", "bool")),
        (PURCHASE, {"objectData": [{}, {"quantity": 2**31}]}, INVALID),
        (PURCHASE, {"objectData": [{}, {"price": "x"}]}, INVALID),
        (PURCHASE, {"objectData": [{}, {"discount": []}]}, wrong_type("float64", "array")),
        (PURCHASE, {"objectData": [{}, {"queryID": "message_x"}]}, BAD_QUERY_ID),
        (PURCHASE, {"objectData": [{}, {"queryID": 1}]}, wrong_type("string", "number")),
        (CART, {"queryID": ABSENT}, INVALID),
    ],
)
def test_an_invalid_event_is_refused_with_the_documented_message(
    event: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    bad = {name: value for name, value in {**event, **changes}.items() if value is not ABSENT}

    with pytest.raises(RefusedError) as refused:
        check_event(bad, oldest_ms=OLDEST_MS)

    assert (refused.value.status, refused.value.message) == (422, message)


@pytest.mark.parametrize("event", [None, 1, "x", [], True])
def test_an_event_that_is_no_object_is_refused(event: Any) -> None:
    with pytest.raises(RefusedError) as refused:
        check_event(event, oldest_ms=OLDEST_MS)

    assert refused.value.message == INVALID


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", "Invalid type for field : expected insights.PublicEventsBatch, got array"),
        (b'"x"', "Invalid type for field : expected insights.PublicEventsBatch, got string"),
        (b"{}", "No events to process"),
        (b'{"eventName":"x"}', "No events to process"),
        (b'{"events":[]}', "No events to process"),
        (b'{"events":{}}', "Invalid type for field events: expected []insights.PublicEvent, got object"),
        (b'{"events":[' + b"1," * 1000 + b"1]}", "Cannot process more than 1000 events in a batch"),
    ],
)
def test_a_body_that_is_no_batch_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(RefusedError) as refused:
        parse_events(body)

    assert (refused.value.status, refused.value.message) == (422, message)


@pytest.mark.parametrize("body", [b"", b"{", b'{"events":[NaN]}', b'{"events":["\xff"]}', b'{"events":["\\ud800"]}'])
def test_a_body_that_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBodyError):
        parse_events(body)


def test_a_refusal_tells_the_field_to_the_ledger_only() -> None:
    event = {**PURCHASE, "currency": "EURO"}

    with pytest.raises(RefusedError) as refused:
        check_event(event, oldest_ms=OLDEST_MS)

    assert (refused.value.message, refused.value.detail) == (INVALID, "currency: not three letters")
