"""A relay at work: sends what others have stored, and takes nothing in itself."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import attrs

from algolia_events._cancelling import call_unless_loop_ends, result_of
from algolia_events._clock import Clock, SystemClock
from algolia_events._feeder import Feeder
from algolia_events._guarded import GuardedOutbox, UnansweredError
from algolia_events._retry import Outcome
from algolia_events._sender import Sender
from algolia_events.abc import Outbox
from algolia_events.config import QueueOptions, limit_seconds
from algolia_events.errors import OutboxError
from algolia_events.reports import Health, HealthState, SendingStats

_OPENING_SECONDS: Final = 1.0
"""How long `start()` waits for the outbox to open; a slower one is tried again and again once the relay works."""


class RelayWork:
    """A relay without its connections: a sender, an outbox, and what feeds one from the other."""

    def __init__(
        self,
        deliver: Callable[[bytes], Awaitable[Outcome]],
        outbox: Outbox,
        *,
        options: QueueOptions | None = None,
        clock: Clock | None = None,
        **others: Any,
    ) -> None:
        self._options = options or QueueOptions()
        self._clock = clock or SystemClock()
        self._outbox = GuardedOutbox(outbox)
        self._sender = Sender(deliver, options=self._options, clock=self._clock, **others)
        self._feeder: Feeder | None = None
        self._closing: asyncio.Task[SendingStats] | None = None

    async def start(self) -> None:
        """Begin; see `Relay.start`."""
        if self._feeder is not None:
            return
        problem: OutboxError | None = None
        try:
            async with self._outbox.given_until(self._clock, self._clock.monotonic() + _OPENING_SECONDS):
                await self._outbox.open()
        except OutboxError as exc:
            problem = exc
        await self._sender.start()
        if self._feeder is None:  # somebody else may have been quicker
            self._feeder = self._feed(None)
            if problem is not None:
                self._feeder.note_failure(problem)  # it tries again, and notices when it works

    def _feed(self, predecessor: Feeder | None) -> Feeder:
        feeder = Feeder(self._outbox, self._sender, options=self._options, clock=self._clock, predecessor=predecessor)
        feeder.task.add_done_callback(self._feeder_ended)
        return feeder

    def _feeder_ended(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled() and self._closing is None:  # by somebody else
            call_unless_loop_ends(self._feed_again)

    def _feed_again(self) -> None:
        if self._closing is None and self._feeder is not None and self._feeder.task.done():
            self._feeder = self._feed(self._feeder)

    async def drain(self) -> None:
        """Send what can be found now."""
        if self._feeder is not None:
            await self._feeder.drain(lambda: False, deadline=None, while_it_works=False)

    async def aclose(self, timeout: float | timedelta | None = None) -> SendingStats:  # noqa: ASYNC109 - as EventQueue.aclose()
        """End; see `Relay.aclose`."""
        allowed = self._options.shutdown_timeout if timeout is None else limit_seconds(timeout)
        deadline = self._clock.monotonic() + allowed

        def closing() -> "asyncio.Task[SendingStats]":
            if self._closing is None or self._closing.cancelled():
                self._closing = asyncio.create_task(self._close(deadline), name="algolia_events.closing")
            return self._closing

        return await result_of(closing)

    async def _close(self, deadline: float) -> SendingStats:
        async with self._outbox.given_until(self._clock, deadline):
            if self._feeder is not None:
                self._feeder.stop()
            self._sender.give_back()
            await self._sender.aclose(max(0.0, deadline - self._clock.monotonic()))
            if self._feeder is not None:
                await self._feeder.close()
            with suppress(UnansweredError):  # what was claimed is taken over by others, once it is seen to be free
                await self._outbox.aclose()
        return self.stats()

    @property
    def is_closed(self) -> bool:
        """Whether nothing is sent any more."""
        return self._closing is not None and self._closing.done()

    def stats(self) -> SendingStats:
        """Take the counters of the second ledger."""
        return self._sender.sending_stats()

    def health(self) -> Health:
        """Say how it goes."""
        if self._feeder is not None and self._feeder.problem is not None and self._closing is None:
            return Health(state=HealthState.DEGRADED, reason=self._feeder.problem)
        health = self._sender.health()
        return attrs.evolve(health, reason=self._outbox.notice) if health.ok else health
