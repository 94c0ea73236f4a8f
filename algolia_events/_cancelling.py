"""Tell whose a `CancelledError` is: it may come from what a task awaits, or have been held back for a while."""

import asyncio


def cancels() -> int:
    """Count how often the running task was asked to end, and has not taken note."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def cancel_again() -> None:
    """Have the running task's next wait raise the `CancelledError` that was held back."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
        task.cancel()
