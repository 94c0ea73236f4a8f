"""The live page's server: files under a strict policy, a bounded stream of frames, a form for its own origin only."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

import algolia_events.sandbox
from algolia_events.sandbox import Delay, Hang, ResetInAnswer, ResetInBody, Sandbox, Status

Click = Callable[..., dict[str, Any]]
FILES = Path(algolia_events.sandbox.__file__).parent / "page"
PROMPTLY_S = 10.0
ADDING_UP = {"events", "requests", "skipped", "skipped_requests"}


@asynccontextmanager
async def feed(client: aiohttp.ClientSession, sandbox: Sandbox, **wanted: str) -> AsyncIterator[AsyncIterator[Any]]:
    """Open a feed and give its frames."""
    async with client.get(f"{sandbox.url}/page/feed", params=wanted) as answer:
        assert answer.content_type == "text/event-stream"

        async def frames() -> AsyncIterator[Any]:
            async for line in answer.content:
                if line.startswith(b"data: "):
                    yield orjson.loads(line.removeprefix(b"data: "))

        yield frames()


async def until(frames: AsyncIterator[Any], is_so: Callable[[Any], object]) -> Any:
    """Read frames until it is so of them as a whole: the last one, with what all of them brought."""
    whole: dict[str, Any] = {"events": [], "requests": [], "skipped": 0, "skipped_requests": 0}
    async with asyncio.timeout(PROMPTLY_S):
        async for frame in frames:
            whole = {**frame, **{name: so_far + frame[name] for name, so_far in whole.items() if name in ADDING_UP}}
            if is_so(whole):
                return whole
    raise AssertionError("the feed has ended")


async def send(client: aiohttp.ClientSession, sandbox: Sandbox, *events: Any) -> None:
    async with client.post(f"{sandbox.url}/1/events", json={"events": events}) as answer:
        await answer.read()


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html"),
        ("/page/page.css", "text/css"),
        ("/page/page.js", "text/javascript"),
        ("/page/chart.js", "text/javascript"),
        ("/page/icon.svg", "image/svg+xml"),
    ],
)
async def test_files_come_under_a_strict_policy(
    sandbox: Sandbox, client: aiohttp.ClientSession, path: str, content_type: str
) -> None:
    async with client.get(sandbox.url + path) as answer:
        policy = answer.headers["content-security-policy"]

    assert answer.status == 200
    assert answer.content_type == content_type
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert sandbox.requests == ()


def test_nothing_is_loaded_from_elsewhere_or_written_as_markup() -> None:
    text = "".join(file.read_text() for file in FILES.iterdir())

    assert set(re.findall(r"https?://[^\s\"'`]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\sstyle=|\son\w+=", text)


async def test_a_frame_tells_what_happened(sandbox: Sandbox, client: aiohttp.ClientSession, click: Click) -> None:
    query_id = sandbox.give_query_id(index="products", object_ids=["sku-1"], user_token="user-1")

    async with feed(client, sandbox) as frames:
        await send(client, sandbox, click(queryID=query_id, positions=[1], authenticatedUserToken="member"), click())
        await send(client, sandbox, click(), click(value=1))
        frame = await until(frames, lambda frame: len(frame["requests"]) == 2)

    assert frame["counts"] == {"requests": 2, "accepted": 2, "attributed": 1, "refused": 2}
    assert frame["models"] == [["search", 1, 1, 0]]
    assert frame["kinds"] == {"click": 2}
    assert [frame["batches"][1], sum(sum(pair) for pair in frame["seconds"])] == [[2, 9, 2], 4]
    attributed, plain, bystander, culprit = frame["events"]
    assert (attributed["attributed"], attributed["model"], attributed["account"]) == (True, "search", "member")
    assert attributed["items"] == [["sku-1", "attributed", "search", query_id]]
    assert (plain["verdict"], plain["why"]) == ("accepted", "no query ID")
    assert bystander["why"] == "its batch: event 1 is bad"
    assert culprit["why"] == "Invalid payload (value: not a field of this kind)"
    assert [request["status"] for request in frame["requests"]] == [200, 422]
    assert frame["requests"][1]["why"] == "Invalid payload"


async def test_a_page_opened_later_sees_what_was_before(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    await send(client, sandbox, click())
    await send(client, sandbox, click(index=""))

    async with feed(client, sandbox) as frames:
        frame = await until(frames, lambda _: True)

    assert [event["verdict"] for event in frame["events"]] == ["refused", "accepted"]
    assert [request["why"] for request in frame["requests"]] == [None, "The index field is required"]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({"user": "user-2"}, ["other user"]),
        ({"user": "ser-"}, ["attributed", "view", "other user", "other index", "refused"]),
        ({"index": "art"}, ["other index"]),
        ({"kind": "view"}, ["view"]),
        ({"verdict": "attributed"}, ["attributed"]),
        ({"verdict": "unattributed"}, ["view", "other user", "other index"]),
        ({"verdict": "refused"}, ["refused"]),
        ({"verdict": "refused", "user": "user-2"}, []),
    ],
)
async def test_a_feed_is_filtered(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click, wanted: dict[str, str], names: list[str]
) -> None:
    query_id = sandbox.give_query_id(index="products", object_ids=["sku-1"])

    async with feed(client, sandbox, **wanted) as frames:
        await send(
            client,
            sandbox,
            click(eventName="attributed", queryID=query_id, positions=[1]),
            click(eventName="view", eventType="view"),
            click(eventName="other user", userToken="user-2"),
            click(eventName="other index", index="articles"),
        )
        await send(client, sandbox, click(eventName="refused", value=1))
        frame = await until(frames, lambda frame: len(frame["requests"]) == 2)

    assert [event["name"] for event in frame["events"]] == names


async def test_a_frame_is_bounded_whatever_comes(sandbox: Sandbox, client: aiohttp.ClientSession, click: Click) -> None:
    huge = click(objectIDs=["x" * 50_000] * 20)

    async with feed(client, sandbox) as frames:
        for _ in range(3):
            await send(client, sandbox, *[click()] * 1000)
        await send(client, sandbox, huge)
        frame = await until(frames, lambda frame: frame["counts"]["accepted"] == 3001)

    assert 50 <= len(frame["events"]) <= 50 * 4  # one frame, or at worst one for each request
    assert frame["skipped"] == 3001 - len(frame["events"])
    assert len(orjson.dumps(frame)) < 400_000


async def test_events_that_are_no_events_are_shown(sandbox: Sandbox, client: aiohttp.ClientSession) -> None:
    async with feed(client, sandbox) as frames:
        await send(client, sandbox, 1)
        await send(client, sandbox, {"eventType": ["a"], "objectIDs": "x", "userToken": {"b": 1}})
        async with client.post(f"{sandbox.url}/1/events", data=b"no JSON") as answer:
            await answer.read()
        frame = await until(frames, lambda frame: len(frame["requests"]) == 3)

    assert frame["events"][0]["raw"] == "1"
    assert frame["events"][1]["objects"] == ["x"]
    assert frame["requests"][2]["why"].startswith("Your client has issued a malformed")


async def test_the_feed_ends_with_the_sandbox(client: aiohttp.ClientSession) -> None:
    async with Sandbox() as sandbox:
        answer = await client.get(f"{sandbox.url}/page/feed")
        await answer.content.readline()

    async with asyncio.timeout(PROMPTLY_S):
        await answer.content.read()
    assert answer.content.at_eof()


async def test_so_many_pages_and_no_more(sandbox: Sandbox, client: aiohttp.ClientSession) -> None:
    opened = [await client.get(f"{sandbox.url}/page/feed") for _ in range(20)]

    async with client.get(f"{sandbox.url}/page/feed") as refused:
        status = refused.status
    for answer in opened:
        answer.close()

    assert status == 503


@pytest.mark.parametrize("host", ["evil.test", "evil.test:80", "127.0.0.1.evil.test", "[", ""])
async def test_a_name_that_only_resolves_to_this_machine_is_refused(
    sandbox: Sandbox, client: aiohttp.ClientSession, host: str
) -> None:
    for path in ("/", "/page/feed"):
        async with client.get(sandbox.url + path, headers={"host": host}) as answer:
            assert answer.status in {400, 403}


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:80", "192.0.2.7"])
async def test_addresses_are_served(sandbox: Sandbox, client: aiohttp.ClientSession, host: str) -> None:
    async with client.get(sandbox.url, headers={"host": host}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.test"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}, {"host": "evil.test"}],
)
async def test_pages_of_others_can_neither_add_nor_clear_faults(
    sandbox: Sandbox, client: aiohttp.ClientSession, headers: dict[str, str]
) -> None:
    sandbox.faults.add(Hang())
    url = f"{sandbox.url}/page/faults"

    async with client.post(url, json={"fault": "hang"}, headers=headers) as added:
        pass
    async with client.delete(url, headers=headers) as cleared:
        pass

    assert (added.status, cleared.status) == (403, 403)
    assert sandbox.faults.pending == (Hang(),)


async def test_a_plain_form_cannot_add_faults(sandbox: Sandbox, client: aiohttp.ClientSession) -> None:
    body = b'{"fault": "hang"}'

    async with client.post(f"{sandbox.url}/page/faults", data=body, headers={"content-type": "text/plain"}) as answer:
        assert answer.status == 415

    assert sandbox.faults.pending == ()


@pytest.mark.parametrize(
    ("form", "fault"),
    [
        ({"fault": "status", "status": 500}, Status(500)),
        ({"fault": "status", "status": 429, "retry_after": 30}, Status(429, {"retry-after": "30"})),
        ({"fault": "delay", "delay": 0.5}, Delay(0.5)),
        ({"fault": "reset-in-body", "times": 3}, ResetInBody()),
        ({"fault": "reset-in-answer", "api": "recommend"}, ResetInAnswer()),
        ({"fault": "hang", "seconds": 60, "api": None}, Hang()),
    ],
)
async def test_the_form_adds_a_fault_and_the_feed_shows_it(
    sandbox: Sandbox, client: aiohttp.ClientSession, form: dict[str, Any], fault: Any
) -> None:
    url = f"{sandbox.url}/page/faults"

    async with client.post(url, json=form, headers={"origin": sandbox.url}) as added:
        pass
    pending = sandbox.faults.pending
    async with feed(client, sandbox) as frames:
        frame = await until(frames, lambda _: True)
    async with client.delete(url) as cleared:
        pass

    assert (added.status, cleared.status) == (204, 204)
    assert pending == (fault,)
    (shown,) = frame["faults"]
    assert shown["name"] == type(fault).__name__
    assert shown["api"] == form.get("api")
    assert (shown["seconds"] is None) is ("seconds" not in form)
    assert sandbox.faults.pending == ()


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (b"no JSON", "invalid literal"),
        (b"[]", "the form is a JSON object"),
        (b"{}", "fault: status, delay"),
        (b'{"fault": ["status"]}', "fault: status, delay"),
        (b'{"fault": "status"}', "status: is missing"),
        (b'{"fault": "status", "status": 200}', "status: a number from 400 to 599"),
        (b'{"fault": "status", "status": true}', "status: a number"),
        (b'{"fault": "delay", "delay": "1"}', "delay: a number"),
        (b'{"fault": "hang", "seconds": 1e9}', "seconds: a number from 1 to 3600"),
        (b'{"fault": "hang", "times": 0}', "times: a number from 1"),
        (b'{"fault": "hang", "api": "search"}', "api: insights, recommend or nothing"),
    ],
)
async def test_a_form_that_makes_no_sense_is_refused_in_words(
    sandbox: Sandbox, client: aiohttp.ClientSession, form: bytes, words: str
) -> None:
    headers = {"content-type": "application/json"}

    async with client.post(f"{sandbox.url}/page/faults", data=form, headers=headers) as answer:
        message = (await answer.json())["message"]

    assert answer.status == 422
    assert words in message
    assert sandbox.faults.pending == ()


async def test_a_form_that_is_too_large_is_refused(sandbox: Sandbox, client: aiohttp.ClientSession) -> None:
    async with client.post(f"{sandbox.url}/page/faults", json={"fault": "x" * 5000}) as answer:
        assert answer.status == 413


async def test_browsers_of_any_origin_may_send_events(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    asking = {"origin": "https://shop.test", "access-control-request-method": "POST"}

    async with client.options(f"{sandbox.url}/1/events", headers=asking) as allowed:
        pass
    async with client.post(f"{sandbox.url}/1/events", json={"events": [click()]}) as accepted:
        pass
    sandbox.faults.add(Status(503, body=b""))
    async with client.post(f"{sandbox.url}/1/events", json={"events": [click()]}) as failed:
        pass

    assert allowed.status == 204
    assert allowed.headers["access-control-allow-headers"] == "*"
    for answer in (allowed, accepted, failed):
        assert answer.headers["access-control-allow-origin"] == "*"
    assert len(sandbox.requests) == 2
