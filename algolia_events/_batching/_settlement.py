"""What a decision of the batcher means for those outside."""

from typing import Any

import attrs

from algolia_events._batching._batch import Batch
from algolia_events.errors import EventDroppedError, EventRejectedError
from algolia_events.reports import DropReason


@attrs.frozen
class Rejection:
    """Events that the server refused for good, with its status and words."""

    events: list[bytes]
    status: int
    message: str


@attrs.frozen(kw_only=True)
class Settlement:
    """What a decision changed: who is to be told what, and what is worth a line in the log."""

    delivered: int = 0
    rejection: Rejection | None = None
    dropped: DropReason | None = None
    dropped_count: int = 0
    stored: int = 0
    """Events that are safe in the outbox."""
    tickets: tuple[Any, ...] = ()
    """Whoever waited for the events settled here; all of them are told the same."""
    batch: Batch | None = None
    """What was settled here, where that is a whole batch."""
    given_back: bool = False
    """Whether the batch goes back to the outbox that it was claimed from."""

    def raise_unless_kept(self) -> None:
        """Raise what this says against an event: `EventRejectedError` or `EventDroppedError`."""
        if self.rejection is not None:
            raise EventRejectedError(self.rejection.status, self.rejection.message)
        if self.dropped is not None:
            raise EventDroppedError(self.dropped)
