"""F20: whoever closes, in whatever task, at once or again, gets the one result; no scope ends in the wrong task."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from support.rigs import arrived, click, until

from algolia_events import AlgoliaEvents, DeliveryReport
from algolia_events.integrations.starlette import algolia_lifespan, get_algolia
from algolia_events.sandbox import Sandbox


def make_client(sandbox: Sandbox) -> AlgoliaEvents:
    return AlgoliaEvents(app_id="APP", api_key="KEY", insights_url=sandbox.url)


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[AlgoliaEvents]:
    async with make_client(sandbox) as client:
        yield client
    assert len(arrived(sandbox)) == client.stats().delivered == client.stats().tracked


async def test_a_fixture_starts_and_closes_it(client: AlgoliaEvents) -> None:
    assert client.events.track(click(1))


async def test_closing_in_the_test_what_the_fixture_opened(client: AlgoliaEvents) -> None:
    client.events.track(click(1))

    report = await client.aclose()

    assert report.delivered == 1


async def test_closing_in_many_tasks_at_once_gives_one_result(sandbox: Sandbox) -> None:
    client = make_client(sandbox)
    await asyncio.create_task(client.start())
    for number in range(100):
        client.events.track(click(number))

    async with asyncio.TaskGroup() as group:
        closing = [group.create_task(client.aclose()) for _ in range(20)]
    again = await client.aclose()

    reports = [task.result() for task in closing]
    assert reports == [again] * 20
    assert again.delivered == 100
    assert sorted(arrived(sandbox)) == list(range(100))


async def test_an_exit_stack_that_is_closed_in_another_task(sandbox: Sandbox) -> None:
    stack = AsyncExitStack()

    async def opening() -> AlgoliaEvents:
        return await stack.enter_async_context(make_client(sandbox))

    client = await asyncio.create_task(opening())
    client.events.track(click(1))
    await asyncio.create_task(stack.aclose())

    assert arrived(sandbox) == [1]


async def test_a_task_that_started_it_may_be_gone_or_cancelled(sandbox: Sandbox) -> None:
    client = make_client(sandbox)

    async def start_and_wait() -> None:
        await client.start()
        await asyncio.Event().wait()

    starting = asyncio.create_task(start_and_wait())
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait([starting])
    client.events.track(click(1))
    report = await client.aclose()

    assert starting.cancelled()
    assert report.delivered == 1


async def test_two_clients_closed_in_the_order_in_which_they_were_opened(sandbox: Sandbox) -> None:
    first, second = make_client(sandbox), make_client(sandbox)
    await first.start()
    await second.start()
    first.events.track(click(1))
    second.events.track(click(2))

    reports: list[DeliveryReport] = [await first.aclose(), await second.aclose()]

    assert [report.delivered for report in reports] == [1, 1]


async def test_a_block_that_is_cancelled_still_sends(sandbox: Sandbox) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with make_client(sandbox) as client:
            client.events.track(click(1))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert arrived(sandbox) == [1]


async def test_a_starlette_lifespan(sandbox: Sandbox) -> None:
    async def handle(request: Request) -> Response:
        get_algolia(request).events.track(click(1))
        return Response(status_code=204)

    app = Starlette(
        routes=[Route("/", handle, methods=["POST"])], lifespan=algolia_lifespan(lambda: make_client(sandbox))
    )

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    serving = asyncio.create_task(server.serve())  # which opens and closes the lifespan in a task of its own
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]

    async with aiohttp.ClientSession() as session, session.post(f"http://127.0.0.1:{port}/") as answer:
        status = answer.status
    server.should_exit = True
    await serving

    assert status == 204
    assert arrived(sandbox) == [1]
