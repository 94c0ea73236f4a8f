"""The ledger keeps what happened within its bounds, without secrets, and tells whoever waits or listens."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from algolia_events.sandbox import (
    EventsAccepted,
    EventsRejected,
    Notice,
    RequestAnswered,
    RequestReceived,
    Sandbox,
    SandboxTimeoutError,
    Subscription,
    TokenDeleted,
    key_digest,
)

Click = Callable[..., dict[str, Any]]


async def send(client: aiohttp.ClientSession, sandbox: Sandbox, *events: Any, **options: Any) -> int:
    async with client.post(f"{sandbox.url}/1/events", json={"events": list(events)}, **options) as answer:
        await answer.read()
        return answer.status


async def test_a_request_is_remembered(sandbox: Sandbox, client: aiohttp.ClientSession, click: Click) -> None:
    await send(client, sandbox, click(), headers={"User-Agent": "Algolia for Python (1.0)"})

    (request,) = sandbox.requests
    assert (request.number, request.api, request.method, request.path) == (1, "insights", "POST", "/1/events")
    assert (request.status, request.events, request.credentials) == (200, 1, "headers")
    assert (request.body_complete, request.fault) == (True, None)
    assert request.headers["user-agent"] == "Algolia for Python (1.0)"
    assert request.body_bytes == int(request.headers["content-length"])
    assert request.answered_at is not None
    assert request.answered_at >= request.received_at


async def test_credentials_are_remembered_as_digests(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    await send(client, sandbox, click(), headers={"x-algolia-api-key": "a-secret", "authorization": "a-secret"})

    (request,) = sandbox.requests
    assert "a-secret" not in repr(request)
    assert "a-secret" not in caplog.text
    assert request.headers["x-algolia-api-key"] == key_digest("a-secret")
    assert key_digest("a-secret") != key_digest("another")


async def test_only_the_latest_is_kept(client: aiohttp.ClientSession, click: Click) -> None:
    async with Sandbox(max_kept=2) as sandbox:
        for number in range(4):
            await send(client, sandbox, click(userToken=f"user-{number}"))
            await send(client, sandbox, number)

    assert [event["userToken"] for event in sandbox.events] == ["user-2", "user-3"]
    assert [event for rejection in sandbox.rejected for event in rejection.events] == [2, 3]
    assert [request.number for request in sandbox.requests] == [7, 8]
    assert (sandbox.counts.requests, sandbox.counts.events, sandbox.counts.rejected_events) == (8, 4, 4)


def test_keeping_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="max_kept"):
        Sandbox(max_kept=0)


async def test_waiting_for_events_ends_when_they_are_there(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    waiting = asyncio.create_task(sandbox.wait_for(3))

    await send(client, sandbox, click(), click())
    too_early = waiting.done()
    await send(client, sandbox, click())
    await waiting

    assert not too_early
    assert sandbox.counts.events == 3


async def test_waiting_in_vain_says_what_happened(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    await send(client, sandbox, click())

    with pytest.raises(SandboxTimeoutError) as timeout:
        await sandbox.wait_for(2, timeout=0.01)

    assert timeout.value.counts.events == 1


async def test_a_condition_that_fails_fails_for_its_waiter_only(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    def is_so() -> bool:
        return bool(sandbox.requests) and sandbox.requests[0].missing  # type: ignore[attr-defined]

    waiting = asyncio.create_task(sandbox.wait_for(is_so))

    status = await send(client, sandbox, click())

    with pytest.raises(AttributeError):
        await waiting
    assert status == 200


async def test_subscribers_are_told_in_order(client: aiohttp.ClientSession, click: Click) -> None:
    async with Sandbox() as sandbox:
        with sandbox.subscribe() as notices:
            await send(client, sandbox, click())
            await send(client, sandbox, 1)
            await client.delete(f"{sandbox.url}/1/usertokens/a")
            first = [await anext(notices) for _ in range(9)]

    kinds = [type(notice) for notice in first]
    assert kinds == [
        *(RequestReceived, EventsAccepted, RequestAnswered),
        *(RequestReceived, EventsRejected, RequestAnswered),
        *(RequestReceived, TokenDeleted, RequestAnswered),
    ]
    accepted = first[1]
    assert isinstance(accepted, EventsAccepted)
    assert accepted.attributions == sandbox.attributions


async def test_a_slow_subscriber_misses_the_oldest(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    with sandbox.subscribe(max_waiting=2) as notices:
        await send(client, sandbox, click())
        first = await anext(notices)

    assert isinstance(first, EventsAccepted)
    assert notices.missed == 1


async def test_a_subscription_ends_with_the_sandbox() -> None:
    sandbox = Sandbox()

    with sandbox.subscribe() as notices:
        async with sandbox:
            reading = asyncio.create_task(_all(notices))
        read = await reading

    assert read == []


async def test_a_subscription_ends_with_its_context(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    with sandbox.subscribe() as notices:
        await send(client, sandbox, click())

    await send(client, sandbox, click())
    read = await _all(notices)

    assert len(read) == 3


async def _all(notices: Subscription[Notice]) -> list[Notice]:
    return [notice async for notice in notices]


async def test_a_subscription_to_a_closed_sandbox_is_empty() -> None:
    async with Sandbox() as sandbox:
        pass

    with sandbox.subscribe() as notices:
        read = await _all(notices)

    assert read == []
