"""The transport on real sockets: one request out, one answer or one translated error back, always in time."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import attrs
import pytest
import trustme
from support.server import OK, answering, read_request, reset, serve

from algolia_events._http import AiohttpTransport, _client_timeout
from algolia_events._wire import USER_AGENT, Request, Timeouts, credential_headers
from algolia_events.errors import CertificateError, ClientClosedError, TransportError

QUICK = Timeouts(total=0.5, connect=0.5, read=0.5)


def request(url: str, **changes: Any) -> Request:
    values: dict[str, Any] = {
        "method": "POST",
        "url": url,
        "headers": credential_headers("APP", "KEY"),
        "body": b'{"events":[]}',
        "timeouts": Timeouts(total=10, connect=5, read=5),
        "max_answer_bytes": 64 * 1024,
    }
    return Request(**{**values, **changes})


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    transport = AiohttpTransport()
    yield transport
    await transport.aclose()


async def test_a_request_arrives_as_it_was_built(transport: AiohttpTransport) -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(b"HTTP/1.1 422 No\r\nX-Thing: 1\r\ncontent-length: 2\r\n\r\n{}")

    async with serve(handle) as url:
        response = await transport.send(request(f"{url}/1/usertokens/a%2Fb%3D", body=b"x" * 700_000))

    head, body = seen[0]
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /1/usertokens/a%2Fb%3D HTTP/1.1"
    assert {
        "x-algolia-application-id: APP",
        "x-algolia-api-key: KEY",
        "content-type: application/json",
        f"user-agent: {USER_AGENT}",
    } <= set(lines)
    assert body == b"x" * 700_000
    assert (response.status, response.headers["x-thing"], response.body, response.complete) == (422, "1", b"{}", True)


async def test_redirects_are_not_followed(transport: AiohttpTransport) -> None:
    async with serve(answering(b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n")) as url:
        response = await transport.send(request(url))

    assert response.status == 302


async def test_no_more_of_an_answer_is_read_than_was_allowed(transport: AiohttpTransport) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    async with serve(endless) as url:
        response = await transport.send(request(url, max_answer_bytes=1000))

    assert (response.body, response.complete) == (b"x" * 1000, False)


async def test_an_error_counts_although_its_body_breaks_off(transport: AiohttpTransport) -> None:
    async with serve(answering(b"HTTP/1.1 503 No\r\ncontent-length: 100\r\n\r\nhalf")) as url:
        response = await transport.send(request(url))

    assert (response.status, response.body) == (503, b"half")


async def test_a_refused_connection_is_not_ambiguous(transport: AiohttpTransport) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))

        with pytest.raises(TransportError, match="no connection") as caught:
            await transport.send(request(f"http://127.0.0.1:{held.getsockname()[1]}"))

    assert not caught.value.ambiguous


async def test_a_name_that_does_not_resolve_is_not_ambiguous() -> None:
    class NoNames(aiohttp.abc.AbstractResolver):
        async def resolve(self, *_: Any, **__: Any) -> Any:
            raise OSError(-2, "Name or service not known")

        async def close(self) -> None:
            pass

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=NoNames())) as session:
        with pytest.raises(TransportError, match="does not resolve") as caught:
            await AiohttpTransport(session).send(request("https://insights.algolia.invalid"))

    assert not caught.value.ambiguous


@pytest.mark.parametrize("phase", ["headers", "body", "answer"])
async def test_a_reset_after_bytes_have_left_is_ambiguous(transport: AiohttpTransport, phase: str) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if phase == "headers":
            await reader.readuntil(b"\r\n\r\n")
        elif phase == "body":
            await reader.readexactly(100_000)
        else:
            await read_request(reader)
            writer.write(OK[:-1])
            await writer.drain()
        reset(writer)

    async with serve(handle) as url:
        with pytest.raises(TransportError) as caught:
            await transport.send(request(url, body=b"x" * 5_000_000))

    assert caught.value.ambiguous


async def test_a_pooled_connection_that_has_died_is_replaced_at_once(transport: AiohttpTransport) -> None:
    served: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append((await read_request(reader))[1])
        writer.write(OK)
        await writer.drain()
        await reader.read(1)

    async with serve(handle) as url:
        await transport.send(request(url, body=b"first"))
        # Nothing but the pool knows of the connection: it dies between two requests, before the loop can notice.
        session = transport._owned
        assert session is not None
        for pooled in next(iter(session.connector._conns.values())):  # type: ignore[union-attr]
            pooled[0].transport.abort()  # type: ignore[union-attr]
        response = await transport.send(request(url, body=b"second"))

    assert response.status == 200
    assert served == [b"first", b"second"]


class DyingConnections(aiohttp.TCPConnector):
    """Its first connections die as soon as they are handed out, when the pool does not look at them any more."""

    def __init__(self, dying: int) -> None:
        super().__init__()
        self._dying = dying

    async def connect(self, *args: Any, **options: Any) -> Any:
        connection = await super().connect(*args, **options)
        if self._dying:
            self._dying -= 1
            assert connection.transport is not None
            connection.transport.abort()
        return connection


async def test_connections_that_die_before_a_byte_has_left_are_replaced_at_once() -> None:
    async with serve(answering(OK)) as url, aiohttp.ClientSession(connector=DyingConnections(2)) as session:
        response = await AiohttpTransport(session).send(request(url))

    assert response.status == 200


async def test_connections_that_die_again_and_again_are_a_failure_without_a_doubt() -> None:
    async with serve(answering(OK)) as url, aiohttp.ClientSession(connector=DyingConnections(100)) as session:
        with pytest.raises(TransportError) as caught:
            await AiohttpTransport(session).send(request(url))

    assert not caught.value.ambiguous


@pytest.mark.parametrize("when", ["before the answer", "within the headers", "within an error's body"])
async def test_the_total_limit_covers_everything(transport: AiohttpTransport, when: str) -> None:
    head = {
        "before the answer": b"",
        "within the headers": b"HTTP/1.1 200 OK\r\nx-",
        "within an error's body": b"HTTP/1.1 503 No\r\ncontent-length: 99999\r\n\r\n",
    }[when]

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(head)
        while when != "before the answer":
            writer.write(b"x")
            await asyncio.sleep(0.05)
        await reader.read(1)

    async with serve(drip) as url:
        began = time.monotonic()
        try:
            outcome: Any = await transport.send(request(url, timeouts=QUICK))
        except TransportError as exc:
            outcome = exc
        lasted = time.monotonic() - began

    assert lasted < QUICK.total + 1.0
    assert outcome.status == 503 if when == "within an error's body" else outcome.ambiguous


async def test_limits_above_five_seconds_are_not_rounded_up() -> None:
    assert _client_timeout(Timeouts(total=9.3, connect=2, read=5)).ceil_threshold == float("inf")


async def test_a_certificate_that_does_not_verify_is_an_error_of_its_own(transport: AiohttpTransport) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)

    async with serve(answering(OK), ssl=context) as url:
        with pytest.raises(CertificateError, match="certificate") as caught:
            await transport.send(request(url))

    assert not caught.value.ambiguous


async def test_a_trusted_certificate_is_accepted() -> None:
    ca, context, trusting = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    ca.issue_cert("localhost").configure_cert(context)
    ca.configure_trust(trusting)
    transport = AiohttpTransport(ssl_context=trusting)

    async with serve(answering(OK), ssl=context) as url:
        response = await transport.send(request(url))
    await transport.aclose()

    assert response.body == b"{}"


async def test_a_handshake_that_is_reset_is_no_matter_of_trust(transport: AiohttpTransport) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        reset(writer)

    async with serve(handle) as url:
        with pytest.raises(TransportError) as caught:
            await transport.send(request(url.replace("http:", "https:")))

    assert not isinstance(caught.value, CertificateError)
    assert not caught.value.ambiguous


async def test_a_borrowed_session_is_used_and_stays_open() -> None:
    async with serve(answering(OK)) as url, aiohttp.ClientSession() as session:
        transport = AiohttpTransport(session)

        response = await transport.send(request(url))
        await transport.aclose()

        assert response.status == 200
        assert not session.closed


async def test_a_borrowed_session_that_was_closed_is_an_error_of_ours() -> None:
    session = aiohttp.ClientSession()
    await session.close()

    with pytest.raises(TransportError, match="session is closed") as caught:
        await AiohttpTransport(session).send(request("http://127.0.0.1:9"))

    assert not caught.value.ambiguous


async def test_errors_never_show_a_key(transport: AiohttpTransport) -> None:
    async with serve(answering(b"nonsense\r\n\r\n")) as url:
        with pytest.raises(TransportError) as caught:
            await transport.send(request(url, headers=credential_headers("APP", "secret-key")))

    assert "secret-key" not in str(caught.value)
    assert attrs.asdict(request(url))["headers"]["x-algolia-api-key"] == "KEY"


async def test_closing_twice_does_no_harm(transport: AiohttpTransport) -> None:
    await transport.aclose()
    await transport.aclose()

    with pytest.raises(ClientClosedError):
        await transport.send(request("http://127.0.0.1:9"))


async def test_a_lent_session_that_is_closed_meanwhile_is_a_failure_and_no_cancellation() -> None:
    asked = asyncio.Event()

    class Slow(aiohttp.abc.AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> Any:
            asked.set()
            await asyncio.get_running_loop().create_future()

        async def close(self) -> None:
            """There is nothing to close."""

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Slow()))
    sending = asyncio.create_task(AiohttpTransport(session).send(request("http://slow.example")))
    await asked.wait()

    await session.close()
    with pytest.raises(TransportError, match="broken off") as caught:
        await sending

    assert not caught.value.ambiguous


async def test_what_a_server_sends_instead_of_an_answer_is_quoted_briefly(transport: AiohttpTransport) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"x" * 100_000 + b"\r\n\r\n")

    async with serve(babble) as url:
        with pytest.raises(TransportError) as caught:
            await transport.send(request(url))

    assert len(str(caught.value)) < 300
