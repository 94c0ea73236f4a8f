"""`AlgoliaEvents` puts the parts together, reads the environment only when asked, and owns what it opened."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import anyio
import pytest

from algolia_events import (
    AlgoliaEvents,
    ClickedObjectIDs,
    ConfigurationError,
    HealthState,
    InvalidEventError,
    QueueOptions,
    RetryOptions,
)
from algolia_events.sandbox import Sandbox

CREDENTIALS: dict[str, Any] = {"app_id": "APP", "api_key": "KEY"}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        yield sandbox


def click() -> ClickedObjectIDs:
    return ClickedObjectIDs(event_name="Clicked", index="products", object_ids=["sku-1"], user_token="anyone")


async def test_the_example_of_the_seed_document_works_through_the_queue(sandbox: Sandbox) -> None:
    async with AlgoliaEvents(**CREDENTIALS, insights_url=sandbox.url) as insights:
        insights.user("user-123456").clicked_object_ids(
            "Product Clicked", "YourIndexName", ["objectID-1", "objectID-2"]
        )

    (event,) = sandbox.events
    del event["timestamp"]  # type: ignore[attr-defined]
    assert event == {
        "eventType": "click",
        "eventName": "Product Clicked",
        "index": "YourIndexName",
        "objectIDs": ["objectID-1", "objectID-2"],
        "userToken": "user-123456",
    }


async def test_making_one_has_no_side_effects() -> None:
    before = asyncio.all_tasks()

    client = AlgoliaEvents(**CREDENTIALS)

    assert asyncio.all_tasks() == before
    assert (await client.aclose()).dropped == 0


def test_one_can_be_made_without_a_loop() -> None:
    client = AlgoliaEvents(**CREDENTIALS, region="de")

    assert client.stats().tracked == 0
    assert client.health().ok


async def test_events_tracked_before_the_start_are_sent(sandbox: Sandbox) -> None:
    client = AlgoliaEvents(**CREDENTIALS, insights_url=sandbox.url)
    client.events.track(click())

    async with client:
        pass

    assert len(sandbox.events) == 1


async def test_the_environment_is_read_on_request(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    monkeypatch.setenv("ALGOLIA_APP_ID", "FROM-ENV")
    monkeypatch.setenv("ALGOLIA_API_KEY", "KEY-FROM-ENV")
    monkeypatch.setenv("ALGOLIA_INSIGHTS_URL", sandbox.url)
    monkeypatch.setenv("ALGOLIA_RECOMMEND_URL", sandbox.url)

    async with AlgoliaEvents.from_env() as client:
        recommendations = await client.recommend.related_products("products", object_id="sku-1", threshold=0)
        await client.events.deliver(click(), timeout=10)

    assert recommendations.hits
    assert {request.headers["x-algolia-application-id"] for request in sandbox.requests} == {"FROM-ENV"}


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({}, "ALGOLIA_APP_ID and ALGOLIA_API_KEY"),
        ({"ALGOLIA_APP_ID": "A"}, "lacks ALGOLIA_API_KEY"),
        ({"ALGOLIA_APP_ID": "A", "ALGOLIA_API_KEY": ""}, "lacks ALGOLIA_API_KEY"),
        ({"ALGOLIA_APP_ID": "A", "ALGOLIA_API_KEY": "K", "ALGOLIA_REGION": "eu"}, "region"),
        ({"ALGOLIA_APP_ID": "A", "ALGOLIA_API_KEY": "K", "ALGOLIA_INSIGHTS_URL": "http://x.example"}, "insights_url"),
    ],
)
def test_what_the_environment_lacks_is_named(environ: dict[str, str], missing: str) -> None:
    with pytest.raises(ConfigurationError, match=missing):
        AlgoliaEvents.from_env(environ)


def test_options_win_over_the_environment() -> None:
    client = AlgoliaEvents.from_env({"ALGOLIA_APP_ID": "A", "ALGOLIA_REGION": "eu"}, api_key="K", region="us")

    assert client.health().ok, "the region of the environment is unknown, and would have been refused"


@pytest.mark.parametrize(
    "options", [{"region": "eu"}, {"insights_url": "http://example.com"}, {"recommend_urls": ["http://example.com"]}]
)
def test_a_wrong_option_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        AlgoliaEvents(**CREDENTIALS, **options)


async def test_a_borrowed_session_is_used_and_stays_open(sandbox: Sandbox) -> None:
    async with aiohttp.ClientSession() as session:
        async with AlgoliaEvents(**CREDENTIALS, insights_url=sandbox.url, session=session) as client:
            await client.events.deliver(click(), timeout=10)

        assert not session.closed


async def test_another_key_sends_what_waited_for_it() -> None:
    async with Sandbox(api_key="RIGHT") as sandbox:
        queue = QueueOptions(linger=0.0)
        async with AlgoliaEvents(app_id="A", api_key="WRONG", insights_url=sandbox.url, queue=queue) as client:
            client.events.track(click())
            report = await client.events.flush(timeout=0.3)
            blocked = client.health()
            before = len(sandbox.requests)

            client.set_api_key("RIGHT")
            after = await client.events.flush(timeout=10)

        assert (report.pending, report.timed_out) == (1, True)
        assert blocked.state is HealthState.BLOCKED
        assert blocked.reason == "401: Invalid credentials"
        assert before == 1
        assert (after.delivered, after.dropped) == (1, 0)


async def test_start_and_close_belong_to_no_task(sandbox: Sandbox) -> None:
    client = AlgoliaEvents(**CREDENTIALS, insights_url=sandbox.url)
    stack = AsyncExitStack()
    await asyncio.create_task(stack.enter_async_context(client))
    client.events.track(click())

    await asyncio.create_task(stack.aclose())

    assert len(sandbox.events) == 1


async def test_a_cancelled_block_still_sends_what_it_holds(sandbox: Sandbox) -> None:
    with anyio.move_on_after(0.05) as scope:
        async with AlgoliaEvents(**CREDENTIALS, insights_url=sandbox.url) as client:
            client.events.track(click())
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert len(sandbox.events) == 1


async def test_a_user_with_an_illegal_token_cannot_be_made() -> None:
    client = AlgoliaEvents(**CREDENTIALS)

    with pytest.raises(InvalidEventError, match="user_token") as caught:
        client.user("mail@example.com")

    assert "mail@example.com" not in str(caught.value)


async def test_a_page_of_recommendations_leads_to_an_attributed_click(sandbox: Sandbox) -> None:
    urls: dict[str, Any] = {"insights_url": sandbox.url, "recommend_urls": [sandbox.url]}
    async with AlgoliaEvents(**CREDENTIALS, **urls, retry=RetryOptions(attempt_timeout=30)) as client:
        user = client.user("anonymous-1", authenticated_user_token="user-123456")
        recs = await user.related_products("products", object_id="sku-1", threshold=0, analytics_tags=["web"])
        client.events.track(recs.hits[2].clicked("Product Clicked"))

    (attribution,) = sandbox.attributions
    assert attribution.attributed
    assert attribution.event["positions"] == [3]
    assert attribution.event["authenticatedUserToken"] == "user-123456"
