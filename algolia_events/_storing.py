"""The part of a durable queue that stores what comes in, and knows whether the outbox works."""

import asyncio
import math
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import attrs

from algolia_events._batching import COMMIT_LINGER, Batch, IntakeBatcher, Settlement
from algolia_events._clock import Clock
from algolia_events._durable_parts import IntakeReporter
from algolia_events._groups import EventGroup
from algolia_events._guarded import GuardedOutbox, UnansweredError, describe
from algolia_events._queue import EventQueue
from algolia_events._retry import Failed, Gate, Moved, Outcome, Stored, TooLarge
from algolia_events._waiting import sleep_until
from algolia_events.abc import Hook, Outbox
from algolia_events.config import QueueOptions, RetryOptions
from algolia_events.errors import AlgoliaEventsError, ConfigurationError, OutboxError, OutboxFullError
from algolia_events.events import Event
from algolia_events.reports import DeliveryReport

_OPENING_SECONDS: Final = 1.0
"""How long `start()` waits for the outbox to open; a slower one goes on opening, and memory takes in meanwhile."""
_STORE_RETRY_SECONDS: Final = 1.0
_PROBE_SECONDS: Final = 1.0
"""How often a failing outbox is probed while there is nothing to store in it."""
_LAST_SECONDS: Final = 5.0
"""What storing may take when the loop ends under us."""
_LARGE_SHARE: Final = 1 / 8
"""A batch that finds no room in an empty outbox, and is larger than this share of its bound, is cut: parts may fit."""
_TOO_LARGE: Final = 413


class StoringQueue(EventQueue):
    """An `EventQueue` whose batches go into an outbox; `DurableQueue` is this, and what sends them from there.

    Args:
        deliver: as for `EventQueue`, for what does not go through the outbox.
        outbox: where events are stored.
        options, retry, others: as for `EventQueue`.
    """

    _batcher: IntakeBatcher
    _reporter: IntakeReporter

    def __init__(
        self,
        deliver: Callable[[bytes], Awaitable[Outcome]],
        outbox: Outbox,
        *,
        options: QueueOptions,
        retry: RetryOptions,
        **others: Any,
    ) -> None:
        self._given_outbox = outbox
        super().__init__(
            deliver,
            options=attrs.evolve(options, linger=min(options.linger, COMMIT_LINGER)),
            # Its gate is about the outbox alone, which is on this machine or next to it.
            retry=attrs.evolve(retry, backoff_cap=min(retry.backoff_cap, _STORE_RETRY_SECONDS)),
            **others,
        )

    def _start_afresh(self) -> None:
        super()._start_afresh()
        self._outbox = GuardedOutbox(self._given_outbox)
        self._origin = secrets.token_hex(8)
        self._problem: str | None = None
        self._told_of_problem = False
        self._store_at = -math.inf
        self._probing: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[ConfigurationError | None] | None = None
        self._closing: asyncio.Task[DeliveryReport] | None = None

    def _make_batcher(self, gate: Gate) -> IntakeBatcher:
        return IntakeBatcher(self._options, gate)

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
        opening = self._opening = asyncio.create_task(self._open(), name="algolia_events.opening")
        await asyncio.wait({opening}, timeout=_OPENING_SECONDS)
        if opening.done() and not opening.cancelled() and (wrong := opening.result()) is not None:
            raise wrong

    async def _open(self) -> ConfigurationError | None:
        """Open the outbox, or note why that fails; return what can never work."""
        try:
            await self._outbox.open()
        except (OutboxError, ConfigurationError) as exc:
            self._store_failed(str(exc))
            return exc if isinstance(exc, ConfigurationError) else None
        return None

    async def _deliver_batch(self, batch: Batch) -> Outcome:
        """Store a batch; where that fails, let it go on to Algolia from memory, as far as there is room for it."""
        if self._problem is None or self._clock.monotonic() >= self._store_at:
            try:
                await self._store([*self._groups(batch)])
            except UnansweredError as exc:  # the queue closes
                with self._lock:
                    was_kept = self._batcher.is_kept(batch)
                return Stored() if was_kept else Failed(reason=str(exc), ambiguous=True)
            except OutboxFullError as exc:
                outcome = await self._without_room(batch, exc)
                if outcome is not None:
                    return outcome
            except AlgoliaEventsError as exc:
                self._store_failed(str(exc))
            else:
                self._store_succeeded()
                return Stored()
        return self._past_the_outbox(batch) or Failed(reason=str(self._problem), ambiguous=False)

    async def _without_room(self, batch: Batch, full: OutboxFullError) -> Outcome | None:
        """Say what becomes of a batch that an outbox at its bound refuses; None if it may go past the outbox."""
        if batch.size <= full.max_bytes and await self._will_have_room():
            self._store_failed(str(full), pause=0.0)
            return Failed(reason=str(full), ambiguous=False)
        if batch.count > 1 and batch.size > full.max_bytes * _LARGE_SHARE:
            return TooLarge(_TOO_LARGE, str(full))  # which cuts it
        self._store_failed(str(full))
        return None

    async def _will_have_room(self) -> bool:
        """Say whether to wait for room: somebody will send what the outbox holds; to go past it would gain nothing."""
        try:
            return (await self._outbox.sizes()).events > 0
        except AlgoliaEventsError:
            return True

    async def _store(self, groups: Sequence[EventGroup]) -> None:
        await self._outbox.store(groups)

    def _past_the_outbox(self, batch: Batch) -> Moved | None:  # noqa: ARG002 - who only stores has no other way
        """Have a batch sent from memory, as far as there is room for it there."""
        return None

    def _groups(self, batch: Batch) -> Iterator[EventGroup]:
        """Make groups of a batch: each has to fit into a request."""
        for body, count in batch.runs(self._options.batch_events):
            yield EventGroup(body=body, count=count, oldest_ms=batch.oldest_ms, origin=self._origin)

    def _store_succeeded(self) -> None:
        self._problem = None
        self._tell_state()

    def _store_failed(self, reason: str, *, pause: float = _STORE_RETRY_SECONDS) -> None:
        self._store_at = self._clock.monotonic() + pause
        self._problem = reason
        self._tell_state()
        if self._closing is not None:
            return
        probing = self._probing
        if probing is None or probing.done() or probing.get_loop() is not asyncio.get_running_loop():
            self._probing = asyncio.create_task(self._probe_until_it_works(), name="algolia_events.probing")

    async def _probe_until_it_works(self) -> None:
        """Probe the outbox from time to time; what waits to be stored does so by itself."""
        while self._problem is not None:
            await sleep_until(self._clock, self._clock.monotonic() + _PROBE_SECONDS)
            with self._lock:
                is_empty = self._batcher.is_empty()
            if is_empty:
                await self._probe()

    async def _probe(self) -> None:
        retry_at = self._store_at
        with suppress(AlgoliaEventsError):  # the reason is known
            await self._outbox.open()
            if self._store_at == retry_at:  # nothing has failed in the meantime
                self._store_succeeded()

    def _tell_state(self) -> None:
        """Report that the outbox fails, or works again, once for the two tasks that may find out."""
        fails = self._outbox_problem() is not None
        if fails is not self._told_of_problem:
            self._told_of_problem = fails
            self._reporter.tell_state(self.health())

    def _outbox_problem(self) -> str | None:
        """Say why the outbox cannot be used, as far as is known."""
        return self._problem

    async def _cancelled(self) -> None:
        """Store what waits, since the loop ends under us; what cannot be stored stays on the books as pending."""
        with self._lock:
            batches = self._batcher.take_all()
        outcome: Outcome = Failed(reason="the event loop has ended", ambiguous=False)
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                if batches:
                    await self._outbox.store([group for batch in batches for group in self._groups(batch)])
                outcome = Stored()
        except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001 - the cancellation goes on after this
            self._problem = describe(exc)
        settled: list[Settlement] = []
        with self._lock:
            for batch in batches:
                if isinstance(outcome, Stored):
                    settled.append(self._batcher.settle(batch, outcome, now=0.0, jitter=0.0))
                else:
                    self._batcher.interrupt(batch, ambiguous=False)
        self._after_turn(settled)
