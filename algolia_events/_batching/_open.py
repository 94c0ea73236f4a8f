"""The batch that events still join."""

from collections import deque
from typing import Any, Final, Self

from algolia_events._batching._batch import SEPARATOR, Batch

LOOSE_EVENTS: Final = 200
"""How many events wait as text before they are joined and encoded together: one call a run instead of one an event.
More would make that one call longer than a caller of `track()` should notice (200 take about 3 µs)."""
SMALL_EVENT: Final = 4096
"""The length up to which an event may join without a look at how many bytes there is room for."""

_TEXT_SEPARATOR: Final = SEPARATOR.decode()
_NEVER: Final = 1 << 63


class Ticketed(str):
    """The text of an event that somebody waits for. Where threads meet, it tells which place the event has got."""

    __slots__ = ("ticket",)
    ticket: Any

    def __new__(cls, text: str, ticket: Any) -> Self:
        """Add the ticket to the text."""
        self = super().__new__(cls, text)
        self.ticket = ticket
        return self


class OpenBatch:
    """Gathers encoded events until there are enough, or the linger of the first is over.

    An event joins in one of two ways. `Admission.add()` decides about it, and is called with the lock held. Nearly
    always there is nothing to decide, and then whoever tracks it need not wait for anybody: while `loose` is shorter
    than `room`, a text of at most `SMALL_EVENT` characters, stamped `oldest_ms` or later, may be appended to it without
    the lock. It is counted when next somebody looks, with the lock, by `Admission.count_in()`.

    What makes that safe: `loose` is one list for all batches of a queue, and appending to it and cutting from it are
    single operations of a list, which nobody sees half done. After appending one looks at `last`, the index of the last
    text that there is room for. Where that is reached, or the batch was shut in the meantime (-1), one takes the lock,
    has the text counted, and hears whether it came too late (`Admission.refusal_of()`). So a text that joins late finds
    itself in the next batch, and its author sees to it that the batch is heard of. Where threads race, `room` may be
    exceeded by one text a thread; what the queue has no room for is refused when it is counted.

    Attributes are read and changed from outside: a call an event would be a tenth of the whole cost.
    """

    __slots__ = (
        "count",
        "counted",
        "due",
        "first",
        "last",
        "loose",
        "milestone",
        "oldest_ms",
        "pieces",
        "room",
        "size",
        "tickets",
    )

    def __init__(self, first: int, loose: list[str]) -> None:
        self.first = first
        self.count = 0
        self.size = 0
        self.milestone = 1
        """The count at which there is more to do than to take an event in."""
        self.loose = loose
        self.counted = 0
        """How many of the loose texts `count` and `size` include."""
        self.room = 0
        self.last = -1
        """The index of the last text that there is room for; -1 when the batch is shut."""
        self.oldest_ms = _NEVER
        self.due: float | None = None
        """When its linger is over; None until somebody has looked at it."""
        self.pieces: deque[bytes | memoryview] = deque()
        self.tickets: dict[int, Any] = {}

    @property
    def is_dated(self) -> bool:
        """Whether it is known how old its events are."""
        return self.oldest_ms < _NEVER

    def shut(self) -> None:
        """Let nothing join without the lock any more."""
        self.room, self.last = 0, -1

    def pack(self) -> None:
        """Join and encode what waits as text and is counted."""
        counted, packed = self.counted, self.count - self.counted
        if counted:
            text = _TEXT_SEPARATOR.join(self.loose[:counted]).encode()
            if self.count - self.counted == packed:  # else a signal handler came in between, and did it
                del self.loose[:counted]
                self.counted -= counted
                self.pieces.append(text)

    def sealed(self) -> Batch:
        """Make the batch of what is packed."""
        return Batch(
            first=self.first,
            count=self.count,
            size=self.size,
            oldest_ms=self.oldest_ms,
            pieces=self.pieces,
            tickets=self.tickets,
        )
