"""A thread for calls that block: jobs run one after the other, results go back to the loop that asked."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Final, Generic, TypeVar, cast

import anyio

from algolia_events._cancelling import cancel_again, is_abandoned

_Result = TypeVar("_Result")
_LONGEST_SECONDS: Final = 15.0
"""How long a job is waited for by somebody who was cancelled: longer than any lock is waited for by a job."""


class Outcome(Generic[_Result]):
    """What comes of something under way, for one task to wait for.

    It waits to the end, even when cancelled: what was done would be unknown otherwise. One that is abandoned does not.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Future[None] = self._loop.create_future()
        self._is_here = False
        self.is_awaited = True
        """Whether somebody still wants to know."""
        self._result: _Result | None = None
        self._error: BaseException | None = None

    def resolve(self, result: _Result | None, error: BaseException | None = None) -> None:
        """Say what came of it, from within the loop; only the first word counts."""
        if self._is_here:
            return
        self._is_here, self._result, self._error = True, result, error
        if not self._news.done():
            self._news.set_result(None)

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
            while not self._is_here:
                try:
                    await self._news
                except asyncio.CancelledError as exc:
                    if bound.cancel_called or is_abandoned(exc):
                        self.is_awaited = False
                        raise
                    cancelled = exc
                    bound.deadline = min(bound.deadline, anyio.current_time() + _LONGEST_SECONDS)
                    if self._news.cancelled():
                        self._news = self._loop.create_future()
        if cancelled is not None:
            if not self._is_here or self._error is not None:
                raise cancelled
            cancel_again()
        if self._error is not None:
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error  # it refers to this frame
        return cast("_Result", self._result)


class Worker:
    """One thread. It refers to its queue only, so that whoever owns the worker can be collected."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        # A daemon: a process that ends without closing must not hang; a transaction that is cut off leaves no trace.
        threading.Thread(target=_work, args=(self._jobs,), name=name, daemon=True).start()

    def submit(self, job: Callable[[], object]) -> None:
        """Have a job done; it must not raise."""
        self._jobs.put(job)

    async def run(self, job: Callable[[], _Result]) -> _Result:
        """Run a job and wait for it to the end; see `Outcome.wait`."""
        outcome = Outcome[_Result]()
        self.submit(partial(answer, outcome, job))
        return await outcome.wait()

    def stop(self) -> None:
        """End the thread once it has done what it was given."""
        self._jobs.put(None)


def answer(outcome: Outcome[_Result], job: Callable[[], _Result]) -> None:
    """Do a job in this thread, and hand over what comes of it."""
    try:
        result = job()
    except BaseException as exc:  # noqa: BLE001 - it belongs to whoever asked; the thread goes on
        outcome.hand_over(None, exc)
    else:
        outcome.hand_over(result)


def _work(jobs: "SimpleQueue[Callable[[], object] | None]") -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # nothing is kept alive while waiting
