"""What the commands about outboxes share."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Annotated

from cyclopts import Parameter

from algolia_events.abc import InspectableOutbox
from algolia_events.cli._console import NOT_ALL_WELL, UsageError, note
from algolia_events.errors import OutboxError
from algolia_events.outbox import open_outbox

Outbox = Annotated[
    str | None,
    Parameter(help="The outbox: sqlite:///events.db, redis://host/0 (rediss:// for TLS); else ALGOLIA_OUTBOX."),
]


def with_outbox(url: str | None, work: Callable[[InspectableOutbox], Awaitable[int]]) -> int:
    """Open an outbox, do something with it, close it; return the code to exit with."""
    url = url or os.environ.get("ALGOLIA_OUTBOX")
    if not url:
        raise UsageError("which outbox? --outbox URL, or ALGOLIA_OUTBOX")
    return asyncio.run(_with(open_outbox(url), work))


async def _with(outbox: InspectableOutbox, work: Callable[[InspectableOutbox], Awaitable[int]]) -> int:
    try:
        await outbox.open()
        return await work(outbox)
    except OutboxError as exc:
        note(f"algolia-events: {exc}")
        return NOT_ALL_WELL
    finally:
        await outbox.aclose()
