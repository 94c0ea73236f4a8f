"""A clock that a test moves by hand."""

import heapq
import itertools
from collections.abc import Callable

import attrs

from algolia_events._clock import Handle

NOON = 1_750_000_000.0


@attrs.define
class _Call:
    callback: Callable[[], object] | None

    def cancel(self) -> None:
        self.callback = None


class HandClock:
    """Implements the library's `Clock`; nothing passes unless `advance()` says so, and the wall can jump."""

    def __init__(self, *, monotonic: float = 1000.0, wall: float = NOON) -> None:
        self.now = monotonic
        self.wall = wall
        self._calls: list[tuple[float, int, _Call]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return int(self.wall * 1e9)

    def call_at(self, when: float, callback: Callable[[], object]) -> Handle:
        call = _Call(callback)
        heapq.heappush(self._calls, (when, next(self._order), call))
        self._run_due()
        return call

    @property
    def timers(self) -> int:
        """How many calls are still to come."""
        return sum(call.callback is not None for _, _, call in self._calls)

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks, and make the calls that fall due."""
        self.now += seconds
        self.wall += seconds
        self._run_due()

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock alone: somebody corrected it."""
        self.wall += seconds

    def _run_due(self) -> None:
        while self._calls and self._calls[0][0] <= self.now:
            _, _, call = heapq.heappop(self._calls)
            callback, call.callback = call.callback, None
            if callback is not None:
                callback()
