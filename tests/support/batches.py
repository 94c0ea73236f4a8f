"""Batchers, events to put into them, and what comes out."""

from typing import Any

import orjson

from algolia_events._batching import Batch, Batcher, IntakeBatcher, SenderBatcher
from algolia_events._groups import ClaimedGroup
from algolia_events._retry import Gate
from algolia_events.config import QueueOptions, RetryOptions
from algolia_events.reports import DropReason

NOW_MS = 1_750_000_000_000
LIMIT = 2_000_000


def make(**options: Any) -> Batcher:
    queue = QueueOptions(**options)
    return Batcher(queue, Gate(queue.in_flight, RetryOptions()))


def make_sender(**options: Any) -> SenderBatcher:
    queue = QueueOptions(**options)
    return SenderBatcher(queue, Gate(queue.in_flight, RetryOptions()))


def make_intake(**options: Any) -> IntakeBatcher:
    queue = QueueOptions(**options)
    return IntakeBatcher(queue, Gate(queue.in_flight, RetryOptions()))


def event(number: int, *, size: int = 0, stamp: int = NOW_MS) -> str:
    return f'{{"n":{number},"timestamp":{stamp},"pad":"{"x" * size}"}}'


def add(batcher: Batcher, number: int, *, size: int = 0, stamp: int = NOW_MS, ticket: Any = None) -> DropReason | None:
    text = event(number, size=size, stamp=stamp)
    return batcher.add(text, stamp, ticket)


def numbers(batch: Batch) -> list[int]:
    return [item["n"] for item in orjson.loads(batch.body())["events"]]


def take_all(batcher: Batcher, *, now: float = 0.0) -> list[Batch]:
    batches = []
    while (batch := batcher.take(now=now, wall_ms=NOW_MS)) is not None:
        batches.append(batch)
    return batches


def settle(batcher: Batcher, batch: Batch, outcome: Any, *, now: float = 0.0) -> Any:
    return batcher.settle(batch, outcome, now=now, jitter=0.5)


def stored(origin: str, of: range) -> ClaimedGroup:
    body = ",\n".join(event(number) for number in of).encode()
    return ClaimedGroup(body=body, count=len(of), oldest_ms=NOW_MS, origin=origin, key=origin)
