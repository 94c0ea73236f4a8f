"""The event queue: takes events in, from anywhere, and says what becomes of them."""

import asyncio
import random
import threading
import warnings
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

from algolia_events._batching import SMALL_EVENT, Batch, Batcher, Settlement
from algolia_events._clock import Clock, SystemClock
from algolia_events._codec import ENCODERS, Encoder, encode, parse_event
from algolia_events._codec._peek import event_timestamp
from algolia_events._fork import watch_forks
from algolia_events._reporting import Reporter
from algolia_events._retry import Gate, Outcome
from algolia_events._runner import Core, Runner
from algolia_events._screening import Screen
from algolia_events._waiting import Waiters, time_limit
from algolia_events.abc import Hook
from algolia_events.config import QueueOptions, RetryOptions, seconds
from algolia_events.errors import (
    ClientClosedError,
    EventDroppedError,
    InvalidEventError,
    QueueFullError,
    WrongLoopError,
)
from algolia_events.events import Event
from algolia_events.reports import DeliveryReport, DropReason, Health, HealthState, QueueStats

_NS_PER_MS: Final = 1_000_000


class EventQueue:
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
        self._options = options or QueueOptions()
        self._retry = retry or RetryOptions()
        self._clock = clock or SystemClock()
        self._draw = draw
        self._reporter = self._make_reporter(hooks)
        self._time_ns = self._clock.time_ns
        self._screen = screen or Screen()
        # Without encoders every event takes the way past the screen; with an open screen nothing is spent on it.
        self._encoders: dict[Any, Encoder] = dict(ENCODERS) if self._screen.is_open else {}
        self._start_afresh()
        self._reporter.attached(self.stats, self._options.max_events)
        watch_forks(self)
        # What a loop leaves pending when it is closed is never collected, nor is what a module holds until the exit.
        weakref.finalize(self, _warn_at_exit, weakref.ref(self))

    def _start_afresh(self) -> None:
        # Reentrant, since a signal handler or a finalizer may track an event while this thread is inside track().
        self._lock = threading.RLock()
        gate = Gate(self._options.in_flight, self._retry)
        self._batcher = self._make_batcher(gate)
        if self._reporter.hears_tracked:
            self._batcher.ask_for_each()
        self._runner: Runner | None = None
        self._waiters = Waiters()
        self._closed_for: DropReason | None = None
        self._final_report: DeliveryReport | None = None
        self._warned = False

    def _make_reporter(self, hooks: Iterable[Hook]) -> Reporter:
        return Reporter(hooks, self._clock)

    def _make_batcher(self, gate: Gate) -> Batcher:
        return Batcher(self._options, gate, timestamp_of=event_timestamp)

    def after_fork(self) -> None:
        """Start empty in a forked child: what waits is the parent's to send."""
        self._start_afresh()

    # --- taking in -----------------------------------------------------------------------------------------------

    def track(self, event: Event | Mapping[str, Any]) -> bool:
        """Take an event in, to be sent in the background; return False when it was refused, which is counted.

        Takes a few microseconds, from any thread, and never waits. A mapping in the wire's form is validated first.

        Raises:
            InvalidEventError: the mapping breaks a rule, and `strict=True`; else it counts as dropped.
            QueueFullError: there is no room, and `overflow="raise"`.
        """
        try:
            encoder = self._encoders[type(event)]
        except KeyError:
            return self._track_other(event)
        stamp = event.timestamp  # type: ignore[union-attr]
        if stamp is None:
            stamp = self._time_ns() // _NS_PER_MS
        text = encoder(event, stamp)
        batch = self._batcher.open
        ahead = len(batch.loose)
        if ahead < batch.room and stamp >= batch.oldest_ms and len(text) <= SMALL_EVENT:
            # Without the lock, and counted later: `OpenBatch` explains why nothing gets lost here.
            batch.loose.append(text)
            return ahead < batch.last or self._see_to(text)
        reason = self._add(text, stamp)
        if reason is not None:
            return self._refused(reason)
        if self._reporter.hears_tracked:
            self._reporter.tracked(event)
        return True

    def _see_to(self, text: str) -> bool:
        """Do what is due after an event that filled the room it joined in, or found it shut."""
        with self._lock:
            reason = self._batcher.look(text)
            news = self._batcher.take_news()
            unsaid = self._batcher.dropped() if self._final_report is not None else []  # else the runner says it
        if news:
            self._wake()
        for settlement in unsaid:
            self._reporter.settled(settlement)
        return reason is None or self._said_no(reason)

    def _wake(self) -> None:
        """Have the background task look, if there is one; that takes a system call."""
        if self._runner is not None:
            self._runner.wake()

    async def put(self, event: Event | Mapping[str, Any]) -> None:
        """Take an event in, and wait for room where there is none.

        Raises:
            InvalidEventError: the mapping breaks a rule.
            EventDroppedError: the event can never fit into a request, or into the queue.
            ClientClosedError: the queue was closed before there was room.
        """
        await self._admit(event, None)

    async def submit(self, event: Event | Mapping[str, Any]) -> "asyncio.Future[Settlement]":
        """Take an event in as `put()` does, with its errors; return a future of the verdict on it.

        The future never raises: its `Settlement` says delivered, rejected or dropped. Thousands of them may be awaited
        at once while batches fill as ever, which is what a bulk import needs.
        """
        verdict: asyncio.Future[Settlement] = asyncio.get_running_loop().create_future()
        await self._admit(event, verdict)
        return verdict

    async def deliver(self, event: Event | Mapping[str, Any], timeout: float | timedelta | None = None) -> None:  # noqa: ASYNC109 - a time limit on the verdict, which leaves the event in the queue
        """Take an event in, and wait until Algolia has accepted it; it does not linger.

        Raises:
            InvalidEventError: the mapping breaks a rule.
            EventRejectedError: the server refused it, with its words.
            EventDroppedError: it was given up, with the reason.
            TimeoutError: there was no room, or no verdict, within `timeout` seconds; what was taken in stays in.
            ClientClosedError: the queue was closed before there was room.
        """
        verdict: asyncio.Future[Settlement] = asyncio.get_running_loop().create_future()
        try:
            async with time_limit(self._clock, self._deadline(timeout)):
                await self._admit(event, verdict, hasten=True)
                settlement = await verdict
        except TimeoutError:
            raise TimeoutError(f"no verdict on the event within {timeout} seconds") from None
        settlement.raise_unless_kept()

    async def _admit(
        self,
        event: Event | Mapping[str, Any],
        ticket: "asyncio.Future[Settlement] | None",
        *,
        hasten: bool = False,
    ) -> None:
        known = self._screen.judge(event if isinstance(event, Event) else parse_event(event))
        if isinstance(known, DropReason):
            with self._lock:
                self._batcher.ledger.refuse(known)
            self._reporter.dropped(known)
            raise EventDroppedError(known)
        stamp = self._stamp_of(known)
        text = encode(known, stamp)
        self._ensure_runner()
        async with self._waiters.turn:
            while True:
                with self._lock:  # held from the look to the adding: a thread may take the room in between
                    if self._has_room_for(len(text)):
                        reason = self._add(text, stamp, ticket, hasten=hasten)
                        break
                await self._waiters.room()
        if reason is not None:
            self._reporter.dropped(reason)
            raise EventDroppedError(reason)
        if self._reporter.hears_tracked:
            self._reporter.tracked(known)

    def _stamp_of(self, event: Event) -> int:
        return self._time_ns() // _NS_PER_MS if event.timestamp is None else event.timestamp

    def _add(
        self, text: str, stamp: int, ticket: "asyncio.Future[Settlement] | None" = None, *, hasten: bool = False
    ) -> DropReason | None:
        """Put an encoded event in and wake the background task where that matters; what `track()` does in line."""
        with self._lock:
            reason = self._batcher.add(text, stamp, ticket)
            if hasten:
                self._batcher.hasten()
            news = self._batcher.take_news()
        if news:
            self._wake()
        return reason

    def _has_room_for(self, size: int) -> bool:
        """Say whether an event can go in now without another giving way, or never will, which `add()` then books."""
        with self._lock:
            if self._closed_for is not None:
                raise ClientClosedError(f"the queue takes no more events: {self._closed_for}")
            return self._batcher.fits(size) or not self._batcher.can_ever_fit(size)

    def _track_other(self, event: Any) -> bool:
        """Track what takes more than an encoder: a mapping, a mistake, or any event while there is a screen."""
        try:
            known = self._screen.judge(event if isinstance(event, Event) else parse_event(event))
        except InvalidEventError:
            if self._options.strict:
                raise
            known = DropReason.INVALID
        if isinstance(known, DropReason):
            with self._lock:
                self._batcher.ledger.refuse(known)
            return self._refused(known)
        stamp = self._stamp_of(known)
        reason = self._add(encode(known, stamp), stamp)
        if reason is not None:
            return self._refused(reason)
        if self._reporter.hears_tracked:
            self._reporter.tracked(known)
        return True

    def _refused(self, reason: DropReason) -> bool:
        self._reporter.dropped(reason)
        return self._said_no(reason)

    def _said_no(self, reason: DropReason) -> bool:
        if reason is DropReason.QUEUE_FULL and self._options.overflow == "raise":
            raise QueueFullError(self._options.max_events, self._options.max_bytes)
        return False

    # --- sending -------------------------------------------------------------------------------------------------

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
            WrongLoopError: awaited in another loop than the queue's.
        """
        deadline = self._deadline(timeout)
        if self._final_report is not None:
            return self._final_report
        runner = self._ensure_runner()
        with self._lock:
            self._batcher.seal()
            target = self._batcher.sealed_below
            done = self._batcher.settled_below >= target
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
            WrongLoopError: awaited in another loop than the queue's.
        """
        allowed = self._options.shutdown_timeout if timeout is None else seconds(timeout)
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
        return self._final_report

    def reopen(self) -> None:
        """Try again at once: what was wrong, a key for instance, has been put right."""
        with self._lock:
            self._batcher.gate.reopen()
            runner = self._runner
        if runner is not None:
            runner.wake()

    def _deadline(self, timeout: float | timedelta | None) -> float | None:
        return None if timeout is None else self._clock.monotonic() + seconds(timeout)

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
                raise WrongLoopError(
                    "this client runs in another event loop: await it there, or make one client a loop"
                    " (track() and stats() work from anywhere)"
                )
        with self._lock:
            # An attempt that had not begun when its task was cancelled, or whose loop was just closed, never ends.
            self._batcher.reclaim()
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
        return self._runner

    async def _deliver_batch(self, batch: Batch) -> Outcome:
        return await self._deliver(batch.body())

    async def _cancelled(self) -> None:
        """Leave what waits where it is: the task may be begun again."""

    def _after_turn(self, settlements: Iterable[Settlement]) -> None:
        with self._lock:
            settled_below = self._batcher.settled_below
        self._waiters.tell(settlements, settled_below)

    def _ended(self, reason: DropReason, given_up: int) -> None:
        """Note that the background task has ended, and that everything is accounted for."""
        with self._lock:
            self._closed_for = reason if reason is DropReason.FAILED else DropReason.CLOSED
            self._batcher.close(self._closed_for)
        self._reporter.say_the_rest()
        self._final_report = self._report(timed_out=given_up > 0)
        self._waiters.look_again()

    # --- the books -----------------------------------------------------------------------------------------------

    def stats(self) -> QueueStats:
        """Take the counters, all at one moment; from any thread."""
        with self._lock:
            return self._batcher.stats()

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
        held = self._batcher.stats().pending if hasattr(self, "_batcher") else 0
        runner = getattr(self, "_runner", None)
        if self._final_report is None and not self._warned and (held or runner is not None):
            self._warned = True
            warnings.warn(f"unclosed event queue with {held} events; await aclose()", ResourceWarning, 2, self)


def _warn_at_exit(queue: "weakref.ref[EventQueue]") -> None:
    """Have a queue warn that is still there when the interpreter exits: later, warnings may be gone before it is."""
    alive = queue()
    if alive is not None:
        alive.__del__()
