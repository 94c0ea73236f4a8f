"""What comes in: the bounds, the policies, and the batch that is being filled."""

import math
from typing import Any, Final

from algolia_events import _limits
from algolia_events._batching._batch import ENVELOPE_BYTES, SEPARATOR
from algolia_events._batching._holdings import Holdings
from algolia_events._batching._open import RUN_EVENTS, Entry, OpenBatch
from algolia_events._batching._server_limit import LARGEST_BODY, ServerLimit
from algolia_events._batching._settlement import Settlement
from algolia_events._codec import encode_all
from algolia_events.config import QueueOptions
from algolia_events.reports import DropReason

_SEPARATOR_BYTES: Final = len(SEPARATOR)
_SMALL_SIZE: Final = _limits.SMALL_EVENT_BYTES + _SEPARATOR_BYTES
_CANNOT_BE_ENCODED: Final = (AttributeError, KeyError, TypeError, ValueError)


def _is_too_large(size: int) -> bool:
    """Say whether an event of `size` bytes, its separator included, is too much for a request of its own."""
    return size - _SEPARATOR_BYTES + ENVELOPE_BYTES > LARGEST_BODY


def _size(texts: list[str]) -> int:
    return sum(map(len, texts)) + len(texts) * _SEPARATOR_BYTES


class Admission(Holdings):
    """Takes events in as far as there is room, and seals them into batches.

    `Batcher` is this and what happens to a batch from then on.
    """

    def __init__(self, options: QueueOptions) -> None:
        super().__init__(options)
        self._server_limit = ServerLimit()
        self._dropped: list[Settlement] = []
        self._dropped_unticketed = {DropReason.QUEUE_FULL: 0, DropReason.AMBIGUOUS: 0, DropReason.INVALID: 0}
        """How many events gave way, nobody waiting for them, since `dropped()` was last called."""
        self._closed: DropReason | None = None
        self._one_by_one = False
        self._refused_late: list[tuple[Entry, DropReason]] = []
        """What was refused when it was to be counted; whoever tracked it comes for the reason."""
        self._room = 0
        """How many bytes the open batch may grow to, before anything else has to be considered."""
        self._measure_room()
        self.has_news = False
        """Whether something came in that the runner has to look at: a first event, or a full batch."""

    # --- taking in -----------------------------------------------------------------------------------------------

    def add(self, text: str, stamp: int, ticket: Any = None) -> DropReason | None:
        """Take in one event encoded as ASCII and stamped `stamp`; return why not, if it was refused.

        A refusal is booked; so are the older events that gave way under `drop-oldest`.
        """
        size, texts = len(text) + _SEPARATOR_BYTES, (text,)
        while True:
            if self._entries:
                self.count_in()
            if self.open.count >= self.open.milestone:  # a signal handler raised before that was seen to
                self._pass_milestone(self.open)
            batch, count = self.open, self.open.count
            if batch.size + size > self._room or not self._fits(1, size):
                refused = self._clear_the_way(size)
                if refused is not None:
                    return self.ledger.refuse(refused)
            is_small = size <= _SMALL_SIZE
            # No call from here on, but for the last (see the package). A large event takes room that others, who have
            # joined in the meantime, were promised: so they come first.
            if batch is self.open and batch.count == count and (is_small or not self._entries):
                batch.texts += texts
                batch.size += size
                batch.count += 1
                batch.room, batch.last = (batch.room - 1, batch.last - 1) if is_small else (0, -1)
                if stamp < batch.oldest_ms:  # noqa: PLR1730 - min() would be a call
                    batch.oldest_ms = stamp
                if ticket is not None:
                    batch.tickets[batch.first + count] = ticket
                self._see_to_room(batch)
                return None

    def count_in(self) -> None:
        """Encode and count the events that joined the open batch without asking, and do what their number calls for.

        Whoever holds the lock sees to that before anything that depends on how much there is.
        """
        while self._entries:
            if self._closed is not None:
                self._refuse_from(0, self._closed)
                continue
            batch, count = self.open, self.open.count
            entries = self._entries[: self._next_look(count) - count]
            try:
                texts = encode_all(entries)
            except _CANNOT_BE_ENCODED:
                if not self._refuse_what_cannot_be_encoded(entries):
                    raise  # from a signal handler
                continue
            size = _size(texts)
            if not self._fits(len(texts), size):
                if not self._make_room(len(texts), size):
                    self._refuse_from(len(self._entries) - 1, DropReason.QUEUE_FULL)
                continue
            if batch.size + size > self._open_limit and batch.count:
                self._seal()
                continue
            while size > self._open_limit and len(texts) > 1:
                size -= _size([texts.pop()])
            number = len(texts)
            oldest = batch.oldest_ms if batch.is_dated else min(stamp for _, stamp in entries)
            # No call from here on, but for the last (see the package): whoever tracked behind one had these counted.
            if batch.count == count:
                del self._entries[:number]
                batch.texts += texts
                batch.size += size
                batch.count += number
                batch.room -= number
                batch.last -= number
                batch.oldest_ms = oldest
                self._see_to_room(batch)

    def _refuse_what_cannot_be_encoded(self, entries: list[Entry]) -> bool:
        """Find the first of the entries that is no event in truth, and book it; False if all are.

        No constructor makes such a thing, but a pickle of other times might: it must not keep all others from leaving.
        """
        for entry in entries:
            try:
                encode_all((entry,))
            except _CANNOT_BE_ENCODED:
                break
        else:
            return False
        for place, other in enumerate(self._entries):
            # No call from here on (see the package): each that joins goes behind the others.
            if other is entry and self._entries[place] is entry:
                del self._entries[place]
                self.ledger.tracked += 1
                self.ledger.dropped[DropReason.INVALID] += 1
                self._dropped_unticketed[DropReason.INVALID] += 1
                break
        return True

    def _see_to_room(self, batch: OpenBatch) -> None:
        """Do what the number of events calls for, and see that more can join where there is room."""
        if batch.count >= batch.milestone:
            self._pass_milestone(batch)
        elif batch.last < 0 and not self._one_by_one:
            self._measure_room()

    def refusal_of(self, entry: Entry) -> DropReason | None:
        """Count in what joined without asking; return why an event was refused, if it came too late."""
        # It may have got into another batch than it was meant for.
        self.open.oldest_ms = min(self.open.oldest_ms, entry[1])
        self.count_in()
        for place, (late, reason) in enumerate(self._refused_late):
            if late is entry:
                del self._refused_late[place]
                return reason
        return None

    def ask_for_each(self) -> None:
        """Let nothing join without `add()` from now on."""
        self._one_by_one = True
        self._measure_room()

    def _refuse_from(self, place: int, reason: DropReason) -> None:
        """Take out those that have joined from a place on, none of which is counted, and book them."""
        self.open.shut()  # so that whoever tracked one of them comes for the reason
        tracked = self.ledger.tracked
        late = self._entries[place:]
        number, reasons = len(late), [(entry, reason) for entry in late]
        # No call from here on (see the package): whoever tracked behind one may have had these refused.
        if self.ledger.tracked == tracked:
            del self._entries[place : place + number]
            self.ledger.tracked += number
            self.ledger.dropped[reason] += number
            self._refused_late += reasons

    def _pass_milestone(self, batch: OpenBatch) -> None:
        """Do what the first event, each run of them, the last of a batch and the last of the queue call for."""
        batch.shut()  # until there is room again: packing makes some that is none
        if batch.milestone == 1:
            self.has_news = True
        if self._is_full(batch):
            self._seal()
            return
        if batch.count - batch.packed >= RUN_EVENTS:
            batch.pack()
        self._measure_room()

    def _next_look(self, count: int) -> int:  # noqa: ARG002 - for subclasses
        """Say with how many events it is decided next whether a batch is full, when it holds `count`."""
        return self._options.batch_events

    def _is_full(self, batch: OpenBatch) -> bool:
        """Decide that."""
        return batch.count >= self._options.batch_events

    # --- room ----------------------------------------------------------------------------------------------------

    def _measure_room(self) -> None:
        """Reckon how far the open batch may fill, in bytes and events, until somebody has to think again.

        So that an event that simply fits, as nearly all do, costs one comparison of each.
        """
        while True:
            batch = self.open
            count, packed = batch.count, batch.packed
            next_look = self._next_look(count)
            spare_events = self._max_events - self._sealed_events - count
            room = min(self._open_limit, self._max_bytes - self._sealed_bytes)
            run = min(RUN_EVENTS - (count - packed), next_look - count, spare_events)
            joining = min(run, (room - batch.size) // _SMALL_SIZE)
            # No call from here on (see the package). How much is sealed changes only along with one of these.
            if batch is self.open and batch.count == count and batch.packed == packed:
                break
        if spare_events <= 0 or self._closed is not None:
            self._room = -1
            batch.room, batch.last = 0, -1
            if count:  # passed: else each event that is refused from now on would wake the runner
                batch.milestone = min(count + 1, next_look)
            return
        self._room = room
        if count:  # the first event of a batch has to be heard of: it is what wakes the runner
            batch.milestone = count + run
            if joining <= 0 or self._one_by_one:
                batch.room, batch.last = 0, -1
            else:
                batch.room, batch.last = joining, joining - 1

    def _clear_the_way(self, size: int) -> DropReason | None:
        """Make the open batch one that an event of `size` bytes may join, or say why there is none."""
        if self._closed is not None:
            return self._closed
        if _is_too_large(size) or size > self._options.max_bytes:
            return DropReason.TOO_LARGE
        if not self._fits(1, size) and not self._make_room(1, size):
            return DropReason.QUEUE_FULL
        if self.open.size + size > self._open_limit:
            self._seal()
        return None

    def fits(self, size: int) -> bool:
        """Say whether an event of `size` bytes would find room without another giving way."""
        self.count_in()
        return self._fits(1, size + _SEPARATOR_BYTES)

    def can_ever_fit(self, size: int) -> bool:
        """Say whether an event of `size` bytes fits into a request, and into the queue when it is empty."""
        return not _is_too_large(size + _SEPARATOR_BYTES) and size + _SEPARATOR_BYTES <= self._options.max_bytes

    def _make_room(self, events: int, size: int) -> bool:
        """Let the oldest waiting events go until these fit; what is in flight cannot give way."""
        held_bytes = sum(batch.size for batch in self._in_flight)
        held_events = sum(batch.count for batch in self._in_flight)
        could_fit = held_events + events <= self._max_events and held_bytes + size <= self._max_bytes
        if self._options.overflow != "drop-oldest" or not could_fit:
            return False
        while not self._fits(events, size):
            if not self._drop_oldest():
                return False
        return True

    def _drop_oldest(self) -> bool:
        """Let the oldest waiting event go; False when there is none."""
        if not self._ready:
            self._seal()
        if not self._ready:
            return False
        oldest = self._ready[0]
        number, event = oldest.first, oldest.single_out_first()
        if event is None:
            return True
        size = len(event) + _SEPARATOR_BYTES
        reason = DropReason.AMBIGUOUS if oldest.doubtful else DropReason.QUEUE_FULL
        ticket = oldest.tickets.get(number)
        settlements = [] if ticket is None else [Settlement(dropped=reason, dropped_count=1, tickets=(ticket,))]
        # No call from here on (see the package): whoever tracked behind one may have let this event go already.
        if self._ready and self._ready[0] is oldest and oldest.first == number:
            oldest.first += 1
            oldest.count -= 1
            oldest.size -= size
            del oldest.pieces[0]
            del oldest.counts[0]
            if settlements:
                del oldest.tickets[number]
                self._dropped += settlements
            else:
                self._dropped_unticketed[reason] += 1
            if not oldest.count:
                del self._ready[0]
            self._changes += 1
            self._sealed_events -= 1
            self._sealed_bytes -= size
            self.ledger.dropped[reason] += 1
            self._measure_room()
        return True

    # --- sealing, and the end ------------------------------------------------------------------------------------

    def seal(self) -> None:
        """Close the open batch, so that it may leave without waiting for more."""
        self.count_in()
        self._seal()
        self.count_in()  # what joined before it was shut belongs to the next

    def _seal(self) -> None:
        """Seal what is counted."""
        batch = self.open
        while batch is self.open and batch.count:
            batch.shut()
            batch.pack()
            sealed = batch.sealed()
            following = OpenBatch(first=batch.first + batch.count, entries=self._entries)
            # No call from here on (see the package): whoever tracked behind one may have sealed it, or joined it.
            if batch is not self.open or not sealed.count == batch.count == batch.packed:
                continue
            self.open = following
            self._room = -1  # until it is measured
            self.has_news = True
            self._changes += 1
            self.ledger.tracked += sealed.count
            self._sealed_events += sealed.count
            self._sealed_bytes += sealed.size
            self._ready.append(sealed)
            self._measure_room()

    def close(self, reason: DropReason) -> None:
        """Refuse every event from now on, for `reason`; what was taken in can still leave."""
        self._one_by_one = True  # first: what joins later finds the batch shut for good, and is refused
        self.open.shut()
        self.count_in()
        self._closed = reason
        self._measure_room()  # the check that every event passes anyway leads to the refusal: it costs nothing more

    # --- what the queue asks -------------------------------------------------------------------------------------

    def hasten(self) -> None:
        """End the linger of what has come in so far; what comes in before the next `take()` still joins it."""
        if self.open.count:  # the last event may have filled its batch; an empty one that is due is never done
            self.open.due = -math.inf
        self.has_news = True

    def take_news(self) -> bool:
        """Say whether the runner has to be told that something came in; it is told once."""
        news, self.has_news = self.has_news, False
        return news

    def dropped(self) -> list[Settlement]:
        """Hand out what was dropped, since the last call, in the course of something else."""
        settled, self._dropped = self._dropped, []
        for reason, count in self._dropped_unticketed.items():
            if count:
                self._dropped_unticketed[reason] -= count
                settled.append(Settlement(dropped=reason, dropped_count=count))
        return settled

    def admitted(self) -> int:
        """How many events have come in so far; the next one gets this number."""
        self.count_in()
        return self.open.first + self.open.count

    def is_empty(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        self.count_in()
        return not self._events

    @property
    def _open_limit(self) -> int:
        """How many bytes of events and separators an open batch is filled to."""
        body = min(self._options.batch_bytes, self._server_limit.body_bytes)
        return body - ENVELOPE_BYTES + _SEPARATOR_BYTES
