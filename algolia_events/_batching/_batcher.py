"""The queue's contents and the rules by which they leave."""

import math
from collections import deque
from collections.abc import Iterable
from operator import attrgetter
from typing import Final

from algolia_events._batching._admission import Admission
from algolia_events._batching._batch import Batch, Family
from algolia_events._batching._ledger import Ledger
from algolia_events._batching._settlement import Rejection, Settlement
from algolia_events._codec import event_timestamp
from algolia_events._retry import Accepted, Blocked, Failed, Gate, Moved, Outcome, Refused, Stored, TooLarge
from algolia_events.config import QueueOptions
from algolia_events.reports import DropReason, QueueStats

_REFUSALS_PER_BATCH: Final = 256
"""How many refused requests the search for bad events in one batch may cost; a lone bad event among 1000 costs 11."""
_UNDECIDED: Final = Settlement()
_FIRST: Final = attrgetter("first")


class Batcher(Admission):
    """Holds events, hands them out in batches, and books what becomes of each.

    Not safe for threads by itself: the queue holds a lock around every call.
    """

    def __init__(self, options: QueueOptions, gate: Gate) -> None:
        super().__init__(options)
        self.gate = gate
        self._claimed_events = 0
        """How many of those held came from an outbox, and are booked elsewhere."""
        self._claimed_bytes = 0

    # --- going out -----------------------------------------------------------------------------------------------

    def deadline(self, *, now: float) -> float:
        """Say when to ask again, in monotonic seconds; infinity when only an event or an answer changes anything."""
        self.count_in()
        if self.open.due is None and self.open.count:
            self.open.due = now + self._options.linger
        if not self.gate.has_slot(self._slots_taken):
            return math.inf
        if self._ready:
            return max(now, self.gate.opens_at)
        return math.inf if self.open.due is None else max(self.open.due, self.gate.opens_at)

    def take(self, *, now: float, wall_ms: float) -> Batch | None:
        """Hand out the oldest batch that may leave now, or None. It stays on the books until it is settled.

        `wall_ms` is the present in epoch milliseconds: events older than `max_event_age` by it are dropped.
        """
        self._server_limit.grow(now=now)
        while self.gate.admits(self._slots_taken, now=now):
            if not self._ready and self.deadline(now=now) <= now:
                self.seal()
            if not self._ready:
                return None
            batch = self._ready[0]
            # No call from here on (see the package): now the batch gives way to nothing any more.
            del self._ready[0]
            self._in_flight |= {batch}
            if batch.oldest_ms < wall_ms - self._options.max_event_age * 1000:
                self._drop_expired(batch, wall_ms)
            elif batch.body_size > self._server_limit.body_bytes and batch.count > 1:
                self._put_back(batch.parts_within(self._server_limit.body_bytes), instead_of=batch)
            else:
                return self._begin(batch)
        return None

    @property
    def _slots_taken(self) -> int:
        return len(self._in_flight)

    def _begin(self, batch: Batch) -> Batch:
        if batch.ambiguous:
            self._books(batch).possible_duplicates += batch.count
            batch.ambiguous = False
        batch.era = self.gate.era
        self._books(batch).requests += 1
        return batch

    def _books(self, batch: Batch) -> Ledger:  # noqa: ARG002 - a sender of claims has two
        """Find the ledger that the events of a batch are booked in."""
        return self.ledger

    def _drop_expired(self, batch: Batch, wall_ms: float) -> None:
        limit = wall_ms - self._options.max_event_age * 1000
        stamps = [event_timestamp(event) for event in batch.events()]
        old = {offset for offset, stamp in enumerate(stamps) if stamp is not None and stamp < limit}
        rest = self._take_out(batch, old, DropReason.EXPIRED)
        known = [stamp for offset, stamp in enumerate(stamps) if stamp is not None and offset not in old]
        rest.oldest_ms = min(known, default=int(wall_ms))  # else the oldest of its kin, where it was cut

    def withdraw(self, batch: Batch, offsets: set[int], reason: DropReason) -> None:
        """Give up some events of a batch that `take()` handed out; the others go back in line."""
        if batch in self._in_flight:  # else it was left behind in a dead loop, see `interrupt()`
            self._books(batch).requests -= 1  # it was handed out to become one, and does not
            self._take_out(batch, offsets, reason)

    def _take_out(self, batch: Batch, offsets: set[int], reason: DropReason) -> Batch:
        """Drop the events at these offsets, put back and return what is left of the batch."""
        if not offsets:
            self._put_back([batch], instead_of=batch)
            return batch
        rest, gone = batch.parted(offsets)
        self._put_back([part for part in (rest, gone) if part.count], instead_of=batch)
        self._drop_from_line(gone, DropReason.AMBIGUOUS if gone.doubtful else reason)
        return rest

    def _drop_from_line(self, batch: Batch, reason: DropReason) -> None:
        books = self._books(batch)
        while True:
            changes = self._changes
            settlements = [_dropped_whole(batch, reason)]
            ready = deque([waiting for waiting in (*self._ready,) if waiting is not batch])
            # No call from here on (see the package): whoever tracked behind one may have changed what waits.
            if self._changes == changes:
                self._ready = ready
                self._sealed_events -= batch.count
                self._sealed_bytes -= batch.size
                if batch.claim is not None:
                    self._claimed_events -= batch.count
                    self._claimed_bytes -= batch.size
                books.dropped[reason] += batch.count
                self._dropped += settlements
                self._measure_room()
                return

    # --- verdicts ------------------------------------------------------------------------------------------------

    def settle(self, batch: Batch, outcome: Outcome, *, now: float, jitter: float) -> Settlement:
        """Book what came of a batch that `take()` handed out: done with, cut, or back in line in its old place."""
        match outcome:
            case Accepted():
                self.gate.answered(batch.era)
                books = self._books(batch)
                self._take_off_totals(batch)
                books.delivered += batch.count
                self._measure_room()
                return Settlement(delivered=batch.count, tickets=tuple(batch.tickets.values()), batch=batch)
            case Refused():
                self.gate.answered(batch.era)
                return self._refused(batch, outcome)
            case TooLarge():
                self.gate.answered(batch.era)
                return self._too_large(batch, outcome, now)
            case Failed():
                self.gate.failed(batch.era, outcome, now=now, jitter=jitter)
                return self._failed(batch, outcome)
            case Blocked():
                self.gate.blocked(batch.era, outcome, now=now)
                self._put_back([batch], instead_of=batch)
            case Stored():
                self.gate.answered(batch.era)
                self._take_off_totals(batch)
                self.ledger.stored += batch.count
                self._measure_room()
                return Settlement(stored=batch.count, tickets=tuple(batch.tickets.values()), batch=batch)
            case Moved():
                self.gate.answered(batch.era)
                self._take_off_totals(batch)
                self.ledger.tracked -= batch.count
                self._measure_room()
                outcome.take_over(batch)
        return _UNDECIDED

    def _refused(self, batch: Batch, outcome: Refused) -> Settlement:
        family = batch.family = batch.family or Family(_REFUSALS_PER_BATCH)
        family.refusals_left -= 1
        if batch.count == 1:
            return self._reject(batch, outcome.status, outcome.message)
        if family.refusals_left < 0:
            words = f"{outcome.message} (said of {batch.count} events together: too many were bad to look into each)"
            return self._reject(batch, outcome.status, words)
        self._put_back(batch.halves(), instead_of=batch)
        return _UNDECIDED

    def _too_large(self, batch: Batch, outcome: TooLarge, now: float) -> Settlement:
        if batch.count == 1:
            return self._reject(batch, outcome.status, outcome.message)
        self._server_limit.learn(batch.body_size, now=now)
        self._measure_room()
        # Never the same body twice; where a half is more than the server takes, `take()` cuts it by bytes.
        self._put_back(batch.halves(), instead_of=batch)
        return _UNDECIDED

    def _failed(self, batch: Batch, outcome: Failed) -> Settlement:
        batch.note_attempt(ambiguous=outcome.ambiguous)
        if outcome.ambiguous and self._options.on_ambiguous == "drop":
            return self._drop(batch, DropReason.AMBIGUOUS)
        self._put_back(self._to_try_again(batch), instead_of=batch)
        return _UNDECIDED

    def _to_try_again(self, batch: Batch) -> list[Batch]:
        """Say in what parts a batch without a verdict goes back into the line."""
        return [batch]

    def _reject(self, batch: Batch, status: int, message: str) -> Settlement:
        books = self._books(batch)
        self._take_off_totals(batch)
        books.rejected += batch.count
        self._measure_room()
        rejection = Rejection(batch.events(), status, message)
        return Settlement(rejection=rejection, tickets=tuple(batch.tickets.values()), batch=batch)

    def _drop(self, batch: Batch, reason: DropReason) -> Settlement:
        reason = DropReason.AMBIGUOUS if batch.doubtful else reason
        dropped = self._books(batch).dropped
        self._take_off_totals(batch)
        dropped[reason] += batch.count
        self._measure_room()
        return _dropped_whole(batch, reason)

    def _take_off_totals(self, batch: Batch) -> None:
        """Take a batch out of flight and off the totals; the caller books it before any other call: see the package."""
        self._in_flight -= {batch}
        self._sealed_events -= batch.count
        self._sealed_bytes -= batch.size
        if batch.claim is not None:
            self._claimed_events -= batch.count
            self._claimed_bytes -= batch.size

    def _put_back(self, batches: Iterable[Batch], *, instead_of: Batch) -> None:
        """Bring batches back into the line in place of one in flight, each where its first event's number belongs."""
        returned = tuple(batches)
        while True:
            changes = self._changes
            ready = deque(sorted((*self._ready, *returned), key=_FIRST))
            # No call from here on (see the package): whoever tracked behind one may have changed what waits.
            if self._changes == changes:
                self._ready = ready
                self._in_flight -= {instead_of}
                return

    # --- the end, and the books ----------------------------------------------------------------------------------

    def interrupt(self, batch: Batch, *, ambiguous: bool) -> None:
        """Bring a batch back whose attempt was broken off by us; `ambiguous` if bytes of it may have left."""
        if batch in self._in_flight:  # else an attempt that was left behind in a dead loop ends after `reclaim()`
            batch.note_attempt(ambiguous=ambiguous)
            self._put_back([batch], instead_of=batch)

    def reclaim(self) -> None:
        """Bring back what is in flight, since nobody is left to end those attempts: they may have arrived."""
        for batch in tuple(self._in_flight):
            self.interrupt(batch, ambiguous=True)

    def abandon(self, reason: DropReason) -> list[Settlement]:
        """Give up everything: what may have arrived as ambiguous, the rest for `reason`."""
        if self._closed is None:
            self.close(reason)
        self.reclaim()
        self.seal()
        given_up = [self._drop(b, reason) for b in self._ready]
        self._ready.clear()
        return given_up

    def settled_below(self) -> int:
        """The number of the oldest event still held: all before it are settled."""
        firsts = [batch.first for batch in self._in_flight]
        firsts.append(self._ready[0].first if self._ready else self.open.first)
        return min(firsts) if self._events else self.admitted()

    def stats(self) -> QueueStats:
        """Take the counters."""
        while True:
            self.count_in()
            before = self.ledger.tracked, self.open.count
            taken = self._stats()
            if before == (self.ledger.tracked, self.open.count):
                return taken  # else a signal handler has tracked meanwhile

    def _stats(self) -> QueueStats:
        ledger = self.ledger
        return QueueStats(
            tracked=self.tracked,
            delivered=ledger.delivered,
            rejected=ledger.rejected,
            dropped=ledger.dropped_so_far(),
            pending=self.pending,
            stored=ledger.stored,
            possible_duplicates=ledger.possible_duplicates,
            pending_bytes=self.pending_bytes,
            in_flight=self.in_flight,
            requests=ledger.requests,
        )


def _dropped_whole(batch: Batch, reason: DropReason) -> Settlement:
    return Settlement(dropped=reason, dropped_count=batch.count, tickets=tuple(batch.tickets.values()), batch=batch)
