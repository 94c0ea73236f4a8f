"""The queue's contents and the rules by which they leave."""

import enum
import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs

from algolia_events import _limits
from algolia_events._batching._batch import ENVELOPE_BYTES, SEPARATOR, Batch, Family, tickets_of
from algolia_events._batching._ledger import Ledger
from algolia_events._batching._open import LOOSE_EVENTS, OpenBatch
from algolia_events._retry import Accepted, Blocked, Failed, Gate, Outcome, Refused, TooLarge
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


class Resolution(enum.Enum):
    """What whoever waits for an event is told."""

    DELIVERED = enum.auto()
    REJECTED = enum.auto()
    DROPPED = enum.auto()


@attrs.frozen
class Rejection:
    """Events that the server refused for good, with its status and words."""

    events: list[bytes]
    status: int
    message: str


@attrs.frozen(kw_only=True)
class Settlement:
    """What a decision changed: who is to be told what, and what is worth a line in the log."""

    delivered: int = 0
    rejection: Rejection | None = None
    dropped: DropReason | None = None
    dropped_count: int = 0
    tickets: tuple[Any, ...] = ()
    """Whoever waited for the events settled here; all of them are told the same."""

    @property
    def resolution(self) -> Resolution | None:
        """What they are told; None when nothing is final yet."""
        if self.delivered:
            return Resolution.DELIVERED
        if self.rejection is not None:
            return Resolution.REJECTED
        return None if self.dropped is None else Resolution.DROPPED


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
        if self._open.size + size > self._open_limit:
            if _is_too_large(size):
                return self.ledger.refuse(DropReason.TOO_LARGE)
            self.seal()
        batch = self._open
        if ticket is not None:
            batch.tickets[batch.first + batch.count] = ticket
        batch.loose.append(text)
        batch.count += 1
        batch.size += size
        if stamp < batch.oldest_ms:  # noqa: PLR1730 - min() would cost five times as much, once an event
            batch.oldest_ms = stamp
        self._events += 1
        self._bytes += size
        self.ledger.tracked += 1
        if batch.count == 1:
            self.has_news = True
        if len(batch.loose) >= LOOSE_EVENTS:
            batch.pack()
        if batch.count >= self._batch_events:
            self.seal()
        return None

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
        self.ledger.dropped[DropReason.QUEUE_FULL] += 1
        tickets = () if ticket is None else (ticket,)
        self._dropped.append(Settlement(dropped=DropReason.QUEUE_FULL, dropped_count=1, tickets=tickets))

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
            self.ledger.possible_duplicates += batch.count
            batch.ambiguous = False
        batch.era = self.gate.era
        self._in_flight.add(batch)
        self.ledger.requests += 1
        return batch

    def _drop_expired(self, batch: Batch, wall_ms: float) -> None:
        limit = wall_ms - self._options.max_event_age * 1000
        stamps = [self._timestamp_of(event) for event in batch.events()]
        old = {offset for offset, stamp in enumerate(stamps) if stamp is not None and stamp < limit}
        rest = list(batch.without(old))
        for part in rest:
            offset = part.first - batch.first
            known = [s for s in stamps[offset : offset + part.count] if s is not None]
            part.oldest_ms = min(known, default=int(wall_ms))
        kept = set(tickets_of(rest))
        gone = tuple(t for t in batch.tickets.values() if t not in kept)
        self._release(len(old), batch.size - sum(part.size for part in rest))
        self.ledger.dropped[DropReason.EXPIRED] += len(old)
        self._dropped.append(Settlement(dropped=DropReason.EXPIRED, dropped_count=len(old), tickets=gone))
        self._put_back(rest)

    # --- verdicts ------------------------------------------------------------------------------------------------

    def settle(self, batch: Batch, outcome: Outcome, *, now: float, jitter: float) -> Settlement:
        """Book what came of a batch that `take()` handed out: done with, cut, or back in line in its old place."""
        self._in_flight.discard(batch)
        match outcome:
            case Accepted():
                self.gate.answered(batch.era)
                self._release(batch.count, batch.size)
                self.ledger.delivered += batch.count
                return Settlement(delivered=batch.count, tickets=tuple(batch.tickets.values()))
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
        batch.ambiguous = outcome.ambiguous
        if outcome.ambiguous and self._options.on_ambiguous == "drop":
            return self._drop(batch, DropReason.AMBIGUOUS)
        self._put_back([batch])
        return _UNDECIDED

    def _reject(self, batch: Batch, status: int, message: str) -> Settlement:
        self._release(batch.count, batch.size)
        self.ledger.rejected += batch.count
        return Settlement(rejection=Rejection(batch.events(), status, message), tickets=tuple(batch.tickets.values()))

    def _drop(self, batch: Batch, reason: DropReason) -> Settlement:
        self._release(batch.count, batch.size)
        self.ledger.dropped[reason] += batch.count
        return Settlement(dropped=reason, dropped_count=batch.count, tickets=tuple(batch.tickets.values()))

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
        """Bring a batch back whose attempt was broken off by us; `ambiguous` if bytes of it had left."""
        self._in_flight.discard(batch)
        batch.ambiguous = ambiguous
        self._put_back([batch])

    def abandon(self, reason: DropReason) -> list[Settlement]:
        """Give up everything: what may have arrived as ambiguous, the rest for `reason`."""
        for batch in tuple(self._in_flight):
            self.interrupt(batch, ambiguous=True)
        self.seal()
        given_up = [self._drop(b, DropReason.AMBIGUOUS if b.ambiguous else reason) for b in self._ready]
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
