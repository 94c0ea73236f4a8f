"""`InsightsClient`: the same wire without the queue; one call, one verdict."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from algolia_events import (
    ApiError,
    BadRequestError,
    ClickedObjectIDs,
    ClientClosedError,
    CredentialsError,
    InsightsClient,
    InvalidEventError,
    RateLimitedError,
    RawEvent,
    SendResult,
    TransportError,
    to_mapping,
)
from algolia_events._batching import ENVELOPE_BYTES
from algolia_events._wire import USER_AGENT
from algolia_events.sandbox import ResetInAnswer, Sandbox, Status


def click(**fields: Any) -> ClickedObjectIDs:
    values = {"event_name": "Clicked", "index": "products", "object_ids": ["sku-1"], "user_token": "anyone"}
    return ClickedObjectIDs(**{**values, **fields})


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(delete_api_key="ADMIN", api_key="SEARCH") as sandbox:
        yield sandbox


@pytest.fixture
async def insights(sandbox: Sandbox) -> AsyncIterator[InsightsClient]:
    async with InsightsClient.create("APP", "SEARCH", insights_url=sandbox.url) as insights:
        yield insights


async def test_the_example_of_the_seed_document_is_sent_at_once(sandbox: Sandbox, insights: InsightsClient) -> None:
    result = await insights.user("user-123456").clicked_object_ids(
        "Product Clicked", "YourIndexName", ["objectID-1", "objectID-2"]
    )

    assert result == SendResult(accepted=1, requests=1)
    assert sandbox.events[0]["objectIDs"] == ["objectID-1", "objectID-2"]


async def test_headers_are_those_of_the_contract(sandbox: Sandbox, insights: InsightsClient) -> None:
    await insights.send_events([click()])

    (request,) = sandbox.requests
    assert request.path == "/1/events"
    assert request.headers["user-agent"] == USER_AGENT
    assert request.headers["content-type"] == "application/json"
    assert request.credentials == "headers"


async def test_more_events_than_a_request_holds_take_several(sandbox: Sandbox, insights: InsightsClient) -> None:
    result = await insights.send_events(click(object_ids=[f"sku-{n}"]) for n in range(2500))

    assert result == SendResult(accepted=2500, requests=3)
    assert [request.events for request in sandbox.requests] == [1000, 1000, 500]


async def test_large_events_are_divided_by_bytes(sandbox: Sandbox, insights: InsightsClient) -> None:
    result = await insights.send_events(click(index="x" * 300_000) for _ in range(20))

    assert result.accepted == 20
    assert all(request.body_bytes < 2_000_000 for request in sandbox.requests)


async def test_a_request_may_be_filled_to_the_last_byte_but_one(sandbox: Sandbox, insights: InsightsClient) -> None:
    await insights.send_events([click(index="x")])
    smallest = sandbox.requests[0].body_bytes

    await insights.send_events([click(index="x" * (2_000_000 - smallest))])
    with pytest.raises(InvalidEventError, match=r"events\[0\]"):
        await insights.send_events([click(index="x" * (2_000_001 - smallest))])

    assert [request.body_bytes for request in sandbox.requests] == [smallest, 1_999_999]


async def test_what_stands_between_events_counts_as_well(sandbox: Sandbox, insights: InsightsClient) -> None:
    await insights.send_events([click(index="x")])
    padding = 1999 - (sandbox.requests[0].body_bytes - ENVELOPE_BYTES)

    await insights.send_events(click(index="x" * (1 + padding)) for _ in range(1000))

    assert len(sandbox.requests) == 3
    assert all(request.body_bytes < 2_000_000 for request in sandbox.requests)


async def test_mappings_are_checked_and_every_problem_is_named(sandbox: Sandbox, insights: InsightsClient) -> None:
    good = to_mapping(click())
    bad = {**good, "eventName": "", "userToken": 5}

    with pytest.raises(InvalidEventError) as caught:
        await insights.send_events([good, bad])

    assert [field for field, _ in caught.value.problems] == ["events[1].eventName", "events[1].userToken"]
    assert not sandbox.requests


async def test_an_event_that_no_request_can_hold_is_named(sandbox: Sandbox, insights: InsightsClient) -> None:
    with pytest.raises(InvalidEventError, match=r"events\[0\]: takes \d+ bytes"):
        await insights.send_events([click(index="x" * 2_000_000)])

    assert not sandbox.requests


@pytest.mark.parametrize("wrong", [click(), to_mapping(click()), 5, None, "events"])
async def test_what_is_no_list_is_an_error_that_says_so(insights: InsightsClient, wrong: Any) -> None:
    with pytest.raises(InvalidEventError, match="expected a list of events"):
        await insights.send_events(wrong)


async def test_what_is_no_event_is_named_by_its_place(sandbox: Sandbox, insights: InsightsClient) -> None:
    with pytest.raises(InvalidEventError, match=r"events\[1\]"):
        await insights.send_events([click(), 5])  # type: ignore[list-item]

    assert not sandbox.requests


async def test_a_closed_client_sends_nothing(sandbox: Sandbox) -> None:
    insights = InsightsClient.create("APP", "SEARCH", insights_url=sandbox.url)
    await insights.aclose()

    with pytest.raises(ClientClosedError):
        await insights.send_events([click()])


async def test_nothing_to_send_is_an_error(insights: InsightsClient) -> None:
    with pytest.raises(InvalidEventError, match="at least one"):
        await insights.send_events([])


async def test_a_raw_event_goes_past_the_rules(sandbox: Sandbox, insights: InsightsClient) -> None:
    with pytest.raises(BadRequestError, match="EventType is required"):
        await insights.send_events([RawEvent({**to_mapping(click()), "eventType": ""})])

    assert not sandbox.events


async def test_a_failure_says_how_much_had_been_accepted(sandbox: Sandbox, insights: InsightsClient) -> None:
    sandbox.script([None, Status(503)])

    with pytest.raises(ApiError, match="503") as caught:
        await insights.send_events([click()] * 1500)

    assert caught.value.retriable
    assert caught.value.__notes__ == ["1000 events had been accepted in requests before this one"]


async def test_a_broken_connection_says_whether_the_events_may_have_arrived(
    sandbox: Sandbox, insights: InsightsClient
) -> None:
    sandbox.faults.add(ResetInAnswer())

    with pytest.raises(TransportError) as caught:
        await insights.send_events([click()])

    assert caught.value.ambiguous
    assert len(sandbox.events) == 1


async def test_a_wrong_key_is_an_error_of_its_own(sandbox: Sandbox) -> None:
    async with InsightsClient.create("APP", "wrong-key", insights_url=sandbox.url) as insights:
        with pytest.raises(CredentialsError, match="Invalid credentials") as caught:
            await insights.send_events([click()])

    assert "wrong-key" not in str(caught.value)


async def test_a_user_is_deleted_with_a_key_of_its_own(sandbox: Sandbox, insights: InsightsClient) -> None:
    await insights.delete_user_token("a/b+c=", api_key="ADMIN")
    with pytest.raises(CredentialsError):
        await insights.delete_user_token("a/b+c=")

    assert sandbox.deleted_tokens == ("a/b+c=",)
    assert sandbox.requests[0].path == "/1/usertokens/a%2Fb%2Bc%3D"


async def test_an_illegal_token_is_not_sent(sandbox: Sandbox, insights: InsightsClient) -> None:
    with pytest.raises(InvalidEventError):
        await insights.delete_user_token("../events", api_key="ADMIN")

    assert not sandbox.requests


async def test_too_many_deletions_are_an_error_that_says_when_to_come_back() -> None:
    async with (
        Sandbox(delete_api_key="ADMIN", deletes_per_minute=0) as sandbox,
        InsightsClient.create("APP", "ADMIN", insights_url=sandbox.url) as insights,
    ):
        with pytest.raises(RateLimitedError) as caught:
            await insights.delete_user_token("anyone")

    assert caught.value.retriable
    assert caught.value.retry_after is not None
    assert 0 <= caught.value.retry_after <= 60
    assert re.search(r"the server asks for a pause of \d+ s$", str(caught.value))


@pytest.mark.parametrize(
    ("headers", "pause"), [({"retry-after": "7.5"}, 7.5), ({"retry-after": "soon"}, None), ({}, None)]
)
async def test_the_pause_is_the_server_s_and_none_where_it_names_none(
    sandbox: Sandbox, insights: InsightsClient, headers: dict[str, str], pause: float | None
) -> None:
    sandbox.faults.add(Status(429, headers))

    with pytest.raises(RateLimitedError) as caught:
        await insights.delete_user_token("anyone", api_key="ADMIN")

    assert caught.value.retry_after == pause
    assert ("pause of 8 s" in str(caught.value)) is (pause is not None)


async def test_a_refusal_that_no_waiting_helps_names_no_pause(sandbox: Sandbox, insights: InsightsClient) -> None:
    sandbox.faults.add(Status(422, {"x-ratelimit-reset": "99999999999"}))

    with pytest.raises(BadRequestError) as caught:
        await insights.delete_user_token("anyone", api_key="ADMIN")

    assert caught.value.retry_after is None
