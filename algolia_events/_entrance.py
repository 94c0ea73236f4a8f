"""The way into the queue: from any thread at once, or by waiting for room."""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from algolia_events._batching import Batcher, Entry, Settlement
from algolia_events._clock import Clock
from algolia_events._codec import ENCODERS, encode, parse_event
from algolia_events._reporting import Reporter
from algolia_events._retry import Gate
from algolia_events._runner import Runner
from algolia_events._screening import Screen
from algolia_events._waiting import Waiters, time_limit
from algolia_events.config import QueueOptions, RetryOptions, limit_seconds
from algolia_events.errors import ClientClosedError, EventDroppedError, InvalidEventError, QueueFullError
from algolia_events.events import Event
from algolia_events.reports import DeliveryReport, DropReason

_NS_PER_MS: Final = 1_000_000


class Entrance(ABC):
    """Takes events in; `EventQueue` is this, and what sends them.

    What both share is set here: the lock that is held for every look at the batcher, and the background task.
    """

    def __init__(
        self, *, options: QueueOptions, retry: RetryOptions, clock: Clock, reporter: Reporter, screen: Screen
    ) -> None:
        self._options = options
        self._retry = retry
        self._clock = clock
        self._time_ns = clock.time_ns
        self._reporter = reporter
        self._screen = screen
        # The classes whose events nobody is asked about: none where there is a screen.
        self._joining: frozenset[Any] = frozenset(ENCODERS if screen.is_open else ())
        self._start_afresh()

    def _start_afresh(self) -> None:
        # Reentrant, since a signal handler or a finalizer may track an event while this thread is inside track().
        self._lock = threading.RLock()
        self._batcher = self._make_batcher(Gate(self._options.in_flight, self._retry))
        if self._reporter.hears_tracked:
            self._batcher.ask_for_each()
        self._runner: Runner | None = None
        self._waiters = Waiters()
        self._closed_for: DropReason | None = None
        self._final_report: DeliveryReport | None = None
        self._warned = False

    def _make_batcher(self, gate: Gate) -> Batcher:
        return Batcher(self._options, gate)

    def after_fork(self) -> None:
        """Start empty in a forked child: what waits is the parent's to send."""
        self._start_afresh()

    @abstractmethod
    def _ensure_runner(self) -> Runner:
        """Find the background task in the running loop, or start it."""

    def track(self, event: Event | Mapping[str, Any]) -> bool:
        """Take an event in, to be sent in the background; return False when it was refused, which is counted.

        From any thread; it never waits. An event takes less than a microsecond, but for one in 125: it has those
        encoded that have gathered, in 0.1 to 0.3 ms. A mapping in the wire's form is validated first.

        Raises:
            InvalidEventError: the mapping breaks a rule, and `strict=True`; else it counts as dropped.
            QueueFullError: there is no room, and `overflow="raise"`.
        """
        if type(event) not in self._joining:
            return self._track_other(event)
        known: Event = event  # type: ignore[assignment]
        stamp = known._timestamp  # noqa: SLF001 - see there
        if stamp is None:
            stamp = self._time_ns() // _NS_PER_MS
        batch = self._batcher.open
        entries = batch.entries
        if len(entries) < batch.room and stamp >= batch.oldest_ms and known._is_small:  # noqa: SLF001
            # Without the lock, and counted later: `OpenBatch` explains why nothing gets lost here.
            entry = known, stamp
            entries.append(entry)
            return len(entries) <= batch.last or self._count_in(entry)
        return self._track_encoded(known, encode(known, stamp), stamp)

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
            ConfigurationError: `timeout` is no time limit; the event was not taken in.
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
            raise TimeoutError("no verdict on the event in the time given") from None
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
            self._book_refusal(known)
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

    def _has_room_for(self, size: int) -> bool:
        """Say whether an event can go in now without another giving way, or never will, which `add()` then books."""
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
            self._book_refusal(known)
            return False
        stamp = self._stamp_of(known)
        return self._track_encoded(known, encode(known, stamp), stamp)

    def _track_encoded(self, event: Event, text: str, stamp: int) -> bool:
        """Take in an event about which there is something to decide."""
        reason = self._add(text, stamp)
        if reason is not None:
            return self._refuse(reason)
        if self._reporter.hears_tracked:
            self._reporter.tracked(event)
        return True

    def _stamp_of(self, event: Event) -> int:
        return self._time_ns() // _NS_PER_MS if event.timestamp is None else event.timestamp

    def _add(
        self, text: str, stamp: int, ticket: "asyncio.Future[Settlement] | None" = None, *, hasten: bool = False
    ) -> DropReason | None:
        """Put an encoded event in and wake the background task where that matters."""
        with self._lock:
            reason = self._batcher.add(text, stamp, ticket)
            if hasten:
                self._batcher.hasten()
            news = self._batcher.take_news()
        if news:
            self._wake()
        return reason

    def _book_refusal(self, reason: DropReason) -> None:
        """Book an event that never came near the batches."""
        with self._lock:
            self._batcher.ledger.refuse(reason)
        self._reporter.dropped(reason)

    def _refuse(self, reason: DropReason) -> bool:
        """Tell of an event that was booked as refused."""
        self._reporter.dropped(reason)
        if reason is DropReason.QUEUE_FULL and self._options.overflow == "raise":
            raise QueueFullError(self._options.max_events, self._options.max_bytes)
        return False

    def _count_in(self, entry: Entry) -> bool:
        """Have an event counted that filled the room it joined in, or found it shut; return False if it was refused."""
        with self._lock:
            reason = self._batcher.refusal_of(entry)
            news = self._batcher.take_news()
        if news:
            self._wake()
        return reason is None or self._refuse(reason)

    def _wake(self) -> None:
        """Have the background task look, if there is one; that takes a system call."""
        if self._runner is not None:
            self._runner.wake()

    def _deadline(self, timeout: float | timedelta | None) -> float | None:
        return None if timeout is None else self._clock.monotonic() + limit_seconds(timeout)
