"""The event queue: takes events in, from anywhere, and says what becomes of them."""

import asyncio
import random
import warnings
import weakref
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Final

import attrs

from algolia_events._batching import Batch, Settlement
from algolia_events._cancelling import call_unless_loop_ends
from algolia_events._clock import Clock, SystemClock
from algolia_events._entrance import Entrance
from algolia_events._fork import watch_forks
from algolia_events._reporting import Reporter
from algolia_events._retry import Outcome
from algolia_events._runner import Core, Runner
from algolia_events._screening import Screen
from algolia_events._waiting import Waiters, time_limit
from algolia_events.abc import Hook
from algolia_events.config import QueueOptions, RetryOptions, limit_seconds
from algolia_events.errors import ClientClosedError, WrongLoopError
from algolia_events.reports import DeliveryReport, DropReason, Health, HealthState, QueueStats

_PAUSE_SECONDS: Final = 0.05
"""How long a close waits before it begins the background task again that something else has ended."""


class EventQueue(Entrance):
    """Buffers events and sends them in batches from a background task.

    `track()` and `stats()` may be called from any thread, and before `start()`; everything that is awaited belongs to
    one event loop. An `AlgoliaEvents` makes one and starts it.

    Args:
        deliver: sends the body of one request and says what came of it.
        options: how much is held, and when it is sent.
        retry: how long to wait between attempts.
        clock: both clocks; a test moves one by hand.
        draw: draws evenly from [0, 1), for the jitter.
        hooks: are told what happens.
        screen: decides which events go in at all.
    """

    def __init__(
        self,
        deliver: Callable[[bytes], Awaitable[Outcome]],
        *,
        options: QueueOptions | None = None,
        retry: RetryOptions | None = None,
        clock: Clock | None = None,
        draw: Callable[[], float] = random.random,
        hooks: Iterable[Hook] = (),
        screen: Screen | None = None,
    ) -> None:
        self._deliver = deliver
        self._draw = draw
        clock = clock or SystemClock()
        super().__init__(
            options=options or QueueOptions(),
            retry=retry or RetryOptions(),
            clock=clock,
            reporter=self._make_reporter(hooks, clock),
            screen=screen or Screen(),
        )
        self._reporter.attached(self.stats, self._options.max_events)
        watch_forks(self)
        # What a loop leaves pending when it is closed is never collected, nor is what a module holds until the exit.
        weakref.finalize(self, _warn_at_exit, weakref.ref(self))

    def _make_reporter(self, hooks: Iterable[Hook], clock: Clock) -> Reporter:
        return Reporter(hooks, clock)

    async def start(self) -> None:
        """Start the background task in the running loop; to do so twice does no harm.

        Raises:
            WrongLoopError: it runs in another loop already.
            ClientClosedError: the queue was closed.
        """
        if self._closed_for is not None:
            raise ClientClosedError("a closed queue does not start again; make a new one")
        self._ensure_runner()

    async def flush(self, timeout: float | timedelta | None = None) -> DeliveryReport:  # noqa: ASYNC109 - a flush that runs out of time reports so, and does not raise
        """Send what has been tracked so far, without lingering, and wait until all of it is settled.

        Returns at the latest after `timeout` seconds (None waits for as long as it takes), with what is true then.

        Raises:
            ConfigurationError: `timeout` is no time limit.
            WrongLoopError: awaited in another loop than the queue's.
        """
        deadline = self._deadline(timeout)
        if self._final_report is not None:
            return self._final_report
        runner = self._ensure_runner()
        with self._lock:
            self._batcher.seal()
            target = self._batcher.sealed_below
            done = self._batcher.settled_below() >= target
        timed_out = False
        if not done:
            runner.wake()
            try:
                async with time_limit(self._clock, deadline):
                    await self._waiters.settled(target)
            except TimeoutError:
                timed_out = True
        return self._report(timed_out=timed_out)

    async def aclose(self, timeout: float | timedelta | None = None) -> DeliveryReport:  # noqa: ASYNC109 - as flush()
        """Take no more events, send what there is, and account for the rest.

        Returns at the latest after `timeout` seconds (None: `QueueOptions.shutdown_timeout`). What is then still
        waiting is dropped: as "ambiguous" where its request was under way, else as "shutdown". All who close, at once
        or later, from whatever task, get the same report; one that is cancelled can be taken up by another.

        Raises:
            ConfigurationError: `timeout` is no time limit; nothing has changed.
            WrongLoopError: awaited in another loop than the queue's.
        """
        allowed = self._options.shutdown_timeout if timeout is None else limit_seconds(timeout)
        deadline = self._clock.monotonic() + allowed
        if self._final_report is None:
            self._ensure_runner()  # in the wrong loop this raises, before anything has changed
        with self._lock:
            if self._closed_for is None:
                self._closed_for = DropReason.CLOSED
                self._batcher.close(DropReason.CLOSED)
        self._waiters.look_again()
        while self._final_report is None:
            runner = self._ensure_runner()
            runner.close(deadline)
            # A cancelled waiter leaves the task alone; a cancelled task is begun again, since events wait for it.
            await asyncio.wait({runner.task})
            if self._final_report is None:
                await asyncio.sleep(_PAUSE_SECONDS)
        return self._final_report

    def reopen(self) -> None:
        """Try again at once: what was wrong, a key for instance, has been put right."""
        with self._lock:
            self._batcher.gate.reopen()
            runner = self._runner
        if runner is not None:
            runner.wake()

    def _ensure_runner(self) -> Runner:
        """Find the background task, or start it; it belongs to one loop for as long as that loop lives."""
        if self._final_report is not None:
            raise ClientClosedError("the client is closed")
        loop = asyncio.get_running_loop()
        runner = self._runner
        if runner is not None and not runner.task.done():
            if runner.loop is loop:
                return runner
            if not runner.loop.is_closed():
                raise WrongLoopError
        with self._lock:
            # An attempt that had not begun when its task was cancelled, or whose loop was just closed, never ends.
            self._batcher.reclaim()
        if runner is None or runner.loop is not loop:
            self._waiters = Waiters()
        self._runner = Runner(
            Core(
                batcher=self._batcher,
                lock=self._lock,
                clock=self._clock,
                reporter=self._reporter,
                screen=self._screen,
                deliver=self._deliver_batch,
                draw=self._draw,
                after_turn=self._after_turn,
                ended=self._ended,
                cancelled=self._cancelled,
            )
        )
        self._runner.task.add_done_callback(self._task_ended)
        return self._runner

    def _task_ended(self, _: "asyncio.Task[None]") -> None:
        """Begin the background task again where it alone was ended from outside: what is tracked waits for it.

        Not at once: what has ended it may do so again.
        """
        if self._final_report is None:
            call_unless_loop_ends(self._begin_again)

    def _begin_again(self) -> None:
        here = self._runner is not None and self._runner.loop is asyncio.get_running_loop()
        if here and self._final_report is None:
            self._ensure_runner()

    async def _deliver_batch(self, batch: Batch) -> Outcome:
        return await self._deliver(batch.body())

    async def _cancelled(self) -> None:
        """Leave what waits where it is: the task may be begun again."""

    def _after_turn(self, settlements: Iterable[Settlement]) -> None:
        with self._lock:
            settled_below = self._batcher.settled_below()
        self._waiters.tell(settlements, settled_below)

    def _ended(self, reason: DropReason, given_up: int) -> None:
        """Note that the background task has ended, and that everything is accounted for."""
        with self._lock:
            self._closed_for = reason if reason is DropReason.FAILED else DropReason.CLOSED
            self._batcher.close(self._closed_for)
        self._reporter.log_suppressed()
        self._final_report = self._report(timed_out=given_up > 0)
        self._waiters.look_again()

    # --- the books -----------------------------------------------------------------------------------------------

    def stats(self) -> QueueStats:
        """Take the counters, all at one moment; from any thread."""
        with self._lock:
            counters = self._batcher.stats()
        errors = self._callback_errors()
        return attrs.evolve(counters, callback_errors=errors) if errors else counters

    def _callback_errors(self) -> int:
        return self._reporter.hook_errors + self._screen.callback_errors

    def health(self) -> Health:
        """Say how the sending goes, and why, if it does not go well; from any thread."""
        if self._closed_for is DropReason.FAILED:
            return Health(state=HealthState.FAILED, reason="the background task died; the log has the cause")
        if self._closed_for is not None:
            return Health(state=HealthState.CLOSED, reason="closed")
        with self._lock:
            return self._batcher.gate.health(now=self._clock.monotonic())

    def _report(self, *, timed_out: bool) -> DeliveryReport:
        return DeliveryReport.of(self.stats(), timed_out=timed_out)

    def __del__(self) -> None:
        if not hasattr(self, "_final_report"):  # it was never made
            return
        held = self.stats().pending
        if self._final_report is None and not self._warned and (held or self._runner is not None):
            self._warned = True
            warnings.warn(f"unclosed event queue with {held} events; await aclose()", ResourceWarning, 2, self)


def _warn_at_exit(queue: "weakref.ref[EventQueue]") -> None:
    """Have a queue warn that is still there when the interpreter exits: later, warnings may be gone before it is."""
    alive = queue()
    if alive is not None:
        alive.__del__()
