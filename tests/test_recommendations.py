"""Hits know the answer that they were in, and build the events that name it."""

import pickle
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algolia_events.errors import AnswerError, InvalidEventError, MissingQueryIDError
from algolia_events.events import (
    AddedToCartObjectIDs,
    AddedToCartObjectIDsAfterSearch,
    ClickedObjectIDs,
    ClickedObjectIDsAfterSearch,
    ConvertedObjectIDs,
    ConvertedObjectIDsAfterSearch,
    ObjectData,
    PurchasedObjectIDs,
    PurchasedObjectIDsAfterSearch,
    ViewedObjectIDs,
)
from algolia_events.recommendations import (
    Origin,
    Recommendations,
    RecommendResponse,
    clicked,
    purchased,
    read_facet_recommendations,
    read_recommendations,
)

QUERY_ID = "0123456789abcdef" * 2
OTHER_QUERY_ID = "fedcba9876543210" * 2


def answer(
    count: int = 3, *, query_id: str | None = QUERY_ID, user: str | None = "user-1", prefix: str = "sku", **fields: Any
) -> Recommendations:
    raw = {"hits": [{"objectID": f"{prefix}-{n}", "_score": 80.0, "name": f"Name {n}"} for n in range(1, count + 1)]}
    origin = Origin(index="products", model="related-products", query_id=query_id, user_token=user)
    return read_recommendations(raw | fields, origin)


def test_a_hit_knows_its_place_in_its_answer() -> None:
    recs = answer(3)

    hit = recs.hits[1]

    assert (hit.object_id, hit.position, hit.query_id, hit.index, hit.score) == ("sku-2", 2, QUERY_ID, "products", 80.0)


def test_a_hit_gives_its_record_s_attributes() -> None:
    hit = answer(1).hits[0]

    assert hit["name"] == "Name 1"
    assert "name" in hit
    assert "price" not in hit
    assert hit.get("price", 5) == 5
    assert dict(hit) == hit.raw
    assert set(hit) == {"objectID", "_score", "name"}
    with pytest.raises(KeyError):
        hit["price"]


def test_positions_are_absolute_over_pages() -> None:
    recs = answer(2, page=3, hitsPerPage=20)

    assert [hit.position for hit in recs.hits] == [61, 62]


def test_positions_count_from_an_offset() -> None:
    recs = answer(2, offset=7, length=2, page=0, hitsPerPage=20)

    assert [hit.position for hit in recs.hits] == [8, 9]


def test_the_answer_s_query_id_is_found_and_unknown_fields_stay_reachable() -> None:
    recs = answer(1, query_id=None, queryID=OTHER_QUERY_ID, abTestID=7, tomorrow={"x": 1})

    assert recs.query_id == recs.hits[0].query_id == OTHER_QUERY_ID
    assert (recs.raw["abTestID"], recs.raw["tomorrow"]) == (7, {"x": 1})


@pytest.mark.parametrize(
    "raw",
    [
        None,
        7,
        "text",
        [],
        {},
        {"hits": None},
        {"hits": [None]},
        {"hits": [{}]},
        {"hits": "abc"},
        {"hits": [["a"]]},
        {"hits": [{"objectID": 5}]},
        {"hits": {"objectID": "a"}},
    ],
)
def test_an_answer_that_cannot_be_read_is_an_error_of_its_own(raw: Any) -> None:
    with pytest.raises(AnswerError):
        read_recommendations(raw, Origin(index="products"))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.sampled_from(["hits", "objectID", "queryID", "page", "hitsPerPage"]), children, max_size=4)
    ),
    max_leaves=10,
)


@given(json_values)
def test_no_answer_whatever_raises_anything_else(raw: Any) -> None:
    for read in (read_recommendations, read_facet_recommendations):
        try:
            recs = read(raw, Origin(index="products"))
        except AnswerError:
            continue
        assert len(recs.hits) == len(raw["hits"])


def test_trending_facets_have_values_and_no_query_id() -> None:
    raw = {"hits": [{"facetName": "brand", "facetValue": "Acme", "_score": 12.5, "count": 3}]}

    recs = read_facet_recommendations(raw, Origin(index="products", model="trending-facets"))

    hit = recs.hits[0]
    assert (hit.facet_name, hit.facet_value, hit.score, hit.position, hit["count"]) == ("brand", "Acme", 12.5, 1, 3)
    assert recs.query_id is None
    assert (recs.index, recs.model) == ("products", "trending-facets")
    assert "count" in hit
    assert dict(hit) == raw["hits"][0]
    assert set(hit) == set(raw["hits"][0])


def test_no_user_token_is_shown_by_a_repr() -> None:
    recs = answer(2, user="secret-user")

    assert "secret-user" not in repr(recs)
    assert "secret-user" not in repr(RecommendResponse(results=(recs,)))


def test_answers_can_be_pickled() -> None:
    recs = answer(2)

    assert pickle.loads(pickle.dumps(recs)) == recs


# --- events


def test_events_of_a_hit_have_everything_filled_in() -> None:
    hit = answer(2).for_user("anon-1", "user-9").hits[1]
    common: dict[str, Any] = {
        "index": "products",
        "object_ids": ["sku-2"],
        "user_token": "anon-1",
        "authenticated_user_token": "user-9",
    }
    data = ObjectData(price=Decimal("9.90"), quantity=2)

    assert hit.viewed("V") == ViewedObjectIDs(event_name="V", **common)
    assert hit.clicked("C") == ClickedObjectIDsAfterSearch(event_name="C", positions=[2], query_id=QUERY_ID, **common)
    assert hit.converted("C") == ConvertedObjectIDsAfterSearch(event_name="C", query_id=QUERY_ID, **common)
    assert hit.added_to_cart("A", data, "EUR") == AddedToCartObjectIDsAfterSearch(
        event_name="A", query_id=QUERY_ID, object_data=[data], currency="EUR", **common
    )
    assert hit.purchased("P", [data], "EUR", "19.80") == PurchasedObjectIDsAfterSearch(
        event_name="P",
        object_data=[ObjectData(price="9.90", quantity=2, query_id=QUERY_ID)],
        currency="EUR",
        value="19.80",
        **common,
    )


def test_object_data_may_be_a_mapping() -> None:
    hit = answer(1).hits[0]

    event = hit.purchased("P", {"price": 5}, "EUR")

    assert event.object_data == (ObjectData(price=5, query_id=QUERY_ID),)


def test_a_query_id_in_object_data_stands() -> None:
    hit = answer(1).hits[0]

    events = [
        hit.purchased("P", ObjectData(query_id=OTHER_QUERY_ID)),
        hit.purchased("P", {"queryID": OTHER_QUERY_ID}),
    ]

    assert [event.object_data for event in events] == [(ObjectData(query_id=OTHER_QUERY_ID),)] * 2


def test_without_a_query_id_the_way_out_is_said_and_plain_events_work() -> None:
    recs = answer(2, query_id=None)
    hit = recs.hits[0]

    for build in (hit.clicked, hit.converted, hit.added_to_cart, hit.purchased, recs.clicked, recs.purchased):
        with pytest.raises(MissingQueryIDError, match="clickAnalytics"):
            build("Event")

    assert recs.viewed("V") == ViewedObjectIDs.split(
        event_name="V", index="products", object_ids=["sku-1", "sku-2"], user_token="user-1"
    )
    assert type(hit.plain.clicked("C")) is ClickedObjectIDs
    assert type(hit.plain.converted("C")) is ConvertedObjectIDs
    assert hit.plain.added_to_cart("A", {"price": 3}, "EUR") == AddedToCartObjectIDs(
        event_name="A",
        index="products",
        object_ids=["sku-1"],
        user_token="user-1",
        object_data=[{"price": 3}],
        currency="EUR",
    )
    assert type(hit.plain.purchased("P")) is PurchasedObjectIDs
    assert [event.object_ids for event in recs.plain.clicked("C")] == [("sku-1", "sku-2")]
    assert [event.object_ids for event in recs.plain.converted("C", recs.hits[1:])] == [("sku-2",)]
    assert [event.currency for event in recs.plain.added_to_cart("C", None, [{"price": 1}] * 2, "EUR")] == ["EUR"]
    assert [event.object_ids for event in recs.plain.purchased("C")] == [("sku-1", "sku-2")]


def test_without_a_user_events_say_how_to_give_one() -> None:
    recs = answer(2, user=None)

    with pytest.raises(InvalidEventError, match="for_user"):
        recs.hits[0].clicked("C")

    assert recs.hits[0].for_user("user-7").clicked("C").user_token == "user-7"
    assert recs.for_user("user-7").viewed("V")[0].user_token == "user-7"


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (20, [20]), (21, [20, 1]), (30, [20, 10]), (0, [])])
def test_events_of_many_hits_are_split_at_twenty(count: int, sizes: list[int]) -> None:
    recs = answer(count)

    assert [len(event.object_ids) for event in recs.viewed("V")] == sizes
    assert [event.positions for event in recs.clicked("C")] == [
        tuple(hit.position for hit in recs.hits[start : start + 20]) for start in range(0, count, 20)
    ]
    assert [len(event.object_data or ()) for event in recs.purchased("P")] == sizes


def test_chosen_hits_of_an_answer_make_one_event() -> None:
    recs = answer(9)

    (event,) = recs.clicked("C", [recs.hits[4], recs.hits[1]])

    assert (event.object_ids, event.positions) == (("sku-5", "sku-2"), (5, 2))


def test_one_hit_needs_no_list() -> None:
    recs = answer(3)
    hit = recs.hits[1]

    assert recs.clicked("C", hit) == recs.clicked("C", [hit])
    assert recs.plain.purchased("P", hit, [{"price": 1}], "EUR") == (hit.plain.purchased("P", {"price": 1}, "EUR"),)
    assert clicked("C", hit) == (hit.clicked("C"),)


@pytest.mark.parametrize("hits", [7, "sku-1", ["sku-1"], [None], {"objectID": "sku-1"}, [{"objectID": "sku-1"}]])
def test_what_is_no_hit_makes_no_event(hits: Any) -> None:
    recs = answer(3)

    for build in (recs.viewed, recs.clicked, recs.converted, recs.added_to_cart, recs.purchased, recs.plain.clicked):
        with pytest.raises(TypeError, match="hits are RecommendHits"):
            build("Event", hits)


def test_a_trending_facet_makes_no_event() -> None:
    raw = {"hits": [{"facetName": "brand", "facetValue": "Acme"}]}
    facets = read_facet_recommendations(raw, Origin(index="products"))
    hits: Any = facets.hits

    for wrong in (hits, hits[0]):
        with pytest.raises(TypeError, match="TrendingFacetHit"):
            answer(1).clicked("C", wrong)


def test_clicks_on_merged_hits_are_one_event_an_answer() -> None:
    one, other = answer(2), answer(2, query_id=OTHER_QUERY_ID, prefix="art")
    merged = [one.hits[0], other.hits[1], one.hits[1]]

    events = clicked("C", merged)

    assert [(event.query_id, event.object_ids, event.positions) for event in events] == [
        (QUERY_ID, ("sku-1", "sku-2"), (1, 2)),
        (OTHER_QUERY_ID, ("art-2",), (2,)),
    ]


def test_a_purchase_of_merged_hits_has_each_item_s_own_query_id() -> None:
    one, other = answer(2), answer(2, query_id=OTHER_QUERY_ID, prefix="art")
    response = RecommendResponse(results=(one, other))

    (event,) = response.purchased(
        "P", object_data=[{"price": price} for price in (1, 2, 3, 4)], currency="EUR", value=10
    )

    assert event.object_ids == ("sku-1", "sku-2", "art-1", "art-2")
    assert [(item.price, item.query_id) for item in event.object_data or ()] == [
        (1, QUERY_ID),
        (2, QUERY_ID),
        (3, OTHER_QUERY_ID),
        (4, OTHER_QUERY_ID),
    ]
    assert event.value == 10


def test_hits_of_different_users_never_share_an_event() -> None:
    one, other = answer(1, user="user-1"), answer(1, user="user-2")

    events = purchased("P", [*one.hits, *other.hits])

    assert [event.user_token for event in events] == ["user-1", "user-2"]


def test_a_value_cannot_be_shared_out_among_several_events() -> None:
    one, other = answer(1), answer(1, query_id=OTHER_QUERY_ID)
    response = RecommendResponse(results=(one, other))

    with pytest.raises(InvalidEventError, match="value"):
        response.added_to_cart("A", object_data=[{"price": 1}, {"price": 2}], currency="EUR", value=3)


def test_object_data_has_an_item_for_each_hit() -> None:
    recs = answer(3)

    with pytest.raises(InvalidEventError, match="1 items for 3 hits"):
        recs.purchased("P", object_data=[{"price": 1}], currency="EUR")


def test_a_response_gives_its_results_in_order_and_all_their_hits() -> None:
    one, other = answer(2), answer(1, query_id=OTHER_QUERY_ID)
    response = RecommendResponse(results=(one, other))

    assert (len(response), response[1], list(response)) == (2, other, [one, other])
    assert response.hits == (*one.hits, *other.hits)
    assert response.query_id is None
    assert RecommendResponse(results=(one,)).query_id == QUERY_ID
