"""Litestar's plugin holds the client while the application runs, and gives it and the visitor to handlers."""

from typing import Any

import pytest
from litestar import Litestar, get
from litestar.connection import Request
from litestar.di import NamedDependency
from support.asgi import Clients, call, running

from algolia_events import AlgoliaEvents, User
from algolia_events.integrations.litestar import AlgoliaPlugin, get_algolia


@get("/")
async def track(algolia: NamedDependency[AlgoliaEvents], algolia_user: NamedDependency[User]) -> bool:
    return algolia.health().ok and algolia_user.clicked_object_ids("Clicked", "products", ["sku-1"])


@get("/bare", sync_to_thread=False)
def bare(request: Request[Any, Any, Any]) -> str:
    with pytest.raises(RuntimeError, match="AlgoliaPlugin"):
        get_algolia(request)
    return "an error said so"


async def test_what_handlers_track_is_sent_when_the_application_ends(clients: Clients) -> None:
    app = Litestar([track], plugins=[AlgoliaPlugin(clients)])

    async with running(app):
        answer = await call(app, headers={"cookie": "_ALGOLIA=anonymous-1"})

    assert answer.body == b"true"
    clients.transport.assert_events(1, kind="click", user="anonymous-1")
    assert clients.transport.is_closed


async def test_a_new_visitor_is_given_the_cookie(clients: Clients) -> None:
    app = Litestar([track], plugins=[AlgoliaPlugin(clients, max_age=60)])

    async with running(app):
        answer = await call(app)

    assert answer.cookies[0].startswith("_ALGOLIA=anonymous-")


async def test_without_the_plugin_an_error_says_so() -> None:
    app = Litestar([bare])

    async with running(app):
        answer = await call(app, "/bare")

    assert answer.body == b"an error said so"
