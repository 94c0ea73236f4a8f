"""The Recommend API: strict about each model's parameters, repeatable in its answers, sparing with query IDs."""

import re
from typing import Any

import aiohttp
import pytest

from algolia_events.sandbox import Catalogue, Sandbox

RELATED = {"model": "related-products", "indexName": "products", "objectID": "sku-1", "threshold": 0}
TRENDING = {"model": "trending-items", "indexName": "products", "threshold": 0}
FACETS = {"model": "trending-facets", "indexName": "products", "threshold": 0, "facetName": "category"}
WITH_OBJECT = ["related-products", "bought-together", "looking-similar"]


async def ask(client: aiohttp.ClientSession, sandbox: Sandbox, *queries: Any, path: str = "*") -> tuple[int, Any]:
    url = f"{sandbox.url}/1/indexes/{path}/recommendations"
    async with client.post(url, json={"requests": list(queries)}) as answer:
        return answer.status, await answer.json()


def hits_of(answer: tuple[int, Any]) -> list[dict[str, Any]]:
    status, document = answer
    assert status == 200, document
    hits: list[dict[str, Any]] = document["results"][0]["hits"]
    return hits


@pytest.mark.parametrize("model", WITH_OBJECT)
async def test_recommendations_for_an_object(sandbox: Sandbox, client: aiohttp.ClientSession, model: str) -> None:
    query = {**RELATED, "model": model, "maxRecommendations": 5}

    first = hits_of(await ask(client, sandbox, query))
    second = hits_of(await ask(client, sandbox, query))

    scores = [hit["_score"] for hit in first]
    assert len(first) == 5
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 100 for score in scores)
    assert "sku-1" not in [hit["objectID"] for hit in first]
    assert all(hit["name"] and hit["price"] for hit in first)
    assert first == second


async def test_related_products_are_of_the_same_kind(sandbox: Sandbox, client: aiohttp.ClientSession) -> None:
    related = hits_of(await ask(client, sandbox, {**RELATED, "maxRecommendations": 2}))
    bought = hits_of(await ask(client, sandbox, {**RELATED, "model": "bought-together"}))

    assert {hit["category"] for hit in related} == {"Shoes"}
    assert "Shoes" not in {hit["category"] for hit in bought}


async def test_the_threshold_cuts_off(sandbox: Sandbox, client: aiohttp.ClientSession) -> None:
    every = hits_of(await ask(client, sandbox, RELATED))
    best = hits_of(await ask(client, sandbox, {**RELATED, "threshold": 60.5}))

    assert 0 < len(best) < len(every) <= 30
    assert best == [hit for hit in every if hit["_score"] >= 60.5]


async def test_trending_items_may_be_of_one_facet_value(sandbox: Sandbox, client: aiohttp.ClientSession) -> None:
    every = hits_of(await ask(client, sandbox, TRENDING))
    bags = hits_of(await ask(client, sandbox, {**TRENDING, "facetName": "category", "facetValue": "Bags"}))

    assert len(every) == 30
    assert every[0]["objectID"] == "sku-1"
    assert {hit["category"] for hit in bags} == {"Bags"}


async def test_trending_facets_are_values_without_a_query_id(sandbox: Sandbox, client: aiohttp.ClientSession) -> None:
    status, document = await ask(client, sandbox, FACETS)

    (result,) = document["results"]
    assert status == 200
    assert result["hits"][0].keys() == {"facetName", "facetValue", "_score"}
    assert result["hits"][0]["_score"] == 100
    assert "queryID" not in result


@pytest.mark.parametrize("model", [*WITH_OBJECT, "trending-items"])
async def test_a_query_id_is_given_out_only_with_click_analytics(
    sandbox: Sandbox, client: aiohttp.ClientSession, model: str
) -> None:
    query = {**(TRENDING if model == "trending-items" else RELATED), "model": model}
    asking = {**query, "queryParameters": {"clickAnalytics": True, "userToken": "user-1", "analyticsTags": ["web"]}}
    declining = {**query, "queryParameters": {"clickAnalytics": False}}

    _, document = await ask(client, sandbox, asking, declining, query)

    with_id, *without = document["results"]
    assert re.fullmatch("[0-9a-f]{32}", with_id["queryID"])
    assert all("queryID" not in result for result in without)


async def test_fallback_parameters_fill_up_with_what_is_popular(
    sandbox: Sandbox, client: aiohttp.ClientSession
) -> None:
    unknown = {**RELATED, "objectID": "nothing", "maxRecommendations": 4}
    fallback = {"facetFilters": [["category:Bags", "category:Shoes"], "activity:-Running"]}

    bare = hits_of(await ask(client, sandbox, unknown))
    filled = hits_of(await ask(client, sandbox, {**unknown, "fallbackParameters": fallback}))

    assert bare == []
    assert len(filled) == 4
    assert {hit["category"] for hit in filled} <= {"Bags", "Shoes"}
    assert "Running" not in {hit["activity"] for hit in filled}


async def test_answers_look_like_those_of_a_search(sandbox: Sandbox, client: aiohttp.ClientSession) -> None:
    query = {**RELATED, "indexName": "any", "queryParameters": {"query": "x", "analyticsTags": ["a"]}}

    _, document = await ask(client, sandbox, query)

    (result,) = document["results"]
    assert (result["index"], result["page"], result["nbPages"], result["query"]) == ("any", 0, 1, "x")
    assert result["nbHits"] == len(result["hits"])
    assert result["params"] == "query=x&analyticsTags=%5B%22a%22%5D"


async def test_answers_come_in_the_order_asked(sandbox: Sandbox, client: aiohttp.ClientSession) -> None:
    _, document = await ask(client, sandbox, FACETS, {**TRENDING, "indexName": "b"}, {**RELATED, "indexName": "a"})

    assert [result["index"] for result in document["results"]] == ["products", "b", "a"]


async def test_the_star_may_be_percent_encoded(sandbox: Sandbox, client: aiohttp.ClientSession) -> None:
    status, _ = await ask(client, sandbox, TRENDING, path="%2A")

    assert status == 200


async def test_a_catalogue_of_ones_own(client: aiohttp.ClientSession) -> None:
    records = [{"objectID": f"book-{number}", "category": "books", "popularity": number} for number in range(1, 4)]

    async with Sandbox(catalogues={"books": Catalogue(records)}) as sandbox:
        hits = hits_of(await ask(client, sandbox, {**RELATED, "indexName": "books", "objectID": "book-1"}))

    assert {hit["objectID"] for hit in hits} == {"book-2", "book-3"}


@pytest.mark.parametrize(
    "query",
    [
        "x",
        {},
        {**RELATED, "model": "related"},
        {**RELATED, "model": None},
        {**RELATED, "indexName": ""},
        {**RELATED, "indexName": 1},
        {**RELATED, "threshold": 101},
        {**RELATED, "threshold": -1},
        {**RELATED, "threshold": True},
        {**RELATED, "threshold": "0"},
        {name: value for name, value in RELATED.items() if name != "threshold"},
        {name: value for name, value in RELATED.items() if name != "objectID"},
        {**RELATED, "objectID": 1},
        {**RELATED, "maxRecommendations": 0},
        {**RELATED, "maxRecommendations": 31},
        {**RELATED, "maxRecommendations": 1.0},
        {**RELATED, "facetName": "brand"},
        {**RELATED, "clickAnalytics": True},
        {**RELATED, "queryParameters": []},
        {**RELATED, "queryParameters": {"clickAnalytics": "true"}},
        {**RELATED, "queryParameters": {"userToken": "a b"}},
        {**RELATED, "queryParameters": {"analyticsTags": [1]}},
        {**RELATED, "queryParameters": {"unknown": 1}},
        {**RELATED, "queryParameters": {"facetFilters": []}},
        {**RELATED, "fallbackParameters": {"enableRules": True}},
        {**RELATED, "fallbackParameters": {"facetFilters": [[["too:deep"]]]}},
        {**TRENDING, "objectID": "sku-1"},
        {**TRENDING, "facetName": "brand"},
        {**TRENDING, "facetValue": "Tarn"},
        {**FACETS, "queryParameters": {}},
        {**FACETS, "fallbackParameters": {}},
        {**FACETS, "facetName": ""},
    ],
)
async def test_a_request_against_the_rules_is_refused_whole(
    sandbox: Sandbox, client: aiohttp.ClientSession, query: Any
) -> None:
    status, document = await ask(client, sandbox, RELATED, query)

    assert (status, document["status"]) == (400, 400)
    assert document["message"].startswith("requests[1].")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"requests":{}}', b'{"requests":[],"more":1}'])
async def test_a_body_that_asks_nothing_is_refused(
    sandbox: Sandbox, client: aiohttp.ClientSession, body: bytes
) -> None:
    async with client.post(f"{sandbox.url}/1/indexes/*/recommendations", data=body) as answer:
        status, kind = answer.status, answer.content_type

    assert (status, kind) == (400, "application/json")


async def test_errors_carry_a_correlation_id(client: aiohttp.ClientSession) -> None:
    url = "/1/indexes/*/recommendations"
    requests = {"requests": [RELATED]}

    async with Sandbox(missing_indices={"gone"}, models={"related-products"}, api_key="search-key") as sandbox:
        async with client.post(sandbox.url + url, json={"requests": [{**RELATED, "indexName": "gone"}]}) as missing:
            pass
        async with client.post(sandbox.url + url, json={"requests": [TRENDING]}) as disabled:
            pass
        async with client.post(sandbox.url + url, json=requests, headers={"x-algolia-api-key": "other"}) as forbidden:
            pass
        async with client.get(sandbox.url + url) as not_allowed:
            pass
        async with client.post(sandbox.url + "/1/indexes/products/query", json={}) as unknown:
            pass
        async with client.post(sandbox.url + url, json=requests) as fine:
            pass

    answers = (missing, disabled, forbidden, not_allowed, unknown, fine)
    assert [answer.status for answer in answers] == [404, 402, 403, 405, 404, 200]
    assert ["correlation-id" in answer.headers for answer in answers] == [True] * 5 + [False]


async def test_the_request_id_is_remembered(sandbox: Sandbox, client: aiohttp.ClientSession) -> None:
    client.headers["request-id"] = "AbCdEf12345"

    await ask(client, sandbox, TRENDING)

    assert sandbox.requests[0].request_id == "AbCdEf12345"
    assert sandbox.requests[0].api == "recommend"
