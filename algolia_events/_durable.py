"""The event queue in front of a durable outbox: an intake that stores, and a sender of what is stored."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import attrs

from algolia_events._batching import Batch, FateKind, Settlement
from algolia_events._cancelling import result_of
from algolia_events._durable_parts import OwnSender
from algolia_events._feeder import Feeder
from algolia_events._groups import EventGroup
from algolia_events._reporting import checked_hooks
from algolia_events._retry import Failed, Moved, Outcome
from algolia_events._runner import Runner
from algolia_events._sender import Sender
from algolia_events._storing import StoringQueue
from algolia_events.abc import Hook, Outbox
from algolia_events.config import QueueOptions, RetryOptions, limit_seconds
from algolia_events.errors import AlgoliaEventsError, ConfigurationError
from algolia_events.events import Event
from algolia_events.reports import DeliveryReport, Health, HealthState, QueueStats


class DurableQueue(StoringQueue):
    """An `EventQueue` whose events are safe in an outbox before they are sent.

    `track()` is as in memory; what it takes in is stored within some 125 ms, and `put()` returns once that is done. If
    the outbox fails, batches go to Algolia from the queue's bounded memory, and `health()` says so.

    Args:
        deliver: sends the body of one request and says what came of it; None leaves the sending to other processes.
        outbox: where events are stored, and claimed from.
        options, others: as for `EventQueue`.
    """

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
        options, retry, hooks = options or QueueOptions(), retry or RetryOptions(), checked_hooks(hooks)
        self._sender_options = options  # `self._options` are those of the intake
        self._sender = (
            None if deliver is None else OwnSender(deliver, options=options, retry=retry, hooks=hooks, **others)
        )
        super().__init__(deliver or _nowhere, outbox, options=options, retry=retry, hooks=hooks, **others)

    def _start_afresh(self) -> None:
        super()._start_afresh()
        self._feeder: Feeder | None = None
        self._leans_on_sender = False

    # --- sending -------------------------------------------------------------------------------------------------

    async def submit(self, event: Event | Mapping[str, Any]) -> "asyncio.Future[Settlement]":
        """Send an event past the outbox, since a verdict is wanted; see `EventQueue.submit`."""
        return await self._started_sender().submit(event)

    async def deliver(self, event: Event | Mapping[str, Any], timeout: float | timedelta | None = None) -> None:  # noqa: ASYNC109 - as EventQueue.deliver()
        """Send an event past the outbox, and wait until Algolia has accepted it; see `EventQueue.deliver`."""
        await self._started_sender().deliver(event, timeout)

    def _started_sender(self) -> Sender:
        if self._sender is None:
            raise ConfigurationError("this client only stores (deliver=False): there is no verdict to wait for")
        self._ensure_runner()
        return self._sender

    async def _store(self, groups: Sequence[EventGroup]) -> None:
        if self._feeder is None:
            await super()._store(groups)
        else:
            await self._feeder.store(groups)

    def _past_the_outbox(self, batch: Batch) -> Moved | None:
        """Have a batch sent from memory, as far as the sender has room for it."""
        if self._sender is None:
            return None
        self._leans_on_sender = True  # without room as well: `_share_room()` tries again when there is some
        is_cut = batch.count > self._sender_options.batch_events  # what is, is asked about part by part
        has_room = is_cut or self._sender.has_room_for(batch)
        return Moved(partial(self._hand_over, self._sender)) if has_room else None

    def _hand_over(self, sender: Sender, batch: Batch) -> None:
        sender.take_over(batch)
        self._batcher.leave_room_for(*sender.held())

    def _share_room(self) -> None:
        """Let what waits here have the room that the sender has got again."""
        if self._sender is None or not self._leans_on_sender:
            return
        held = self._sender.held()
        self._leans_on_sender = held != (0, 0)
        with self._lock:
            self._batcher.leave_room_for(*held)
            self._batcher.gate.reopen()
        self._waiters.look_again()
        self._wake()

    def _ensure_runner(self) -> Runner:
        runner = super()._ensure_runner()
        sender = self._sender
        if sender is not None and self._final_report is None and not sender.is_over:
            sender.ensure_started()
            feeder = self._feeder
            if feeder is None or feeder.loop is not runner.loop or feeder.task.done():
                self._feeder = self._feed(sender, feeder)
        return runner

    def _feed(self, sender: Sender, predecessor: Feeder | None) -> Feeder:
        feeder = Feeder(
            self._outbox,
            sender,
            options=self._sender_options,
            clock=self._clock,
            on_booked=self._sent,
            on_problem=self._tell_state,
            predecessor=predecessor,
        )
        feeder.task.add_done_callback(self._feeder_ended)
        sender.on_room = self._share_room
        return feeder

    def _feeder_ended(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled():  # by somebody else: it ends otherwise, or says why it died
            self._task_ended(task)

    def _sent(self, kind: FateKind, by_origin: Mapping[str, int]) -> None:
        """Book what became of claimed events; those that are ours change places in our own ledger."""
        ours = by_origin.get(self._origin, 0)
        if not ours or kind == "given_back":
            return
        with self._lock:
            self._batcher.sent(kind, ours)

    async def flush(self, timeout: float | timedelta | None = None) -> DeliveryReport:  # noqa: ASYNC109 - as EventQueue.flush()
        """Store what has been tracked so far, send what this process can get hold of, and wait until it is settled.

        What other processes have claimed stays `stored` in the report. See `EventQueue.flush`.
        """
        deadline = self._deadline(timeout)
        report = await super().flush(timeout)
        if report.timed_out or self._sender is None or self._feeder is None:
            return self._report(timed_out=report.timed_out)
        in_time = await self._drain(self._feeder, deadline, while_it_works=False)
        rest = await self._sender.flush(self._remaining(deadline))
        return self._report(timed_out=rest.timed_out or not in_time)

    async def _drain(self, feeder: Feeder, deadline: float | None, *, while_it_works: bool) -> bool:
        """Have sent what was stored until now; False if time ran out."""
        target = self._batcher.stored_ever
        return await feeder.drain(
            lambda: self._batcher.sent_ever >= target, deadline=deadline, while_it_works=while_it_works
        )

    def _remaining(self, deadline: float | None) -> float | None:
        return None if deadline is None else max(0.0, deadline - self._clock.monotonic())

    async def aclose(self, timeout: float | timedelta | None = None) -> DeliveryReport:  # noqa: ASYNC109 - as EventQueue.aclose()
        """Take no more events, store what there is, send what can be sent, and leave the rest in the outbox.

        Sending ends as soon as the server fails: what is stored is safe. What cannot be stored in time is dropped, as
        "ambiguous" where the outbox has not said what became of it. See `EventQueue.aclose`.
        """
        allowed = self._options.shutdown_timeout if timeout is None else limit_seconds(timeout)
        deadline = self._clock.monotonic() + allowed

        def closing() -> "asyncio.Task[DeliveryReport]":
            if self._closing is None or self._closing.cancelled():
                if self._final_report is None:
                    self._ensure_runner()  # in the wrong loop this raises, before anything has changed
                self._closing = asyncio.create_task(self._close(deadline), name="algolia_events.closing")
            return self._closing

        return await result_of(closing)

    async def _close(self, deadline: float) -> DeliveryReport:
        loop = asyncio.get_running_loop()  # tasks of one that was closed never end
        ending = [
            task for task in (self._probing, self._opening) if task and not task.done() and task.get_loop() is loop
        ]
        for task in ending:
            task.cancel()
        async with self._outbox.given_until(self._clock, deadline):
            timed_out = await self._end(deadline)
            if ending:
                await asyncio.wait(ending)
            try:
                await self._outbox.aclose()
            except AlgoliaEventsError as exc:  # nothing depends on it any more
                self._problem = str(exc)
        late = self._clock.monotonic() >= deadline and self._batcher.sent_ever < self._batcher.stored_ever
        self._final_report = self._report(timed_out=timed_out or late)
        return self._final_report

    async def _end(self, deadline: float) -> bool:
        """Store, send and settle what can be; return whether time ran out."""
        intake = await super().aclose(self._remaining(deadline))
        timed_out = intake.timed_out
        if self._sender is not None and self._feeder is not None:
            await self._drain(self._feeder, deadline, while_it_works=True)
            self._feeder.stop()
            if not self._sender.works:
                self._sender.give_back()
            rest = await self._sender.aclose(self._remaining(deadline))
            timed_out = timed_out or rest.timed_out
            await self._feeder.close()
        return timed_out

    def reopen(self) -> None:
        """Try again at once; see `EventQueue.reopen`."""
        super().reopen()
        if self._sender is not None:
            self._sender.reopen()

    # --- the books -----------------------------------------------------------------------------------------------

    def _outbox_problem(self) -> str | None:
        return self._problem or (self._feeder.problem if self._feeder is not None else None)

    def stats(self) -> QueueStats:
        """Take the counters of both ledgers, each at one moment; from any thread."""
        with self._lock:  # nothing moves between the two while it is held
            intake = super().stats()
            if self._sender is None:
                return attrs.evolve(intake, requests=0, in_flight=0)  # what it does is storing
            sent = self._sender.stats()
            dropped = dict(intake.dropped)
            for reason, count in sent.dropped.items():
                dropped[reason] = dropped.get(reason, 0) + count
            return attrs.evolve(
                intake,
                tracked=intake.tracked + sent.tracked,
                delivered=intake.delivered + sent.delivered,
                rejected=intake.rejected + sent.rejected,
                dropped=dropped,
                pending=intake.pending + sent.pending,
                pending_bytes=intake.pending_bytes + sent.pending_bytes,
                possible_duplicates=intake.possible_duplicates + self._sender.possible_duplicates,
                in_flight=sent.in_flight,
                requests=self._sender.requests,
                sending=self._sender.sending_stats(),
                callback_errors=intake.callback_errors + self._sender.hook_errors,
            )

    def health(self) -> Health:
        """Say how the storing and the sending go; from any thread."""
        health = super().health()
        if health.state in {HealthState.CLOSED, HealthState.FAILED}:
            return health
        problem = self._outbox_problem()
        if problem is not None:
            return Health(state=HealthState.DEGRADED, reason=problem)
        health = Health(state=HealthState.OK) if self._sender is None else self._sender.health()
        return attrs.evolve(health, reason=self._outbox.notice) if health.ok else health


async def _nowhere(_: bytes) -> Outcome:
    """Stand in for the sending that is left to others; nothing gets here."""
    return Failed(reason="this client only stores", ambiguous=False)
