"""Calls of one user in one turn of the loop are one request; each caller has his own answer, error or cancellation."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiohttp import web
from support.recommend_server import Received, all_results, recommend_server, result_for
from support.rigs import turns

from algolia_events import errors
from algolia_events._combining import MAX_COMBINED, Combiner
from algolia_events._http import AiohttpTransport
from algolia_events._recommend import RecommendClient
from algolia_events._recommend_codec import Analytics, Question, encode_query
from algolia_events._user_recommend import UserRecommend
from algolia_events.recommendations import Recommendations, RelatedProducts, Result, TrendingItems


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    transport = AiohttpTransport()
    yield transport
    await transport.aclose()


def client_of(url: str, transport: AiohttpTransport) -> RecommendClient:
    return RecommendClient(transport, app_id="APP", api_key="key", urls=[url], combine=True)


def refusing_missing(request: Received) -> web.Response:
    """Refuse a whole request for one index that does not exist, as the API does."""
    if any(query["indexName"] == "missing" for query in request.queries):
        return web.json_response({"message": "Index missing does not exist"}, status=404)
    return all_results(request)


def users_of(request: Received) -> set[Any]:
    return {query["queryParameters"].get("userToken") for query in request.queries}


async def test_a_hundred_calls_of_ten_users_are_ten_requests_and_each_caller_has_its_own_answer(
    transport: AiohttpTransport,
) -> None:
    async with recommend_server() as server:
        client = client_of(server.url, transport)

        async def ask(number: int) -> tuple[int, Recommendations]:
            user = UserRecommend(client, f"user-{number % 10}")
            return number, await user.related_products("products", object_id=f"sku-{number}", threshold=0)

        answers = await asyncio.gather(*(ask(number) for number in range(100)))

        assert len(server.received) == 10
        assert all(len(users_of(request)) == 1 for request in server.received)
        for number, recs in answers:
            assert recs.hits[0].object_id == f"sku-{number}-1"
            assert recs.hits[0].clicked("C").user_token == f"user-{number % 10}"
        assert len({(recs.hits[0].origin.user_token, recs.query_id) for _, recs in answers}) == 100


async def test_one_query_that_is_refused_does_not_cost_the_others_their_answers(transport: AiohttpTransport) -> None:
    async with recommend_server(refusing_missing) as server:
        user = UserRecommend(client_of(server.url, transport), "user-1")

        good, bad, other = await asyncio.gather(
            user.trending_items("products", threshold=0),
            user.trending_items("missing", threshold=0),
            user.trending_items("articles", threshold=0),
            return_exceptions=True,
        )

        assert isinstance(good, Recommendations)
        assert isinstance(bad, errors.NotFoundError)
        assert isinstance(other, Recommendations)
        assert other.index == "articles"


async def test_a_caller_that_is_cancelled_leaves_the_others_alone(transport: AiohttpTransport) -> None:
    async with recommend_server() as server:
        user = UserRecommend(client_of(server.url, transport), "user-1")
        calls = [asyncio.ensure_future(user.related_products("i", object_id=f"sku-{n}", threshold=0)) for n in range(3)]

        await asyncio.sleep(0)
        calls[1].cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)

        assert isinstance(answers[1], asyncio.CancelledError)
        assert [recs.hits[0].object_id for recs in (answers[0], answers[2]) if isinstance(recs, Recommendations)] == [
            "sku-0-1",
            "sku-2-1",
        ]


async def test_when_all_callers_are_gone_nothing_is_asked(transport: AiohttpTransport) -> None:
    async with recommend_server() as server:
        user = UserRecommend(client_of(server.url, transport), "user-1")
        calls = [asyncio.ensure_future(user.trending_items("i", threshold=n)) for n in range(2)]

        await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await user.trending_items("other", threshold=0)

        assert [query["indexName"] for request in server.received for query in request.queries] == ["other"]


async def test_an_outage_reaches_every_caller_with_an_error_of_its_own(transport: AiohttpTransport) -> None:
    async with recommend_server(lambda _: web.Response(status=503)) as server:
        user = UserRecommend(client_of(server.url, transport), "user-1")

        one, other = await asyncio.gather(
            user.trending_items("i", threshold=0), user.trending_items("i", threshold=1), return_exceptions=True
        )

        assert isinstance(one, errors.ServerError)
        assert isinstance(other, errors.ServerError)
        assert one is not other
        assert isinstance(one.__cause__, errors.UnreachableError)
        assert len(server.received) == 1


async def test_calls_that_name_no_user_or_several_are_never_combined(transport: AiohttpTransport) -> None:
    async with recommend_server() as server:
        client = client_of(server.url, transport)
        mixed = [
            RelatedProducts(index="i", object_id="o", threshold=0, query_parameters={"userToken": token})
            for token in ("user-1", "user-2")
        ]

        await asyncio.gather(
            client.trending_items("i", threshold=0),
            client.trending_items("i", threshold=0),
            client.get_recommendations(mixed),
            client.trending_items("i", threshold=0, user_token="user-1"),
        )

        assert sorted(len(request.queries) for request in server.received) == [1, 1, 1, 2]


async def test_one_user_token_of_two_authenticated_users_is_two_users(transport: AiohttpTransport) -> None:
    async with recommend_server() as server:
        client = client_of(server.url, transport)

        await asyncio.gather(
            UserRecommend(client, "anon", "user-1").trending_items("i", threshold=0),
            UserRecommend(client, "anon", "user-2").trending_items("i", threshold=0),
        )

        assert [len(request.queries) for request in server.received] == [1, 1]


async def test_a_token_in_the_query_counts_as_the_user(transport: AiohttpTransport) -> None:
    async with recommend_server() as server:
        client = client_of(server.url, transport)

        await asyncio.gather(
            client.trending_items("i", threshold=0, user_token="user-1"),
            client.trending_items("i", threshold=0, user_token="user-1", query_parameters={"userToken": "user-2"}),
        )

        assert [len(users_of(request)) for request in server.received] == [1, 1]


async def test_a_combined_request_has_a_bound(transport: AiohttpTransport) -> None:
    async with recommend_server() as server:
        user = UserRecommend(client_of(server.url, transport), "user-1")

        await asyncio.gather(*(user.trending_items("i", threshold=0) for _ in range(MAX_COMBINED * 2 + 1)))

        assert sorted(len(request.queries) for request in server.received) == [1, MAX_COMBINED, MAX_COMBINED]


async def test_a_result_that_cannot_be_read_is_its_own_caller_s_error(transport: AiohttpTransport) -> None:
    def answer(request: Received) -> web.Response:
        results: list[Any] = [
            {"hits": "garbage"} if query["objectID"] == "bad" else result_for(query) for query in request.queries
        ]
        return web.json_response({"results": results})

    async with recommend_server(answer) as server:
        user = UserRecommend(client_of(server.url, transport), "user-1")

        good, bad = await asyncio.gather(
            user.related_products("i", object_id="good", threshold=0),
            user.related_products("i", object_id="bad", threshold=0),
            return_exceptions=True,
        )

        assert isinstance(good, Recommendations)
        assert isinstance(bad, errors.AnswerError)


async def test_closing_ends_what_waits_and_what_is_under_way(transport: AiohttpTransport) -> None:
    arrived = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server:
        client = client_of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", transport)
        under_way = asyncio.ensure_future(client.trending_items("i", threshold=0, user_token="user-1"))
        await arrived.wait()
        waiting = asyncio.ensure_future(client.trending_items("i", threshold=0, user_token="user-1"))
        await asyncio.sleep(0)

        await client.aclose()
        ends = await asyncio.gather(under_way, waiting, return_exceptions=True)

        assert [type(end) for end in ends] == [errors.ClientClosedError] * 2


@pytest.mark.parametrize("turns_before", range(5))
async def test_closing_tells_every_caller_in_whatever_turn_of_the_loop_it_comes(turns_before: int) -> None:
    """A task that is cancelled before its first step does nothing at all."""

    async def ask(_: Sequence[Question]) -> list[Result]:
        raise errors.BadRequestError(400, "one of them is wrong")

    question = encode_query(TrendingItems(index="products", threshold=0), Analytics())
    combiner = Combiner(ask)
    callers = [asyncio.create_task(combiner.ask("user-1", [question])) for _ in range(2)]
    await turns(turns_before)

    combiner.close()
    answers = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 10)

    assert {type(answer) for answer in answers} <= {errors.ClientClosedError, errors.BadRequestError}
