"""Groups claimed from an outbox on their way through a sender, and what becomes of each of their events."""

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import attrs

from algolia_events._batching._batch import ENVELOPE_BYTES, SEPARATOR, Batch
from algolia_events._batching._settlement import Settlement
from algolia_events._groups import ClaimedGroup, DeadLetter
from algolia_events.reports import DropReason

FateKind = Literal["delivered", "rejected", "given_back"] | DropReason


@attrs.frozen
class Fate:
    """What became of some events of a claim: all the same, and how many of each origin."""

    kind: FateKind
    by_origin: Mapping[str, int]


class Claim:
    """Groups that leave in one request. Its first event has the number `first` in the sender's queue."""

    def __init__(self, groups: Sequence[ClaimedGroup]) -> None:
        self.groups = groups
        self.first = 0
        self.rejected: list[DeadLetter] = []
        self._unsettled = sum(group.count for group in groups)
        self._left: dict[int, bytes] = {}
        self._order: list[int] | None = None
        """Where in the groups the events stand that have changed places; None: nothing has."""

    def batch(self) -> Batch:
        """Make the batch that is sent."""
        bodies = [group.body for group in self.groups]
        return Batch(
            first=0,
            count=sum(group.count for group in self.groups),
            size=sum(map(len, bodies)) + len(SEPARATOR) * len(bodies),
            oldest_ms=min(group.oldest_ms for group in self.groups),
            pieces=deque(bodies),
            counts=[group.count for group in self.groups],
            claim=self,
        )

    @property
    def is_settled(self) -> bool:
        """Whether something final is known of each event."""
        return not self._unsettled

    def book(self, settlement: Settlement, batch: Batch, *, wall_ms: int) -> Fate:
        """Note what became of a batch cut from this claim, and say so by the origin of its events."""
        start = batch.first - self.first
        self._unsettled -= batch.count
        rejection = settlement.rejection
        if rejection is not None:
            self.rejected += [
                DeadLetter(event=event, status=rejection.status, message=rejection.message, rejected_ms=wall_ms)
                for event in rejection.events
            ]
            return Fate("rejected", self._origins(start, batch.count))
        if settlement.given_back:
            end = start + batch.count
            places = range(start, end) if self._order is None else self._order[start:end]
            self._left.update(zip(places, batch.events(), strict=True))
            return Fate("given_back", self._origins(start, batch.count))
        kind: FateKind = "delivered" if settlement.dropped is None else settlement.dropped
        return Fate(kind, self._origins(start, batch.count))

    def reorder(self, first: int, order: list[int]) -> None:
        """Note that the events from the number `first` on, as many as there are offsets, have changed places."""
        start = first - self.first
        places = self._order or [*range(sum(group.count for group in self.groups))]
        places[start : start + len(order)] = [places[start + offset] for offset in order]
        self._order = places

    def verdict(self) -> tuple[list[ClaimedGroup], list[ClaimedGroup]]:
        """Sort the groups into those that are done, and those that are left, with what is left of them."""
        if not self._left:
            return [*self.groups], []
        done: list[ClaimedGroup] = []
        left: list[ClaimedGroup] = []
        for start, group in self._starts():
            events = [self._left[n] for n in range(start, start + group.count) if n in self._left]
            if not events:
                done.append(group)
            elif len(events) == group.count:
                left.append(group)
            else:
                left.append(attrs.evolve(group, body=SEPARATOR.join(events), count=len(events)))
        return done, left

    def _starts(self) -> Iterator[tuple[int, ClaimedGroup]]:
        start = 0
        for group in self.groups:
            yield start, group
            start += group.count

    def _origins(self, start: int, count: int) -> Mapping[str, int]:
        """Count the events from `start` on by the origin of their groups."""
        if self._order is not None:
            by_place = [group.origin for group in self.groups for _ in range(group.count)]
            return Counter(by_place[place] for place in self._order[start : start + count])
        origins: dict[str, int] = {}
        for begin, group in self._starts():
            shared = min(start + count, begin + group.count) - max(start, begin)
            if shared > 0:
                origins[group.origin] = origins.get(group.origin, 0) + shared
        return origins


class Gathering:
    """Claimed groups that wait for company, so that small ones do not leave in requests of their own."""

    def __init__(self, *, max_events: int, max_body: int, linger: float) -> None:
        self._max_events = max_events
        self._max_body = max_body
        self._linger = linger
        self._groups: list[ClaimedGroup] = []
        self._events = 0
        self._size = ENVELOPE_BYTES
        self.due = math.inf
        """When something leaves, in monotonic seconds; infinity when there is nothing."""

    def __bool__(self) -> bool:
        return bool(self._groups)

    @property
    def _is_full(self) -> bool:
        return self._events >= self._max_events or self._size >= self._max_body

    def add(self, groups: Iterable[ClaimedGroup], *, now: float) -> None:
        """Let groups join, behind those that wait."""
        for group in groups:
            self._groups.append(group)
            self._events += group.count
            self._size += len(group.body) + len(SEPARATOR)
            self.due = min(self.due, now + self._linger)
        if self._is_full:
            self.due = now

    def take(self, *, now: float) -> list[Claim]:
        """Hand out the requests that are full, and the last one as well once it has lingered."""
        if now < self.due:
            return []
        is_full = self._is_full
        claims = pack(self.give_back(), max_events=self._max_events, max_body=self._max_body)
        if is_full and len(claims) > 1:
            self.add(claims.pop().groups, now=now)  # the last has only just begun, unless it is full itself
            claims += self.take(now=now)
        return claims

    def give_back(self) -> list[ClaimedGroup]:
        """Hand out what waits as it is."""
        groups, self._groups = self._groups, []
        self._events, self._size, self.due = 0, ENVELOPE_BYTES, math.inf
        return groups


def pack(groups: Iterable[ClaimedGroup], *, max_events: int, max_body: int) -> list[Claim]:
    """Join groups, in their order, into claims of one request each; a group that is larger makes one alone."""
    claims: list[Claim] = []
    run: list[ClaimedGroup] = []
    events, size = 0, ENVELOPE_BYTES
    for group in groups:
        if run and (events + group.count > max_events or size + len(group.body) > max_body):
            claims.append(Claim(run))
            run, events, size = [], 0, ENVELOPE_BYTES
        run.append(group)
        events += group.count
        size += len(group.body) + len(SEPARATOR)
    if run:
        claims.append(Claim(run))
    return claims
