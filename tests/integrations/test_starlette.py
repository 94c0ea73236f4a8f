"""Starlette and FastAPI hold the client while they run, keep a lifespan of one's own, and give both to handlers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from support.asgi import Clients, call, running

from algolia_events.integrations.fastapi import Algolia, AlgoliaUser
from algolia_events.integrations.starlette import UserTokenMiddleware, algolia_lifespan, get_algolia, get_user

KNOWN = {"cookie": "_ALGOLIA=anonymous-1"}


async def track(request: Request) -> Response:
    get_user(request, "user-1").viewed_object_ids("Seen", "products", ["sku-1"])
    return PlainTextResponse("tracked")


async def test_what_handlers_track_is_sent_when_the_application_ends(clients: Clients) -> None:
    app = Starlette(
        routes=[Route("/", track)], lifespan=algolia_lifespan(clients), middleware=[Middleware(UserTokenMiddleware)]
    )

    async with running(app) as state:
        answer = await call(app, headers=KNOWN, state=state)

    assert answer.status == 200
    (event,) = clients.transport.assert_events(1, kind="view", user="anonymous-1")
    assert event["authenticatedUserToken"] == "user-1"
    assert clients.transport.is_closed


async def test_a_lifespan_of_ones_own_runs_inside(clients: Clients) -> None:
    seen: list[Any] = []

    @asynccontextmanager
    async def mine(app: Any) -> AsyncIterator[dict[str, Any]]:
        yield {"database": "here"}
        seen.append(clients.transport.is_closed)

    app = Starlette(lifespan=algolia_lifespan(clients, mine))

    async with running(app) as state:
        names = set(state)

    assert names == {"database", "algolia"}
    assert seen == [False]


async def test_an_application_may_run_twice(clients: Clients) -> None:
    app = Starlette(lifespan=algolia_lifespan(clients))

    for _ in range(2):
        async with running(app):
            pass

    assert len(clients.made) == 2


def test_without_the_lifespan_an_error_says_so() -> None:
    with pytest.raises(RuntimeError, match="algolia_lifespan"):
        get_algolia(Request({"type": "http", "headers": []}))


async def test_fastapi_gives_client_and_visitor_as_parameters(clients: Clients) -> None:
    app = FastAPI(lifespan=algolia_lifespan(clients))
    app.add_middleware(UserTokenMiddleware)

    @app.get("/")
    def handler(algolia: Algolia, user: AlgoliaUser) -> bool:
        return algolia is clients.made[0] and user.clicked_object_ids("Clicked", "products", ["sku-1"])

    async with running(app) as state:
        answer = await call(app, headers=KNOWN, state=state)

    assert answer.body == b"true"
    clients.transport.assert_events(1, kind="click", user="anonymous-1", object_id="sku-1")
