"""The batch that events still join."""

from collections import deque
from typing import Any, Final

from algolia_events._batching._batch import SEPARATOR, Batch
from algolia_events.events import Event

RUN_EVENTS: Final = 125
"""How many events wait to be encoded, together, and as text to be joined: the interpreter is quicker at one thing many
times over. Whoever tracks the last of them waits for that: for 0.07 ms with clicks, 0.3 with the longest small events.
More would gain nothing; fewer than 100, and that would be one call in a hundred. A request of 1000 holds whole runs."""

Entry = tuple[Event, int]
"""An event that has joined without being encoded, and its time."""

_TEXT_SEPARATOR: Final = SEPARATOR.decode()
_NEVER: Final = 1 << 63


class OpenBatch:
    """Gathers events until there are enough, or the linger of the first is over.

    An event joins in one of two ways. `Admission.add()` decides about it, and is called with the lock held. Nearly
    always there is nothing to decide, and then whoever tracks it need not wait for anybody: while `entries` is shorter
    than `room`, a small event stamped `oldest_ms` or later may be appended to it without the lock. It is encoded and
    counted when next somebody looks, with the lock, by `Admission.count_in()`.

    What makes that safe: `entries` is one list for all batches of a queue, and appending to it and cutting from it are
    single operations of a list, which nobody sees half done. After appending one looks at `last`, the index of the last
    entry that there is room for. Where that is reached, or the batch was shut in the meantime (-1), one takes the lock,
    has the event counted, and hears whether it came too late (`Admission.refusal_of()`). So an event that joins late
    finds itself in the next batch, and its author sees to it that the batch is heard of. Where threads race, `room` may
    be exceeded by one event a thread; what the queue has no room for is refused when it is counted.

    Attributes are read and changed from outside: a call an event would be a tenth of the whole cost.
    """

    __slots__ = (
        "count",
        "counts",
        "due",
        "entries",
        "first",
        "last",
        "milestone",
        "oldest_ms",
        "packed",
        "pieces",
        "room",
        "size",
        "texts",
        "tickets",
    )

    def __init__(self, first: int, entries: list[Entry]) -> None:
        self.first = first
        self.count = 0
        """How many events are counted: they are in `pieces`, or else in `texts`."""
        self.size = 0
        self.milestone = 1
        """The count at which there is more to do than to take an event in."""
        self.entries = entries
        """What has joined and is not counted yet."""
        self.room = 0
        self.last = -1
        """The index of the last entry that there is room for; -1 when the batch is shut."""
        self.oldest_ms = _NEVER
        self.due: float | None = None
        """When its linger is over; None until somebody has looked at it."""
        self.texts: list[str] = []
        self.packed = 0
        """How many events are in `pieces`."""
        self.pieces: deque[bytes | memoryview] = deque()
        self.counts: list[int] = []
        self.tickets: dict[int, Any] = {}

    @property
    def is_dated(self) -> bool:
        """Whether it is known how old its events are."""
        return self.oldest_ms < _NEVER

    def shut(self) -> None:
        """Let nothing join without the lock any more."""
        self.room, self.last = 0, -1

    def pack(self) -> None:
        """Join what waits as text."""
        count, packed, nothing = self.count, self.packed, list[str]()
        if count > packed:
            pieces, counts = (_TEXT_SEPARATOR.join(self.texts).encode(),), (count - packed,)
            # No call from here on (see the package), but for the last statement.
            if self.count == count and self.packed == packed:
                self.packed = count
                self.texts = nothing
                self.pieces += pieces
                self.counts += counts

    def sealed(self) -> Batch:
        """Make the batch of what is packed."""
        return Batch(
            first=self.first,
            count=self.count,
            size=self.size,
            oldest_ms=self.oldest_ms,
            pieces=self.pieces,
            counts=self.counts,
            tickets=self.tickets,
        )
