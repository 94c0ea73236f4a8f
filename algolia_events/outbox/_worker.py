"""A thread for calls that block: jobs run one after the other, results go back to the loop that asked."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Final, TypeVar

import anyio

_Result = TypeVar("_Result")
_LONGEST_SECONDS: Final = 15.0
"""How long a job is waited for by somebody who was cancelled: longer than any lock is waited for by a job."""


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
        """Run a job and wait for it to the end, even when cancelled: what it did would be unknown otherwise.

        A cancelled caller gets the result, if there is one, and its next wait raises `CancelledError`; if the job
        failed, that is raised at once.
        """
        future: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self.submit(partial(answer, future, job))
        return await outlast(future)

    def stop(self) -> None:
        """End the thread once it has done what it was given."""
        self._jobs.put(None)


async def outlast(future: "asyncio.Future[_Result]") -> _Result:
    """Wait for a future to its end, whoever cancels, within a bound; see `Worker.run`."""
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True) as bound:
        while not future.done():
            try:
                await asyncio.wait({future})
            except asyncio.CancelledError as exc:
                if bound.cancel_called:
                    raise
                cancelled = exc
                bound.deadline = min(bound.deadline, anyio.current_time() + _LONGEST_SECONDS)
    if cancelled is not None:
        if not future.done() or future.exception() is not None:
            raise cancelled
        cancel_again()
    return future.result()


def cancel_again() -> None:
    """Have the running task's next wait raise the `CancelledError` that was held back."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
        task.cancel()


def answer(future: "asyncio.Future[_Result]", job: Callable[[], _Result]) -> None:
    """Do a job in this thread, and hand its result or error to the loop of the future."""
    try:
        result = job()
    except BaseException as exc:  # noqa: BLE001 - it belongs to whoever asked; the thread goes on
        hand_over(future, None, exc)
    else:
        hand_over(future, result, None)


def hand_over(future: "asyncio.Future[_Result]", result: _Result | None, error: BaseException | None) -> None:
    """Resolve a future from this thread."""
    try:
        future.get_loop().call_soon_threadsafe(_resolve, future, result, error)
    except RuntimeError:  # the loop is closed, and nobody waits any more
        return


def _resolve(future: "asyncio.Future[_Result]", result: _Result | None, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)  # type: ignore[arg-type]  # None only where a job gives None
    else:
        future.set_exception(error)


def _work(jobs: "SimpleQueue[Callable[[], object] | None]") -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # nothing is kept alive while waiting
