"""Telling subscribers what happens, without ever waiting for one of them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Subscriber(Protocol[T_contra]):
    """Is told of everything, and of the end; must be quick, for everybody waits."""

    def offer(self, item: T_contra) -> None:
        """Take note of an item."""
        ...

    def end(self) -> None:
        """Take note that nothing more will come."""
        ...


class Subscription(AsyncIterator[T], Generic[T]):
    """What one subscriber has yet to read: bounded, the oldest gives way and is counted in ``missed``."""

    def __init__(self, max_waiting: int) -> None:
        self._waiting: deque[T] = deque()
        self._max_waiting = max_waiting
        self._arrived = asyncio.Event()
        self._is_over = False
        self.missed: int = 0

    def offer(self, item: T) -> None:
        """Add an item, at the price of the oldest one when the reader is slow."""
        if len(self._waiting) >= self._max_waiting:
            self._waiting.popleft()
            self.missed += 1
        self._waiting.append(item)
        self._arrived.set()

    def end(self) -> None:
        """End the iteration once what waits has been read."""
        self._is_over = True
        self._arrived.set()

    async def __anext__(self) -> T:
        while not self._waiting:
            if self._is_over:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()


class Broadcast(Generic[T]):
    """Hands every item to every subscriber of the moment."""

    def __init__(self) -> None:
        self._subscribers: set[Subscriber[T]] = set()
        self._is_over = False

    def publish(self, item: T) -> None:
        """Offer an item to all; costs nothing worth naming without subscribers."""
        for subscriber in self._subscribers:
            subscriber.offer(item)

    @contextmanager
    def subscribe(self, max_waiting: int) -> Iterator[Subscription[T]]:
        """Receive what is published while the context is open."""
        if max_waiting < 1:
            raise ValueError(f"max_waiting is {max_waiting}, it must be at least 1")
        subscription: Subscription[T] = Subscription(max_waiting)
        with self.attached(subscription):
            yield subscription

    def add(self, subscriber: Subscriber[T]) -> None:
        """Offer to a subscriber whatever is published from now on."""
        self._subscribers.add(subscriber)
        if self._is_over:
            subscriber.end()

    @contextmanager
    def attached(self, subscriber: Subscriber[T]) -> Iterator[None]:
        """Offer what is published to a subscriber while the context is open."""
        self.add(subscriber)
        try:
            yield
        finally:
            self._subscribers.discard(subscriber)
            subscriber.end()

    def close(self) -> None:
        """End every subscription, those to come included."""
        self._is_over = True
        for subscriber in self._subscribers:
            subscriber.end()
