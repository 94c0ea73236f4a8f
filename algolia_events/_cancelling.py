"""Tell whose a `CancelledError` is: it may come from what a task awaits, or have been held back for a while."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

_Result = TypeVar("_Result")
_SOON_SECONDS: Final = 0.05
_UNREST_SECONDS: Final = 5.0

ENDS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""What ends a program, or a coroutine. Whatever else code of somebody else's raises is a failure of that code."""


def cancels() -> int:
    """Count how often the running task was asked to end, and has not taken note."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def soon(call: Callable[[], None]) -> None:
    """Call something soon, unless the running loop ends before that.

    It may be about to as long as any task in it has been asked to end, and a moment longer: `asyncio.run` asks all, and
    waits for them. A task that was asked and goes on is waited for no longer than some seconds.
    """
    loop = asyncio.get_running_loop()
    loop.call_later(_SOON_SECONDS, _look, call, loop.time() + _UNREST_SECONDS, False)  # noqa: FBT003 - as below


def _look(call: Callable[[], None], at_the_latest: float, was_calm: bool) -> None:  # noqa: FBT001 - from a timer
    loop = asyncio.get_running_loop()
    is_calm = loop.time() >= at_the_latest or not any(task.cancelling() for task in asyncio.all_tasks())
    if is_calm and was_calm:
        call()
    else:
        loop.call_later(_SOON_SECONDS, _look, call, at_the_latest, is_calm)


async def seen_through(begun: Callable[[], "asyncio.Task[_Result]"]) -> _Result:
    """Wait for a task that several may wait for, and have it `begun` again where somebody else has cancelled it.

    To cancel whoever waits leaves the task alone.
    """
    while True:
        task = begun()
        if not task.done():
            await asyncio.wait({task})
        if not task.cancelled():
            return task.result()


def cancel_again() -> None:
    """Have the running task's next wait raise the `CancelledError` that was held back."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
        task.cancel()


_ABANDONED: Final = "nobody waits for the outcome any more"


def abandon(task: "asyncio.Task[Any]") -> None:
    """Cancel a task that may be waiting to learn what became of something, and shall wait for that no more."""
    task.cancel(_ABANDONED)


def is_abandoned(cancelled: asyncio.CancelledError) -> bool:
    """Say whether it comes from `abandon()`: else what is under way is worth waiting for, even when cancelled."""
    return cancelled.args == (_ABANDONED,)
