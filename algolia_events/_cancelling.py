"""Tell whose a `CancelledError` is: it may come from what a task awaits, or have been held back for a while."""

import asyncio
from typing import Any, Final

ENDS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""What ends a program, or a coroutine. Whatever else code of somebody else's raises is a failure of that code."""


def cancels() -> int:
    """Count how often the running task was asked to end, and has not taken note."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def loop_is_ending() -> bool:
    """Say whether the running loop seems to end: all who run in it, besides our own tasks, were asked to end.

    `asyncio.run` does that, and waits for them, before it closes the loop.
    """
    others = (task for task in asyncio.all_tasks() if not task.get_name().startswith("algolia_events"))
    return all(task.cancelling() for task in others)


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
