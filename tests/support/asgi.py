"""A server's part, played by hand: one request to an ASGI application, and its lifespan."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs

from algolia_events import AlgoliaEvents
from algolia_events.testing import RecordingTransport


@attrs.frozen
class Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def cookies(self) -> list[str]:
        return [value.decode() for name, value in self.headers if name == b"set-cookie"]


async def call(
    app: Any, path: str = "/", *, headers: Mapping[str, str] | None = None, state: Mapping[str, Any] | None = None
) -> Answer:
    """Send a GET request and collect the answer."""
    sent: list[dict[str, Any]] = []
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), *((n.encode(), v.encode()) for n, v in (headers or {}).items())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": dict(state or {}),
        "extensions": {},
    }
    asked = 0

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        if asked > 1:
            await asyncio.get_running_loop().create_future()  # a client that stays
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    start = next(message for message in sent if message["type"] == "http.response.start")
    return Answer(start["status"], [(bytes(n), bytes(v)) for n, v in start["headers"]], body)


@asynccontextmanager
async def running(app: Any) -> AsyncIterator[dict[str, Any]]:
    """Run an application's lifespan around a block, and give its state."""
    state: dict[str, Any] = {}
    sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
    serving = asyncio.create_task(app(scope, told.get, sent.put))
    await told.put({"type": "lifespan.startup"})
    message = await sent.get()
    if message["type"] != "lifespan.startup.complete":
        await asyncio.wait([serving])
        raise RuntimeError(message["message"]) from serving.exception()
    yield state
    await told.put({"type": "lifespan.shutdown"})
    assert (await sent.get())["type"] == "lifespan.shutdown.complete"
    await serving


class Clients:
    """Makes clients over one recording transport, as `AlgoliaEvents.from_env` makes them over a network."""

    def __init__(self) -> None:
        self.transport = RecordingTransport()
        self.made: list[AlgoliaEvents] = []

    def __call__(self) -> AlgoliaEvents:
        self.made.append(AlgoliaEvents(app_id="APP", api_key="key", transport=self.transport))
        return self.made[-1]
