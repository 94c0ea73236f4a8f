"""The two clocks, never mixed: a monotonic one for decisions, wall time for what events say of themselves."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Protocol


class Handle(Protocol):
    """A call to come that can be called off."""

    def cancel(self) -> None:
        """Call it off; to do so twice, or too late, does nothing."""
        ...


class Clock(Protocol):
    """Tells the time and calls back; a test moves one by hand, and hours pass in no time."""

    def monotonic(self) -> float:
        """Tell the seconds since some moment; never goes backwards, whatever happens to the wall clock."""
        ...

    def time_ns(self) -> int:
        """Tell the nanoseconds since the epoch."""
        ...

    def call_at(self, when: float, callback: Callable[[], object]) -> Handle:
        """Have `callback` called in the running loop once `monotonic()` has reached `when`."""
        ...


class SystemClock:
    """The machine's clocks and the running loop's timers."""

    monotonic = staticmethod(time.monotonic)
    time_ns = staticmethod(time.time_ns)

    def call_at(self, when: float, callback: Callable[[], object]) -> Handle:
        """Use the running loop; its own time may start elsewhere (uvloop's does)."""
        return asyncio.get_running_loop().call_later(when - time.monotonic(), callback)


class Alarm:
    """Calls back at one moment, the last that was set."""

    def __init__(self, clock: Clock, ring: Callable[[], object]) -> None:
        self._clock = clock
        self._ring = ring
        self._handle: Handle | None = None
        self._when = math.inf

    def set(self, when: float) -> None:
        """Ring once the clock reaches a moment, in place of the one set before; never, if that is infinity.

        It may ring early, as timers of uvloop do, by up to a millisecond: whoever hears it looks, and sets it again.
        """
        if when == self._when:
            return
        self.stop()
        if when < math.inf:
            self._handle, self._when = self._clock.call_at(when, self._is_due), when

    def stop(self) -> None:
        """Do not ring."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self._when = None, math.inf

    def _is_due(self) -> None:
        self._handle, self._when = None, math.inf
        self._ring()
