"""What is held: the batch that is being filled, those that wait, those in flight, and the books on all of them."""

from collections import deque

from algolia_events._batching._batch import Batch
from algolia_events._batching._ledger import Ledger
from algolia_events._batching._open import Entry, OpenBatch
from algolia_events.config import QueueOptions


class Holdings:
    """The state that `Admission` and `Batcher` work on."""

    def __init__(self, options: QueueOptions) -> None:
        self.ledger = Ledger()
        self._options = options
        self._max_events = options.max_events
        self._max_bytes = options.max_bytes
        self._entries: list[Entry] = []
        """Events that have joined the open batch and are not counted yet; one list for all batches, see `OpenBatch`."""
        self.open = OpenBatch(first=0, entries=self._entries)
        """The batch that events still join; `track()` appends to it without asking where that is allowed."""
        self._ready: deque[Batch] = deque()
        """The sealed batches that wait, oldest first."""
        self._in_flight: set[Batch] = set()
        self._sealed_events = 0
        """Events in sealed batches, waiting or in flight."""
        self._sealed_bytes = 0
        self._changes = 0
        """How often a batch was sealed or an event gave way: what a signal handler that tracks can do to `_ready`."""

    @property
    def sealed_below(self) -> int:
        """The number of the first event that is not in a sealed batch."""
        return self.open.first

    @property
    def pending(self) -> int:
        """Events waiting or in flight."""
        return self._events

    @property
    def pending_bytes(self) -> int:
        """What those events and their separators take, in bytes."""
        return self._bytes

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return len(self._in_flight)

    @property
    def tracked(self) -> int:
        """Events that were handed in, refused ones included; those of the open batch are booked when it is sealed."""
        return self.ledger.tracked + self.open.count

    @property
    def _events(self) -> int:
        return self._sealed_events + self.open.count

    @property
    def _bytes(self) -> int:
        return self._sealed_bytes + self.open.size

    def _fits(self, events: int, size: int) -> bool:
        return self._events + events <= self._max_events and self._bytes + size <= self._max_bytes
