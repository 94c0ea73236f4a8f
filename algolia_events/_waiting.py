"""Those who wait: for a moment, for room, for a verdict on one event or on all before it, for some condition."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import attrs

from algolia_events._batching import Settlement
from algolia_events._clock import Clock


@asynccontextmanager
async def time_limit(clock: Clock, deadline: float | None) -> AsyncIterator[None]:
    """Raise `TimeoutError` when `clock` reaches `deadline`; None waits for ever."""
    if deadline is None:
        yield
        return
    async with asyncio.timeout(None) as limit:
        handle = clock.call_at(deadline, lambda: limit.reschedule(asyncio.get_running_loop().time()))
        try:
            yield
        finally:
            handle.cancel()


async def sleep_until(clock: Clock, when: float) -> None:
    """Return once `clock` reaches a moment."""
    reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    handle = clock.call_at(when, lambda: _resolve(reached, None))
    try:
        await reached
    finally:
        handle.cancel()


class Waiters:
    """Futures of one event loop; used only from within it."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        """Held by whoever is the next to get room; it is fair, so what is put first goes in first."""
        self._for_room: asyncio.Future[None] | None = None
        self._for_settling: list[tuple[int, asyncio.Future[None]]] = []

    async def room(self) -> None:
        """Wait until there may be room; only for the holder of `turn`."""
        self._for_room = asyncio.get_running_loop().create_future()
        await self._for_room

    def look_again(self) -> None:
        """Let the one who waits for room look whether there is some, or whether there will never be."""
        if self._for_room is not None:
            _resolve(self._for_room, None)

    async def settled(self, number: int) -> None:
        """Wait until all events before the one with this number are settled."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (number, waiter)
        self._for_settling.append(entry)
        try:
            await waiter
        finally:
            if entry in self._for_settling:
                self._for_settling.remove(entry)

    def tell(self, settlements: Iterable[Settlement], settled_below: int) -> None:
        """Pass on what has become final."""
        for settlement in settlements:
            if settlement.tickets:
                # Who keeps a verdict must not keep all events of the batch; and a cycle would not let go of them soon.
                verdict = attrs.evolve(settlement, tickets=(), batch=None)
                for ticket in settlement.tickets:
                    _resolve(ticket, verdict)
        for number, waiter in tuple(self._for_settling):
            if number <= settled_below:
                _resolve(waiter, None)
        self.look_again()


class Conditions:
    """Those who wait until something is so; whoever may have changed that has them `check()`. For one event loop."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    async def until(self, is_met: Callable[[], bool]) -> None:
        """Wait until a condition is met."""
        if is_met():
            return
        entry = (is_met, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        try:
            await entry[1]
        finally:
            self._waiting.remove(entry)

    def check(self) -> None:
        """Let those go on whose condition is met."""
        for is_met, waiter in self._waiting:
            if not waiter.done() and is_met():
                waiter.set_result(None)


def _resolve(future: "asyncio.Future[Any]", result: object) -> None:
    # Whoever waited in a loop that has ended does so no more; to call back there would raise.
    if not future.done() and not future.get_loop().is_closed():
        future.set_result(result)
