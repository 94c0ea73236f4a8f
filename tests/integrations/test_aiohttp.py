"""aiohttp.web holds the client in a cleanup context, and issues cookies with whatever answer goes out first."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from support.asgi import Clients

from algolia_events.integrations.aiohttp import algolia_ctx, get_algolia, get_user, get_user_token, setup_user_tokens


async def track(request: web.Request) -> web.Response:
    get_user(request).clicked_object_ids("Clicked", "products", ["sku-1"])
    return web.Response(text=get_user_token(request))


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(get_user_token(request).encode())
    return response


async def fail(request: web.Request) -> web.Response:
    raise web.HTTPForbidden(text=get_user_token(request))


def application(clients: Clients) -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(algolia_ctx(clients))
    app.add_routes([web.get("/", track), web.get("/stream", stream), web.get("/fail", fail)])
    return app


@pytest.fixture
async def shop(clients: Clients) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = application(clients)
    setup_user_tokens(app)
    jar = aiohttp.DummyCookieJar()
    async with TestClient(TestServer(app), cookie_jar=jar) as client:
        yield client


async def test_what_handlers_track_is_sent_when_the_application_ends(clients: Clients) -> None:
    async with TestClient(TestServer(application(clients))) as shop:
        await shop.get("/", cookies={"_ALGOLIA": "anonymous-1"})

    clients.transport.assert_events(1, kind="click", user="anonymous-1")
    assert clients.transport.is_closed


@pytest.mark.parametrize("path", ["/", "/stream", "/fail"])
async def test_a_new_visitor_is_given_a_token_and_the_cookie(
    shop: TestClient[web.Request, web.Application], path: str
) -> None:
    answer = await shop.get(path)

    assert answer.cookies["_ALGOLIA"].value == await answer.text()


async def test_a_known_visitor_keeps_his_token(shop: TestClient[web.Request, web.Application]) -> None:
    answer = await shop.get("/", headers={"Cookie": "_ALGOLIA=anonymous-1"})

    assert await answer.text() == "anonymous-1"
    assert "_ALGOLIA" not in answer.cookies


async def test_without_leave_no_cookie_is_set(clients: Clients) -> None:
    app = application(clients)
    setup_user_tokens(app, may_issue=lambda request: "consent" in request.cookies)

    async with TestClient(TestServer(app)) as shop:
        refused = await shop.get("/")
        agreed = await shop.get("/", cookies={"consent": "yes"})

    assert "_ALGOLIA" not in refused.cookies
    assert "_ALGOLIA" in agreed.cookies


async def test_a_nested_application_finds_the_client_of_the_outer(clients: Clients) -> None:
    inner = web.Application()
    inner.add_routes([web.get("/", track)])
    app = application(clients)
    setup_user_tokens(app)
    app.add_subapp("/inner", inner)

    async with TestClient(TestServer(app)) as shop:
        answer = await shop.get("/inner/")
        token = await answer.text()

    assert answer.cookies["_ALGOLIA"].value == token
    clients.transport.assert_events(1, user=token)


def test_without_the_context_an_error_says_so() -> None:
    with pytest.raises(RuntimeError, match="algolia_ctx"):
        get_algolia(make_mocked_request("GET", "/"))
