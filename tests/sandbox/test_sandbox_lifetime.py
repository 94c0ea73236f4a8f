"""The sandbox starts where it may, serves TLS and pages of others, and stops promptly whatever is under way."""

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web

from algolia_events.sandbox import SANDBOX, EndlessBody, Hang, ResetOnConnect, Sandbox

Click = Callable[..., dict[str, Any]]
PROMPTLY_S = 5.0  # nothing below waits for less than the 20 s of the client, or for ever
HEAD = b"POST /1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n"


async def test_leaving_ends_what_is_under_way(client: aiohttp.ClientSession, click: Click) -> None:
    tasks_before = asyncio.all_tasks()
    outcomes: list[asyncio.Task[Any]] = []

    async with Sandbox(latency=60) as sandbox:
        sandbox.script([Hang(), EndlessBody(), None])
        url = f"{sandbox.url}/1/events"
        outcomes += [asyncio.create_task(client.post(url, json={"events": [click()]})) for _ in range(3)]
        reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
        writer.write(HEAD + b"12345")
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
        await sandbox.wait_for(lambda: len(sandbox.requests) == 4)
        started = time.monotonic()
    took = time.monotonic() - started

    answers = await asyncio.gather(*outcomes, return_exceptions=True)
    ends = await asyncio.gather(reader.read(), idle_reader.read(), return_exceptions=True)
    for stream in (writer, idle_writer):
        stream.close()
    for answer in answers:
        if isinstance(answer, aiohttp.ClientResponse):
            answer.close()
    assert took < PROMPTLY_S
    assert all(end == b"" or isinstance(end, ConnectionResetError) for end in ends)
    assert asyncio.all_tasks() == tasks_before


async def test_a_sandbox_is_entered_once() -> None:
    async with Sandbox() as sandbox:
        pass

    with pytest.raises(RuntimeError, match="only once"):
        await sandbox.__aenter__()


async def test_a_port_can_be_chosen_and_is_free_afterwards(sandbox: Sandbox) -> None:
    async with Sandbox() as first:
        port = first.port

    async with Sandbox(port=port) as second:
        url = second.url

    assert url == f"http://127.0.0.1:{port}"


async def test_a_port_in_use_is_an_error(sandbox: Sandbox) -> None:
    with pytest.raises(OSError, match="in use"):
        async with Sandbox(port=sandbox.port):
            pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.com", ""])
def test_other_hosts_than_loopback_are_refused(host: str) -> None:
    with pytest.raises(ValueError, match="allow_remote"):
        Sandbox(host=host)


async def test_other_hosts_are_allowed_when_asked_for(client: aiohttp.ClientSession) -> None:
    async with (
        Sandbox(host="0.0.0.0", allow_remote=True) as sandbox,
        client.get(f"http://127.0.0.1:{sandbox.port}/elsewhere") as answer,
    ):
        status = answer.status

    assert status == 404


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def test_https(client: aiohttp.ClientSession, click: Click, authority: trustme.CA, server_tls: Any) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async with Sandbox(ssl_context=server_tls) as sandbox:
        url = f"{sandbox.url}/1/events"
        async with client.post(url, json={"events": [click()]}, ssl=trusting) as answer:
            status = answer.status
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await client.post(url, json={"events": [click()]})
        sandbox.faults.add(ResetOnConnect())
        async with aiohttp.ClientSession() as fresh:
            with pytest.raises(aiohttp.ClientConnectionError):
                await fresh.post(url, ssl=trusting)

    assert url.startswith("https://127.0.0.1:")
    assert status == 200
    assert len(sandbox.events) == 1


async def test_a_hang_over_https_ends_with_the_sandbox(
    client: aiohttp.ClientSession, authority: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async with Sandbox(ssl_context=server_tls) as sandbox:
        sandbox.faults.add(Hang())
        hanging = asyncio.create_task(client.post(f"{sandbox.url}/1/events", data=b"{}", ssl=trusting))
        await sandbox.wait_for(lambda: bool(sandbox.requests) and sandbox.requests[0].body_complete)

    with pytest.raises(aiohttp.ClientConnectionError):
        await hanging


async def test_pages_of_others_are_served_and_not_recorded(client: aiohttp.ClientSession) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text=str(request.app[SANDBOX].counts.requests))

    async with Sandbox(routes=[web.get("/", page)]) as sandbox, client.get(sandbox.url) as answer:
        text = await answer.text()

    assert text == "0"
    assert sandbox.requests == ()
