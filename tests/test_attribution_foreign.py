"""Responses of Algolia's own client, as models or mappings, give hits that build the same events."""

from typing import Any

import pytest

from algolia_events.attribution import attributed
from algolia_events.errors import AnswerError
from algolia_events.events import ClickedObjectIDsAfterSearch
from algolia_events.recommendations import FacetRecommendations, Recommendations

QUERY_ID = "0123456789abcdef" * 2
OTHER_QUERY_ID = "fedcba9876543210" * 2


def search(index: str = "products", query_id: str = QUERY_ID, **more: Any) -> dict[str, Any]:
    hits = [{"objectID": f"sku-{n}", "name": f"Name {n}"} for n in (1, 2)]
    return {
        "index": index,
        "queryID": query_id,
        "hits": hits,
        "page": 0,
        "hitsPerPage": 20,
        "query": "q",
        "params": "",
        **more,
    }


def test_a_search_response_gives_hits_with_absolute_positions() -> None:
    response = attributed(search(page=2), index="asked-for", user_token="user-1", authenticated_user_token="user-9")

    assert response.query_id == QUERY_ID
    assert response.hits[1]["name"] == "Name 2"
    assert response.hits[1].clicked("C") == ClickedObjectIDsAfterSearch(
        event_name="C",
        index="asked-for",
        object_ids=["sku-2"],
        positions=[42],
        query_id=QUERY_ID,
        user_token="user-1",
        authenticated_user_token="user-9",
    )


def test_several_results_keep_their_own_index_and_query_id() -> None:
    response = attributed({"results": [search(), search("articles", OTHER_QUERY_ID)]}, user_token="user-1")

    assert [(result.index, result.query_id) for result in response] == [
        ("products", QUERY_ID),
        ("articles", OTHER_QUERY_ID),
    ]
    assert [hit.query_id for hit in response.hits] == [QUERY_ID] * 2 + [OTHER_QUERY_ID] * 2
    assert response.query_id is None


def test_indexes_can_be_given_for_each_result() -> None:
    response = attributed({"results": [search(), search()]}, index=["one", "two"])

    assert [result.index for result in response] == ["one", "two"]


def test_a_search_for_facet_values_among_others_has_no_hits() -> None:
    response = attributed({"results": [{"facetHits": []}, search()]}, index="products")

    assert [len(result.hits) for result in response] == [0, 2]


def test_trending_facets_among_others_keep_their_values() -> None:
    facets = {"hits": [{"facetName": "brand", "facetValue": "Acme", "_score": 12.5}]}

    response = attributed({"results": [facets, search()]}, index="products", user_token="user-1")

    trending = response.results[0]
    assert isinstance(trending, FacetRecommendations)
    assert (trending.index, trending.hits[0].facet_value) == ("products", "Acme")
    assert [hit.object_id for hit in response.hits] == ["sku-1", "sku-2"]


def test_a_response_is_never_changed() -> None:
    given = search()

    attributed(given, user_token="user-1")

    assert given == search()


@pytest.mark.parametrize("wrong", [None, 7, "text", [], [search()], {"results": [7]}, {"results": [None]}])
def test_what_is_no_response_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="to_dict"):
        attributed(wrong, index="products")


@pytest.mark.parametrize("index", [None, ["one", "two"]])
def test_an_index_that_nobody_names_is_asked_for(index: Any) -> None:
    response = search()
    del response["index"]

    with pytest.raises(ValueError, match="index"):
        attributed(response, index=index)


@pytest.mark.parametrize("hits", ["text", 7, {}, [{}], [{"objectID": 7}]])
def test_hits_that_cannot_be_read_are_an_error(hits: Any) -> None:
    if hits == {}:
        assert attributed(search(hits=hits)).hits == ()
        return
    with pytest.raises(AnswerError):
        attributed(search(hits=hits))


def test_models_of_the_official_client_s_search_are_taken() -> None:
    models = pytest.importorskip("algoliasearch.search.models.search_responses")
    model = models.SearchResponses.from_dict({"results": [search(page=1), search("articles", OTHER_QUERY_ID)]})

    response = attributed(model, user_token="user-1")
    single = attributed(model.results[0].actual_instance, user_token="user-1")

    assert [(hit.object_id, hit.position, hit.query_id, hit["name"]) for hit in response.hits] == [
        ("sku-1", 21, QUERY_ID, "Name 1"),
        ("sku-2", 22, QUERY_ID, "Name 2"),
        ("sku-1", 1, OTHER_QUERY_ID, "Name 1"),
        ("sku-2", 2, OTHER_QUERY_ID, "Name 2"),
    ]
    assert single.hits == response.hits[:2]


def test_models_of_the_official_client_s_recommend_are_taken() -> None:
    models = pytest.importorskip("algoliasearch.recommend.models.get_recommendations_response")
    result = {
        "queryID": QUERY_ID,
        "hits": [{"objectID": "sku-1", "_score": 81.5, "name": "Name 1"}],
        "index": "products",
    }
    model = models.GetRecommendationsResponse.from_dict({"results": [result]})

    response = attributed(model, index="products", user_token="user-1")

    recs = response.results[0]
    assert isinstance(recs, Recommendations)
    assert (recs.query_id, recs.hits[0].score, recs.hits[0]["name"]) == (QUERY_ID, 81.5, "Name 1")
    assert response.clicked("C")[0].positions == (1,)
