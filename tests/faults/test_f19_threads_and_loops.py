"""F19: any thread may track, whatever the loop is doing; who awaits in another loop is told what is wrong."""

import asyncio
import contextlib
import statistics
import threading
import time
from collections.abc import Callable

import aiohttp
import pytest
from blockbuster import BlockBuster
from support.rigs import LONG_S, MakeRig, Rig, arrived, click

from algolia_events import AlgoliaEvents, WrongLoopError
from algolia_events.sandbox import Delay, Sandbox

EVENTS = 20_000


def timed_calls(rig: Rig, first: int, count: int) -> list[float]:
    """Track events; return how long each call took, in seconds."""
    events = [click(number) for number in range(first, first + count)]
    lasted: list[float] = []
    for event in events:
        began = time.perf_counter()
        taken = rig.queue.track(event)
        lasted.append(time.perf_counter() - began)
        assert taken
    return lasted


async def test_a_thread_tracks_while_the_loop_is_blocked(sandbox: Sandbox, make: MakeRig) -> None:
    rig = make(sandbox.url)
    await rig.queue.start()
    lasted: list[float] = []
    thread = threading.Thread(target=lambda: lasted.extend(timed_calls(rig, 0, EVENTS)))

    thread.start()
    thread.join(LONG_S)  # this is what blocks the loop
    report = await rig.queue.flush(LONG_S)

    assert len(lasted) == EVENTS
    # Beyond the 99th percentile lies what the machine's scheduler does.
    assert statistics.quantiles(lasted, n=100)[98] < 0.001
    assert report.delivered == EVENTS
    assert sorted(arrived(sandbox)) == list(range(EVENTS))


async def test_threads_and_loop_at_once_lose_nothing(sandbox: Sandbox, make: MakeRig) -> None:
    rig = make(sandbox.url, linger=0.001)
    await rig.queue.start()

    async with asyncio.TaskGroup() as group:
        for thread in range(8):
            group.create_task(asyncio.to_thread(rig.track, 1000, first=thread * 1000))
        for number in range(8000, 9000):
            rig.track(1, first=number)
            if number % 100 == 0:
                await rig.queue.flush(LONG_S)
    report = await rig.queue.aclose(LONG_S)

    assert (report.delivered, report.dropped) == (9000, 0)
    assert sorted(arrived(sandbox)) == list(range(9000))


async def test_another_loop_is_told_what_is_wrong_and_changes_nothing(
    sandbox: Sandbox, make: MakeRig, no_blocking_calls: BlockBuster
) -> None:
    rig = make(sandbox.url)
    await rig.queue.start()

    def elsewhere() -> None:
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            assert rig.queue.track(click(1))
            for wrong in (rig.queue.flush(), rig.queue.aclose(), rig.queue.put(click(2)), rig.queue.deliver(click(3))):
                with pytest.raises(WrongLoopError, match="another event loop"):
                    loop.run_until_complete(wrong)

    await asyncio.to_thread(elsewhere)
    report = await rig.queue.aclose(LONG_S)

    assert report.delivered == 1
    assert arrived(sandbox) == [1]


@pytest.mark.parametrize("connect", [contextlib.nullcontext, aiohttp.ClientSession], ids=["own", "borrowed"])
async def test_calls_past_the_queue_are_told_as_well_and_do_not_disturb_it(
    sandbox: Sandbox, connect: Callable[[], contextlib.AbstractAsyncContextManager[aiohttp.ClientSession | None]]
) -> None:
    async with (
        connect() as session,
        AlgoliaEvents(
            app_id="APP", api_key="key", insights_url=sandbox.url, recommend_urls=[sandbox.url], session=session
        ) as client,
    ):

        def elsewhere() -> None:
            with contextlib.closing(asyncio.new_event_loop()) as loop:
                for wrong in (
                    client.insights.send_events([click(2)]),
                    client.recommend.related_products("products", object_id="sku-1", threshold=0),
                ):
                    with pytest.raises(WrongLoopError, match="another event loop"):
                        loop.run_until_complete(wrong)

        await asyncio.to_thread(elsewhere)
        await client.events.deliver(click(1))
        with sandbox.fault(Delay(0.2)):
            under_way = asyncio.create_task(client.events.deliver(click(3)))
            await sandbox.wait_for(lambda: len(sandbox.requests) == 2)
            await asyncio.to_thread(elsewhere)
            await under_way

        assert client.stats().possible_duplicates == 0
    assert arrived(sandbox) == [1, 3]


async def test_track_from_a_loop_in_another_thread_reaches_the_first(sandbox: Sandbox, make: MakeRig) -> None:
    rig = make(sandbox.url, linger=0.001)
    await rig.queue.start()

    async def elsewhere() -> None:
        rig.track(100)

    await asyncio.to_thread(asyncio.run, elsewhere())
    await sandbox.wait_for(100)

    assert sorted(arrived(sandbox)) == list(range(100))
