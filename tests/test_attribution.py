"""What was shown is remembered, and later events without a query ID get that of the answer they came from."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algolia_events._attribution import Attribution
from algolia_events.attribution import Sighting, sightings
from algolia_events.errors import AttributionError
from algolia_events.events import (
    AddedToCartObjectIDs,
    AddedToCartObjectIDsAfterSearch,
    ClickedObjectIDs,
    ClickedObjectIDsAfterSearch,
    ConvertedFilters,
    ConvertedObjectIDs,
    ConvertedObjectIDsAfterSearch,
    ObjectData,
    PurchasedObjectIDs,
    PurchasedObjectIDsAfterSearch,
    ViewedObjectIDs,
)
from algolia_events.recommendations import Origin, Recommendations, RecommendResponse, read_recommendations

QUERY_ID = "0123456789abcdef" * 2
OTHER_QUERY_ID = "fedcba9876543210" * 2


def answer(
    *object_ids: str,
    query_id: str | None = QUERY_ID,
    user: str | None = "user-1",
    authenticated: str | None = None,
    index: str = "products",
) -> Recommendations:
    origin = Origin(index=index, query_id=query_id, user_token=user, authenticated_user_token=authenticated)
    return read_recommendations({"hits": [{"objectID": object_id} for object_id in object_ids]}, origin)


def fields(*object_ids: str, user: str = "user-1", **more: Any) -> dict[str, Any]:
    return {"event_name": "E", "index": "products", "object_ids": object_ids, "user_token": user, **more}


@pytest.fixture
async def attribution() -> Attribution:
    attribution = Attribution()
    await attribution.remember(answer("a", "b", "c"), answer("x", "y", query_id=OTHER_QUERY_ID))
    return attribution


async def test_each_kind_becomes_its_after_search_kind(attribution: Attribution) -> None:
    common = fields("b", "a", authenticated_user_token="user-9", timestamp=1_800_000_000_000)
    money: dict[str, Any] = {"object_data": [{"price": 1}, {"price": 2, "quantity": 3}], "currency": "EUR", "value": 7}
    own = [ObjectData(price=1, query_id=QUERY_ID), ObjectData(price=2, quantity=3, query_id=QUERY_ID)]

    upgraded = [
        await attribution.attribute(event)
        for event in (
            ClickedObjectIDs(**common),
            ConvertedObjectIDs(**common),
            AddedToCartObjectIDs(**common, **money),
            PurchasedObjectIDs(**common, **money),
        )
    ]

    assert upgraded == [
        ClickedObjectIDsAfterSearch(**common, positions=[2, 1], query_id=QUERY_ID),
        ConvertedObjectIDsAfterSearch(**common, query_id=QUERY_ID),
        AddedToCartObjectIDsAfterSearch(**common, **money, query_id=QUERY_ID),
        PurchasedObjectIDsAfterSearch(**common, **money | {"object_data": own}),
    ]


async def test_a_purchase_gets_each_item_s_own_query_id(attribution: Attribution) -> None:
    event = await attribution.attribute(PurchasedObjectIDs(**fields("a", "y")))

    assert isinstance(event, PurchasedObjectIDsAfterSearch)
    assert [item.query_id for item in event.object_data or ()] == [QUERY_ID, OTHER_QUERY_ID]


@pytest.mark.parametrize(
    "event",
    [
        ClickedObjectIDs(**fields("unknown")),
        ClickedObjectIDs(**fields("a", "unknown")),
        ClickedObjectIDs(**fields("a", "x")),
        ConvertedObjectIDs(**fields("a", "x")),
        PurchasedObjectIDs(**fields("a", "unknown")),
        ClickedObjectIDs(**fields("a", user="user-2")),
        ClickedObjectIDs(**fields("a") | {"index": "articles"}),
        ViewedObjectIDs(**fields("a")),
        ConvertedFilters(event_name="E", index="products", filters=["a:b"], user_token="user-1"),
        ClickedObjectIDsAfterSearch(**fields("a"), positions=[9], query_id=OTHER_QUERY_ID),
    ],
)
async def test_anything_else_comes_back_as_it_is(attribution: Attribution, event: Any) -> None:
    assert await attribution.attribute(event) is event


async def test_the_latest_answer_that_showed_an_object_counts(attribution: Attribution) -> None:
    await attribution.remember(RecommendResponse(results=(answer("z", "a", query_id=OTHER_QUERY_ID),)))

    event = await attribution.attribute(ClickedObjectIDs(**fields("a")))

    assert event == ClickedObjectIDsAfterSearch(**fields("a"), positions=[2], query_id=OTHER_QUERY_ID)


@pytest.mark.parametrize("together", [False, True], ids=["several answers", "one response"])
async def test_of_answers_remembered_in_one_call_the_last_counts(together: bool) -> None:
    attribution = Attribution()
    first, last = answer("a", "b"), answer("z", "a", "a", query_id=OTHER_QUERY_ID)

    await attribution.remember(*[RecommendResponse(results=(first, last))] if together else [first, last])

    event = await attribution.attribute(ClickedObjectIDs(**fields("a")))
    assert event == ClickedObjectIDsAfterSearch(**fields("a"), positions=[2], query_id=OTHER_QUERY_ID)


@pytest.mark.parametrize(
    ("shown_to", "acting", "known"),
    [
        (None, None, True),
        (None, "anna", True),
        ("anna", "anna", True),
        ("anna", None, True),
        ("anna", "bert", False),
    ],
)
async def test_two_authenticated_users_of_one_browser_are_kept_apart(
    shown_to: str | None, acting: str | None, known: bool
) -> None:
    attribution = Attribution()
    await attribution.remember(answer("a", authenticated=shown_to))

    event = await attribution.attribute(ClickedObjectIDs(**fields("a", authenticated_user_token=acting)))

    assert isinstance(event, ClickedObjectIDsAfterSearch) == known


tokens = st.sampled_from(["u", "u1", "u1u", "1u"])
names = st.sampled_from(["i", "ii", "o", "io", "oi"])
places = st.tuples(tokens, names, names)


@given(places, places)
async def test_only_the_same_user_index_and_object_match(
    shown: tuple[str, str, str], asked: tuple[str, str, str]
) -> None:
    attribution = Attribution()
    user, index, object_id = shown
    await attribution.remember(answer(object_id, user=user, index=index))

    user, index, object_id = asked
    event = await attribution.attribute(
        ConvertedObjectIDs(event_name="E", index=index, object_ids=[object_id], user_token=user)
    )

    assert isinstance(event, ConvertedObjectIDsAfterSearch) == (shown == asked)


async def test_a_purchase_after_an_agent_s_message_is_left_alone_as_its_items_have_room_for_searches_only() -> None:
    attribution = Attribution()
    await attribution.remember(answer("a", query_id="message_abc"), answer("x", query_id=OTHER_QUERY_ID))
    bought = PurchasedObjectIDs(**fields("a", "x"))

    click = await attribution.attribute(ClickedObjectIDs(**fields("a")))
    same = await attribution.attribute(bought)
    parts = await attribution.attribute_all(bought)

    assert click == ClickedObjectIDsAfterSearch(**fields("a"), positions=[1], query_id="message_abc")
    assert same is bought
    assert [(type(part), part.object_ids) for part in parts] == [
        (PurchasedObjectIDs, ("a",)),
        (PurchasedObjectIDsAfterSearch, ("x",)),
    ]


@pytest.mark.parametrize("kind", [ClickedObjectIDs, ConvertedObjectIDs, AddedToCartObjectIDs, PurchasedObjectIDs])
async def test_what_no_event_may_carry_leaves_it_alone(kind: Any) -> None:
    attribution = Attribution()
    await attribution.remember(answer("a", query_id="none-of-algolia-s"))
    event = kind(**fields("a"))

    assert await attribution.attribute(event) is event


async def test_hits_without_query_id_or_user_are_passed_over() -> None:
    attribution = Attribution()
    event = ClickedObjectIDs(**fields("a"))

    await attribution.remember(answer("a", query_id=None), answer("a", user=None), answer())

    assert await attribution.attribute(event) is event


def test_a_store_is_given_no_token_in_clear() -> None:
    entries = sightings(answer("a", user="secret-user", authenticated="secret-member").hits)

    assert len(entries) == 1
    for part in (*entries, *entries.values()):
        assert b"secret" not in part


@given(st.binary())
def test_a_value_that_is_not_ours_is_no_sighting(value: bytes) -> None:
    sighting = Sighting.parse(value)

    assert sighting is None or len(sighting.query_id) >= 0


# --- splitting


async def test_a_cart_of_several_answers_is_split_so_that_each_part_is_attributed(attribution: Attribution) -> None:
    prices: list[dict[str, Any]] = [{"price": "1.10"}, {"price": 2, "quantity": 2}, {"price": 3}]
    event = AddedToCartObjectIDs(**fields("a", "x", "unknown"), object_data=prices, currency="EUR", value="8.10")

    parts = await attribution.attribute_all(event)

    assert [(type(part), part.object_ids, getattr(part, "value", None)) for part in parts] == [
        (AddedToCartObjectIDsAfterSearch, ("a",), "1.10"),
        (AddedToCartObjectIDsAfterSearch, ("x",), "4"),
        (AddedToCartObjectIDs, ("unknown",), "3"),
    ]


async def test_a_purchase_is_split_only_into_what_is_known_and_what_is_not(attribution: Attribution) -> None:
    parts = await attribution.attribute_all(PurchasedObjectIDs(**fields("a", "unknown", "x")))

    assert [(type(part), part.object_ids) for part in parts] == [
        (PurchasedObjectIDsAfterSearch, ("a", "x")),
        (PurchasedObjectIDs, ("unknown",)),
    ]


async def test_a_click_is_split_by_answer(attribution: Attribution) -> None:
    parts = await attribution.attribute_all(ClickedObjectIDs(**fields("a", "x", "b")))

    assert parts == (
        ClickedObjectIDsAfterSearch(**fields("a", "b"), positions=[1, 2], query_id=QUERY_ID),
        ClickedObjectIDsAfterSearch(**fields("x"), positions=[1], query_id=OTHER_QUERY_ID),
    )


@pytest.mark.parametrize(
    "event",
    [
        PurchasedObjectIDs(**fields("a", "unknown"), currency="EUR", value=5),
        PurchasedObjectIDs(
            **fields("a", "unknown"), object_data=[{"price": 1}, {"quantity": 2}], currency="EUR", value=5
        ),
        ViewedObjectIDs(**fields("a", "x")),
        ClickedObjectIDs(**fields("unknown", "unknown too")),
        # Its value is the caller's, whatever the prices say: there may be a discount.
        AddedToCartObjectIDs(**fields("unknown"), object_data=[{"price": 10}], currency="EUR", value=8),
    ],
)
async def test_what_cannot_or_need_not_be_split_stays_whole(attribution: Attribution, event: Any) -> None:
    assert await attribution.attribute_all(event) == (event,)


# --- failures


class FailingStore:
    """A store that is down until told otherwise."""

    def __init__(self, error: Exception) -> None:
        self.down = True
        self.error = error

    async def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        if self.down:
            raise self.error
        return [None] * len(keys)

    async def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        if self.down:
            raise self.error

    async def aclose(self) -> None:
        if self.down:
            raise self.error


@pytest.mark.parametrize(
    "error", [AttributionError("the store is down"), OSError("no route"), RuntimeError("a bug"), KeyError("key")]
)
async def test_a_store_that_is_down_costs_attribution_and_nothing_else(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    caplog.set_level(logging.INFO, "algolia_events")
    store = FailingStore(error)
    attribution = Attribution(store=store)
    event = ClickedObjectIDs(**fields("a"))

    await attribution.remember(answer("a"))
    same = await attribution.attribute(event)
    store.down = False
    await attribution.remember_all([answer("a")])

    assert same is event
    assert attribution.store_failures == 2
    assert [record.message for record in caplog.records] == [
        "algolia_events.attribution_store_failed",
        "algolia_events.attribution_store_recovered",
    ]


async def test_a_store_that_cannot_be_closed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    await Attribution(store=FailingStore(OSError("no route"))).aclose()

    assert [record.message for record in caplog.records] == ["attribution_store_close_failed"]


class ConfusedStore:
    """A store that answers, but not as it should."""

    def __init__(self, values: Any) -> None:
        self.values = values

    async def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        return self.values  # type: ignore[no-any-return]

    async def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        pass

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize("values", [None, [], ["text"], [b"", b""], [7]])
async def test_a_store_that_gives_back_something_else_costs_attribution_and_nothing_else(values: Any) -> None:
    attribution = Attribution(store=ConfusedStore(values))
    event = ClickedObjectIDs(**fields("a"))

    same = await attribution.attribute(event)

    assert same is event
    assert attribution.store_failures == 1


async def test_tokens_come_with_it() -> None:
    hit = answer("a").hits[0]
    attribution = Attribution(["key"])

    assert attribution.resolve(attribution.sign(hit)) == hit
    await attribution.aclose()
