"""F1: while the server fails for ten minutes, one request at a time probes it, and nothing is lost or changed."""

from itertools import pairwise

from support.clock import HandClock
from support.rigs import MakeRig, Rig, arrived, numbers_in

from algolia_events import HealthState
from algolia_events.sandbox import Sandbox, Status

EVENTS = 400
OUTAGE_S = 600.0


async def go_through_outage(rig: Rig, clock: HandClock) -> list[float]:
    """Let the time of an outage pass, from probe to probe; return when each request left."""
    began = clock.now
    moments = [clock.now]
    await rig.until_answered(1)
    while True:
        pause = rig.queue.health().next_attempt_in
        assert pause is not None
        if clock.now + pause - began > OUTAGE_S:
            clock.advance(began + OUTAGE_S - clock.now)
            return moments
        answered = len(rig.outcomes)
        clock.advance(pause)
        moments.append(clock.now)
        await rig.until_answered(answered + 1)


async def test_ten_minutes_of_errors_cost_nothing_but_time(sandbox: Sandbox, make: MakeRig, clock: HandClock) -> None:
    rig = make(sandbox.url, clock=clock, batch_events=10)

    with sandbox.fault(Status(503)):
        rig.track(EVENTS)
        await rig.queue.start()
        moments = await go_through_outage(rig, clock)
        health, during = rig.queue.health(), rig.queue.stats()
        attempts = len(rig.bodies)
    clock.advance(60)
    report = await rig.queue.flush()

    assert health.state is HealthState.RETRYING
    assert (during.pending, during.delivered, sum(during.dropped.values())) == (EVENTS, 0, 0)
    assert rig.overlaps[4:attempts] == [0] * (attempts - 4), "the first slots learn of it, then one request at a time"
    assert set(rig.bodies[4:attempts]) == {rig.bodies[0]}, "the oldest batch, unchanged"
    assert all(later - earlier <= 60.0 for earlier, later in pairwise(moments))
    assert 10 <= len(moments) < 100, "a probe every 30 s on average, once the pauses have grown"
    assert (report.delivered, report.possible_duplicates) == (EVENTS, 0)
    assert sorted(arrived(sandbox)) == list(range(EVENTS))
    assert [number for body in rig.bodies[attempts:] for number in numbers_in(body)] == list(range(EVENTS))


async def test_two_clients_do_not_return_together(sandbox: Sandbox, make: MakeRig) -> None:
    moments: list[set[float]] = []

    with sandbox.fault(Status(500)):
        for clock in (HandClock(), HandClock()):
            rig = make(sandbox.url, clock=clock, linger=0)
            rig.track(1)
            await rig.queue.start()
            moments.append(set((await go_through_outage(rig, clock))[1:]))

    assert all(moments)
    assert not moments[0] & moments[1]
