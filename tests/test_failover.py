"""A call goes on to the next host until one answers, and later calls begin with the one that did."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import web
from support.recommend_server import RecommendServer, recommend_server

from algolia_events import errors
from algolia_events._http import AiohttpTransport
from algolia_events._recommend import RecommendClient
from algolia_events.config import RetryOptions

QUICK = RetryOptions(attempt_timeout=5.0, connect_timeout=1.0, read_timeout=0.3)


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    transport = AiohttpTransport()
    yield transport
    await transport.aclose()


@pytest.fixture
def refusing_url() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@asynccontextmanager
async def raw_server(answer: bytes | None) -> AsyncIterator[RecommendServer]:
    """Take a request, then reset the connection (None) or answer with the bytes given and hang."""
    received: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        received.append(next(line.split(": ")[1] for line in head.decode().split("\r\n") if "request-id" in line))
        if answer is None:
            writer.transport.abort()
            return
        writer.write(answer)
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield RecommendServer(url, received)  # type: ignore[arg-type]


def client_of(urls: list[str], transport: AiohttpTransport) -> RecommendClient:
    return RecommendClient(transport, app_id="APP", api_key="key", urls=urls, retry=QUICK)


async def test_a_call_passes_refusing_failing_hanging_and_resetting_hosts_with_one_request_id(
    transport: AiohttpTransport, refusing_url: str
) -> None:
    async with AsyncExitStack() as stack:
        failing = await stack.enter_async_context(recommend_server(lambda _: web.Response(status=503)))
        hanging = await stack.enter_async_context(raw_server(b""))
        dripping = await stack.enter_async_context(raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"))
        resetting = await stack.enter_async_context(raw_server(None))
        healthy = await stack.enter_async_context(recommend_server())
        nowhere = "http://no-such-host.invalid"
        dead = [failing, hanging, dripping, resetting]
        client = client_of([refusing_url, nowhere, *(server.url for server in dead), healthy.url], transport)

        first = await client.trending_items("i", threshold=0)
        second = await client.trending_items("i", threshold=0)

        request_ids = [request.headers["request-id"] for request in healthy.received]
        assert first.hits == second.hits
        assert len(set(request_ids)) == 2
        assert failing.received[0].headers["request-id"] == request_ids[0]
        assert hanging.received == dripping.received == resetting.received == [request_ids[0]]  # type: ignore[comparison-overlap]
        assert [len(server.received) for server in dead] == [1, 1, 1, 1]


async def test_a_refusal_of_the_request_itself_is_final(transport: AiohttpTransport) -> None:
    async with recommend_server(lambda _: web.Response(status=404)) as refusing, recommend_server() as healthy:
        client = client_of([refusing.url, healthy.url], transport)

        for _ in range(2):
            with pytest.raises(errors.NotFoundError):
                await client.trending_items("i", threshold=0)

        assert (len(refusing.received), len(healthy.received)) == (2, 0)


async def test_when_no_host_answers_the_error_names_what_each_did_and_the_next_call_tries_again(
    transport: AiohttpTransport, refusing_url: str
) -> None:
    async with raw_server(None) as resetting:
        client = client_of([refusing_url, resetting.url], transport)

        for _ in range(2):
            with pytest.raises(errors.UnreachableError) as caught:
                await client.trending_items("i", threshold=0)

        assert [host for host, _ in caught.value.attempts] == [refusing_url, resetting.url]
        assert len(resetting.received) == 2
        assert "key" not in str(caught.value)


async def test_when_a_host_failed_with_an_answer_its_words_are_given_and_all_attempts_are_the_cause(
    transport: AiohttpTransport, refusing_url: str
) -> None:
    def fail(_: object) -> web.Response:
        return web.json_response({"message": "Out of order"}, status=503)

    async with recommend_server(fail) as failing:
        client = client_of([failing.url, refusing_url], transport)

        with pytest.raises(errors.ServerError, match="Out of order") as caught:
            await client.trending_items("i", threshold=0)

        cause = caught.value.__cause__
        assert isinstance(cause, errors.UnreachableError)
        assert cause.attempts[0] == (failing.url, "503")


async def test_hosts_that_are_back_are_used_again_when_all_were_down(transport: AiohttpTransport) -> None:
    statuses = [503, 503]

    async with AsyncExitStack() as stack:

        def answer(request: object) -> web.Response:
            if statuses:
                return web.Response(status=statuses.pop())
            return web.json_response({"results": [{"hits": []}]})

        servers = [await stack.enter_async_context(recommend_server(answer)) for _ in range(2)]
        client = client_of([server.url for server in servers], transport)

        with pytest.raises(errors.ServerError):
            await client.trending_items("i", threshold=0)
        recs = await client.trending_items("i", threshold=0)

        assert recs.hits == ()
        assert sum(len(server.received) for server in servers) == 3


async def test_an_answer_longer_than_allowed_is_refused(transport: AiohttpTransport) -> None:
    body = b'{"results":[' + b" " * (33 * 1024 * 1024) + b"]}"

    async with recommend_server(lambda _: web.Response(body=body)) as server:
        client = RecommendClient(transport, app_id="APP", api_key="key", urls=[server.url])

        with pytest.raises(errors.AnswerError, match="cut"):
            await client.trending_items("i", threshold=0)
