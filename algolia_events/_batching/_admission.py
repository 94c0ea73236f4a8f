"""What comes in: the bounds, the policies, and the batch that is being filled."""

import math
from collections import deque
from typing import Any, Final

from algolia_events._batching._batch import ENVELOPE_BYTES, SEPARATOR, Batch
from algolia_events._batching._ledger import Ledger
from algolia_events._batching._open import LOOSE_EVENTS, OpenBatch
from algolia_events._batching._server_limit import LARGEST_BODY, ServerLimit
from algolia_events._batching._settlement import Settlement
from algolia_events.config import QueueOptions
from algolia_events.reports import DropReason

_SEPARATOR_BYTES: Final = len(SEPARATOR)


def _is_too_large(size: int) -> bool:
    """Say whether an event of `size` bytes, its separator included, is too much for a request of its own."""
    return size - _SEPARATOR_BYTES + ENVELOPE_BYTES > LARGEST_BODY


class Admission:
    """Takes events in as far as there is room, and seals them into batches.

    `Batcher` is this and what happens to a batch from then on.
    """

    def __init__(self, options: QueueOptions) -> None:
        self.ledger = Ledger()
        self._options = options
        self._max_events = options.max_events
        self._max_bytes = options.max_bytes
        self._server_limit = ServerLimit()
        self._open = OpenBatch(first=0)
        self._ready: deque[Batch] = deque()
        self._in_flight: set[Batch] = set()
        self._sealed_events = 0
        self._sealed_bytes = 0
        self._dropped: list[Settlement] = []
        self._closed: DropReason | None = None
        self._room = 0
        """How many bytes the open batch may grow to, before anything else has to be considered."""
        self._measure_room()
        self.has_news = False
        """Whether something came in that the runner has to look at: a first event, or a full batch. It resets this."""

    def add(self, text: str, stamp: int, ticket: Any = None) -> DropReason | None:
        """Take in one event encoded as ASCII and stamped `stamp`; return why not, if it was refused.

        A refusal is booked; so are the older events that gave way under `drop-oldest`.
        """
        size = len(text) + _SEPARATOR_BYTES
        batch = self._open
        filled = batch.size + size
        if filled > self._room:
            refused = self._clear_the_way(size)
            if refused is not None:
                return self.ledger.refuse(refused)
            batch = self._open
            filled = batch.size + size
        if ticket is not None:
            batch.tickets[batch.first + batch.count] = ticket
        batch.size = filled
        batch.count = count = batch.count + 1
        if stamp < batch.oldest_ms:  # noqa: PLR1730 - min() would cost five times as much, once an event
            batch.oldest_ms = stamp
        batch.loose.append(text)  # after the counters: a signal handler can raise behind a call, and nowhere before
        if count >= batch.milestone:
            self._pass_milestone(batch)
        return None

    def _pass_milestone(self, batch: OpenBatch) -> None:
        """Do what the first event, each run of them, the last of a batch and the last of the queue call for."""
        if batch.count == 1:
            self.has_news = True
        if batch.count >= self._options.batch_events:
            self.seal()
            return
        if len(batch.loose) >= LOOSE_EVENTS:
            batch.pack()
        self._measure_room()

    def _measure_room(self) -> None:
        """Reckon how far the open batch may fill, in bytes and events, until `add()` has to think again.

        So that an event that simply fits, as nearly all do, costs one comparison of each.
        """
        batch = self._open
        spare_events = self._max_events - self._events
        if spare_events <= 0 or self._closed is not None:
            self._room = -1
            return
        self._room = min(self._open_limit, self._max_bytes - self._sealed_bytes)
        if batch.count:
            run = LOOSE_EVENTS - len(batch.loose)
            batch.milestone = batch.count + min(run, spare_events, self._options.batch_events - batch.count)

    def _clear_the_way(self, size: int) -> DropReason | None:
        """Make the open batch one that an event of `size` bytes may join, or say why there is none."""
        if self._closed is not None:
            return self._closed
        if _is_too_large(size) or size > self._max_bytes:
            return DropReason.TOO_LARGE
        if not self.fits(size - _SEPARATOR_BYTES) and not self._make_room(size):
            return DropReason.QUEUE_FULL
        if self._open.size + size > self._open_limit:
            self.seal()
        return None

    def fits(self, size: int) -> bool:
        """Say whether an event of `size` bytes would find room without another giving way."""
        return self._events < self._max_events and self._bytes + size + _SEPARATOR_BYTES <= self._max_bytes

    def can_ever_fit(self, size: int) -> bool:
        """Say whether an event of `size` bytes fits into a request, and into the queue when it is empty."""
        return not _is_too_large(size + _SEPARATOR_BYTES) and size + _SEPARATOR_BYTES <= self._max_bytes

    def _make_room(self, size: int) -> bool:
        """Let the oldest waiting events go until `size` bytes fit; what is in flight cannot give way."""
        held_bytes = sum(batch.size for batch in self._in_flight)
        held_events = sum(batch.count for batch in self._in_flight)
        could_fit = held_events < self._max_events and held_bytes + size <= self._max_bytes
        if self._options.overflow != "drop-oldest" or not could_fit:
            return False
        while not self.fits(size - _SEPARATOR_BYTES):
            self._drop_oldest()
        return True

    def _drop_oldest(self) -> None:
        if not self._ready:
            self.seal()
        oldest = self._ready[0]
        freed, ticket = oldest.drop_first()
        if not oldest.count:
            self._ready.popleft()
        self._release(1, freed)
        reason = DropReason.AMBIGUOUS if oldest.doubtful else DropReason.QUEUE_FULL
        self.ledger.dropped[reason] += 1
        tickets = () if ticket is None else (ticket,)
        self._dropped.append(Settlement(dropped=reason, dropped_count=1, tickets=tickets))

    def seal(self) -> None:
        """Close the open batch, so that it may leave without waiting for more."""
        if self._open.count:
            batch = self._open.seal()
            self._open = OpenBatch(first=batch.first + batch.count)
            # No call from here to the last: a signal handler that raises can do so behind one, and must find all or
            # nothing done.
            self.has_news = True
            self.ledger.tracked += batch.count
            self._sealed_events += batch.count
            self._sealed_bytes += batch.size
            self._ready.append(batch)
            self._measure_room()

    def close(self, reason: DropReason) -> None:
        """Refuse every event from now on, for `reason`; what was taken in can still leave."""
        self._closed = reason
        self._measure_room()  # the check that every event passes anyway leads to the refusal: it costs nothing more

    def hasten(self) -> None:
        """End the linger of what has come in so far; what comes in before the next `take()` still joins it."""
        if self._open.count:  # the last event may have filled its batch; an empty one that is due is never done
            self._open.due = -math.inf
        self.has_news = True

    def dropped(self) -> list[Settlement]:
        """Hand out what was dropped, since the last call, in the course of something else."""
        settled, self._dropped = self._dropped, []
        return settled

    @property
    def admitted(self) -> int:
        """How many events have come in so far; the next one gets this number."""
        return self._open.first + self._open.count

    @property
    def pending(self) -> int:
        """Events waiting or in flight, counted where they are rather than derived from the other counters."""
        held = sum(b.count for b in self._ready) + sum(b.count for b in self._in_flight)
        return held + self._open.count

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not self._events

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
        return self.ledger.tracked + self._open.count

    @property
    def _events(self) -> int:
        return self._sealed_events + self._open.count

    @property
    def _bytes(self) -> int:
        return self._sealed_bytes + self._open.size

    @property
    def _open_limit(self) -> int:
        """How many bytes of events and separators an open batch is filled to."""
        body = min(self._options.batch_bytes, self._server_limit.body_bytes)
        return body - ENVELOPE_BYTES + _SEPARATOR_BYTES

    def _hold(self, events: int, size: int) -> None:
        self._sealed_events += events
        self._sealed_bytes += size
        self._measure_room()

    def _release(self, events: int, size: int) -> None:
        self._hold(-events, -size)
