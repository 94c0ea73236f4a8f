"""Cancellation: whose a `CancelledError` is, how to hold one back, and how to go on when somebody cancels our tasks."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

_Result = TypeVar("_Result")
_LOOK_SECONDS: Final = 0.05
_LONGEST_END_SECONDS: Final = 5.0
"""A task that was cancelled and still runs after so long is one that goes on, and not the sign of a loop that ends."""

ENDS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""What ends a program, or a coroutine. Whatever else code of somebody else's raises is a failure of that code."""


def cancel_requests() -> int:
    """Count the requests to cancel the running task that it has not taken back."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def call_unless_loop_ends(call: Callable[[], None]) -> None:
    """Call something in a moment, unless the running loop ends before that.

    `asyncio.run` ends a loop by cancelling all its tasks and waiting for them. So this waits until two looks in a row
    have found no task that is being cancelled.
    """
    loop = asyncio.get_running_loop()
    loop.call_later(_LOOK_SECONDS, _call_once_calm, call, loop.time() + _LONGEST_END_SECONDS, False)  # noqa: FBT003 - as below


def _call_once_calm(call: Callable[[], None], at_the_latest: float, was_calm: bool) -> None:  # noqa: FBT001 - from a timer
    loop = asyncio.get_running_loop()
    is_calm = loop.time() >= at_the_latest or not any(task.cancelling() for task in asyncio.all_tasks())
    if is_calm and was_calm:
        call()
    else:
        loop.call_later(_LOOK_SECONDS, _call_once_calm, call, at_the_latest, is_calm)


async def result_of(ensure: Callable[[], "asyncio.Task[_Result]"]) -> _Result:
    """Wait for a task that several may wait for; whoever is cancelled while waiting leaves it alone.

    `ensure` finds or begins the task. It is asked again where the task itself was cancelled, by somebody else.
    """
    while True:
        task = ensure()
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
