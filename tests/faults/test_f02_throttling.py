"""F2: when the server asks for a pause, nobody sends until it is over, however long it is, and nothing is dropped."""

import asyncio
import time
from email.utils import formatdate

import pytest
from support.clock import HandClock
from support.rigs import MakeRig, arrived, turns

from algolia_events import HealthState
from algolia_events.sandbox import Sandbox, Status

# What is asked for, in seconds from now, and the pause that this makes at least and at most. Our own backoff is below
# half a second after a first failure; dates on the wire are whole seconds.
PAUSES = {
    "seconds": (("retry-after", "30"), 30.0, 30.0),
    "a fraction": (("retry-after", "29.5"), 29.5, 29.5),
    "a date": (("retry-after", 30), 27.0, 31.0),
    "a date gone by": (("retry-after", -500), 0.0, 0.5),
    "longer than the ceiling": (("retry-after", "86400"), 3600.0, 3600.0),
    "a reset": (("x-ratelimit-reset", 30), 27.0, 31.0),
    "nothing": (("x-nothing", ""), 0.0, 0.5),
    "zero": (("retry-after", "0"), 0.0, 0.5),
    "garbage": (("retry-after", "soon, or \x80later"), 0.0, 0.5),
    "a negative number": (("retry-after", "-30"), 0.0, 0.5),
    "infinity": (("retry-after", "inf"), 0.0, 0.5),
    "not a number": (("retry-after", "nan"), 0.0, 0.5),
    "a date that is none": (("retry-after", "Mon, 99 Foo 99999 99:99:99 GMT"), 0.0, 0.5),
}


def header(name: str, value: str | int) -> dict[str, str]:
    if isinstance(value, str):
        return {name: value}
    moment = time.time() + value
    return {name: formatdate(moment, usegmt=True) if name == "retry-after" else str(round(moment))}


@pytest.mark.parametrize(("asked", "least", "most"), PAUSES.values(), ids=PAUSES.keys())
async def test_no_request_leaves_before_the_pause_is_over(
    sandbox: Sandbox, make: MakeRig, clock: HandClock, *, asked: tuple[str, str | int], least: float, most: float
) -> None:
    rig = make(sandbox.url, clock=clock, batch_events=10)
    sandbox.faults.add(Status(429, headers=header(*asked)), times=4)
    rig.track(100)
    await rig.queue.start()
    await rig.until_answered(4)

    health = rig.queue.health()
    pause = health.next_attempt_in or 0.0
    clock.advance(pause * 0.999)
    await turns(50)
    sent_early = len(rig.bodies) - 4 if pause else 0
    clock.advance(pause)
    report = await rig.queue.flush()

    assert health.state is HealthState.PAUSED
    assert least <= pause <= most
    assert sent_early == 0
    assert (report.delivered, report.dropped, report.possible_duplicates) == (100, 0, 0)
    assert sorted(arrived(sandbox)) == list(range(100))


async def test_a_flush_that_is_shorter_than_the_pause_returns_in_time(
    sandbox: Sandbox, make: MakeRig, clock: HandClock
) -> None:
    rig = make(sandbox.url, clock=clock)
    sandbox.faults.add(Status(429, headers={"retry-after": "30"}))
    rig.track(14)
    flushing = asyncio.create_task(rig.queue.flush(5))
    await rig.until_answered(1)

    clock.advance(4.9)
    await turns()
    was_done = flushing.done()
    clock.advance(0.2)
    report = await flushing

    assert not was_done
    assert (report.timed_out, report.pending, report.delivered, report.dropped) == (True, 14, 0, 0)
    assert len(rig.bodies) == 1


async def test_the_backoff_is_the_floor_under_a_pause_that_is_asked_for(
    sandbox: Sandbox, make: MakeRig, clock: HandClock
) -> None:
    rig = make(sandbox.url, clock=clock)
    pauses: list[float] = []

    with sandbox.fault(Status(429, headers={"retry-after": "1"})):
        rig.track(1)
        flushing = asyncio.create_task(rig.queue.flush())
        for attempt in range(30):
            await rig.until_answered(attempt + 1)
            pauses.append(rig.queue.health().next_attempt_in or 0.0)
            clock.advance(pauses[-1])
    clock.advance(60)
    await flushing

    assert min(pauses) >= 0.99
    assert max(pauses) > 10, "asking for a second for ever does not keep us from backing off"
