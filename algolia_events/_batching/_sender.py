"""The batcher that sends what was claimed from an outbox, besides events of this process."""

from collections import deque

from algolia_events._batching._batch import Batch
from algolia_events._batching._batcher import Batcher
from algolia_events._batching._claim import Claim
from algolia_events._batching._ledger import Ledger
from algolia_events._batching._settlement import Settlement
from algolia_events._retry import Gate
from algolia_events.config import QueueOptions
from algolia_events.reports import DropReason, SendingStats


class SenderBatcher(Batcher):
    """Holds claims as well, on books of their own; both share the room, the slots and the gate."""

    def __init__(self, options: QueueOptions, gate: Gate) -> None:
        super().__init__(options, gate)
        self.sending = Ledger()
        self._given_back = 0
        self.unwritten = 0
        """Claims that are answered, and not yet settled in the outbox: each keeps its slot until it is, so that a
        death repeats at most a request a slot."""

    @property
    def _slots_taken(self) -> int:
        return len(self._in_flight) + self.unwritten

    @property
    def has_slot(self) -> bool:
        """Whether one more request could be under way, pauses aside."""
        return self.gate.has_slot(self._slots_taken)

    def admit_claim(self, claim: Claim) -> None:
        """Take in what was claimed, behind what waits."""
        batch = claim.batch()
        self._admit(batch)
        claim.first = batch.first

    def take_over(self, batch: Batch) -> None:
        """Take in a batch of this process's events, that could not be stored."""
        tickets = {number - batch.first: ticket for number, ticket in batch.tickets.items()}
        self._admit(batch)
        batch.tickets = {number + batch.first: ticket for number, ticket in tickets.items()}

    def has_room_for(self, batch: Batch) -> bool:
        """Say whether a batch finds room."""
        return self._fits(batch.count, batch.size)

    def _admit(self, batch: Batch) -> None:
        self.seal()
        books = self._books(batch)
        # No call from here on (see the package).
        batch.first = self.open.first
        self.open.first += batch.count
        self._ready += (batch,)
        self._sealed_events += batch.count
        self._sealed_bytes += batch.size
        if batch.claim is not None:
            self._claimed_events += batch.count
            self._claimed_bytes += batch.size
        books.tracked += batch.count
        self._measure_room()
        self.has_news = True

    def _books(self, batch: Batch) -> Ledger:
        return self.ledger if batch.claim is None else self.sending

    def give_back(self, *, keep: int = 0) -> list[Settlement]:
        """Let go of the claims that wait, except the `keep` oldest."""
        waiting = [batch for batch in self._ready if batch.claim is not None][keep:]
        for batch in waiting:
            ready = deque([other for other in self._ready if other is not batch])
            self._take_off_totals(batch)
            # No call from here on (see the package).
            self._ready = ready
            self._given_back += batch.count
            if batch.ambiguous:  # whoever sends it next cannot know that it may have arrived
                self.sending.possible_duplicates += batch.count
            self._measure_room()
        return [Settlement(batch=batch, given_back=True) for batch in waiting]

    def abandon(self, reason: DropReason) -> list[Settlement]:
        """Give back what was claimed, and give up the rest; see `Batcher.abandon`."""
        return [*self.give_back(), *super().abandon(reason)]

    def give_back_in_outage(self, *, keep_probe: bool) -> list[Settlement]:
        """In an outage, let go of the claims that wait, but for one that the next probe takes: others may do better."""
        if self.gate.is_open:
            return []
        return self.give_back(keep=1 if keep_probe and not self._in_flight else 0)

    @property
    def batches(self) -> int:
        """Batches held, under way or not."""
        return len(self._ready) + len(self._in_flight)

    @property
    def pending(self) -> int:
        """Events of this process waiting or in flight; claimed ones have books of their own."""
        return super().pending - self._claimed_events

    @property
    def pending_bytes(self) -> int:
        """What those events and their separators take, in bytes."""
        return self._bytes - self._claimed_bytes

    def sending_stats(self) -> SendingStats:
        """Take the counters of what was claimed."""
        books = self.sending
        return SendingStats(
            claimed=books.tracked,
            accepted=books.delivered,
            rejected=books.rejected,
            dropped=books.dropped_so_far(),
            given_back=self._given_back,
            in_flight=self._claimed_events,
        )
