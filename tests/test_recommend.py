"""The Recommend client asks as the API wants it, adds what analytics need, and gives errors of their own types."""

import copy
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from support.recommend_server import Received, RecommendServer, recommend_server

from algolia_events import errors
from algolia_events._failover import recommend_urls
from algolia_events._http import AiohttpTransport
from algolia_events._recommend import RecommendClient
from algolia_events._user_recommend import UserRecommend
from algolia_events.recommendations import (
    FacetRecommendations,
    RelatedProducts,
    TrendingFacets,
    TrendingItems,
)


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    transport = AiohttpTransport()
    yield transport
    await transport.aclose()


@pytest.fixture
async def server() -> AsyncIterator[RecommendServer]:
    async with recommend_server() as server:
        yield server


def client_of(server: RecommendServer, transport: AiohttpTransport, **options: Any) -> RecommendClient:
    return RecommendClient(transport, app_id="APP", api_key="key", urls=[server.url], **options)


# --- the seed document's requests


def seed_body(**parameters: Any) -> dict[str, Any]:
    return {
        "requests": [
            {
                "model": "related-products",
                "indexName": "indexName",
                "objectID": "objectID",
                "threshold": 0,
                "queryParameters": {"clickAnalytics": True, **parameters},
            }
        ]
    }


@pytest.mark.parametrize(
    "body",
    [
        seed_body(),
        seed_body(userToken="user-1234"),
        seed_body(analyticsTags=["front_end", "website2"]),
    ],
    ids=["clickAnalytics", "userToken", "analyticsTags"],
)
async def test_the_guide_s_requests_go_out_as_they_are(
    server: RecommendServer, transport: AiohttpTransport, body: dict[str, Any]
) -> None:
    response = await client_of(server, transport).get_recommendations(body["requests"])

    assert server.received[0].body == body
    assert response.results[0].query_id == f"{1:032x}"


async def test_the_guide_s_whole_argument_is_taken(server: RecommendServer, transport: AiohttpTransport) -> None:
    client = client_of(server, transport)

    await client.get_recommendations(seed_body())
    await UserRecommend(client, "user-1234").get_recommendations(seed_body())

    assert [request.body for request in server.received] == [seed_body(), seed_body(userToken="user-1234")]


@pytest.mark.parametrize(
    "queries",
    [
        seed_body()["requests"][0],
        {},
        seed_body() | {"strategy": "none"},
        {"requests": seed_body()["requests"][0]},
        {"requests": None},
        RelatedProducts(index="i", object_id="a", threshold=0),
        [7],
        [None],
        ["text"],
        "text",
        b"bytes",
        None,
        7,
    ],
)
async def test_what_is_no_list_of_queries_is_refused(
    server: RecommendServer, transport: AiohttpTransport, queries: Any
) -> None:
    client = client_of(server, transport)

    for ask in (client.get_recommendations, UserRecommend(client, "anon-1").get_recommendations):
        with pytest.raises(TypeError, match=r"list of queries|a query is one of"):
            await ask(queries)
    assert server.received == []


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (seed_body(), {}),
        (seed_body(userToken="user-1234"), {"user_token": "user-1234"}),
        (seed_body(analyticsTags=["front_end", "website2"]), {"analytics_tags": ["front_end", "website2"]}),
    ],
    ids=["clickAnalytics", "userToken", "analyticsTags"],
)
async def test_the_guide_s_requests_come_of_the_methods_too(
    server: RecommendServer, transport: AiohttpTransport, body: dict[str, Any], options: dict[str, Any]
) -> None:
    client = client_of(server, transport)

    await client.related_products("indexName", object_id="objectID", threshold=0, **options)

    assert server.received[0].body == body


# --- what is added


async def test_a_user_s_question_carries_token_and_tags(server: RecommendServer, transport: AiohttpTransport) -> None:
    client = client_of(server, transport, analytics_tags=["shop", "web"])
    user = UserRecommend(client, "anon-1", "user-9")

    recs = await user.related_products("products", object_id="sku-1", threshold=5, analytics_tags=["home", "web"])

    assert server.received[0].queries[0]["queryParameters"] == {
        "clickAnalytics": True,
        "userToken": "anon-1",
        "analyticsTags": ["shop", "web", "home"],
    }
    click = recs.hits[0].clicked("Product Clicked")
    assert (click.user_token, click.authenticated_user_token, click.positions) == ("anon-1", "user-9", (1,))


async def test_what_the_caller_set_wins_and_is_never_changed(
    server: RecommendServer, transport: AiohttpTransport
) -> None:
    client = client_of(server, transport, analytics_tags=["shop"])
    mine = {"clickAnalytics": False, "userToken": "mine", "analyticsTags": ["a"], "filters": "brand:acme"}
    fallback: dict[str, Any] = {"query": "shoes"}
    before = copy.deepcopy((mine, fallback))

    recs = await client.bought_together(
        "products",
        object_id="sku-1",
        threshold=0,
        user_token="other",
        query_parameters=mine,
        fallback_parameters=fallback,
    )

    query = server.received[0].queries[0]
    assert query["queryParameters"] == mine
    assert query["fallbackParameters"] == {
        "query": "shoes",
        "clickAnalytics": True,
        "userToken": "other",
        "analyticsTags": ["shop"],
    }
    assert (mine, fallback) == before
    assert recs.query_id is None
    assert recs.hits[0].viewed("V").user_token == "mine"


async def test_fallback_parameters_are_not_made_up(server: RecommendServer, transport: AiohttpTransport) -> None:
    client = client_of(server, transport)

    await client.looking_similar("products", object_id="sku-1", threshold=0, user_token="u")

    assert "fallbackParameters" not in server.received[0].queries[0]


async def test_trending_facets_get_nothing_added(server: RecommendServer, transport: AiohttpTransport) -> None:
    user = UserRecommend(client_of(server, transport, analytics_tags=["shop"]), "anon-1")

    recs = await user.trending_facets("products", facet_name="brand", threshold=0, max_recommendations=4)

    assert server.received[0].queries == [
        {
            "model": "trending-facets",
            "indexName": "products",
            "facetName": "brand",
            "threshold": 0,
            "maxRecommendations": 4,
        }
    ]
    assert isinstance(recs, FacetRecommendations)
    assert recs.hits[0].facet_value == "value-0"


async def test_each_method_asks_its_model(server: RecommendServer, transport: AiohttpTransport) -> None:
    user = UserRecommend(client_of(server, transport), "anon-1")
    about: dict[str, Any] = {"object_id": "sku-1", "threshold": 1.5, "max_recommendations": 2}

    await user.related_products("i", **about)
    await user.bought_together("i", **about)
    await user.looking_similar("i", **about)
    await user.trending_items("i", threshold=1.5, facet_name="brand", facet_value="acme")
    await user.get_recommendations([TrendingItems(index="i", threshold=2)], analytics_tags=["t"])

    queries = [request.queries[0] for request in server.received]
    assert [query.pop("queryParameters")["userToken"] for query in queries] == ["anon-1"] * 5
    common = {"indexName": "i", "objectID": "sku-1", "threshold": 1.5, "maxRecommendations": 2}
    assert queries == [
        {"model": "related-products", **common},
        {"model": "bought-together", **common},
        {"model": "looking-similar", **common},
        {"model": "trending-items", "indexName": "i", "threshold": 1.5, "facetName": "brand", "facetValue": "acme"},
        {"model": "trending-items", "indexName": "i", "threshold": 2},
    ]


async def test_several_queries_go_out_together_and_are_answered_in_order(
    server: RecommendServer, transport: AiohttpTransport
) -> None:
    client = client_of(server, transport)
    mapping = {"model": "looking-similar", "indexName": "looks", "objectID": "b", "threshold": 0}
    facets = TrendingFacets(index="products", facet_name="brand", threshold=0)

    response = await client.get_recommendations(
        [RelatedProducts(index="rel", object_id="a", threshold=0), mapping, facets]
    )

    assert len(server.received) == 1
    assert [(result.index, result.model, result.query_id) for result in response] == [
        ("rel", "related-products", f"{1:032x}"),
        ("looks", "looking-similar", f"{2:032x}"),
        ("products", "trending-facets", None),
    ]
    assert [hit.object_id for hit in response.hits] == ["a-1", "a-2", "a-3", "b-1", "b-2", "b-3"]


async def test_no_queries_ask_nothing(server: RecommendServer, transport: AiohttpTransport) -> None:
    response = await client_of(server, transport).get_recommendations([])

    assert (response.results, server.received) == ((), [])


async def test_headers_and_path_are_those_of_the_api(server: RecommendServer, transport: AiohttpTransport) -> None:
    await client_of(server, transport).trending_items("i", threshold=0)

    request = server.received[0]
    assert request.path == "/1/indexes/*/recommendations"
    assert request.headers["x-algolia-application-id"] == "APP"
    assert request.headers["x-algolia-api-key"] == "key"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["request-id"].isalnum()
    assert len(request.headers["request-id"]) == 11


async def test_who_listens_gets_each_answer_before_the_caller(
    server: RecommendServer, transport: AiohttpTransport
) -> None:
    heard: list[Any] = []

    async def hear(answers: Any) -> None:
        heard.extend(answers)

    client = client_of(server, transport, on_answer=hear)

    response = await client.get_recommendations(
        [TrendingItems(index="i", threshold=0), TrendingFacets(index="i", facet_name="f", threshold=0)]
    )

    assert heard == [response.results[0]]


# --- what is refused before anything is sent


@pytest.mark.parametrize("parameters", [{"filters": object()}, {"filters": "\ud800"}, {"n": 2**70}])
async def test_parameters_that_json_cannot_say_are_refused(
    server: RecommendServer, transport: AiohttpTransport, parameters: dict[str, Any]
) -> None:
    with pytest.raises(errors.InvalidQueryError):
        await client_of(server, transport).trending_items("i", threshold=0, query_parameters=parameters)

    assert server.received == []


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["query_parameters", "fallback_parameters"])
async def test_numbers_that_json_cannot_say_are_refused_by_field(
    server: RecommendServer, transport: AiohttpTransport, number: float, field: str
) -> None:
    parameters: dict[str, Any] = {field: {"filters": [{"n": (1.5, None, number)}]}}
    wire_name = field.replace("_p", "P")

    with pytest.raises(errors.InvalidQueryError, match=wire_name) as caught:
        await client_of(server, transport).related_products("i", object_id="a", threshold=0, **parameters)

    assert [name for name, _ in caught.value.problems] == [wire_name]
    assert server.received == []


async def test_a_parameter_may_be_null(server: RecommendServer, transport: AiohttpTransport) -> None:
    await client_of(server, transport).trending_items("i", threshold=0, query_parameters={"a": [None, 1.5]})

    assert server.received[0].queries[0]["queryParameters"]["a"] == [None, 1.5]


async def test_one_string_is_no_list_of_tags(server: RecommendServer, transport: AiohttpTransport) -> None:
    with pytest.raises(TypeError, match="analytics_tags"):
        await client_of(server, transport).trending_items("i", threshold=0, analytics_tags="web")


@pytest.mark.parametrize("app_id", ["", "a/b", "evil.example#", "ä"])
def test_an_application_id_that_could_name_another_host_is_refused(app_id: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="app_id"):
        recommend_urls(app_id)


def test_the_application_s_own_hosts_are_the_nearest_and_three_others() -> None:
    nearest, *others = recommend_urls("APP")

    assert nearest == "https://APP-dsn.algolia.net"
    assert sorted(others) == [f"https://APP-{number}.algolianet.com" for number in (1, 2, 3)]


@pytest.mark.parametrize("tokens", [{"user_token": "anna@example.org"}, {"authenticated_user_token": ""}])
async def test_a_user_token_that_is_not_legal_is_refused(
    server: RecommendServer, transport: AiohttpTransport, tokens: dict[str, Any]
) -> None:
    with pytest.raises(errors.InvalidEventError, match="user_token"):
        await client_of(server, transport).trending_items("i", threshold=0, **tokens)

    assert server.received == []


async def test_another_key_is_used_from_the_next_request_on(
    server: RecommendServer, transport: AiohttpTransport
) -> None:
    client = client_of(server, transport)

    client.set_api_key("new-key")
    await client.trending_items("i", threshold=0)

    assert server.received[0].headers["x-algolia-api-key"] == "new-key"


async def test_a_closed_client_asks_nothing(server: RecommendServer, transport: AiohttpTransport) -> None:
    client = client_of(server, transport)

    await client.aclose()
    await client.aclose()

    with pytest.raises(errors.ClientClosedError):
        await client.trending_items("i", threshold=0)
    assert server.received == []


# --- errors


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequestError),
        (402, errors.FeatureNotEnabledError),
        (403, errors.CredentialsError),
        (404, errors.NotFoundError),
        (429, errors.RateLimitedError),
        (500, errors.ServerError),
        (302, errors.ApiError),
    ],
)
async def test_an_error_has_its_type_the_server_s_words_and_both_ids(
    transport: AiohttpTransport, status: int, kind: type[errors.ApiError]
) -> None:
    def refuse(_: Received) -> web.Response:
        return web.json_response({"message": "Not this time"}, status=status, headers={"Correlation-ID": "corr-7"})

    async with recommend_server(refuse) as server:
        with pytest.raises(kind) as caught:
            await client_of(server, transport).trending_items("i", threshold=0)

        error = caught.value
        assert (error.status, error.message, error.correlation_id) == (status, "Not this time", "corr-7")
        assert error.request_id == server.received[0].headers["request-id"]
        assert "corr-7" in str(error)
        assert len(server.received) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_an_error_that_passes_says_when_to_come_back(transport: AiohttpTransport, status: int) -> None:
    def refuse(_: Received) -> web.Response:
        return web.json_response({"message": "Slow down"}, status=status, headers={"Retry-After": "30"})

    async with recommend_server(refuse) as server:
        with pytest.raises(errors.ApiError, match="a pause of 30 s") as caught:
            await client_of(server, transport).trending_items("i", threshold=0)

    assert caught.value.retriable
    assert caught.value.retry_after == 30.0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b"{}",
        b'{"results":{}}',
        b'{"results":[]}',
        b'{"results":[null]}',
        b'{"results":[{"hits":[{}]}]}',
        b'{"results":[{"hits":[]},{"hits":[]}]}',
        b'{"results":[{"hits":[{"objectID":"\xff"}]}]}',
    ],
)
async def test_an_answer_that_cannot_be_read_is_an_error(transport: AiohttpTransport, body: bytes) -> None:
    async with recommend_server(lambda _: web.Response(body=body)) as server:
        with pytest.raises(errors.AnswerError):
            await client_of(server, transport).trending_items("i", threshold=0)
