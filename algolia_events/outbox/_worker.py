"""A thread for calls that block: jobs run one after the other, results go back to the loop that asked."""

import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

from algolia_events.outbox._pending import PendingResult

_Result = TypeVar("_Result")


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
        """Run a job and wait for it to the end; see `PendingResult.wait`."""
        result = PendingResult[_Result]()
        self.submit(partial(do, job, result))
        return await result.wait()

    def stop(self) -> None:
        """End the thread once it has done what it was given."""
        self._jobs.put(None)


def do(job: Callable[[], _Result], pending: PendingResult[_Result]) -> None:
    """Do a job in this thread, and hand over what comes of it."""
    try:
        result = job()
    except BaseException as exc:  # noqa: BLE001 - it belongs to whoever asked; the thread goes on
        pending.hand_over(None, exc)
    else:
        pending.hand_over(result)


def _work(jobs: "SimpleQueue[Callable[[], object] | None]") -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # nothing is kept alive while waiting
