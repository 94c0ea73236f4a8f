"""Each framework's example runs under its real server, in threads too; after SIGTERM every event is at the sandbox.

A browser's part is played by a client that keeps cookies: recommendations, a click through a signed token, purchases.
A token that is forged or missing is the fault of whoever sent it: 400.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from algolia_events.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
LONG_S = 40.0  # a start of Python under load; nothing waits for it otherwise
VISITORS = 4
PURCHASES = 5
UVICORN = ("-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--no-access-log")
HYPERCORN = ("-m", "hypercorn", "--bind", "127.0.0.1:{port}")
GUNICORN = ("-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "-k", "uvicorn_worker.UvicornWorker")
COMMANDS = {
    "starlette-uvicorn": (*UVICORN, "examples.starlette_app:app"),
    "starlette-hypercorn": (*HYPERCORN, "examples.starlette_app:app"),
    "fastapi-uvicorn": (*UVICORN, "examples.fastapi_app:app"),
    "fastapi-gunicorn": (*GUNICORN, "examples.fastapi_app:app"),
    "fastapi-gunicorn-preload": (*GUNICORN, "--preload", "examples.fastapi_app:app"),
    "aiohttp-runner": ("examples/aiohttp_app.py",),
    "litestar-uvicorn": (*UVICORN, "examples.litestar_app:app"),
    "quart-hypercorn": (*HYPERCORN, "examples.quart_app:app"),
    "django-uvicorn": (*UVICORN, "examples.django_app:application"),
    "django-gunicorn": (*GUNICORN, "examples.django_app:application"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
async def test_every_event_arrives_after_sigterm(command: tuple[str, ...]) -> None:
    async with Sandbox() as sandbox, server(command, sandbox) as url:
        await asyncio.gather(*(visit(url, f"sku-{number}") for number in range(VISITORS)))
        await visit_with_cookie(url, "anonymous-known")
        refused = [await click_with(url, params) for params in ({"token": "forged"}, {})]

    assert refused == [400, 400]
    sandbox.assert_nothing_rejected()
    sandbox.assert_events(VISITORS * PURCHASES + 1, kind="purchase", index="products", name="Product Purchased")
    sandbox.assert_events(1, kind="purchase", user="anonymous-known")
    clicks = sandbox.assert_attributed(kind="click", model="related-products")
    assert len(clicks) == VISITORS
    assert len({one.event["userToken"] for one in clicks}) == VISITORS
    assert len(sandbox.events) == VISITORS * (PURCHASES + 1) + 1


async def visit(url: str, object_id: str) -> None:
    """Come without a cookie, look, click the second recommendation, buy; all as one user."""
    async with browser(url) as session:
        async with session.get(f"{url}/related/sku-1") as answer:
            hits = await answer.json()
            assert answer.cookies["_ALGOLIA"].value.startswith("anonymous-")
        async with session.post(f"{url}/click", params={"token": hits[1]["token"]}) as answer:
            assert answer.status == 204
            assert "_ALGOLIA" not in answer.cookies
        for _ in range(PURCHASES):
            async with session.post(f"{url}/purchase/{object_id}") as answer:
                assert answer.status == 204


async def visit_with_cookie(url: str, token: str) -> None:
    """Come with the cookie that Algolia's own library has set, and buy."""
    async with (
        browser(url, cookies={"_ALGOLIA": token}) as session,
        session.post(f"{url}/purchase/bought-by-known") as answer,
    ):
        assert "_ALGOLIA" not in answer.cookies


async def click_with(url: str, params: dict[str, str]) -> int:
    """Click with a token that nobody gave out, or with none; return the status."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LONG_S)) as session,
        session.post(f"{url}/click", params=params) as answer,
    ):
        return answer.status


def browser(url: str, cookies: dict[str, str] | None = None) -> aiohttp.ClientSession:
    # Browsers take "Secure" cookies from a local address without TLS, as does this jar.
    jar = aiohttp.CookieJar(unsafe=True, treat_as_secure_origin=[url])
    return aiohttp.ClientSession(
        cookie_jar=jar, cookies=cookies, raise_for_status=True, timeout=aiohttp.ClientTimeout(total=LONG_S)
    )


@asynccontextmanager
async def server(command: tuple[str, ...], sandbox: Sandbox) -> AsyncIterator[str]:
    """Run a server in a process of its own, and end it with SIGTERM; it must go in peace."""
    port = free_port()
    environment = {
        **os.environ,
        "ALGOLIA_APP_ID": "APP",
        "ALGOLIA_API_KEY": "key",
        "ALGOLIA_INSIGHTS_URL": sandbox.url,
        "ALGOLIA_RECOMMEND_URL": sandbox.url,
        "SHOP_SECRET": "a secret of the tests, long enough",
        "PORT": str(port),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "default",
    }
    arguments = [sys.executable, *(part.format(port=port) for part in command)]
    # A file and not a pipe: nothing has to read along, nor to wait for workers that hold its other end.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=output, stderr=output)  # noqa: ASYNC220 - takes a millisecond
        try:
            await accepting(port, process)
            yield f"http://127.0.0.1:{port}"
            process.send_signal(signal.SIGTERM)
            await anyio.to_thread.run_sync(process.wait, LONG_S)
        finally:
            process.kill()
            process.wait()
            output.seek(0)
            text = output.read().decode()
            sys.stdout.write(text)
    assert "Traceback" not in text
    assert "Warning" not in text


async def accepting(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Return when the server takes connections; shown by trying, since gunicorn warns of a socket handed down to it."""
    with anyio.fail_after(LONG_S):
        while process.poll() is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            await writer.wait_closed()
            return
    pytest.fail("the server has ended")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: Any = probe.getsockname()[1]
    return int(port)
