"""The batcher in front of an outbox: its batches are stored, and may be sent by us later."""

from collections import Counter, deque
from typing import Final

from algolia_events._batching._batch import Batch
from algolia_events._batching._batcher import Batcher
from algolia_events._batching._claim import FateKind
from algolia_events._batching._open import OpenBatch
from algolia_events._batching._settlement import Settlement
from algolia_events._retry import Gate, Moved, Outcome
from algolia_events.config import QueueOptions
from algolia_events.reports import DropReason

COMMIT_LINGER: Final = 0.125
"""In seconds: how long an event waits for company in its commit; while the outbox works, about what a `kill -9` costs
`track()`. At a million events a minute, 16,667 a second, that is enough for a commit of whole requests."""
_REQUESTS_A_COMMIT: Final = 2
"""How many requests' worth of events are stored together at most, where they come in fast enough: most of what a commit
costs is the same for more of them."""


class IntakeBatcher(Batcher):
    """Has a third stage after waiting and in flight: stored, and not sent yet by this process."""

    def __init__(self, options: QueueOptions, gate: Gate) -> None:
        super().__init__(options, gate)
        self._sent_early: Counter[FateKind] = Counter()
        self.sent_ever = 0
        """Events that were stored, and have been sent or given up since."""

    def _next_look(self, count: int) -> int:
        one = self._options.batch_events
        return min(count // one + 1, _REQUESTS_A_COMMIT) * one

    def _is_full(self, batch: OpenBatch) -> bool:
        """Decide whether another request's worth of events can be stored with what is there.

        If it would not fit, a part of it would leave in a request of its own; and half the queue has room for others
        while a commit is under way.
        """
        requests, rest = divmod(batch.count, self._options.batch_events)
        if rest:
            return False
        size = batch.size // requests * (requests + 1)
        return (
            requests >= _REQUESTS_A_COMMIT
            or self._next_look(batch.count) > self._max_events // 2
            or size > min(self._open_limit, self._max_bytes // 2)
        )

    def is_kept(self, batch: Batch) -> bool:
        """Say whether the outbox has kept a batch for sure: some event of it was sent, and it keeps all or none."""
        others = sum(other.count for other in self._in_flight if other is not batch)
        return self.sent_early > others

    @property
    def sent_early(self) -> int:
        """Events that have been sent from the outbox, while it has not said yet that they are stored."""
        return self._sent_early.total()

    @property
    def stored_ever(self) -> int:
        """Events known to have been stored, whatever has become of them since."""
        return self.sent_ever + self.ledger.stored

    def leave_room_for(self, events: int, size: int) -> None:
        """Take in as much less than the bounds allow as others hold of them: so many events, and bytes."""
        self.count_in()
        self._max_events = max(0, self._options.max_events - events)
        self._max_bytes = max(0, self._options.max_bytes - size)
        self._measure_room()

    def interrupt(self, batch: Batch, *, ambiguous: bool) -> None:  # noqa: ARG002 - see below
        """Bring a batch back whose storing was broken off: an outbox breaks off only what it has not kept."""
        super().interrupt(batch, ambiguous=False)

    def take_all(self) -> list[Batch]:
        """Hand out everything that waits, whatever the gate says; what nobody is storing any more waits as well."""
        self.reclaim()
        self.seal()
        while True:
            changes = self._changes
            batches, nothing = list(self._ready), deque[Batch]()
            # No call from here on (see the package): whoever tracked behind one may have changed what waits.
            if self._changes == changes:
                self._ready = nothing
                self._in_flight |= {*batches}
                return batches

    def settle(self, batch: Batch, outcome: Outcome, *, now: float, jitter: float) -> Settlement:
        """Book what came of storing a batch; see `Batcher.settle`."""
        if isinstance(outcome, Moved) and batch.count > self._options.batch_events:
            self.gate.answered(batch.era)
            self._put_back(self._to_try_again(batch), instead_of=batch)  # its parts come next
            settlement = Settlement()
        else:
            settlement = super().settle(batch, outcome, now=now, jitter=jitter)
        self._book_early()
        return settlement

    def _to_try_again(self, batch: Batch) -> list[Batch]:
        """Cut it into parts that fit into a request: each may go past the outbox, or find room by itself."""
        return batch.parts_of(self._options.batch_events)

    def sent(self, kind: FateKind, count: int) -> None:
        """Move events of ours from stored to what has become of them, which is not that they were given back.

        They may have been sent before the outbox has said that they are stored: those are booked once it has. Where it
        says that they are not, or has said so, they are booked where they went instead: they have been sent twice.
        """
        self._sent_early[kind] += count
        self._book_early()

    def _book_early(self) -> None:
        if not self._sent_early:
            return
        for kind in tuple(self._sent_early):
            self._move(kind, min(self._sent_early[kind], self.ledger.stored))
        self._sent_early = +self._sent_early  # keeps what is more than 0
        storing = sum(batch.count for batch in self._in_flight)
        for kind in tuple(self._sent_early):
            twice = min(self._sent_early[kind], self.sent_early - storing)
            if twice > 0:
                self._sent_early[kind] -= twice
                self.ledger.possible_duplicates += twice

    def _move(self, kind: FateKind, count: int) -> None:
        reason = kind if isinstance(kind, DropReason) else None
        # No call from here on (see the package).
        self._sent_early[kind] -= count
        self.sent_ever += count
        self.ledger.stored -= count
        if reason is not None:
            self.ledger.dropped[reason] += count
        elif kind == "delivered":
            self.ledger.delivered += count
        else:
            self.ledger.rejected += count
