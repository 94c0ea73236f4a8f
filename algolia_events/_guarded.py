"""A guard around an outbox of anybody's: what it raises, a wrong answer and a late one all become an `OutboxError`."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar, cast

import anyio

from algolia_events._cancelling import ENDS, abandon, cancel_again
from algolia_events._clock import Clock
from algolia_events._groups import ClaimedGroup, DeadLetter, EventGroup, OutboxSizes
from algolia_events.abc import ExchangingOutbox, Outbox
from algolia_events.errors import AlgoliaEventsError, ConfigurationError, OutboxError

_Answer = TypeVar("_Answer")
_GRACE_SECONDS: Final = 0.15
"""How long after the end of the time given the outbox may take to note what was sent until then."""
_LAST_SECONDS: Final = 0.05
"""How long an outbox that was given up may take to close, and calls that were broken off to end."""


class UnansweredError(OutboxError):
    """The outbox was given up before it answered: whether it has done what was asked is unknown."""

    def __init__(self) -> None:
        super().__init__("the outbox has not answered in time")


class GuardedOutbox:
    """Passes calls on, so that whatever goes wrong in an outbox of somebody else's is an `OutboxError`.

    That is: any exception, a cancellation that is not the caller's, an answer that is none. Each call is a task of its
    own: a caller that is cancelled has the call cancelled and waits for its end, as `Outbox.store` demands; one whose
    time is up, `given_until()`, leaves it behind.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        # Not by `isinstance`, which asks for every property, and one may raise.
        self.exchanges = callable(getattr(outbox, "exchange", None))
        """Whether it is an `ExchangingOutbox`."""
        self._calls: dict[asyncio.Task[None], asyncio.Future[Any]] = {}
        self._is_given_up = False

    @property
    def notice(self) -> str | None:
        """What the outbox says about itself."""
        try:
            return self._outbox.notice
        except Exception as exc:  # noqa: BLE001 - an outbox of somebody else's may raise anything
            return describe(exc)

    async def open(self) -> None:
        """Open it; see `Outbox.open`."""
        await self._call(self._outbox.open)

    async def store(self, groups: Sequence[EventGroup]) -> None:
        """Keep groups; see `Outbox.store`."""
        await self._call(partial(self._outbox.store, groups))

    async def claim(self, max_events: int, max_bytes: int) -> Sequence[ClaimedGroup]:
        """Take groups to send; see `Outbox.claim`."""
        groups = _checked(await self._call(partial(self._outbox.claim, max_events, max_bytes)))
        for group in groups:
            # No event holds a line feed, and to count one byte is fast: 2 % of what it takes to send the group.
            if group.body.count(b"\n") + 1 != group.count:
                raise OutboxError("the outbox handed out a group that does not hold as many events as it says")
        return groups

    async def exchange(
        self, groups: Sequence[EventGroup], *, done: Sequence[ClaimedGroup], max_events: int, max_bytes: int
    ) -> Sequence[ClaimedGroup]:
        """Settle, keep and claim; see `ExchangingOutbox.exchange`."""
        outbox = cast("ExchangingOutbox", self._outbox)
        exchange = partial(outbox.exchange, groups, done=done, max_events=max_events, max_bytes=max_bytes)
        return _checked(await self._call(exchange))

    async def settle(
        self, *, done: Sequence[ClaimedGroup], rejected: Sequence[DeadLetter], left: Sequence[ClaimedGroup]
    ) -> None:
        """Book what became of claimed groups; see `Outbox.settle`."""
        await self._call(partial(self._outbox.settle, done=done, rejected=rejected, left=left))

    async def sizes(self) -> OutboxSizes:
        """Count what is there; see `Outbox.sizes`."""
        sizes = await self._call(self._outbox.sizes)
        if not isinstance(sizes, OutboxSizes):
            raise OutboxError(f"the outbox answered with a {type(sizes).__name__} for its sizes")
        return sizes

    async def aclose(self) -> None:
        """Close it; see `Outbox.aclose`. One that was given up is told to, and has little time for it."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(_LAST_SECONDS, self._give_up) if self._is_given_up else None
        try:
            await self._call(self._outbox.aclose, to_the_last=True)
        finally:
            if timer is not None:
                timer.cancel()

    @asynccontextmanager
    async def given_until(self, clock: Clock, deadline: float) -> AsyncIterator[None]:
        """Within this, wait for no call any longer once `clock` has reached `deadline`, and a moment more."""
        timer = None if deadline == math.inf else clock.call_at(deadline + _GRACE_SECONDS, self._give_up)
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
            if self._is_given_up and (left := self._calls_here()):
                await asyncio.wait(left, timeout=_LAST_SECONDS)
            self._is_given_up = False

    def _give_up(self) -> None:
        self._is_given_up = True
        for task, answer in self._calls_here().items():
            if not answer.done():
                answer.set_exception(UnansweredError())
            abandon(task)

    def _calls_here(self) -> "dict[asyncio.Task[None], asyncio.Future[Any]]":
        """List the calls under way in the running loop; those of one that was closed never end."""
        here = asyncio.get_running_loop()
        return {task: answer for task, answer in self._calls.items() if task.get_loop() is here}

    async def _call(self, call: Callable[[], Awaitable[_Answer]], *, to_the_last: bool = False) -> _Answer:
        if self._is_given_up and not to_the_last:
            raise UnansweredError
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(_bring(call, answer), name="algolia_events.outbox_call")
        self._calls[task] = answer
        task.add_done_callback(self._ended)
        cancelled: asyncio.CancelledError | None = None
        with anyio.CancelScope(shield=True):
            while not answer.done():
                try:
                    await asyncio.wait({answer})
                except asyncio.CancelledError as exc:
                    cancelled = exc
                    task.cancel()
        try:
            return _outcome(answer, cancelled)
        finally:
            del answer, cancelled  # an error that is raised here refers to this frame

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._calls.pop(task).cancel()  # where it was cancelled before it began, there is no answer yet


async def _bring(call: Callable[[], Awaitable[_Answer]], answer: asyncio.Future[_Answer]) -> None:
    """Make a call. Its result must not depend on how this task ends: one cancelled late would lose it."""
    try:
        result = await call()
    except asyncio.CancelledError:
        answer.cancel()
    except ENDS:
        raise
    except BaseException as exc:  # noqa: BLE001 - it belongs to the caller
        if not answer.done():
            answer.set_exception(exc if isinstance(exc, Exception) else OutboxError(describe(exc)))
    else:
        if not answer.done():
            answer.set_result(result)


def _outcome(answer: asyncio.Future[_Answer], cancelled: asyncio.CancelledError | None) -> _Answer:
    """Give the result of a call, or raise what became of it, as far as its caller was not `cancelled`."""
    error = None if answer.cancelled() else answer.exception()
    try:
        if not answer.cancelled() and error is None:
            if cancelled is not None:
                cancel_again()
            return answer.result()
        if cancelled is not None:
            raise cancelled
        if isinstance(error, OutboxError | ConfigurationError):
            raise error
        raise OutboxError(describe(error or asyncio.CancelledError())) from error
    finally:
        del answer, error, cancelled


def _checked(groups: Any) -> Sequence[ClaimedGroup]:
    """Give what was claimed, if it is what the protocol says; what else an outbox has claimed stays with it."""
    if not isinstance(groups, Sequence) or isinstance(groups, str | bytes):
        raise OutboxError(f"the outbox answered with a {type(groups).__name__} where groups were claimed")
    for group in groups:
        if not isinstance(group, ClaimedGroup):
            raise OutboxError(f"the outbox handed out a {type(group).__name__} for a group")
        fields = (group.body, group.count, group.oldest_ms, group.origin)
        if tuple(map(type, fields)) != _FIELD_TYPES or group.count < 1:
            raise OutboxError("the outbox handed out a group that is none")
    return groups


_FIELD_TYPES: Final = (bytes, int, int, str)


def describe(exc: BaseException) -> str:
    """Say what went wrong; the words of an exception that is not ours may hold anything, an address for instance."""
    return str(exc) if isinstance(exc, AlgoliaEventsError) else f"the outbox raised {type(exc).__name__}"
