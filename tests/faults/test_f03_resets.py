"""F3: a connection that breaks before a byte has left is replaced at once; one that breaks later leaves a doubt,
which is counted, and settled in the way that was chosen."""

import pytest
from support.clock import HandClock
from support.rigs import LONG_S, MakeRig, arrived, turns, until

from algolia_events import RetryOptions
from algolia_events.sandbox import (
    CloseWithoutAnswer,
    Fault,
    ResetBeforeBody,
    ResetInAnswer,
    ResetInBody,
    ResetOnConnect,
    Sandbox,
    Status,
)

EVENTS = 1000
# Each phase, and how often its events are on the server's books when they are sent again.
PHASES = {
    "before the body": (ResetBeforeBody(), 1),
    "in mid body": (ResetInBody(after_bytes=1000), 1),
    "after the body": (CloseWithoutAnswer(), 1),
    "after the body, and taken": (CloseWithoutAnswer(request="handled"), 2),
    "in mid answer": (ResetInAnswer(), 2),
}
QUICK = RetryOptions(backoff_base=0.01)


@pytest.mark.parametrize(("fault", "copies"), PHASES.values(), ids=PHASES.keys())
async def test_a_doubt_is_sent_again_and_counted(sandbox: Sandbox, make: MakeRig, fault: Fault, copies: int) -> None:
    rig = make(sandbox.url, retry=QUICK)
    sandbox.faults.add(fault)
    rig.track(EVENTS)

    report = await rig.queue.flush(LONG_S)

    assert (report.delivered, report.dropped, report.possible_duplicates) == (EVENTS, 0, EVENTS)
    assert rig.bodies[0] == rig.bodies[1]
    assert len(rig.bodies) == 2
    assert sorted(arrived(sandbox)) == sorted(list(range(EVENTS)) * copies)


@pytest.mark.parametrize(("fault", "copies"), PHASES.values(), ids=PHASES.keys())
async def test_a_doubt_is_dropped_where_that_was_chosen(
    sandbox: Sandbox, make: MakeRig, fault: Fault, copies: int
) -> None:
    rig = make(sandbox.url, retry=QUICK, on_ambiguous="drop")
    sandbox.faults.add(fault)
    rig.track(EVENTS)

    report = await rig.queue.flush(LONG_S)

    assert (report.delivered, report.dropped, report.possible_duplicates) == (0, EVENTS, 0)
    assert rig.queue.stats().dropped == {"ambiguous": EVENTS}
    assert len(rig.bodies) == 1
    assert arrived(sandbox) == list(range(EVENTS)) * (copies - 1)


async def test_what_may_have_arrived_once_is_never_given_up_as_if_it_had_not(
    sandbox: Sandbox, make: MakeRig, clock: HandClock
) -> None:
    rig = make(sandbox.url, clock=clock, in_flight=1, max_events=10, overflow="drop-oldest")
    rig.track(10)
    sandbox.faults.script([ResetInAnswer(), Status(503)])
    await rig.queue.flush(0)
    await rig.until_answered(1)
    clock.advance(60)
    await rig.until_answered(2)

    rig.track(4, first=10)  # for which four of the first must go
    report = await rig.queue.aclose(0)

    assert arrived(sandbox) == list(range(10))
    assert rig.queue.stats().dropped == {"ambiguous": 10, "shutdown": 4}
    assert (report.delivered, report.possible_duplicates) == (0, 10)


async def test_a_pooled_connection_that_died_is_replaced_without_a_pause(
    sandbox: Sandbox, make: MakeRig, clock: HandClock
) -> None:
    rig = make(sandbox.url, clock=clock)  # the clock stands still: a pause would never end
    rig.track(10)
    await rig.queue.flush()
    await sandbox.stop_listening()
    await sandbox.listen_again()
    await turns()

    rig.track(10, first=10)
    report = await rig.queue.flush()

    assert (report.delivered, report.possible_duplicates) == (20, 0)
    assert rig.queue.stats().requests == 2
    assert arrived(sandbox) == list(range(20))


@pytest.mark.parametrize("on_ambiguous", ["retry", "drop"])
async def test_a_connection_that_never_was_leaves_no_doubt(sandbox: Sandbox, make: MakeRig, on_ambiguous: str) -> None:
    rig = make(sandbox.url, retry=QUICK, on_ambiguous=on_ambiguous)
    await sandbox.stop_listening()
    rig.track(EVENTS)
    await rig.queue.start()
    await until(lambda: len(rig.outcomes) >= 2)
    await sandbox.listen_again()

    report = await rig.queue.flush(LONG_S)

    assert (report.delivered, report.dropped, report.possible_duplicates) == (EVENTS, 0, 0)
    assert arrived(sandbox) == list(range(EVENTS))


async def test_a_reset_on_connection_loses_nothing(sandbox: Sandbox, make: MakeRig) -> None:
    rig = make(sandbox.url, retry=QUICK)
    sandbox.faults.add(ResetOnConnect(), times=3)
    rig.track(EVENTS)

    report = await rig.queue.flush(LONG_S)

    assert (report.delivered, report.dropped) == (EVENTS, 0)
    assert arrived(sandbox) == list(range(EVENTS))
