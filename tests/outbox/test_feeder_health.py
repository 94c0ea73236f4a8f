"""What the feeder meets shows in `health()`: once when the outbox begins to fail, once when it works again."""

import asyncio
from typing import Any

import pytest
from support.clock import HandClock
from support.groups import group
from support.outboxes import FailingOutbox
from support.rigs import turns

from algolia_events._durable import DurableQueue
from algolia_events._feeder import Feeder
from algolia_events._guarded import GuardedOutbox
from algolia_events._retry import Accepted, Outcome
from algolia_events._sender import Sender
from algolia_events.abc import Hook
from algolia_events.config import QueueOptions
from algolia_events.errors import OutboxError
from algolia_events.outbox import MemoryOutbox
from algolia_events.reports import Health, HealthState


class FullOutbox(MemoryOutbox):
    """Can be read, and for a time not be written."""

    def __init__(self) -> None:
        super().__init__()
        self.is_full = True

    async def settle(self, **verdicts: Any) -> None:
        if self.is_full:
            raise OutboxError("the disk is full")
        await super().settle(**verdicts)


class States(Hook):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[HealthState] = []

    def state_changed(self, health: Health) -> None:
        self.told.append(health.state)


async def accept(_: bytes) -> Outcome:
    return Accepted()


async def pass_seconds(clock: HandClock, seconds: int) -> None:
    for _ in range(10 * seconds):
        clock.advance(0.1)
        await turns()


async def test_an_outbox_that_can_be_read_but_not_written_fails_until_it_is_written(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    outbox, states = FullOutbox(), States()
    await outbox.store([group("a")])
    queue = DurableQueue(accept, outbox, clock=clock, options=QueueOptions(linger=0.1), hooks=[states])
    await queue.start()

    await pass_seconds(clock, 5)
    while_it_fails = list(states.told)
    outbox.is_full = False
    await pass_seconds(clock, 2)
    health, sizes = queue.health(), await outbox.sizes()
    await queue.aclose()

    assert while_it_fails == [HealthState.DEGRADED]
    assert states.told == [HealthState.DEGRADED, HealthState.OK]
    assert [record.message for record in caplog.records].count("algolia_events.outbox_failed") == 1
    assert (health.ok, sizes.groups) == (True, 0)


async def test_when_the_feeder_dies_nobody_waits_for_it(clock: HandClock, caplog: pytest.LogCaptureFixture) -> None:
    """A mistake of ours: what it told of the outbox that failed has raised."""

    def raise_error() -> None:
        raise RuntimeError("a mistake")

    options = QueueOptions()
    sender = Sender(accept, options=options, clock=clock)
    await sender.start()
    outbox = GuardedOutbox(FailingOutbox(fails=True))
    feeder = Feeder(outbox, sender, options=options, clock=clock, on_problem=raise_error)

    await asyncio.wait_for(feeder.drain(lambda: False, deadline=None, while_it_works=False), 10)
    await sender.aclose()
    await feeder.close()

    assert feeder.problem == "the task that reads the outbox died; the log has the cause"
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [RuntimeError]
    assert clock.timers == 0
