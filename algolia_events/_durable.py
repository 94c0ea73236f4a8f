"""The event queue in front of a durable outbox: an intake that stores, and a line that sends what is stored."""

import asyncio
import math
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

import attrs

from algolia_events._batching import SEPARATOR as _SEPARATOR
from algolia_events._batching import Batch, IntakeBatcher, Settlement
from algolia_events._clock import Clock
from algolia_events._codec._peek import event_timestamp
from algolia_events._durable_parts import IntakeReporter, OwnLine
from algolia_events._feeder import Feeder
from algolia_events._groups import EventGroup
from algolia_events._line import Line
from algolia_events._queue import EventQueue
from algolia_events._retry import Failed, Gate, Outcome, Stored
from algolia_events._runner import Runner
from algolia_events._waiting import sleep_until
from algolia_events.abc import Hook, Outbox
from algolia_events.config import QueueOptions, RetryOptions, seconds
from algolia_events.errors import (
    AlgoliaEventsError,
    ConfigurationError,
    OutboxError,
    OutboxFullError,
)
from algolia_events.events import Event
from algolia_events.reports import DeliveryReport, Health, HealthState, QueueStats

_COMMIT_LINGER: Final = 0.05
"""In seconds: how long an event waits for company in its commit, and all that a `kill -9` can cost `track()`."""
_OPENING_SECONDS: Final = 1.0
"""How long `start()` waits for the outbox to open; a slower one goes on opening, and memory takes in meanwhile."""
_STORE_RETRY_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 1.0
"""How often a failing outbox is looked at that nobody stores anything in."""
_LAST_SECONDS: Final = 5.0
"""What storing may take when the loop ends under us."""


class DurableQueue(EventQueue):
    """An `EventQueue` whose events are safe in an outbox before they are sent.

    `track()` is as in memory; what it takes in is stored within some 50 ms, and `put()` returns once that is done. If
    the outbox fails, batches go to Algolia from the queue's bounded memory, and `health()` says so.

    Args:
        deliver: sends the body of one request and says what came of it; None leaves the sending to other processes.
        outbox: where events are stored, and claimed from.
        options, others: as for `EventQueue`.
    """

    _batcher: IntakeBatcher
    _reporter: IntakeReporter

    def __init__(
        self,
        deliver: Callable[[bytes], Awaitable[Outcome]] | None,
        outbox: Outbox,
        *,
        options: QueueOptions | None = None,
        retry: RetryOptions | None = None,
        hooks: Iterable[Hook] = (),
        **others: Any,
    ) -> None:
        options, retry, hooks = options or QueueOptions(), retry or RetryOptions(), tuple(hooks)
        self._outbox = outbox
        self._line_options = options
        self._line = None if deliver is None else OwnLine(deliver, options=options, retry=retry, hooks=hooks, **others)
        super().__init__(
            deliver or _nowhere,
            options=attrs.evolve(options, linger=min(options.linger, _COMMIT_LINGER)),
            # Its gate is about the outbox alone, which is on this machine or next to it.
            retry=attrs.evolve(retry, backoff_cap=min(retry.backoff_cap, _STORE_RETRY_SECONDS)),
            hooks=hooks,
            **others,
        )

    def _start_afresh(self) -> None:
        super()._start_afresh()
        self._origin = secrets.token_hex(8)
        self._feeder: Feeder | None = None
        self._stored_ever = 0
        self._sent_ever = 0
        self._problem: str | None = None
        self._told_of_problem = False
        self._store_at = -math.inf
        self._looking: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[DeliveryReport] | None = None

    def _make_batcher(self, gate: Gate) -> IntakeBatcher:
        return IntakeBatcher(self._options, gate, timestamp_of=event_timestamp)

    def _make_reporter(self, hooks: Iterable[Hook], clock: Clock) -> IntakeReporter:
        return IntakeReporter(hooks, clock)

    # --- taking in -----------------------------------------------------------------------------------------------

    async def put(self, event: Event | Mapping[str, Any]) -> None:
        """Take an event in, wait for room where there is none, and return once it is stored.

        While the outbox fails, it returns once Algolia has accepted the event.

        Raises:
            InvalidEventError: the mapping breaks a rule.
            EventRejectedError: the outbox failed, and the server refused the event.
            EventDroppedError: it was given up, with the reason, before it was stored.
            ClientClosedError: the queue was closed before there was room.
        """
        verdict: asyncio.Future[Settlement] = asyncio.get_running_loop().create_future()
        await self._admit(event, verdict, hasten=True)
        (await verdict).raise_unless_kept()

    async def submit(self, event: Event | Mapping[str, Any]) -> "asyncio.Future[Settlement]":
        """Send an event past the outbox, since a verdict is wanted; see `EventQueue.submit`."""
        return await self._sender().submit(event)

    async def deliver(self, event: Event | Mapping[str, Any], timeout: float | timedelta | None = None) -> None:  # noqa: ASYNC109 - as EventQueue.deliver()
        """Send an event past the outbox, and wait until Algolia has accepted it; see `EventQueue.deliver`."""
        await self._sender().deliver(event, timeout)

    def _sender(self) -> Line:
        if self._line is None:
            raise ConfigurationError("this client only stores (deliver=False): there is no verdict to wait for")
        self._ensure_runner()
        return self._line

    # --- storing -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the outbox and start the background tasks; to do so twice does no harm.

        An outbox that is away is no reason not to start.

        Raises:
            WrongLoopError: it runs in another loop already.
            ClientClosedError: the queue was closed.
            ConfigurationError: the outbox can never work here.
        """
        await super().start()
        opening = asyncio.create_task(self._open(), name="algolia_events.opening")
        await asyncio.wait({opening}, timeout=_OPENING_SECONDS)
        if opening.done():
            opening.result()

    async def _open(self) -> None:
        try:
            await self._outbox.open()
        except OutboxError as exc:
            self._store_failed(str(exc))

    async def _deliver_batch(self, batch: Batch) -> Outcome:
        """Store a batch; where that fails, let it go on to Algolia from memory, as far as there is room for it."""
        if self._problem is None or self._clock.monotonic() >= self._store_at:
            try:
                await self._store(self._group(batch))
            except OutboxFullError as exc:  # whoever sends will make room: to pass the others would gain nothing
                self._store_failed(str(exc), pause=0.0)
                return Failed(reason=str(exc), ambiguous=False)
            except Exception as exc:  # noqa: BLE001 - an outbox of somebody else's may raise anything
                self._store_failed(_words(exc))
            else:
                self._store_succeeded(batch.count)
                return Stored()
        moved = None if self._line is None else self._line.take_over(batch)
        return moved or Failed(reason=str(self._problem), ambiguous=False)

    async def _store(self, group: EventGroup) -> None:
        if self._feeder is None:
            await self._outbox.store([group])
        else:
            await self._feeder.store([group])

    def _group(self, batch: Batch) -> EventGroup:
        return EventGroup(
            body=_SEPARATOR.join(batch.pieces), count=batch.count, oldest_ms=batch.oldest_ms, origin=self._origin
        )

    def _store_succeeded(self, events: int) -> None:
        self._stored_ever += events
        self._problem = None
        self._tell_state()

    def _store_failed(self, words: str, *, pause: float = _STORE_RETRY_SECONDS) -> None:
        self._store_at = self._clock.monotonic() + pause
        self._problem = words
        self._tell_state()
        looking = self._looking
        if looking is None or looking.done() or looking.get_loop() is not asyncio.get_running_loop():
            self._looking = asyncio.create_task(self._look_again(), name="algolia_events.looking")

    async def _look_again(self) -> None:
        """Look from time to time whether the outbox works again; what waits to be stored shows that by itself."""
        while self._problem is not None:
            await sleep_until(self._clock, self._clock.monotonic() + _LOOK_SECONDS)
            with self._lock:
                is_empty = self._batcher.is_empty()
            if is_empty:
                await self._look()

    async def _look(self) -> None:
        retry_at = self._store_at
        with suppress(Exception):  # the reason is known; an outbox of somebody else's may raise anything
            await self._outbox.open()
            if self._store_at == retry_at:  # nothing has failed in the meantime
                self._store_succeeded(0)

    def _tell_state(self) -> None:
        """Report that the outbox fails, or works again, whichever of the two tasks has found out."""
        fails = self._outbox_problem() is not None
        if fails is not self._told_of_problem:
            self._told_of_problem = fails
            self._reporter.tell_state(self.health())

    def _outbox_problem(self) -> str | None:
        return self._problem or (self._feeder.problem if self._feeder is not None else None)

    async def _cancelled(self) -> None:
        """Store what waits, since the loop ends under us; what cannot be stored stays on the books as pending."""
        with self._lock:
            batches = self._batcher.take_all()
        outcome: Outcome = Failed(reason="the event loop has ended", ambiguous=False)
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                if batches:
                    await self._outbox.store([self._group(batch) for batch in batches])
                outcome = Stored()
        except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001 - the cancellation goes on after this
            self._problem = _words(exc)
        with self._lock:
            for batch in batches:
                if isinstance(outcome, Stored):
                    self._stored_ever += batch.count
                    self._batcher.settle(batch, outcome, now=0.0, jitter=0.0)
                else:
                    self._batcher.interrupt(batch, ambiguous=False)

    # --- sending -------------------------------------------------------------------------------------------------

    def _ensure_runner(self) -> Runner:
        runner = super()._ensure_runner()
        line = self._line
        if line is not None and self._final_report is None and not line.is_over:
            line.ensure_started()
            feeder = self._feeder
            if feeder is None or feeder.loop is not runner.loop or feeder.task.done():
                self._feeder = Feeder(
                    self._outbox,
                    line,
                    options=self._line_options,
                    clock=self._clock,
                    booked=self._sent,
                    turned=self._tell_state,
                    before=feeder,
                )
        return runner

    def _sent(self, kind: str, by_origin: Mapping[str, int]) -> None:
        """Book what became of claimed events; those that are ours change places in our own ledger."""
        ours = by_origin.get(self._origin, 0)
        if not ours or kind == "given_back":
            return
        with self._lock:
            self._sent_ever += self._batcher.sent(kind, ours)

    async def flush(self, timeout: float | timedelta | None = None) -> DeliveryReport:  # noqa: ASYNC109 - as EventQueue.flush()
        """Store what has been tracked so far, send what this process can get hold of, and wait until it is settled.

        What other processes have claimed stays `stored` in the report. See `EventQueue.flush`.
        """
        deadline = self._deadline(timeout)
        report = await super().flush(timeout)
        if report.timed_out or self._line is None or self._feeder is None:
            return self._report(timed_out=report.timed_out)
        in_time = await self._drain(deadline, while_it_works=False)
        rest = await self._line.flush(self._remaining(deadline))
        return self._report(timed_out=rest.timed_out or not in_time)

    async def _drain(self, deadline: float | None, *, while_it_works: bool) -> bool:
        target = self._stored_ever
        assert self._feeder is not None  # noqa: S101
        return await self._feeder.drain(
            lambda: self._sent_ever >= target, deadline=deadline, while_it_works=while_it_works
        )

    def _remaining(self, deadline: float | None) -> float | None:
        return None if deadline is None else max(0.0, deadline - self._clock.monotonic())

    async def aclose(self, timeout: float | timedelta | None = None) -> DeliveryReport:  # noqa: ASYNC109 - as EventQueue.aclose()
        """Take no more events, store what there is, send what can be sent, and leave the rest in the outbox.

        Sending ends as soon as the server fails: what is stored is safe. See `EventQueue.aclose`.
        """
        allowed = self._options.shutdown_timeout if timeout is None else seconds(timeout)
        deadline = self._clock.monotonic() + allowed
        if self._closing is None or self._closing.cancelled():
            self._ensure_runner()  # in the wrong loop this raises, before anything has changed
            self._closing = asyncio.create_task(self._close(deadline), name="algolia_events.closing")
        if not self._closing.done():
            await asyncio.wait({self._closing})
        return self._closing.result()

    async def _close(self, deadline: float) -> DeliveryReport:
        intake = await super().aclose(self._remaining(deadline))
        timed_out = intake.timed_out
        if self._line is not None and self._feeder is not None:
            self._line.hurry()
            await self._drain(deadline, while_it_works=True)
            self._feeder.stop()
            if not self._line.works:
                self._line.give_back()
            line = await self._line.aclose(self._remaining(deadline))
            timed_out = timed_out or line.timed_out
            await self._feeder.close()
        if self._looking is not None:
            self._looking.cancel()
        try:
            await self._outbox.aclose()
        except Exception as exc:  # noqa: BLE001 - nothing depends on it any more
            self._problem = _words(exc)
        late = self._clock.monotonic() >= deadline and self._sent_ever < self._stored_ever
        self._final_report = self._report(timed_out=timed_out or late)
        return self._final_report

    def reopen(self) -> None:
        """Try again at once; see `EventQueue.reopen`."""
        super().reopen()
        if self._line is not None:
            self._line.reopen()

    # --- the books -----------------------------------------------------------------------------------------------

    def stats(self) -> QueueStats:
        """Take the counters of both ledgers, each at one moment; from any thread."""
        with self._lock:  # nothing moves between the two while it is held
            intake = super().stats()
            if self._line is None:
                return attrs.evolve(intake, requests=0, in_flight=0)  # what it does is storing
            line = self._line.stats()
            dropped = dict(intake.dropped)
            for reason, count in line.dropped.items():
                dropped[reason] = dropped.get(reason, 0) + count
            return attrs.evolve(
                intake,
                tracked=intake.tracked + line.tracked,
                delivered=intake.delivered + line.delivered,
                rejected=intake.rejected + line.rejected,
                dropped=MappingProxyType(dropped),
                pending=intake.pending + line.pending,
                pending_bytes=intake.pending_bytes + line.pending_bytes,
                possible_duplicates=intake.possible_duplicates + self._line.possible_duplicates,
                in_flight=line.in_flight,
                requests=self._line.requests,
                sending=self._line.sending_stats(),
            )

    def health(self) -> Health:
        """Say how the storing and the sending go; from any thread."""
        health = super().health()
        if health.state in {HealthState.CLOSED, HealthState.FAILED}:
            return health
        problem = self._outbox_problem()
        if problem is not None:
            return Health(state=HealthState.DEGRADED, reason=problem)
        line = Health(state=HealthState.OK) if self._line is None else self._line.health()
        return attrs.evolve(line, reason=self._outbox.notice) if line.ok else line


async def _nowhere(_: bytes) -> Outcome:
    """Stand in for the sending that is left to others; nothing gets here."""
    return Failed(reason="this client only stores", ambiguous=False)


def _words(exc: BaseException) -> str:
    return str(exc) if isinstance(exc, AlgoliaEventsError) else f"the outbox raised {type(exc).__name__}"
