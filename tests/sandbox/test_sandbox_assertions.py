"""The sandbox's assertions hold, or say what there was instead."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from algolia_events.sandbox import Events, Reason, Sandbox

Click = Callable[..., dict[str, Any]]


async def send(client: aiohttp.ClientSession, sandbox: Sandbox, *events: Any) -> None:
    async with client.post(f"{sandbox.url}/1/events", json={"events": events}) as answer:
        await answer.read()


async def test_events_can_be_chosen_among(sandbox: Sandbox, client: aiohttp.ClientSession, click: Click) -> None:
    await send(client, sandbox, click(), click(userToken="user-2"), click(eventType="view", userToken="user-2"))

    chosen = sandbox.events(kind="click", user="user-2")

    assert isinstance(chosen, Events)
    assert len(chosen) == 1
    assert sandbox.assert_events(2, user="user-2") == sandbox.events[1:]


async def test_attributed_events(sandbox: Sandbox, client: aiohttp.ClientSession, click: Click) -> None:
    query_id = sandbox.give_query_id(index="products", object_ids=["sku-1"], user_token="user-1")
    await send(client, sandbox, click(queryID=query_id, positions=[1]), click(userToken="user-2"))

    (judged,) = sandbox.assert_attributed(user="user-1", model="search")
    sandbox.assert_not_attributed(Reason.NO_QUERY_ID, user="user-2")

    assert judged.event["queryID"] == query_id
    with pytest.raises(AssertionError, match=r"1 of 2 .* click 'Product Clicked' on products \[sku-1\]: no query ID"):
        sandbox.assert_attributed()
    with pytest.raises(AssertionError, match="attributed to search, not related-products"):
        sandbox.assert_attributed(user="user-1", model="related-products")
    with pytest.raises(AssertionError, match="'attributed' instead of not attributed"):
        sandbox.assert_not_attributed(user="user-1")
    with pytest.raises(AssertionError, match="'no query ID' instead of 'object stands at another position'"):
        sandbox.assert_not_attributed(Reason.WRONG_POSITION, user="user-2")


async def test_no_event_at_all_is_not_attributed(sandbox: Sandbox) -> None:
    with pytest.raises(AssertionError, match="no event matches kind='click'; received were none"):
        sandbox.assert_attributed(kind="click")


async def test_refused_requests(sandbox: Sandbox, client: aiohttp.ClientSession, click: Click) -> None:
    sandbox.assert_nothing_rejected()

    await send(client, sandbox, click(value=1))

    with pytest.raises(AssertionError, match=r"1 requests were refused: 422 Invalid payload \(value: not a field"):
        sandbox.assert_nothing_rejected()


def look(sandbox: Sandbox, is_over: threading.Event) -> int:
    most = 0
    while not is_over.wait(0.0002):  # which lets the event loop have its turns
        most = max(most, len(sandbox.events), len(sandbox.requests))
    return most


async def test_another_thread_may_look_while_events_arrive(client: aiohttp.ClientSession, click: Click) -> None:
    is_over = threading.Event()
    async with Sandbox(max_kept=500) as sandbox:
        looking = asyncio.ensure_future(asyncio.to_thread(look, sandbox, is_over))
        for _ in range(20):
            await send(client, sandbox, *[click()] * 200)
        is_over.set()
        most = await looking

    assert most <= 500
    assert len(sandbox.events) == 500
