"""The queue's contents and the rules by which they leave."""

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from algolia_events import _limits
from algolia_events._batching._batch import ENVELOPE_BYTES, SEPARATOR, Batch, Family
from algolia_events._batching._ledger import Ledger
from algolia_events._batching._open import LOOSE_EVENTS, OpenBatch
from algolia_events._batching._settlement import Rejection, Settlement
from algolia_events._retry import Accepted, Blocked, Failed, Gate, Moved, Outcome, Refused, Stored, TooLarge
from algolia_events.config import QueueOptions
from algolia_events.reports import DropReason

_SEPARATOR_BYTES: Final = len(SEPARATOR)
_REFUSALS_PER_BATCH: Final = 256
"""How many refused requests the search for bad events in one batch may cost; a lone bad event among 1000 costs 11."""
_SMALL_LIMIT_SECONDS: Final = 60.0
"""How long a limit learnt from a 413 holds before it is doubled."""
_LARGEST_BODY: Final = _limits.MAX_REQUEST_BYTES - 1


def _is_too_large(size: int) -> bool:
    """Say whether an event of `size` bytes, its separator included, is too much for a request of its own."""
    return size - _SEPARATOR_BYTES + ENVELOPE_BYTES > _LARGEST_BODY


_UNDECIDED: Final = Settlement()


class Batcher:
    """Holds encoded events, seals them into batches, and books what becomes of each.

    Not safe for threads by itself: the queue holds a lock around every call.
    """

    def __init__(self, options: QueueOptions, gate: Gate, *, timestamp_of: Callable[[bytes], int | None]) -> None:
        self.gate = gate
        self.ledger = Ledger()
        self._options = options
        self._timestamp_of = timestamp_of
        self._max_events = options.max_events
        self._max_bytes = options.max_bytes
        self._batch_events = options.batch_events
        self._server_limit = _LARGEST_BODY
        self._server_limit_since = -math.inf
        self._set_open_limit()
        self._open = OpenBatch(first=0)
        self._ready: deque[Batch] = deque()
        self._in_flight: set[Batch] = set()
        self._events = 0
        self._bytes = 0
        self._dropped: list[Settlement] = []
        self._closed: DropReason | None = None
        self.has_news = False
        """Whether something came in that the runner has to look at: a first event, or a full batch. It resets this."""

    # --- coming in -----------------------------------------------------------------------------------------------

    def add(self, text: str, stamp: int, ticket: Any = None) -> DropReason | None:
        """Take in one event encoded as ASCII and stamped `stamp`; return why not, if it was refused.

        A refusal is booked; so are the older events that gave way under `drop-oldest`.
        """
        size = len(text) + _SEPARATOR_BYTES
        if self._events >= self._max_events or self._bytes + size > self._max_bytes:
            refused = self._make_room(size)
            if refused is not None:
                return self.ledger.refuse(refused)
        batch = self._open
        filled = batch.size + size
        if filled > self._open_limit:
            if _is_too_large(size):
                return self.ledger.refuse(DropReason.TOO_LARGE)
            self.seal()
            batch, filled = self._open, size
        if ticket is not None:
            batch.tickets[batch.first + batch.count] = ticket
        batch.loose.append(text)
        batch.size = filled
        batch.count = count = batch.count + 1
        if stamp < batch.oldest_ms:  # noqa: PLR1730 - min() would cost five times as much, once an event
            batch.oldest_ms = stamp
        self._events += 1
        self._bytes += size
        self.ledger.tracked += 1
        if count >= batch.milestone:
            self._pass_milestone(batch)
        return None

    def _pass_milestone(self, batch: OpenBatch) -> None:
        """Do what the first event, each run of them and the last one call for."""
        if batch.count == 1:
            self.has_news = True
        if batch.count >= self._batch_events:
            self.seal()
            return
        if len(batch.loose) >= LOOSE_EVENTS:
            batch.pack()
        batch.milestone = min(batch.count + LOOSE_EVENTS - len(batch.loose), self._batch_events)

    def fits(self, size: int) -> bool:
        """Say whether an event of `size` bytes would find room without another giving way."""
        return self._events < self._max_events and self._bytes + size + _SEPARATOR_BYTES <= self._max_bytes

    def can_ever_fit(self, size: int) -> bool:
        """Say whether an event of `size` bytes fits into a request, and into the queue when it is empty."""
        return not _is_too_large(size + _SEPARATOR_BYTES) and size + _SEPARATOR_BYTES <= self._max_bytes

    def _make_room(self, size: int) -> DropReason | None:
        """Let the oldest waiting events go until `size` bytes fit; what is in flight cannot give way."""
        if self._closed is not None:
            return self._closed
        if _is_too_large(size) or size > self._max_bytes:
            return DropReason.TOO_LARGE
        held_bytes = sum(batch.size for batch in self._in_flight)
        held_events = sum(batch.count for batch in self._in_flight)
        could_fit = held_events < self._max_events and held_bytes + size <= self._max_bytes
        if self._options.overflow != "drop-oldest" or not could_fit:
            return DropReason.QUEUE_FULL
        while self._events >= self._max_events or self._bytes + size > self._max_bytes:
            self._drop_oldest()
        return None

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
            self._ready.append(batch)
            self.has_news = True
            self._open = OpenBatch(first=batch.first + batch.count)

    # --- going out -----------------------------------------------------------------------------------------------

    def deadline(self, *, now: float) -> float:
        """Say when to ask again, in monotonic seconds; infinity when only an event or an answer changes anything."""
        if self._open.due is None and self._open.count:
            self._open.due = now + self._options.linger
        if not self.gate.has_slot(len(self._in_flight)):
            return math.inf
        if self._ready:
            return max(now, self.gate.opens_at)
        return math.inf if self._open.due is None else max(self._open.due, self.gate.opens_at)

    def take(self, *, now: float, wall_ms: float) -> Batch | None:
        """Hand out the oldest batch that may leave now, or None. It stays on the books until it is settled.

        `wall_ms` is the present in epoch milliseconds: events older than `max_event_age` by it are dropped.
        """
        self._grow_server_limit(now)
        while self.gate.admits(len(self._in_flight), now=now):
            if not self._ready and self._open.count and self.deadline(now=now) <= now:
                self.seal()
            if not self._ready:
                return None
            batch = self._ready.popleft()
            if batch.oldest_ms < wall_ms - self._options.max_event_age * 1000:
                self._drop_expired(batch, wall_ms)
            elif batch.body_size > self._server_limit and batch.count > 1:
                self._put_back(batch.parts_within(self._server_limit))
            else:
                return self._begin(batch)
        return None

    def _begin(self, batch: Batch) -> Batch:
        if batch.ambiguous:
            self._books(batch).possible_duplicates += batch.count
            batch.ambiguous = False
        batch.era = self.gate.era
        self._in_flight.add(batch)
        self._books(batch).requests += 1
        return batch

    def _books(self, batch: Batch) -> Ledger:  # noqa: ARG002 - a line that holds claims has two
        """Find the ledger that the events of a batch are booked in."""
        return self.ledger

    def _drop_expired(self, batch: Batch, wall_ms: float) -> None:
        limit = wall_ms - self._options.max_event_age * 1000
        stamps = [self._timestamp_of(event) for event in batch.events()]
        old = {offset for offset, stamp in enumerate(stamps) if stamp is not None and stamp < limit}
        for part in self._take_out(batch, old, DropReason.EXPIRED):
            offset = part.first - batch.first
            known = [s for s in stamps[offset : offset + part.count] if s is not None]
            part.oldest_ms = min(known, default=int(wall_ms))

    def withdraw(self, batch: Batch, offsets: set[int], reason: DropReason) -> None:
        """Give up some events of a batch that `take()` handed out; the others go back in line."""
        self._in_flight.discard(batch)
        self._books(batch).requests -= 1  # it was handed out to become one, and does not
        self._take_out(batch, offsets, reason)

    def _take_out(self, batch: Batch, offsets: set[int], reason: DropReason) -> list[Batch]:
        """Drop the events at these offsets, put back and return what is left of the batch."""
        rest = list(batch.without(offsets))
        gone = batch.without(set(range(batch.count)) - offsets)
        self._dropped += [self._drop(part, reason) for part in gone]
        self._put_back(rest)
        return rest

    # --- verdicts ------------------------------------------------------------------------------------------------

    def settle(self, batch: Batch, outcome: Outcome, *, now: float, jitter: float) -> Settlement:
        """Book what came of a batch that `take()` handed out: done with, cut, or back in line in its old place."""
        self._in_flight.discard(batch)
        match outcome:
            case Accepted():
                self.gate.answered(batch.era)
                self._release(batch.count, batch.size)
                self._books(batch).delivered += batch.count
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
                self._put_back([batch])
                return _UNDECIDED
            case Stored() | Moved():
                self.gate.answered(batch.era)
                return self._passed_on(batch, outcome)

    def _passed_on(self, batch: Batch, outcome: Stored | Moved) -> Settlement:
        self._release(batch.count, batch.size)
        if isinstance(outcome, Moved):
            self.ledger.tracked -= batch.count
            outcome.take_over(batch)
            return _UNDECIDED
        self.ledger.stored += batch.count
        return Settlement(stored=batch.count, tickets=tuple(batch.tickets.values()), batch=batch)

    def _refused(self, batch: Batch, outcome: Refused) -> Settlement:
        family = batch.family = batch.family or Family(_REFUSALS_PER_BATCH)
        family.refusals_left -= 1
        if batch.count == 1 or family.refusals_left < 0:
            return self._reject(batch, outcome.status, outcome.message)
        self._put_back(batch.halves())
        return _UNDECIDED

    def _too_large(self, batch: Batch, outcome: TooLarge, now: float) -> Settlement:
        if batch.count == 1:
            return self._reject(batch, outcome.status, outcome.message)
        limit = batch.body_size // 2 + ENVELOPE_BYTES
        if limit < self._server_limit:
            self._server_limit = limit
            self._set_open_limit()
        self._server_limit_since = now
        parts = batch.parts_within(self._server_limit)
        # One huge event and a small one may still fit the new limit together: never send a body twice unchanged.
        self._put_back(parts if len(parts) > 1 else batch.halves())
        return _UNDECIDED

    def _failed(self, batch: Batch, outcome: Failed) -> Settlement:
        batch.note_attempt(ambiguous=outcome.ambiguous)
        if outcome.ambiguous and self._options.on_ambiguous == "drop":
            return self._drop(batch, DropReason.AMBIGUOUS)
        self._put_back([batch])
        return _UNDECIDED

    def _reject(self, batch: Batch, status: int, message: str) -> Settlement:
        self._release(batch.count, batch.size)
        self._books(batch).rejected += batch.count
        rejection = Rejection(batch.events(), status, message)
        return Settlement(rejection=rejection, tickets=tuple(batch.tickets.values()), batch=batch)

    def _drop(self, batch: Batch, reason: DropReason) -> Settlement:
        reason = DropReason.AMBIGUOUS if batch.doubtful else reason
        self._release(batch.count, batch.size)
        self._books(batch).dropped[reason] += batch.count
        tickets = tuple(batch.tickets.values())
        return Settlement(dropped=reason, dropped_count=batch.count, tickets=tickets, batch=batch)

    def _put_back(self, batches: Iterable[Batch]) -> None:
        """Bring batches back into the line, each where its first event's number belongs."""
        for batch in batches:
            ahead = 0  # what comes back is among the oldest: only other returned batches can stand before it
            while ahead < len(self._ready) and self._ready[ahead].first < batch.first:
                ahead += 1
            self._ready.insert(ahead, batch)

    # --- the end, and the books ----------------------------------------------------------------------------------

    def close(self, reason: DropReason) -> None:
        """Refuse every event from now on, for `reason`; what was taken in can still leave."""
        self._closed = reason
        self._max_events = -1  # the check that every event passes anyway leads to the refusal: it costs nothing more

    def hasten(self) -> None:
        """End the linger of what has come in so far; what comes in before the next `take()` still joins it."""
        self._open.due = -math.inf
        self.has_news = True

    def interrupt(self, batch: Batch, *, ambiguous: bool) -> None:
        """Bring a batch back whose attempt was broken off by us; `ambiguous` if bytes of it may have left."""
        if batch in self._in_flight:  # else an attempt that was left behind in a dead loop ends after `reclaim()`
            self._in_flight.remove(batch)
            batch.note_attempt(ambiguous=ambiguous)
            self._put_back([batch])

    def reclaim(self) -> None:
        """Bring back what is in flight, since nobody is left to end those attempts: they may have arrived."""
        for batch in tuple(self._in_flight):
            self.interrupt(batch, ambiguous=True)

    def abandon(self, reason: DropReason) -> list[Settlement]:
        """Give up everything: what may have arrived as ambiguous, the rest for `reason`."""
        self.reclaim()
        self.seal()
        given_up = [self._drop(b, reason) for b in self._ready]
        self._ready.clear()
        return given_up

    def dropped(self) -> list[Settlement]:
        """Hand out what was dropped, since the last call, in the course of something else."""
        settled, self._dropped = self._dropped, []
        return settled

    @property
    def admitted(self) -> int:
        """How many events have come in so far; the next one gets this number."""
        return self._open.first + self._open.count

    @property
    def settled_below(self) -> int:
        """The number of the oldest event still held: all before it are settled."""
        firsts = [batch.first for batch in self._in_flight]
        firsts.append(self._ready[0].first if self._ready else self._open.first)
        return min(firsts) if self._events else self.admitted

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

    def _release(self, events: int, size: int) -> None:
        self._events -= events
        self._bytes -= size

    def _grow_server_limit(self, now: float) -> None:
        if self._server_limit < _LARGEST_BODY and now >= self._server_limit_since + _SMALL_LIMIT_SECONDS:
            self._server_limit = min(_LARGEST_BODY, self._server_limit * 2)
            self._server_limit_since = now
            self._set_open_limit()

    def _set_open_limit(self) -> None:
        body = min(self._options.batch_bytes, self._server_limit)
        self._open_limit = body - ENVELOPE_BYTES + _SEPARATOR_BYTES
