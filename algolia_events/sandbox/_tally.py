"""Counting what happens, for the charts: by second, by size of the batch, by kind of event."""

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

import attrs

from algolia_events.sandbox._ledger import EventsAccepted, EventsRejected, Notice, RequestAnswered

SECONDS: Final = 60
"""How far back the chart goes."""
BATCH_SIZES: Final = ((1, 1), (2, 9), (10, 99), (100, 499), (500, 999), (1000, 1000))
"""The columns of the chart, first and last size included."""


@attrs.define
class Second:
    """How many events there were in one second of the monotonic clock."""

    number: int
    accepted: int = 0
    refused: int = 0


class Tally:
    """Counts notices; takes the same memory whatever comes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds: deque[Second] = deque(maxlen=SECONDS)
        self.batch_sizes = [0] * len(BATCH_SIZES)
        self.kinds: Counter[str] = Counter()

    def offer(self, item: Notice) -> None:
        """Count a notice."""
        match item:
            case EventsAccepted(attributions=attributions):
                self._this_second().accepted += len(attributions)
                self.kinds.update(str(one.event.get("eventType")) for one in attributions)
            case EventsRejected(rejection=rejection):
                self._this_second().refused += len(rejection.events)
            case RequestAnswered(request=request) if request.events:
                self.batch_sizes[_column(request.events)] += 1
            case _:
                pass

    def end(self) -> None:
        """Nothing more will come; what was counted stays."""

    def seconds(self) -> list[tuple[int, int]]:
        """Give accepted and refused of each of the last seconds, oldest first, the present one last."""
        now = int(self._clock())
        counted = {second.number: (second.accepted, second.refused) for second in self._seconds}
        return [counted.get(number, (0, 0)) for number in range(now - SECONDS + 1, now + 1)]

    def _this_second(self) -> Second:
        number = int(self._clock())
        if not self._seconds or self._seconds[-1].number != number:
            self._seconds.append(Second(number))
        return self._seconds[-1]


def _column(events: int) -> int:
    return next(column for column, (_, last) in enumerate(BATCH_SIZES) if events <= last)
