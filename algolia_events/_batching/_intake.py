"""The batcher in front of an outbox: its batches are stored, and may be sent by us later."""

from algolia_events._batching._batch import Batch
from algolia_events._batching._batcher import Batcher
from algolia_events.reports import DropReason


class IntakeBatcher(Batcher):
    """Has a third stage after waiting and in flight: stored, and not sent yet by this process."""

    def interrupt(self, batch: Batch, *, ambiguous: bool) -> None:  # noqa: ARG002 - see below
        """Bring a batch back whose storing was broken off: an outbox breaks off only what it has not kept."""
        super().interrupt(batch, ambiguous=False)

    def take_all(self) -> list[Batch]:
        """Hand out everything that waits, whatever the gate says."""
        self.seal()
        batches = list(self._ready)
        self._ready.clear()
        self._in_flight.update(batches)
        return batches

    def sent(self, kind: str, count: int) -> int:
        """Move events of ours from stored to what has become of them: "delivered", "rejected" or a `DropReason`.

        Returns how many were known to be stored. The others were stored although that seemed to fail, and are booked
        where they went instead: they have been sent twice.
        """
        known = min(count, self.ledger.stored)
        self.ledger.possible_duplicates += count - known
        self.ledger.stored -= known
        if kind == "delivered":
            self.ledger.delivered += known
        elif kind == "rejected":
            self.ledger.rejected += known
        else:
            self.ledger.dropped[DropReason(kind)] += known
        return known
