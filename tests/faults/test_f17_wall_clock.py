"""F17: somebody sets the wall clock a day forth or back; no interval, time limit or expiry notices."""

import asyncio
import time

import pytest
from support.clock import HandClock
from support.rigs import MakeRig, arrived, turns

from algolia_events import RecommendHit
from algolia_events.attribution import TokenSigner
from algolia_events.recommendations import Origin
from algolia_events.sandbox import Sandbox, Status

DAY_S = 86_400.0
pytestmark = pytest.mark.parametrize("jump", [DAY_S, -DAY_S], ids=["forth", "back"])


async def test_the_linger_lasts_as_long(sandbox: Sandbox, make: MakeRig, clock: HandClock, jump: float) -> None:
    rig = make(sandbox.url, clock=clock, linger=30)
    await rig.queue.start()
    rig.track(10)
    await turns()

    clock.jump_wall(jump)
    clock.advance(29.9)
    await turns()
    early = len(rig.bodies)
    clock.advance(0.2)
    await sandbox.wait_for(10)

    assert early == 0
    assert arrived(sandbox) == list(range(10))


async def test_a_pause_lasts_as_long(sandbox: Sandbox, make: MakeRig, clock: HandClock, jump: float) -> None:
    rig = make(sandbox.url, clock=clock, linger=0)
    sandbox.faults.add(Status(429, headers={"retry-after": "30"}))
    rig.track(10)
    await rig.queue.start()
    await rig.until_answered(1)

    clock.jump_wall(jump)
    clock.advance(29.9)
    await turns()
    early = len(rig.bodies)
    clock.advance(0.2)
    await sandbox.wait_for(10)

    assert early == 1


async def test_a_probe_leaves_as_late(sandbox: Sandbox, make: MakeRig, clock: HandClock, jump: float) -> None:
    rig = make(sandbox.url, clock=clock, linger=0)
    sandbox.faults.add(Status(401))
    rig.track(10)
    await rig.queue.start()
    await rig.until_answered(1)

    clock.jump_wall(jump)
    clock.advance(59.9)
    await turns()
    early = len(rig.bodies)
    clock.advance(0.2)
    await sandbox.wait_for(10)

    assert early == 1


async def test_a_flush_and_a_close_take_as_long(sandbox: Sandbox, make: MakeRig, clock: HandClock, jump: float) -> None:
    rig = make(sandbox.url, clock=clock)
    rig.track(10)
    done: list[bool] = []

    with sandbox.fault(Status(429, headers={"retry-after": "4"})):
        for waiting in (rig.queue.flush(5), rig.queue.aclose(5)):
            task = asyncio.create_task(waiting)
            await turns()
            clock.jump_wall(jump)
            clock.advance(0.5)
            await turns()
            done.append(task.done())
            clock.advance(4.6)
            await rig.until_answered(1)
            report = await task

    assert done == [False, False]
    assert report.dropped == 10


async def test_no_event_expires_and_each_keeps_the_stamp_it_got(
    sandbox: Sandbox, make: MakeRig, clock: HandClock, jump: float
) -> None:
    rig = make(sandbox.url, clock=clock)
    first = clock.time_ns() // 1_000_000
    rig.track(10)
    clock.jump_wall(jump)
    second = clock.time_ns() // 1_000_000
    rig.track(10, first=10)

    report = await rig.queue.flush()

    assert (report.delivered, report.dropped) == (20, 0)
    assert [event["timestamp"] for event in sandbox.events] == [first] * 10 + [second] * 10


async def test_a_limit_that_the_server_taught_holds_as_long(make: MakeRig, clock: HandClock, jump: float) -> None:
    async with Sandbox(max_body_bytes=50_000) as small:
        rig = make(small.url, clock=clock)
        rig.track(1000)
        await rig.queue.flush()
        refused = len(small.rejected)

        clock.jump_wall(jump)
        clock.advance(30)
        rig.track(1000, first=1000)
        await rig.queue.flush()

        assert refused > 0
        assert len(small.rejected) == refused
        assert len(small.events) == 2000


async def test_a_signed_token_stays_good(jump: float) -> None:
    now = time.time()
    moments = [now]
    signer = TokenSigner(["a key of the tests, long enough"], clock=lambda: moments[-1])
    hit = RecommendHit(Origin(index="products"), "sku-1", 1, {})
    token = signer.sign(hit)

    moments.append(now + jump)

    assert signer.resolve(token).object_id == "sku-1"
