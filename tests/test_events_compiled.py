"""The compiled constructors accept what the rules accept, keep what the rules keep, and refuse what they refuse.

The rules are the converters of the fields, `judge_together` and `complete`; the compiled expression is a short cut
past them.
"""

import copy
import pickle
import sys
from typing import Any

import attrs
import pytest
from event_strategies import ODD_VALUES, VALID_EVENTS, kinds_and_fields
from hypothesis import given
from hypothesis import strategies as st

from algolia_events import events
from algolia_events._codec import encode
from algolia_events._limits import SMALL_EVENT_BYTES
from algolia_events.errors import InvalidEventError
from algolia_events.events import (
    ClickedObjectIDs,
    ObjectData,
    PurchasedObjectIDsAfterSearch,
    RawEvent,
    TypedEvent,
    find_problems,
)

FIELDS = {"event_name": "Clicked", "index": "products", "object_ids": ["a"], "user_token": "u"}


def by_the_rules(cls: Any, fields: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    given = {field.name: fields.get(field.name, field.default) for field in attrs.fields(cls)}
    return find_problems(cls, given)


def outcome(cls: Any, fields: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    try:
        event = cls(**fields)
    except InvalidEventError as exc:
        return {}, list(exc.problems)
    return {field.name: getattr(event, field.name) for field in attrs.fields(cls)}, []


@given(kinds_and_fields())
def test_valid_fields_are_kept_as_the_rules_keep_them(drawn: tuple[type[TypedEvent], dict[str, Any]]) -> None:
    cls, fields = drawn

    kept, problems = by_the_rules(cls, fields)

    assert problems == []
    assert outcome(cls, fields) == (kept, [])


@given(kinds_and_fields(), st.data())
def test_the_short_cut_and_the_rules_agree_on_odd_values(
    drawn: tuple[type[TypedEvent], dict[str, Any]], data: st.DataObject
) -> None:
    cls, fields = drawn
    names = [field.name for field in attrs.fields(cls)]
    for name in data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)):
        fields[name] = data.draw(ODD_VALUES)

    kept, problems = by_the_rules(cls, fields)

    assert outcome(cls, fields) == (({}, problems) if problems else (kept, []))


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(["price", "quantity", "discount", "query_id"], ODD_VALUES)))
def test_the_short_cut_and_the_rules_agree_on_object_data(fields: dict[str, Any]) -> None:
    kept, problems = by_the_rules(ObjectData, fields)

    assert outcome(ObjectData, fields) == (({}, problems) if problems else (kept, []))


@pytest.mark.parametrize("given", ["all", "required"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", events.KINDS)
def test_ordinary_values_take_the_short_cut(kind: type[TypedEvent], count: int, given: str) -> None:
    searched = {"query_id": "0123456789abcdef" * 2} if kind is PurchasedObjectIDsAfterSearch else {}
    ordinary: dict[str, Any] = {
        "event_name": "Product Clicked",
        "index": "products",
        "user_token": "anonymous-1",
        "authenticated_user_token": "user-1",
        "timestamp": 1_750_000_000_000,
        "object_ids": ["sku-1", "sku-2", "sku-3"][:count],
        "positions": [1, 1000, 1001][:count],
        "query_id": "0123456789abcdef" * 2,
        "object_data": [ObjectData(price=9.5, quantity=2, discount=1, **searched)] * count,
        "currency": "EUR",
        "value": 19,
        "filters": ["brand:apple", "color:red", "size:xl"][:count],
        "agent_id": "agent",
    }
    asked_together = {"object_data", "currency"} if searched else set()
    names = [
        field.name
        for field in attrs.fields(kind)
        if given == "all" or field.default is attrs.NOTHING or field.name in asked_together
    ]
    called: set[str] = set()

    sys.setprofile(lambda frame, *_: called.add(frame.f_code.co_name))
    try:
        event: Any = object.__new__(kind)
        event.__init__(**{name: ordinary[name] for name in names})  # past the extension
    finally:
        sys.setprofile(None)

    assert "__init__" in called
    assert find_problems.__name__ not in called
    assert event._is_small is not (count > 1 and "object_data" in names)


@pytest.mark.parametrize("count", [1, 3, 20])
@pytest.mark.parametrize("kind", events.KINDS)
def test_no_small_event_takes_more_than_small_events_may(kind: type[TypedEvent], count: int) -> None:
    texts = {"object_ids": "\x01", "filters": "\x01:\x01"}  # a control character takes six bytes
    length = next((len(text) * count for name, text in texts.items() if name in attrs.fields_dict(kind)), 0)
    searched = {"query_id": "f" * 32} if kind is PurchasedObjectIDsAfterSearch else {}
    data = ObjectData(price=1234567890.12345, quantity=1 - 2**31, discount=-12345678.123456, **searched)
    largest: dict[str, Any] = {
        **{name: [text] * count for name, text in texts.items()},
        "event_name": '"' * 64,
        "index": "\U0010ffff" * (580 - length),  # which takes twelve
        "user_token": "u" * 128,
        "authenticated_user_token": "a" * 128,
        "timestamp": 10**15 - 1,
        "positions": [2**63 - 1] * count,
        "query_id": "f" * 32,
        "object_data": [data] * count,
        "currency": "EUR",
        "value": 1234567890.12345,
        "agent_id": "\x01" * 580,
    }

    event = kind(**{field.name: largest[field.name] for field in attrs.fields(kind)})

    assert event._is_small is not (hasattr(event, "object_data") and count > 1)
    assert not event._is_small or 3500 < len(encode(event, 0)) <= SMALL_EVENT_BYTES


@pytest.mark.parametrize(
    "fields",
    [
        {"index": "i" * 580},
        {"object_ids": ["x" * 600]},
        {"object_ids": ["x" * 300] * 2},
        {"object_ids": ["\u00e4"]},
        {"object_ids": ["a", "\u00e4"]},
    ],
    ids=["long index", "long object", "long objects", "wide object", "wide objects"],
)
def test_what_takes_long_to_encode_is_not_small(fields: dict[str, Any]) -> None:
    assert not ClickedObjectIDs(**{**FIELDS, **fields})._is_small
    assert ClickedObjectIDs(**FIELDS)._is_small  # type: ignore[arg-type]


def test_what_a_pickle_of_other_times_holds_besides_or_lacks_does_no_harm() -> None:
    event: Any = ClickedObjectIDs(**FIELDS)  # type: ignore[arg-type]
    restored: Any = object.__new__(ClickedObjectIDs)
    state = {**event.__getstate__(), "later": 1}
    del state["index"]

    restored.__setstate__(state)

    assert restored.user_token == "u"
    assert not hasattr(restored, "index")
    assert not hasattr(restored, "later")


def test_fields_have_no_words_of_others_in_help() -> None:
    assert not ClickedObjectIDs.index.__doc__


@given(VALID_EVENTS)
def test_what_is_called_small_is(event: TypedEvent) -> None:
    assert not event._is_small or len(encode(event, 10**15 - 1)) <= SMALL_EVENT_BYTES


@pytest.mark.parametrize("length", [SMALL_EVENT_BYTES - 27 - 8, SMALL_EVENT_BYTES - 26 - 8])
def test_a_raw_event_is_small_with_its_time(length: int) -> None:
    event = RawEvent({"a": "x" * length})

    assert event._is_small is (len(encode(event, 10**15 - 1)) <= SMALL_EVENT_BYTES)


@given(kinds_and_fields())
def test_arguments_are_never_changed(drawn: tuple[type[TypedEvent], dict[str, Any]]) -> None:
    cls, fields = drawn
    before = copy.deepcopy(fields)

    cls(**fields)

    assert fields == before


def test_a_list_changed_later_does_not_change_the_event() -> None:
    object_ids = ["a"]
    event = ClickedObjectIDs(event_name="Clicked", index="products", object_ids=object_ids, user_token="u")

    object_ids.append("b")

    assert event.object_ids == ("a",)


def test_an_event_is_frozen() -> None:
    event = ClickedObjectIDs(event_name="Clicked", index="products", object_ids=["a"], user_token="u")

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.index = "other"  # type: ignore[misc]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del event.index
    assert type(event) is ClickedObjectIDs


@given(VALID_EVENTS)
def test_events_are_values(event: TypedEvent) -> None:
    again = attrs.evolve(event)

    assert again == event
    assert hash(again) == hash(event)
    assert pickle.loads(pickle.dumps(event)) == event
    assert copy.deepcopy(event) == event


def test_calls_are_checked_like_any_pythons() -> None:
    with pytest.raises(TypeError, match="user_token"):
        ClickedObjectIDs(event_name="Clicked", index="products", object_ids=["a"])  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positions"):
        ClickedObjectIDs(**FIELDS, positions=[1])  # type: ignore[call-arg, arg-type]


def test_more_event_names_than_are_remembered_are_still_judged() -> None:
    for number in range(2000):
        ClickedObjectIDs(event_name=f"Name {number}", index="products", object_ids=["a"], user_token="u")

    with pytest.raises(InvalidEventError):
        ClickedObjectIDs(event_name="\x1f", index="products", object_ids=["a"], user_token="u")


def test_every_kind_is_public() -> None:
    assert len(events.KINDS) == 13
    assert {kind.__name__ for kind in events.KINDS} <= set(events.__all__)
