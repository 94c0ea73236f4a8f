"""The result of a call that is seen through to its end, even when whoever made it is cancelled."""

import asyncio
from typing import Final, Generic, TypeVar, cast

import anyio

from algolia_events._cancelling import cancel_again, is_abandoned

_Result = TypeVar("_Result")
_LONGEST_SECONDS: Final = 15.0
"""How long somebody who was cancelled goes on waiting: longer than any call waits for a lock."""


class PendingResult(Generic[_Result]):
    """What will come of a call under way, for one task to wait for.

    Unlike a future's, its wait goes on when the task is cancelled: else nobody would know what the call has done. Only
    a task that was abandoned (`_cancelling.abandon()`) stops waiting.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._resolved: asyncio.Future[None] = self._loop.create_future()
        self._is_resolved = False
        self.is_awaited = True
        """Whether somebody still wants to know."""
        self._result: _Result | None = None
        self._error: BaseException | None = None

    def resolve(self, result: _Result | None, error: BaseException | None = None) -> None:
        """Say what came of it, from within the loop; only the first word counts."""
        if self._is_resolved:
            return
        self._is_resolved, self._result, self._error = True, result, error
        if not self._resolved.done():
            self._resolved.set_result(None)

    def hand_over(self, result: _Result | None, error: BaseException | None = None) -> None:
        """Say what came of it, from another thread."""
        try:
            self._loop.call_soon_threadsafe(self.resolve, result, error)
        except RuntimeError:  # the loop is closed, and nobody waits any more
            return

    async def wait(self) -> _Result:
        """Give the result, or raise the error.

        A cancelled caller gets the result, if there is one within a bound, and its next wait raises `CancelledError`;
        if it failed, or the caller was abandoned, that is raised at once.
        """
        cancelled: asyncio.CancelledError | None = None
        with anyio.CancelScope(shield=True) as bound:
            while not self._is_resolved:
                try:
                    await self._resolved
                except asyncio.CancelledError as exc:
                    if bound.cancel_called or is_abandoned(exc):
                        self.is_awaited = False
                        raise
                    cancelled = exc
                    bound.deadline = min(bound.deadline, anyio.current_time() + _LONGEST_SECONDS)
                    if self._resolved.cancelled():
                        self._resolved = self._loop.create_future()
        if cancelled is not None:
            if not self._is_resolved or self._error is not None:
                raise cancelled
            cancel_again()
        if self._error is not None:
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error  # it refers to this frame
        return cast("_Result", self._result)
