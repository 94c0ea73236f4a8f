"""Quart's extension holds the client while the application serves, and knows the visitor in any function."""

import pytest
from quart import Quart
from support.asgi import Clients, call, running

from algolia_events.integrations.quart import Algolia, get_algolia, get_user


@pytest.fixture
def app() -> Quart:
    app = Quart(__name__)

    @app.get("/")
    def track() -> str:  # plain: runs in a thread
        return str(get_user().clicked_object_ids("Clicked", "products", ["sku-1"]))

    return app


async def test_what_handlers_track_is_sent_when_the_application_ends(app: Quart, clients: Clients) -> None:
    Algolia(app, clients)

    async with running(app):
        answer = await call(app, headers={"cookie": "_ALGOLIA=anonymous-1"})

    assert answer.body == b"True"
    clients.transport.assert_events(1, kind="click", user="anonymous-1")
    assert clients.transport.is_closed


async def test_the_application_may_come_later(app: Quart, clients: Clients) -> None:
    extension = Algolia(make_client=clients, path="/shop")
    extension.init_app(app)

    async with running(app):
        answer = await call(app)

    assert "Path=/shop" in answer.cookies[0]


async def test_without_the_extension_an_error_says_so(app: Quart) -> None:
    async with app.app_context():
        with pytest.raises(RuntimeError, match="Algolia"):
            get_algolia()
