"""Encoders write what the mapping of an event says, as one line of ASCII JSON; `parse_event` reads it back.

Whatever `parse_event` is given, it returns an event or raises `InvalidEventError`.
"""

import json
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from event_strategies import ODD_VALUES, VALID_EVENTS
from hypothesis import given
from hypothesis import strategies as st

from algolia_events._codec import ENCODERS, WIRE_NAMES, decode_events, encode, encoder_for, parse_event, to_mapping
from algolia_events.errors import InvalidEventError
from algolia_events.events import (
    KINDS,
    AddedToCartObjectIDsAfterSearch,
    ClickedObjectIDs,
    ClickedObjectIDsAfterSearch,
    ObjectData,
    PurchasedObjectIDs,
    PurchasedObjectIDsAfterSearch,
    RawEvent,
    TypedEvent,
)

NOW_MS = 1_700_000_000_000
QUERY_ID = "7dfe2ada7bca48bdd0629649df0bee07"
CLICK = {"eventType": "click", "eventName": "Clicked", "index": "products", "userToken": "u", "objectIDs": ["a"]}
NAMES = st.sampled_from([*WIRE_NAMES.values(), *WIRE_NAMES, "eventType", "eventSubtype", "indexName"])
HOSTILE = st.recursive(
    ODD_VALUES | st.sampled_from(["click", "conversion", "view", "instantsearch", "addToCart", "purchase"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(), inner, max_size=5),
    max_leaves=8,
)


def parsed(value: Any) -> tuple[TypedEvent, None] | tuple[None, InvalidEventError]:
    try:
        return parse_event(value), None
    except InvalidEventError as exc:
        return None, exc


@given(VALID_EVENTS)
def test_an_encoder_writes_the_events_mapping(event: TypedEvent) -> None:
    text = encode(event, NOW_MS)

    assert orjson.loads(text) == to_mapping(event, NOW_MS)
    assert json.loads(text, parse_float=Decimal, parse_int=Decimal).keys() == to_mapping(event, NOW_MS).keys()


@given(VALID_EVENTS)
def test_the_text_is_one_line_of_ascii(event: TypedEvent) -> None:
    text = encode(event, NOW_MS)

    assert type(text) is str
    assert text.isascii()
    assert text.isprintable() or "\x7f" in text
    assert not set(text) & set("\n\r\x00")


@given(VALID_EVENTS)
def test_what_is_written_reads_back(event: TypedEvent) -> None:
    again = parse_event(to_mapping(event))

    if isinstance(event, PurchasedObjectIDsAfterSearch):  # its event-level query ID stands in the items
        assert isinstance(again, PurchasedObjectIDsAfterSearch)
        assert again.object_data == event.object_data
    else:
        assert again == event
    assert to_mapping(again) == to_mapping(event)


def test_an_event_keeps_its_own_time() -> None:
    event = ClickedObjectIDs(
        event_name="Clicked", index="products", object_ids=["a"], user_token="u", timestamp=NOW_MS - 5
    )

    assert orjson.loads(encode(event, NOW_MS))["timestamp"] == NOW_MS - 5


def test_decimals_are_written_exactly() -> None:
    event = PurchasedObjectIDs(
        event_name="Bought",
        index="products",
        object_ids=["a", "b"],
        object_data=[ObjectData(price=Decimal("19.90"), quantity=2), ObjectData(price=0.1, discount=Decimal("1E+2"))],
        currency="EUR",
        value=Decimal("123456789012.345"),
        user_token="u",
    )

    mapping = orjson.loads(encode(event, NOW_MS))

    assert mapping["value"] == "123456789012.345"
    assert mapping["objectData"] == [{"price": "19.90", "quantity": 2}, {"price": 0.1, "discount": "100"}]


def test_a_message_query_id_is_escaped() -> None:
    event = AddedToCartObjectIDsAfterSearch(
        event_name="Added", index="products", object_ids=["a"], query_id='message_"\\', user_token="u"
    )

    assert orjson.loads(encode(event, NOW_MS))["queryID"] == 'message_"\\'


def test_memory_of_written_names_is_bounded_and_right() -> None:
    encoder = encoder_for(ClickedObjectIDs)
    events = [
        ClickedObjectIDs(event_name="Clicked", index=f'"{number}', object_ids=["a"], user_token="u")
        for number in range(2500)
    ]

    indexes = [orjson.loads(encoder(event, NOW_MS))["index"] for event in events]

    assert indexes == [event.index for event in events]


def test_each_kind_has_an_encoder() -> None:
    assert set(ENCODERS) == {*KINDS, RawEvent}
    with pytest.raises(TypeError, match="RawEvent"):
        encoder_for(dict)  # type: ignore[arg-type]


@given(HOSTILE | st.dictionaries(NAMES, HOSTILE, max_size=12))
def test_hostile_input_gives_an_event_or_a_clear_error(value: Any) -> None:
    event, refusal = parsed(value)

    if event is not None:
        orjson.loads(encode(event, NOW_MS))
    if refusal is not None:
        assert refusal.problems
        assert all(field and what for field, what in refusal.problems)
        assert str(refusal).isascii()


@given(VALID_EVENTS, st.dictionaries(NAMES, HOSTILE, min_size=1, max_size=3))
def test_almost_valid_mappings_give_an_event_or_a_clear_error(event: TypedEvent, changes: dict[str, Any]) -> None:
    mapping = to_mapping(event) | changes
    before = dict(mapping)

    again, refusal = parsed(mapping)

    assert (again is None) == (refusal is not None and bool(refusal.problems))
    if again is not None:
        orjson.loads(encode(again, NOW_MS))
    assert repr(mapping) == repr(before)


def test_a_deep_and_a_huge_value_are_named_shortly() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(InvalidEventError) as caught:
        parse_event(CLICK | {"userToken": "x" * 10_000_000, "objectIDs": deep, "n" * 1_000_000: 1})

    assert [field for field, _ in caught.value.problems] == [
        "userToken",
        "objectIDs[0]",
        "(a name of 1000000 characters)",
    ]
    assert len(str(caught.value)) < 1000


def test_a_number_too_long_to_write_out_is_refused() -> None:
    with pytest.raises(InvalidEventError, match=r"positions\[0\]: must be at most"):
        parse_event(CLICK | {"positions": [10**5000], "queryID": QUERY_ID})


def test_a_long_list_of_wrong_items_is_cut_in_the_message() -> None:
    with pytest.raises(InvalidEventError) as caught:
        parse_event(CLICK | {"objectIDs": [5] * 100_000})

    assert caught.value.problems[0][0] == "objectIDs"
    assert len(caught.value.problems) <= 20


def test_every_problem_is_named_at_once_by_the_wires_name() -> None:
    mapping = {
        "eventType": "click",
        "eventName": 5,
        "objectIDs": ["a", ""],
        "positions": [1],
        "authenticatedUserToken": "a b",
        "colour": "red",
    }

    with pytest.raises(InvalidEventError) as caught:
        parse_event(mapping)

    assert caught.value.kind == "ClickedObjectIDsAfterSearch"
    assert [field for field, _ in caught.value.problems] == [
        "eventName",
        "userToken",
        "authenticatedUserToken",
        "index",
        "objectIDs[1]",
        "positions",
        "queryID",
        "colour",
    ]


def test_without_a_kind_only_what_no_event_has_is_unknown() -> None:
    with pytest.raises(InvalidEventError) as caught:
        parse_event({"index": "products", "userToken": "u", "positions": [1], "currency": "EUR", "colour": "red"})

    problems = dict(caught.value.problems)
    assert set(problems) == {"eventType", "eventName", "objectIDs", "colour"}
    assert problems["eventName"] == "is required"
    assert problems["objectIDs"] == "is required, or filters"


def test_rules_between_fields_hold_beside_wrong_fields() -> None:
    mapping = CLICK | {
        "eventType": "conversion",
        "eventSubtype": "purchase",
        "objectData": [{"price": 1}, {"price": "x"}],
    }

    with pytest.raises(InvalidEventError) as caught:
        parse_event(mapping)

    assert [field for field, _ in caught.value.problems] == ["objectData[1].price", "objectData", "currency"]


@pytest.mark.parametrize("name", ["value", "currency", "objectData", "object_data"])
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"eventType": "conversion"}, 'ConvertedObjectIDs; give the eventSubtype "addToCart" or "purchase"'),
        ({"eventType": "click"}, 'eventType "conversion" and eventSubtype "addToCart" or "purchase"'),
        ({"eventType": "view"}, 'eventType "conversion" and eventSubtype "addToCart" or "purchase"'),
        ({"eventType": "conversion", "objectIDs": None, "filters": ["a:b"]}, "events about objectIDs"),
    ],
)
def test_amounts_of_other_events_are_led_to_carts_and_purchases(name: str, more: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidEventError) as caught:
        parse_event(CLICK | more | {name: 1})

    assert words in dict(caught.value.problems)[name]


@pytest.mark.parametrize("event_type", ["click", "conversion", "view", "instantsearch"])
@pytest.mark.parametrize("name", sorted(WIRE_NAMES))
def test_a_field_is_never_told_to_be_written_as_it_is(event_type: str, name: str) -> None:
    _, error = parsed(CLICK | {"eventType": event_type, name: 1})

    assert f"write {name}" not in str(error)


def test_index_name_may_stand_for_index() -> None:
    mapping = {name: value for name, value in CLICK.items() if name != "index"} | {"indexName": "products"}

    assert parse_event(MappingProxyType(mapping)) == parse_event(CLICK)
    assert parse_event(CLICK | {"indexName": "products"}) == parse_event(CLICK)
    with pytest.raises(InvalidEventError, match="indexName"):
        parse_event(CLICK | {"indexName": "other"})


def test_null_counts_as_absent() -> None:
    assert parse_event(CLICK | {"timestamp": None, "queryID": None}) == parse_event(CLICK)


@pytest.mark.parametrize("value", [5, 5.0, True, ["5"], {"a": 1}])
def test_values_are_not_coerced(value: object) -> None:
    with pytest.raises(InvalidEventError, match="index: expected string"):
        parse_event(CLICK | {"index": value})


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"queryID": QUERY_ID}, PurchasedObjectIDsAfterSearch),
        ({"objectData": [{"queryID": QUERY_ID}]}, PurchasedObjectIDsAfterSearch),
        ({"objectData": [{"price": 1}], "currency": "EUR"}, PurchasedObjectIDs),
        ({}, PurchasedObjectIDs),
    ],
)
def test_a_purchase_is_after_search_when_any_query_id_stands_in_it(
    more: dict[str, Any], kind: type[TypedEvent]
) -> None:
    event = parse_event(CLICK | {"eventType": "conversion", "eventSubtype": "purchase"} | more)

    assert type(event) is kind


def test_a_click_with_positions_asks_for_the_query_id() -> None:
    with pytest.raises(InvalidEventError, match="queryID: is required"):
        parse_event(CLICK | {"positions": [1]})
    assert type(parse_event(CLICK | {"positions": [1], "queryID": QUERY_ID})) is ClickedObjectIDsAfterSearch


def test_raw_events_are_written_as_they_are_and_stamped_when_they_have_no_time() -> None:
    assert orjson.loads(encode(RawEvent({"new": "é\n"}), NOW_MS)) == {"new": "é\n", "timestamp": NOW_MS}
    assert orjson.loads(encode(RawEvent({}), NOW_MS)) == {"timestamp": NOW_MS}
    assert orjson.loads(encode(RawEvent({"timestamp": 5}), NOW_MS)) == {"timestamp": 5}
    assert to_mapping(RawEvent({"new": [1]})) == {"new": [1]}
    assert to_mapping(RawEvent({"new": [1]}), NOW_MS) == {"new": [1], "timestamp": NOW_MS}


def test_bodies_are_read_back() -> None:
    assert decode_events(b'{"events":[{"a":1},{"b":2}]}') == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"events":5}', b'{"events":[5]}', b"[" * 5000, b'{"events":[{},5]}']
)
def test_other_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_events(body)


def test_only_events_have_mappings() -> None:
    with pytest.raises(TypeError, match="expected an event"):
        to_mapping({})  # type: ignore[arg-type]
