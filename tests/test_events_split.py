"""`split()` cuts a long list into events that the server takes, with what belongs to the items alongside."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algolia_events.errors import InvalidEventError
from algolia_events.events import (
    ClickedFilters,
    ClickedObjectIDsAfterSearch,
    ObjectData,
    PurchasedObjectIDs,
    PurchasedObjectIDsAfterSearch,
    ViewedObjectIDs,
)

QUERY_ID = "7dfe2ada7bca48bdd0629649df0bee07"
COMMON: dict[str, Any] = {"event_name": "Seen", "index": "products", "user_token": "u"}
BOUGHT: dict[str, Any] = {**COMMON, "currency": "EUR"}


def ids(count: int) -> list[str]:
    return [f"sku-{number}" for number in range(count)]


@given(st.integers(1, 105))
def test_objects_are_cut_at_20_and_positions_with_them(count: int) -> None:
    object_ids, positions = ids(count), list(range(7, 7 + count))

    parts = ClickedObjectIDsAfterSearch.split(**COMMON, object_ids=object_ids, positions=positions, query_id=QUERY_ID)

    assert all(len(part.object_ids) == 20 for part in parts[:-1])
    assert [item for part in parts for item in part.object_ids] == object_ids
    assert [position for part in parts for position in part.positions] == positions
    assert {part.query_id for part in parts} == {QUERY_ID}


def test_any_iterable_is_cut() -> None:
    parts = ViewedObjectIDs.split(**COMMON, object_ids=(name for name in ids(21)))

    assert [len(part.object_ids) for part in parts] == [20, 1]


def test_filters_are_cut_at_10() -> None:
    filters = [f"brand:{number}" for number in range(25)]

    parts = ClickedFilters.split(**COMMON, filters=filters)

    assert [len(part.filters) for part in parts] == [10, 10, 5]


def test_an_event_splits_itself() -> None:
    event = ViewedObjectIDs(**COMMON, object_ids=ids(20))
    filters = ClickedFilters(**COMMON, filters=["a:b"] * 20)

    assert event.split() == (event,)
    assert [len(part.filters) for part in filters.split()] == [10, 10]
    with pytest.raises(TypeError):
        event.split(object_ids=[])  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("price", "value", "values"),
    [
        ("0.10", "2.50", ["2.00", "0.50"]),
        (Decimal("0.10"), Decimal("2.50"), ["2.00", "0.50"]),
        (0.1, 2.5, [2.0, 0.5]),
        (3, 75, [60, 15]),
    ],
)
def test_a_value_is_worked_out_for_each_part(price: Any, value: Any, values: list[Any]) -> None:
    parts = PurchasedObjectIDs.split(
        **BOUGHT, object_ids=ids(25), object_data=[{"price": price, "discount": 1}] * 25, value=value
    )

    assert [part.value for part in parts] == values


def test_a_value_counts_quantities() -> None:
    data = [ObjectData(price="1.50", quantity=2)] * 20 + [ObjectData(price="1.50", quantity=4)]

    parts = PurchasedObjectIDs.split(**BOUGHT, object_ids=ids(21), object_data=data, value="66.00")

    assert [part.value for part in parts] == ["60.00", "6.00"]


def test_a_sum_that_no_string_may_hold_is_rounded_as_a_number() -> None:
    data = [{"price": "0.00000000000001"}] * 19 + [{"price": "1234567.5"}] * 2

    parts = PurchasedObjectIDs.split(**BOUGHT, object_ids=ids(21), object_data=data, value="2469135")

    assert [part.value for part in parts] == [1234567.5, "1234567.5"]


@pytest.mark.parametrize(
    "object_data",
    [None, [{"price": 1}] * 20 + [{"quantity": 1}], [{"price": 1}] * 19 + [{"quantity": 1}] + [{"price": 1}]],
)
def test_a_value_that_cannot_be_shared_stays_with_the_first_part(object_data: Any) -> None:
    parts = PurchasedObjectIDs.split(**BOUGHT, object_ids=ids(21), object_data=object_data, value=100)

    assert [part.value for part in parts] == [100, None]


def test_without_a_value_none_is_made_up() -> None:
    parts = PurchasedObjectIDs.split(**BOUGHT, object_ids=ids(21), object_data=[{"price": 1}] * 21)

    assert [part.value for part in parts] == [None, None]


def test_a_query_id_reaches_the_items_of_every_part() -> None:
    parts = PurchasedObjectIDsAfterSearch.split(**COMMON, object_ids=ids(21), query_id=QUERY_ID)

    assert [part.object_data for part in parts] == [
        (ObjectData(query_id=QUERY_ID),) * 20,
        (ObjectData(query_id=QUERY_ID),),
    ]


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"object_ids": "abc"}, "object_ids"),
        ({"object_ids": None}, "object_ids"),
        ({"object_ids": 5}, "object_ids"),
        ({"object_ids": []}, "object_ids"),
        ({"object_ids": [*ids(22), 5]}, "object_ids[22]"),
        ({"object_ids": ids(40), "object_data": [{}] * 39}, "object_data"),
        ({"object_ids": ids(40), "object_data": 5}, "object_data"),
        ({"object_ids": ids(40), "object_data": [{}] * 30 + [{"price": "x"}] + [{}] * 9}, "object_data[30].price"),
        ({"object_ids": ids(40), "value": "x"}, "value"),
    ],
)
def test_problems_are_named_by_their_place_in_the_whole_list(fields: dict[str, Any], place: str) -> None:
    split: Callable[..., object] = PurchasedObjectIDs.split

    with pytest.raises(InvalidEventError) as caught:
        split(**BOUGHT, **fields)

    assert [path for path, _ in caught.value.problems] == [place]
