"""F7: what a server finds too large is cut by bytes and sent again, and the limit that this taught is not for ever."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest
from support.clock import HandClock
from support.rigs import MakeRig, arrived

from algolia_events.sandbox import Sandbox

SERVER_BYTES = 100_000


@pytest.fixture
async def small() -> AsyncIterator[Sandbox]:
    async with Sandbox(max_body_bytes=SERVER_BYTES) as sandbox:
        yield sandbox


async def test_a_thousand_events_reach_a_small_server(small: Sandbox, make: MakeRig, clock: HandClock) -> None:
    rig = make(small.url, clock=clock)  # which stands still: nothing waits
    rig.track(1000, index="x" * 250)

    report = await rig.queue.flush()

    refused = [request for request in small.requests if request.status == 413]
    times_sent = Counter(request.body_digest for request in small.requests)
    assert len(rig.bodies[0]) > 3 * SERVER_BYTES
    assert (report.delivered, report.rejected, report.dropped) == (1000, 0, 0)
    assert sorted(arrived(small)) == list(range(1000))
    assert set(times_sent.values()) == {1}, "no body is sent twice unchanged"
    assert len(refused) <= 4


async def test_the_limit_holds_for_a_while_and_grows_back(small: Sandbox, make: MakeRig, clock: HandClock) -> None:
    rig = make(small.url, clock=clock)
    rig.track(1000, index="x" * 250)
    await rig.queue.flush()
    known = len(small.rejected)

    rig.track(1000, first=1000, index="x" * 250)
    await rig.queue.flush()
    while_it_holds = len(small.rejected) - known
    largest_then = max(len(body) for body in rig.bodies[known:])
    for _ in range(10):
        clock.advance(60)
        rig.track(1)
        await rig.queue.flush()
    before = len(rig.bodies)
    rig.track(1000, first=2000, index="x" * 250)
    await rig.queue.flush()

    assert while_it_holds == 0
    assert largest_then < SERVER_BYTES
    assert len(rig.bodies[before]) > 3 * SERVER_BYTES, "after ten minutes the old size is tried again"
    assert len(arrived(small)) == 3010


async def test_a_single_event_that_is_too_large_is_rejected_and_the_rest_arrives(
    small: Sandbox, make: MakeRig, clock: HandClock
) -> None:
    rig = make(small.url, clock=clock)
    rig.track(500)
    rig.track(1, first=500, index="x" * SERVER_BYTES)
    rig.track(499, first=501)

    report = await rig.queue.flush()

    assert (report.delivered, report.rejected, report.dropped, report.pending) == (999, 1, 0, 0)
    assert sorted(arrived(small)) == [number for number in range(1000) if number != 500]
