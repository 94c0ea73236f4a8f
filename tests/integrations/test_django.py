"""Django's wrapper starts the client with the lifespan, or with the first request, and closes it with either end.

Without a lifespan, the end is that of the event loop; that part runs in a process of its own, under `asyncio.run()`.
"""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from support.asgi import Clients, call, running

from algolia_events.integrations.django import AlgoliaASGI, get_algolia, get_user
from algolia_events.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
LONG_S = 40.0
WITHOUT_LIFESPAN = """
import asyncio
from examples.django_app import application
from support.asgi import call

async def main():
    answers = await asyncio.gather(*(call(application, f"/purchase/sku-{n}") for n in range(10)))
    assert [answer.status for answer in answers] == [204] * 10
    assert len({answer.cookies[0] for answer in answers}) == 10

asyncio.run(main())
"""


@pytest.fixture(scope="module", autouse=True)
def configured() -> None:
    if not settings.configured:
        settings.configure(SECRET_KEY="tests")


async def view(scope: Any, receive: Any, send: Any) -> None:
    """Stand for Django: a view that tracks."""
    request = ASGIRequest(scope, io.BytesIO())
    accepted = get_user(request).clicked_object_ids("Clicked", "products", ["sku-1"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(accepted).encode()})


async def test_with_a_lifespan_the_client_is_closed_at_its_end(clients: Clients) -> None:
    app = AlgoliaASGI(view, clients)

    async with running(app):
        answer = await call(app, headers={"cookie": "_ALGOLIA=anonymous-1"})

    assert answer.body == b"True"
    clients.transport.assert_events(1, kind="click", user="anonymous-1")
    assert clients.transport.is_closed
    assert len(clients.made) == 1


async def test_a_client_that_cannot_be_made_stops_the_server_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALGOLIA_APP_ID", "ALGOLIA_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(RuntimeError, match="ALGOLIA_APP_ID"):
        async with running(AlgoliaASGI(view)):
            pass


async def test_without_a_lifespan_the_first_request_starts_the_client_and_the_loop_closes_it() -> None:
    async with Sandbox() as sandbox:
        environment = {
            **os.environ,
            "ALGOLIA_APP_ID": "APP",
            "ALGOLIA_API_KEY": "key",
            "ALGOLIA_INSIGHTS_URL": sandbox.url,
            "SHOP_SECRET": "a secret of the tests, long enough",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        }
        with anyio.fail_after(LONG_S):
            await anyio.run_process(
                [sys.executable, "-W", "error", "-c", WITHOUT_LIFESPAN], env=environment, stderr=subprocess.STDOUT
            )

    assert sorted(event["objectIDs"][0] for event in sandbox.events) == sorted(f"sku-{n}" for n in range(10))
    assert sandbox.counts.requests == 1


def test_without_the_wrapper_an_error_says_so() -> None:
    with pytest.raises(RuntimeError, match="AlgoliaASGI"):
        get_algolia(HttpRequest())
