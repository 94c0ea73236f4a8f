"""Each of a user's twelve methods builds its event, with the user's tokens, and hands it on."""

import datetime as dt
from typing import Any

import pytest

from algolia_events import events
from algolia_events._user_events import UserEvents
from algolia_events.errors import InvalidEventError
from algolia_events.events import Event

QUERY_ID = "7dfe2ada7bca48bdd0629649df0bee07"
MOMENT = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


class Collected(UserEvents[Event]):
    """Hands the event back to the caller."""

    def _emit(self, event: Event) -> Event:
        return event


OBJECTS = {"object_ids": ["a", "b"]}
FILTERS = {"filters": ["brand:apple"]}
CART = {**OBJECTS, "object_data": [{"price": 1}, {"price": 2}], "currency": "EUR", "value": 3}


@pytest.mark.parametrize(
    ("method", "kind", "fields"),
    [
        ("clicked_object_ids", events.ClickedObjectIDs, OBJECTS),
        (
            "clicked_object_ids_after_search",
            events.ClickedObjectIDsAfterSearch,
            {**OBJECTS, "query_id": QUERY_ID, "positions": [1, 2]},
        ),
        ("clicked_filters", events.ClickedFilters, FILTERS),
        ("converted_object_ids", events.ConvertedObjectIDs, OBJECTS),
        (
            "converted_object_ids_after_search",
            events.ConvertedObjectIDsAfterSearch,
            {**OBJECTS, "query_id": QUERY_ID},
        ),
        ("converted_filters", events.ConvertedFilters, FILTERS),
        ("added_to_cart_object_ids", events.AddedToCartObjectIDs, CART),
        (
            "added_to_cart_object_ids_after_search",
            events.AddedToCartObjectIDsAfterSearch,
            {**CART, "query_id": QUERY_ID},
        ),
        ("purchased_object_ids", events.PurchasedObjectIDs, CART),
        (
            "purchased_object_ids_after_search",
            events.PurchasedObjectIDsAfterSearch,
            {**CART, "query_id": QUERY_ID},
        ),
        ("viewed_object_ids", events.ViewedObjectIDs, OBJECTS),
        ("viewed_filters", events.ViewedFilters, FILTERS),
    ],
)
def test_each_method_builds_its_event(method: str, kind: Any, fields: dict[str, Any]) -> None:
    user = Collected("anonymous-1", authenticated_user_token="user-1")
    more = dict(fields)
    items = more.pop("object_ids", None) or more.pop("filters")

    event = getattr(user, method)("Name", "products", items, timestamp=MOMENT, **more)

    assert event == kind(
        event_name="Name",
        index="products",
        user_token="anonymous-1",
        authenticated_user_token="user-1",
        timestamp=MOMENT,
        **fields,
    )


def test_the_documented_call_works_word_for_word() -> None:
    user = Collected("user-123456")

    event = user.clicked_object_ids("Product Clicked", "YourIndexName", ["objectID-1", "objectID-2"])

    assert event == events.ClickedObjectIDs(
        event_name="Product Clicked",
        index="YourIndexName",
        object_ids=["objectID-1", "objectID-2"],
        user_token="user-123456",
    )


@pytest.mark.parametrize("tokens", [{"user_token": "a b"}, {"user_token": "u", "authenticated_user_token": ""}])
def test_a_user_with_an_illegal_token_is_refused(tokens: dict[str, str]) -> None:
    with pytest.raises(InvalidEventError) as caught:
        Collected(**tokens)

    assert caught.value.problems[0][0] == list(tokens)[-1]


def test_a_broken_rule_raises() -> None:
    with pytest.raises(InvalidEventError, match="index: is empty"):
        Collected("u").viewed_object_ids("Seen", "", ["a"])
