"""A Recommend server for tests: answers as it is told to, and keeps every request."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
from aiohttp import web
from aiohttp.test_utils import TestServer

Answer = Callable[["Received"], web.StreamResponse]


@attrs.frozen
class Received:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: Any

    @property
    def queries(self) -> list[dict[str, Any]]:
        return list(self.body["requests"])


@attrs.frozen
class RecommendServer:
    url: str
    received: list[Received]


def result_for(query: dict[str, Any], number: int = 0, hits: int = 3) -> dict[str, Any]:
    """Answer one query as the API does: a query ID only when asked for, hits that name what was asked."""
    if query["model"] == "trending-facets":
        return {
            "hits": [{"facetName": query["facetName"], "facetValue": f"value-{n}", "_score": 9.5} for n in range(hits)]
        }
    subject = query.get("objectID", "trend")
    result: dict[str, Any] = {
        "hits": [{"objectID": f"{subject}-{n}", "_score": 90.5 - n, "name": f"Name {n}"} for n in range(1, hits + 1)],
        "index": query["indexName"],
        "futureField": {"of": "tomorrow"},
    }
    if query.get("queryParameters", {}).get("clickAnalytics"):
        result["queryID"] = f"{number:032x}"
    return result


def all_results(received: Received) -> web.Response:
    """Answer every query of a request."""
    results = [result_for(query, number) for number, query in enumerate(received.queries, 1)]
    return web.json_response({"results": results})


@asynccontextmanager
async def recommend_server(answer: Answer = all_results) -> AsyncIterator[RecommendServer]:
    received: list[Received] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        received.append(Received(request.raw_path, headers, json.loads(await request.read())))
        return answer(received[-1])

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server:
        yield RecommendServer(str(server.make_url("")).rstrip("/"), received)
