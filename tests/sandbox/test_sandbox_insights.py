"""The Insights API over HTTP: what is accepted is kept, and every refusal has its documented status and message."""

import gzip
import io
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson
import pytest

from algolia_events.sandbox import Sandbox

Click = Callable[..., dict[str, Any]]


async def send(client: aiohttp.ClientSession, sandbox: Sandbox, events: list[Any], **options: Any) -> tuple[int, Any]:
    async with client.post(f"{sandbox.url}/1/events", json={"events": events}, **options) as answer:
        return answer.status, await answer.json()


async def test_a_batch_is_accepted_and_kept_in_order(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    events = [click(userToken=f"user-{number}") for number in range(1000)]

    answer = await send(client, sandbox, events)

    assert answer == (200, {"status": 200, "message": "OK"})
    assert list(sandbox.events) == events
    assert sandbox.requests[-1].events == 1000


async def test_one_bad_event_refuses_the_whole_batch(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    events = [click(), click(), click(userToken="a b")]

    status, document = await send(client, sandbox, events)

    assert (status, document["status"]) == (422, 422)
    assert document["message"].startswith("UserToken must contain only")
    assert sandbox.events == ()
    (rejection,) = sandbox.rejected
    assert (list(rejection.events), rejection.position, rejection.message) == (events, 2, document["message"])


async def test_a_test_can_have_valid_events_refused(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    sandbox.reject = lambda event: "Not this one" if event["eventName"] == "Poison" else None

    refused = await send(client, sandbox, [click(), click(eventName="Poison")])
    accepted = await send(client, sandbox, [click()])

    assert refused == (422, {"status": 422, "message": "Not this one"})
    assert accepted[0] == 200
    assert sandbox.rejected[0].position == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-algolia-application-id": "APP"},
        {"x-algolia-api-key": "key"},
        {"x-algolia-application-id": "", "x-algolia-api-key": "key"},
    ],
)
async def test_credentials_are_required(sandbox: Sandbox, click: Click, headers: dict[str, str]) -> None:
    async with aiohttp.ClientSession(headers=headers) as client:
        answer = await send(client, sandbox, [click()])

    assert answer == (401, {"status": 401, "message": "Invalid credentials"})
    assert sandbox.events == ()


@pytest.mark.parametrize(("key", "status"), [("search-key", 200), ("other", 401), ("search-keyé", 401)])
async def test_expected_credentials_are_compared(click: Click, key: str, status: int) -> None:
    headers = {"x-algolia-application-id": "APP", "x-algolia-api-key": key}

    async with Sandbox(app_id="APP", api_key="search-key") as sandbox, aiohttp.ClientSession(headers=headers) as client:
        answer = await send(client, sandbox, [click()])

    assert answer[0] == status


async def test_credentials_in_the_url_are_taken_as_from_a_browsers_beacon(sandbox: Sandbox, click: Click) -> None:
    credentials = {"X-Algolia-Application-Id": "APP", "X-Algolia-API-Key": "key"}
    body = orjson.dumps({"events": [click()]})

    async with (
        aiohttp.ClientSession(headers={"content-type": "text/plain"}) as client,
        client.post(f"{sandbox.url}/1/events", params=credentials, data=body) as answer,
    ):
        status = answer.status

    assert status == 200
    assert sandbox.requests[0].credentials == "url"
    assert "key" not in sandbox.requests[0].path


@pytest.mark.parametrize("path", ["/", "/1/event", "/1/events/", "/1/usertokens/", "/2/events"])
async def test_an_unknown_path_is_not_supported(sandbox: Sandbox, client: aiohttp.ClientSession, path: str) -> None:
    async with client.post(f"{sandbox.url}{path}", json={}) as answer:
        status, document = answer.status, await answer.json()

    assert (status, document["status"]) == (404, 404)
    assert document["message"] == (
        "Path not supported by Insights REST API. Please have a look at "
        "[https://www.algolia.com/doc/rest-api/insights/](https://www.algolia.com/doc/rest-api/insights) "
        "for the list of valid commands."
    )


@pytest.mark.parametrize(("method", "path"), [("GET", "/1/events"), ("PUT", "/1/events"), ("POST", "/1/usertokens/a")])
async def test_a_wrong_method_is_not_allowed(
    sandbox: Sandbox, client: aiohttp.ClientSession, method: str, path: str
) -> None:
    async with client.request(method, f"{sandbox.url}{path}") as answer:
        status, document = answer.status, await answer.json()

    assert (status, document) == (405, {"status": 405, "message": "Method Not Allowed"})


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (b'{"events":', {}),
        (gzip.compress(b'{"events":[]}'), {"content-encoding": "gzip"}),
    ],
)
async def test_a_malformed_body_is_answered_in_html(
    sandbox: Sandbox, client: aiohttp.ClientSession, body: bytes, headers: dict[str, str]
) -> None:
    async with client.post(f"{sandbox.url}/1/events", data=body, headers=headers) as answer:
        status, kind, text = answer.status, answer.content_type, await answer.text()

    assert (status, kind) == (400, "text/html")
    assert "Error: Bad Request" in text


@pytest.mark.parametrize(("size", "status"), [(9_999, 200), (10_000, 413), (50_000, 413)])
async def test_a_body_of_the_limit_or_larger_is_refused(
    client: aiohttp.ClientSession, click: Click, size: int, status: int
) -> None:
    bare = len(orjson.dumps({"events": [click(objectIDs=["x"])]}))
    body = orjson.dumps({"events": [click(objectIDs=["x" * (1 + size - bare)])]})

    async with Sandbox(max_body_bytes=10_000) as sandbox:
        async with client.post(f"{sandbox.url}/1/events", data=body) as answer:
            answered, document = answer.status, await answer.json()
        request = sandbox.requests[0]

    assert len(body) == size
    assert answered == status
    assert document["message"] == ("OK" if status == 200 else "Request Entity Too Large")
    assert (request.body_bytes, request.body_complete, request.status) == (size, True, status)


async def test_the_limit_is_two_megabytes_by_default(sandbox: Sandbox, client: aiohttp.ClientSession) -> None:
    async with client.post(f"{sandbox.url}/1/events", data=io.BytesIO(b" " * 2_000_000)) as answer:
        too_large = answer.status
    async with client.post(f"{sandbox.url}/1/events", data=io.BytesIO(b" " * 1_999_999)) as answer:
        large = answer.status

    assert (too_large, large) == (413, 400)


async def test_how_far_a_timestamp_may_lie_back_can_be_set(client: aiohttp.ClientSession, click: Click) -> None:
    an_hour_ago = int((time.time() - 3600) * 1000)

    async with Sandbox(max_age=1800) as sandbox:
        status, document = await send(client, sandbox, [click(timestamp=an_hour_ago)])

    assert (status, document["message"]) == (422, "The timestamp is too far in the past")


async def test_deleting_a_user_is_noted_and_its_events_stay(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    await send(client, sandbox, [click(userToken="a/b+c=")])

    async with client.delete(f"{sandbox.url}/1/usertokens/a%2Fb%2Bc%3D") as answer:
        status, body, headers = answer.status, await answer.read(), answer.headers

    assert (status, body) == (204, b"")
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("100", "99")
    assert 0 < int(headers["x-ratelimit-reset"]) - time.time() <= 60
    assert sandbox.deleted_tokens == ("a/b+c=",)
    assert len(sandbox.events) == 1


async def test_deleting_a_malformed_token_is_refused(sandbox: Sandbox, client: aiohttp.ClientSession) -> None:
    async with client.delete(f"{sandbox.url}/1/usertokens/a%20b") as answer:
        status = answer.status

    assert status == 422
    assert sandbox.deleted_tokens == ()


async def test_deleting_needs_a_key_of_its_own(client: aiohttp.ClientSession, click: Click) -> None:
    async with Sandbox(api_key="search-key", delete_api_key="delete-key") as sandbox:
        async with client.delete(f"{sandbox.url}/1/usertokens/a") as answer:
            with_search_key = answer.status
        delete_key = {"x-algolia-api-key": "delete-key"}
        async with client.delete(f"{sandbox.url}/1/usertokens/a", headers=delete_key) as answer:
            with_delete_key = answer.status
        sending = await send(client, sandbox, [click()], headers=delete_key)

    assert (with_search_key, with_delete_key, sending[0]) == (401, 204, 401)


async def test_deleting_is_rate_limited(client: aiohttp.ClientSession) -> None:
    statuses = []

    async with Sandbox(deletes_per_minute=1) as sandbox:
        # three requests touch two minutes at most, so one of them is always the second of its minute
        for _ in range(3):
            async with client.delete(f"{sandbox.url}/1/usertokens/a") as answer:
                statuses.append(answer.status)

    assert 429 in statuses
    assert answer.headers["x-ratelimit-limit"] == "1"
    assert answer.headers["x-ratelimit-remaining"] == "0"
