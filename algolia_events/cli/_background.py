"""An iterator that runs in a thread of its own and is read from the event loop."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_AHEAD: Final = 4
"""How many items are made before they are asked for."""
_END: Final = object()


class Background(Generic[T]):
    """Makes the items of an iterator ahead, in a thread that does not keep the process alive.

    A worker thread of a pool would: it can sit in a read from a terminal for ever, and the process waited for it.
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._loop = asyncio.get_running_loop()
        self._made: asyncio.Queue[object] = asyncio.Queue()
        self._room = threading.Semaphore(_AHEAD)
        threading.Thread(target=self._run, name="algolia-events-reader", daemon=True).start()

    def _run(self) -> None:
        last: object = _END
        try:
            for item in self._items:
                self._room.acquire()
                self._hand_over(item)
        except BaseException as exc:  # noqa: BLE001 - whatever it is, the one who reads gets to see it
            last = exc
        self._hand_over(last)

    def _hand_over(self, item: object) -> None:
        try:
            self._loop.call_soon_threadsafe(self._made.put_nowait, item)
        except RuntimeError:  # the loop is closed: nobody reads any more
            return

    def __aiter__(self) -> "Background[T]":
        return self

    async def __anext__(self) -> T:
        item = await self._made.get()
        if item is _END:
            raise StopAsyncIteration
        if isinstance(item, BaseException):
            raise item
        self._room.release()
        return item  # type: ignore[return-value]
