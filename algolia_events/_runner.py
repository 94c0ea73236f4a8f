"""The background task: asks the core what may leave, sends it, and books the verdict."""

import asyncio
import contextvars
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractContextManager
from typing import Any, Final

import anyio
import anyio.abc
import attrs

from algolia_events import _limits
from algolia_events._batching import Batch, Batcher, Settlement
from algolia_events._cancelling import ENDS, cancel_requests
from algolia_events._clock import Clock
from algolia_events._codec import user_tokens
from algolia_events._reporting import Reporter
from algolia_events._retry import Accepted, Blocked, Failed, Moved, Outcome, Refused, Stored, TooLarge
from algolia_events._screening import Screen
from algolia_events.reports import DropReason, Health, HealthState

_ASKED_AT_ONCE: Final = 50
"""How many events are looked into, for users who have opted out, in one turn of the loop."""
_RESULTS: Final = {
    Accepted: "accepted",
    Refused: "refused",
    TooLarge: "too_large",
    Failed: "failed",
    Blocked: "blocked",
    Stored: "stored",
    Moved: "moved",
}


@attrs.frozen(kw_only=True)
class Core:
    """What the queue and its background task share; `lock` is held for every look at `batcher`."""

    batcher: Batcher
    lock: AbstractContextManager[object]
    clock: Clock
    reporter: Reporter
    screen: Screen
    deliver: Callable[[Batch], Awaitable[Outcome]]
    draw: Callable[[], float]
    """Draws evenly from [0, 1)."""
    after_turn: Callable[[Iterable[Settlement]], None]
    """Is told, in the loop, what has been settled, whenever something may have been."""
    ended: Callable[[DropReason, int], None]
    """Is told why the work is over, and how many events had to be given up."""
    cancelled: Callable[[], Awaitable[None]]
    """Saves what waits when the task is cancelled from outside; the cancellation goes on when it returns."""


class Runner:
    """One background task and the attempts it has under way.

    `asyncio.create_task` starts it, and it enters and leaves its own task group: whoever starts or closes the queue
    only signals, and may be any task.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._awake = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self._is_closing = False
        self._closing_at = math.inf
        self._looks_at = math.inf
        """When the task that sleeps now will look by itself, in monotonic seconds."""
        self._attempts: anyio.abc.TaskGroup | None = None
        self._not_begun: dict[Batch, Coroutine[Any, Any, None]] = {}
        """Attempts that the task group has yet to start: one that is cancelled before then leaves them unclosed."""
        with core.lock:
            self._health = core.batcher.gate.health(now=core.clock.monotonic())
        # Its own context: a request of the application that happens to start it must not seem to cause what it sends.
        self._context = contextvars.Context()
        self._context.run(core.reporter.background)
        self.task = asyncio.create_task(self._main(), name="algolia_events", context=self._context)

    def wake(self) -> None:
        """Have the task look again; from any thread. Nothing happens when the loop is closed already."""
        try:
            self.loop.call_soon_threadsafe(self._awake.set)
        except RuntimeError:  # the loop is closed: what waits stays on the books, and nobody may be disturbed by it
            return

    def look_again(self) -> None:
        """Have the task look again, if there is something to do before it would by itself; from within its loop."""
        with self._core.lock:
            due = self._core.batcher.deadline(now=self._core.clock.monotonic())
        self._look_by(due)

    def start_now(self) -> None:
        """Start what may leave next without waiting for the task to do it; from its loop, and without the lock."""
        if self._attempts is None or self.task.cancelling():
            return  # it is about to begin, or to end
        now = self._core.clock.monotonic()
        due = self._context.run(self._start_next, self._attempts, now)
        self._look_by(due)

    def _look_by(self, due: float) -> None:
        if due < self._looks_at or self._is_closing:
            self._awake.set()

    def close(self, deadline: float) -> None:
        """Send what there is without lingering; end by `deadline` (monotonic), or earlier when waiting is no use."""
        if not self._is_closing:
            with self._core.lock:
                self._core.batcher.gate.hurry(now=self._core.clock.monotonic())
        self._is_closing = True
        self._closing_at = min(self._closing_at, deadline)
        self._awake.set()

    async def _main(self) -> None:
        is_over = False
        try:
            async with anyio.create_task_group() as attempts:
                self._attempts = attempts
                try:
                    while await self._turn(attempts):
                        pass
                    is_over = True
                finally:
                    self._attempts = None
                attempts.cancel_scope.cancel()
            if not is_over:
                raise asyncio.CancelledError  # noqa: TRY301 - somebody has cancelled an attempt, and the group with it
        except asyncio.CancelledError:
            await self._core.cancelled()
            raise
        except Exception as exc:  # noqa: BLE001 - a mistake of ours must not leave anybody waiting for ever
            self._core.reporter.crashed(exc)
            self._end(DropReason.FAILED)
        else:
            self._end(DropReason.SHUTDOWN)
        finally:
            for attempt in self._not_begun.values():  # else Python warns that they were never awaited
                attempt.close()

    async def _turn(self, attempts: anyio.abc.TaskGroup) -> bool:
        """Start what may leave, then wait until there is a reason to look again; False when the work is over."""
        self._awake.clear()
        now = self._core.clock.monotonic()
        due = self._start_next(attempts, now)
        if self._is_closing and self._is_over(now, due):
            return False
        if due <= now:
            await asyncio.sleep(0)  # to begin several requests at once would hold up everybody else for so long
        else:
            await self._sleep(min(due, self._closing_at))
        return True

    def _start_next(self, attempts: anyio.abc.TaskGroup, now: float) -> float:
        """Begin an attempt with the next batch, if it may leave; return when another may, in monotonic seconds."""
        core = self._core
        batch: Batch | None = None
        with core.lock:
            if self._is_closing:
                core.batcher.seal()
            wall_ms = core.clock.time_ns() / 1e6
            # Past the deadline nothing leaves: it would be broken off at once, and might have arrived all the same.
            if now < self._closing_at:
                batch = core.batcher.take(now=now, wall_ms=wall_ms)
            core.batcher.has_news = False
            due = core.batcher.deadline(now=now)
        if batch is not None:
            if batch.oldest_ms < wall_ms - _limits.OLD_SERVER_EVENT_AGE * 1000:
                core.reporter.old_events()
            attempts.start_soon(self._begin, batch, name="algolia_events.attempt")
        self._tell()
        return due

    def _is_over(self, now: float, due: float) -> bool:
        """Say whether a closing queue has nothing left to do, or no time left to do it."""
        core = self._core
        with core.lock:
            empty, idle = core.batcher.is_empty(), not core.batcher.in_flight
        return empty or now >= self._closing_at or (idle and due > self._closing_at)

    async def _sleep(self, until: float) -> None:
        """Wait to be woken, or for the moment; without a moment there is no timer at all."""
        timer = None if until == math.inf else self._core.clock.call_at(until, self._awake.set)
        self._looks_at = until
        try:
            await self._awake.wait()
        finally:
            self._looks_at = math.inf
            if timer is not None:
                timer.cancel()

    def _begin(self, batch: Batch) -> Coroutine[Any, Any, None]:
        attempt = self._attempt(batch)
        self._not_begun[batch] = attempt
        return attempt

    async def _attempt(self, batch: Batch) -> None:
        core = self._core
        del self._not_begun[batch]
        if core.screen.asks_for_users and await self._withdrew_opted_out(batch):
            return
        began = core.clock.monotonic()
        core.reporter.sent(batch.count, batch.body_size)
        try:
            outcome = await self._deliver(batch)
        except BaseException:
            with core.lock:
                core.batcher.interrupt(batch, ambiguous=True)
            core.reporter.answered(batch.count, "interrupted", core.clock.monotonic() - began)
            raise
        events, now = batch.count, core.clock.monotonic()
        with core.lock:
            settlement = core.batcher.settle(batch, outcome, now=now, jitter=core.draw())
            delay = max(0.0, core.batcher.gate.opens_at - now)
        core.reporter.answered(events, _RESULTS[type(outcome)], now - began)
        if isinstance(outcome, Failed | Blocked):
            core.reporter.retrying(events, outcome.reason, delay)
        self._tell(settlement)
        self.look_again()

    async def _withdrew_opted_out(self, batch: Batch) -> bool:
        """Take out the events of users who have opted out since; True if there were any, and the rest is in line."""
        core, gone = self._core, set[int]()
        events = batch.events()
        try:
            for start in range(0, len(events), _ASKED_AT_ONCE):
                await asyncio.sleep(0)  # to read a thousand events, and to ask about each, would hold up the loop
                some = enumerate(events[start : start + _ASKED_AT_ONCE], start)
                gone |= {offset for offset, event in some if core.screen.has_opted_out(*user_tokens(event))}
        except BaseException:
            with core.lock:
                core.batcher.withdraw(batch, set(), DropReason.OPTED_OUT)
            raise
        if gone:
            with core.lock:
                core.batcher.withdraw(batch, gone, DropReason.OPTED_OUT)
            self._awake.set()
        return bool(gone)

    async def _deliver(self, batch: Batch) -> Outcome:
        try:
            return await self._core.deliver(batch)
        except ENDS:
            raise
        except BaseException as exc:
            if isinstance(exc, asyncio.CancelledError) and cancel_requests():
                raise
            return Failed(reason=f"the transport raised {type(exc).__name__}", ambiguous=True)

    def _tell(self, *settlements: Settlement) -> None:
        """Report what has become final, and whether the sending goes better or worse."""
        core = self._core
        with core.lock:
            final = [*settlements, *core.batcher.dropped()]
            health = core.batcher.gate.health(now=core.clock.monotonic())
        for settlement in final:
            core.reporter.settled(settlement)
        core.after_turn(final)
        before, self._health = self._health, health
        if _gist(before) != _gist(health):
            core.reporter.state_changed(health)

    def _end(self, reason: DropReason) -> None:
        """Account for what is left."""
        with self._core.lock:
            given_up = self._core.batcher.abandon(reason)
        self._tell(*given_up)
        self._core.ended(reason, sum(settlement.dropped_count for settlement in given_up))


def _gist(health: Health) -> tuple[HealthState, str | None]:
    """Keep what is worth a line in the log when it changes: the words of each failed probe are not."""
    return health.state, health.reason if health.state is HealthState.BLOCKED else None
