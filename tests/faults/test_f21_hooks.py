"""F21: a hook that raises, is slow, or calls back into the queue costs no event and never stops the sender."""

import asyncio
import logging
import time
from typing import Any

import pytest
from support.clock import HandClock
from support.rigs import LONG_S, MakeRig, arrived, click

from algolia_events import EventQueue, Hook, RetryOptions
from algolia_events.sandbox import Hang, Sandbox, Status

QUICK = RetryOptions(backoff_base=0.001, backoff_cap=0.002)
TOLD = ("tracked", "dropped", "batch_sent", "batch_settled", "rejected", "retrying", "state_changed")


class HookError(Exception):
    pass


class Raising(Hook):
    """Raises whatever it is told, and keeps count."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def _raise(self, method: str) -> None:
        self.told.append(method)
        raise HookError(method)

    def tracked(self, *_: Any) -> None:
        self._raise("tracked")

    def dropped(self, *_: Any) -> None:
        self._raise("dropped")

    def batch_sent(self, *_: Any) -> None:
        self._raise("batch_sent")

    def batch_settled(self, *_: Any) -> None:
        self._raise("batch_settled")

    def rejected(self, *_: Any) -> None:
        self._raise("rejected")

    def retrying(self, *_: Any) -> None:
        self._raise("retrying")

    def state_changed(self, *_: Any) -> None:
        self._raise("state_changed")


async def go_through_everything(sandbox: Sandbox, make: MakeRig, hook: Hook) -> EventQueue:
    """Have a hook told all there is to tell: events taken, dropped, retried, rejected, and changes of state."""
    sandbox.reject = lambda event: "no" if event["objectIDs"] == ["sku-7"] else None
    sandbox.faults.add(Status(503), times=2)
    rig = make(sandbox.url, hooks=[hook], retry=QUICK, max_events=20)
    rig.track(20)
    assert not rig.queue.track(click(100))
    await rig.queue.flush(LONG_S)
    return rig.queue


async def test_a_hook_that_always_raises_is_counted_and_logged_once_a_method(
    sandbox: Sandbox, make: MakeRig, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Raising()

    with caplog.at_level(logging.ERROR, "algolia_events"):
        queue = await go_through_everything(sandbox, make, hook)

    assert set(hook.told) == set(TOLD)
    assert sorted(arrived(sandbox)) == [number for number in range(20) if number != 7]
    assert queue.stats().callback_errors == len(hook.told)
    lines = [record for record in caplog.records if record.message == "algolia_events.hook_failed"]
    assert sorted(line.__dict__["method"] for line in lines) == sorted(TOLD)
    assert "sku-" not in caplog.text, "no event's content"


async def test_a_slow_hook_only_costs_time(sandbox: Sandbox, make: MakeRig) -> None:
    class Slow(Hook):
        def batch_sent(self, *_: Any) -> None:
            time.sleep(0.05)

        def batch_settled(self, *_: Any) -> None:
            time.sleep(0.05)

    await go_through_everything(sandbox, make, Slow())

    assert sorted(arrived(sandbox)) == [number for number in range(20) if number != 7]


async def test_a_hook_that_calls_back_into_the_queue(sandbox: Sandbox, make: MakeRig) -> None:
    class CallsBack(Hook):
        queue: EventQueue
        calls = 0

        def _call_back(self) -> None:
            self.calls += 1
            self.queue.stats()
            self.queue.health()
            self.queue.reopen()
            if self.calls < 10:
                self.queue.track(click(1000 + self.calls))

        def batch_sent(self, *_: Any) -> None:
            self._call_back()

        def batch_settled(self, *_: Any) -> None:
            self._call_back()

        def retrying(self, *_: Any) -> None:
            self._call_back()

        def state_changed(self, *_: Any) -> None:
            self._call_back()

    hook = CallsBack()
    sandbox.faults.add(Status(503), times=3)
    rig = make(sandbox.url, hooks=[hook], retry=QUICK)
    hook.queue = rig.queue
    rig.track(20)

    report = await rig.queue.aclose(LONG_S)

    assert hook.calls > 4
    stats = rig.queue.stats()
    assert report.pending == 0
    assert stats.tracked == stats.delivered + sum(stats.dropped.values())
    assert set(range(20)) <= set(arrived(sandbox))
    assert len(arrived(sandbox)) == len(set(arrived(sandbox))) == stats.delivered


async def test_hooks_do_not_hear_of_what_they_do_themselves(sandbox: Sandbox, make: MakeRig) -> None:
    class Insists(Hook):
        queue: EventQueue
        told: list[str]

        def __init__(self) -> None:
            self.told = []

        def tracked(self, event: object) -> None:
            self.told.append("tracked")
            self.queue.track(click(1))

        def dropped(self, *_: Any) -> None:
            self.told.append("dropped")
            self.queue.track(click(2))

    hook = Insists()
    rig = make(sandbox.url, hooks=[hook], max_events=2)
    hook.queue = rig.queue
    rig.track(1)

    taken = rig.queue.track(click(3))
    report = await rig.queue.flush(LONG_S)

    assert not taken
    assert hook.told == ["tracked", "dropped"]
    assert report.delivered == 2
    assert rig.queue.stats().dropped == {"queue_full": 2}


class Panic(BaseException):
    """What some extension modules raise."""


@pytest.mark.parametrize("error", [asyncio.CancelledError, Panic])
@pytest.mark.parametrize("method", ["batch_sent", "batch_settled"])
async def test_a_hook_that_raises_something_extraordinary_ends_nothing(
    sandbox: Sandbox, make: MakeRig, method: str, error: type[BaseException]
) -> None:
    class Raises(Hook):
        pass

    def fail(*_: Any) -> None:
        raise error

    hook = Raises()
    setattr(hook, method, fail)
    rig = make(sandbox.url, hooks=[hook])
    rig.track(5)

    await rig.queue.deliver(click(5), LONG_S)

    assert rig.queue.stats().delivered == 6
    assert rig.queue.stats().callback_errors == 1
    assert rig.queue.health().ok


async def test_a_request_that_is_sent_when_the_queue_ends_is_settled_for_the_hooks(
    sandbox: Sandbox, make: MakeRig, clock: HandClock
) -> None:
    class Pairs(Hook):
        def __init__(self) -> None:
            self.told: list[tuple[str, int, float]] = []

        def batch_sent(self, events: int, body_bytes: int) -> None:
            self.told.append(("sent", events, 0.0))

        def batch_settled(self, events: int, result: str, seconds: float) -> None:
            self.told.append((result, events, seconds))

    hook = Pairs()
    rig = make(sandbox.url, hooks=[hook], linger=0, clock=clock)
    with sandbox.fault(Hang()):
        rig.track(5)
        await rig.queue.start()
        await sandbox.wait_for(lambda: len(sandbox.requests) == 1)
        clock.advance(2.0)

        await rig.queue.aclose(0)

    assert hook.told == [("sent", 5, 0.0), ("interrupted", 5, 2.0)]


async def test_a_handler_of_the_log_that_tracks_does_not_hold_up_the_close(sandbox: Sandbox, make: MakeRig) -> None:
    rig = make(sandbox.url, max_events=1)
    handled: list[logging.LogRecord] = []

    class Tracking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            handled.append(record)
            if len(handled) < 100:
                rig.queue.track(click(99))

    logger, handler = logging.getLogger("algolia_events"), Tracking()
    logger.addHandler(handler)
    try:
        taken = [rig.queue.track(click(number)) for number in range(3)]
        report = await rig.queue.aclose(LONG_S)
    finally:
        logger.removeHandler(handler)

    assert (taken, report.delivered) == ([True, False, False], 1)
    assert len(handled) < 10
