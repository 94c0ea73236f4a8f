"""What the commands about outboxes share."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from cyclopts import Parameter

from algolia_events.abc import InspectableOutbox
from algolia_events.cli._console import NOT_ALL_WELL, UsageError, note
from algolia_events.cli._signals import on_stop_signal
from algolia_events.errors import OutboxError
from algolia_events.outbox import open_outbox

Outbox = Annotated[
    str | None,
    Parameter(help="The outbox: sqlite:///events.db, redis://host/0 (rediss:// for TLS); else ALGOLIA_OUTBOX."),
]


_CLOSING_SECONDS: Final = 0.5
"""After which closing is broken off: an outbox that does not answer would take seconds."""
_PATIENCE_SECONDS: Final = 0.05
"""After which a task that was cancelled is cancelled once more."""


def with_outbox(
    url: str | None, work: Callable[[InspectableOutbox], Awaitable[int]], *, timeout: float | None = None
) -> int:
    """Do something with an outbox, which is not opened for it, and close it; return the code to exit with."""
    url = url or os.environ.get("ALGOLIA_OUTBOX")
    if not url:
        raise UsageError("which outbox? --outbox URL, or ALGOLIA_OUTBOX")
    return asyncio.run(_with(open_outbox(url), work, timeout))


async def _with(
    outbox: InspectableOutbox, work: Callable[[InspectableOutbox], Awaitable[int]], seconds: float | None
) -> int:
    stopped = asyncio.Event()
    with on_stop_signal(stopped.set):
        working = asyncio.ensure_future(work(outbox))
        try:
            return await _result(working, stopped, seconds)
        except OutboxError as exc:
            note(f"algolia-events: {exc}")
            return NOT_ALL_WELL
        finally:
            await _end(working)
            closing = asyncio.ensure_future(outbox.aclose())
            await asyncio.wait({closing}, timeout=_CLOSING_SECONDS)
            await _end(closing)


async def _result(working: asyncio.Future[int], stopped: asyncio.Event, seconds: float | None) -> int:
    stopping = asyncio.ensure_future(stopped.wait())
    either: set[asyncio.Future[Any]] = {working, stopping}
    await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        return working.result()
    note("algolia-events: interrupted" if stopped.is_set() else f"algolia-events: no answer within {seconds:g} s")
    return NOT_ALL_WELL


async def _end(task: asyncio.Future[Any]) -> None:
    """Cancel a task until it gives in: redis-py takes a cancellation for a lost connection, and tries once more."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_PATIENCE_SECONDS)
    if not task.cancelled():
        task.exception()  # looked at; what it could say has been said
