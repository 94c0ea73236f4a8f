"""A sealed run of encoded events, and how it is cut."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from algolia_events._batching._claim import Claim

SEPARATOR: Final = b",\n"
"""Between two events. JSON escapes line feeds inside strings, so this never occurs within an event: a run of joined
events can be cut again without being parsed."""

_OPENING: Final = b'{"events":['
_CLOSING: Final = b"]}"
ENVELOPE_BYTES: Final = len(_OPENING) + len(_CLOSING)


@attrs.define(eq=False)
class Family:
    """What the pieces of one refused batch share: how many more refusals the search for the bad events may cost."""

    refusals_left: int


@attrs.define(eq=False, kw_only=True)
class Batch:
    """Events that leave in one request, or are stored in one commit.

    Nothing joins it once it exists; it only ever gets smaller.

    `pieces` are runs of events joined by `SEPARATOR`: a waiting event costs its bytes and next to nothing more.
    `tickets` maps an event's index, counted from `first`, to whoever waits for that event.
    """

    first: int
    """The number of its first event, in the order of admission: what came first leaves first."""
    count: int
    """Events in it."""
    size: int
    """Bytes of its events and the separators after each (the last one's included)."""
    oldest_ms: int
    """The earliest timestamp in it (of its kin, where it was cut from a larger batch)."""
    pieces: deque[bytes | memoryview]
    counts: list[int]
    """How many events each of the pieces holds."""
    tickets: dict[int, Any] = attrs.field(factory=dict)
    family: Family | None = None
    ambiguous: bool = False
    """Whether the last request with these events broke after bytes had left."""
    doubtful: bool = False
    """Whether any request with them did: they may have arrived, whatever became of later ones."""
    era: int = 0
    """The era of the gate that the attempt under way began in."""
    claim: "Claim | None" = None
    """The groups of an outbox that it was made of; None: its events were tracked in this process."""

    @property
    def body_size(self) -> int:
        """Bytes of the request's body, the envelope included."""
        return self.size - len(SEPARATOR) + ENVELOPE_BYTES

    def body(self) -> bytes:
        """Join the request's body."""
        whole = join_body(self.pieces)
        # From here on the events live in the body: to keep the pieces as well would hold what is in flight twice.
        self.pieces, self.counts = deque([memoryview(whole)[len(_OPENING) : -len(_CLOSING)]]), [self.count]
        return whole

    def events(self) -> list[bytes]:
        """List the encoded events."""
        return SEPARATOR.join(self.pieces).split(SEPARATOR)

    def runs(self, max_events: int) -> Iterator[tuple[bytes, int]]:
        """Join its events, `max_events` of them together; yield each run, and how many are in it."""
        if self.count <= max_events:
            yield SEPARATOR.join(self.pieces), self.count
            return
        run: list[bytes] = []
        free = max_events
        for piece, count in zip(self.pieces, self.counts, strict=True):
            part, left = bytes(piece), count
            while left > free:
                events = part.split(SEPARATOR)
                yield SEPARATOR.join((*run, *events[:free])), max_events
                part, left = SEPARATOR.join(events[free:]), left - free
                run, free = [], max_events
            run.append(part)
            free -= left
            if not free:
                yield SEPARATOR.join(run), max_events
                run, free = [], max_events
        if run:
            yield SEPARATOR.join(run), max_events - free

    def note_attempt(self, *, ambiguous: bool) -> None:
        """Note that an attempt ended without a verdict."""
        self.ambiguous = ambiguous
        self.doubtful = self.doubtful or ambiguous

    def single_out_first(self) -> bytes | memoryview | None:
        """Have the first piece hold one event, and return it; None when there is none.

        A signal handler that tracks behind a call in here may take the first event out: then nothing is changed.
        """
        if not self.pieces:
            return None
        run = self.pieces[0]
        events = deque[bytes | memoryview](bytes(run).split(SEPARATOR))
        if len(events) > 1:
            counts = [1] * len(events) + self.counts[1:]
            events.extend(islice(self.pieces, 1, None))
            if self.pieces and self.pieces[0] is run:
                self.pieces = events
                self.counts = counts
        return self.pieces[0] if self.pieces else None

    def halves(self) -> list["Batch"]:
        """Cut it in two by count; the halves know that they are kin."""
        return self.parts_of((self.count + 1) // 2)

    def parts_within(self, max_body: int) -> list["Batch"]:
        """Cut it into parts whose bodies are at most `max_body` bytes; an event that is larger makes a part alone."""
        parts: list[Batch] = []
        run: list[bytes] = []
        start = size = 0
        for index, event in enumerate(self.events()):
            if run and size + len(event) + ENVELOPE_BYTES > max_body:
                parts.append(self._part(start, run))
                start, run, size = index, [], 0
            run.append(event)
            size += len(event) + len(SEPARATOR)
        parts.append(self._part(start, run))
        return parts

    def parts_of(self, max_events: int) -> list["Batch"]:
        """Cut it into parts of at most so many events."""
        if self.count <= max_events:
            return [self]
        events = self.events()
        return [self._part(start, events[start : start + max_events]) for start in range(0, len(events), max_events)]

    def parted(self, unwanted: set[int]) -> tuple["Batch", "Batch"]:
        """Cut it into what is left when the events at these offsets are taken out, and those; either may be empty.

        Both count on from `first`, so that what is left is one request still. Tickets and the claim follow.
        """
        events = self.events()
        order = sorted(range(self.count), key=unwanted.__contains__)
        places = {self.first + offset: self.first + place for place, offset in enumerate(order)}
        tickets = {places[number]: ticket for number, ticket in self.tickets.items()}
        if self.claim is not None:
            self.claim.reorder(self.first, order)
        left = self.count - len(unwanted)
        sorted_events = [events[offset] for offset in order]
        return self._part(0, sorted_events[:left], tickets), self._part(left, sorted_events[left:], tickets)

    def _part(self, offset: int, events: list[bytes], tickets: dict[int, Any] | None = None) -> "Batch":
        first = self.first + offset
        tickets = self.tickets if tickets is None else tickets
        return Batch(
            first=first,
            count=len(events),
            size=sum(map(len, events)) + len(SEPARATOR) * len(events),
            oldest_ms=self.oldest_ms,
            pieces=deque([SEPARATOR.join(events)]),
            counts=[len(events)],
            tickets={n: t for n, t in tickets.items() if first <= n < first + len(events)},
            family=self.family,
            ambiguous=self.ambiguous,
            doubtful=self.doubtful,
            claim=self.claim,
        )


def join_body(pieces: Iterable[bytes | memoryview]) -> bytes:
    """Join encoded events, or runs of them, into the body of a request.

    The envelope goes into the first and the last piece, so that the whole is copied once.
    """
    parts = list(pieces)
    if len(parts) == 1:
        return b"".join((_OPENING, parts[0], _CLOSING))
    parts[0] = b"".join((_OPENING, parts[0]))
    parts[-1] = b"".join((parts[-1], _CLOSING))
    return SEPARATOR.join(parts)
