"""The batch that events still join."""

from collections import deque
from typing import Any, Final

from algolia_events._batching._batch import ENVELOPE_BYTES, SEPARATOR, Batch

LOOSE_EVENTS: Final = 200
"""How many events wait as text before they are joined and encoded together: one call a run instead of one an event.
More would make that one call longer than a caller of `track()` should notice (200 take about 3 µs)."""

_TEXT_SEPARATOR: Final = SEPARATOR.decode()


class OpenBatch:
    """Gathers encoded events until there are enough, or the linger of the first is over.

    Attributes are read and changed by `Batcher.add` directly: a call an event would be a tenth of the whole cost.
    """

    __slots__ = ("count", "due", "first", "loose", "milestone", "oldest_ms", "pieces", "size", "tickets")

    def __init__(self, first: int) -> None:
        self.first = first
        self.count = 0
        self.milestone = 1
        """The count at which there is more to do than to take an event in."""
        self.size = 0
        self.oldest_ms = 1 << 63
        self.due: float | None = None
        """When its linger is over; None until somebody has looked at it."""
        self.loose: list[str] = []
        self.pieces: deque[bytes | memoryview] = deque()
        self.tickets: dict[int, Any] = {}

    @property
    def body_size(self) -> int:
        """Bytes of the body that it would make now."""
        return self.size - len(SEPARATOR) + ENVELOPE_BYTES

    def pack(self) -> None:
        """Join and encode what waits as text."""
        text = _TEXT_SEPARATOR.join(self.loose).encode()
        self.loose = []  # in this order: a signal handler that raises can do so behind a call, and nowhere between
        self.pieces.append(text)

    def seal(self) -> Batch:
        """Make the batch of it that nothing joins any more."""
        if self.loose:
            self.pack()
        return Batch(
            first=self.first,
            count=self.count,
            size=self.size,
            oldest_ms=self.oldest_ms,
            pieces=self.pieces,
            tickets=self.tickets,
        )
