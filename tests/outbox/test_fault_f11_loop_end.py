"""F11: a loop that ends without `aclose()`: what was tracked is in the outbox, and nothing is said but a warning."""

import asyncio
import gc
import json
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.applications import Application
from support.binaries import require_binary
from support.groups import events_in
from support.redis_server import RedisServer
from support.rigs import click, numbers_in, turns

from algolia_events import DeliveryReport, QueueOptions
from algolia_events._durable import DurableQueue
from algolia_events._retry import Accepted, Failed, Outcome
from algolia_events.outbox import ClaimedGroup, EventGroup, MemoryOutbox, open_outbox
from algolia_events.outbox._worker import Worker
from algolia_events.sandbox import Hang, Sandbox


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_all_that_was_tracked_is_in_the_outbox(tmp_path: Path, kind: str) -> None:
    async with AsyncExitStack() as stack:
        url = f"sqlite:///{tmp_path}/events.db"
        if kind == "redis":
            url = stack.enter_context(RedisServer(require_binary("redis-server"), tmp_path)).url
        sandbox = await stack.enter_async_context(Sandbox())
        with sandbox.fault(Hang()):
            application = await Application.start(
                do="track_and_leave", name="left", events=3000, outbox=url, insights_url=sandbox.url
            )
            code = await application.ended()
        outbox = open_outbox(url)
        kept: list[bytes] = []
        while len(kept) < 3000:  # with Redis, what it had claimed is free when it has been silent for some seconds
            kept += events_in(await outbox.claim(100_000, 1 << 40))
            await asyncio.sleep(0.1)
        await outbox.aclose()

    assert code == 0
    assert sorted(json.loads(event)["objectIDs"][0] for event in kept) == sorted(f"left-{n}" for n in range(3000))
    assert "ResourceWarning: unclosed event queue" in application.errors
    assert "Task was destroyed" not in application.errors
    if kind == "sqlite":  # redis-py 5 has something to say about connections that were left open
        assert "Traceback" not in application.errors
        assert "Event loop is closed" not in application.errors


class SlowOutbox(MemoryOutbox):
    """Answers from a thread, a moment after it has done what it was asked; waits for that whoever cancels."""

    pause = 0.2

    async def exchange(self, groups: Sequence[EventGroup], **terms: Any) -> Sequence[ClaimedGroup]:
        claimed = await super().exchange(groups, **terms)
        worker = Worker("slow")
        await worker.run(partial(time.sleep, self.pause))
        worker.stop()
        return claimed


def test_nothing_leaves_in_a_loop_that_ends_while_it_is_stored() -> None:
    outbox = SlowOutbox()
    bodies: list[bytes] = []

    async def deliver(body: bytes) -> Outcome:
        bodies.append(body)
        await asyncio.sleep(0)
        return Accepted()

    queue = DurableQueue(deliver, outbox, options=QueueOptions(batch_events=10))

    async def leave() -> None:
        await queue.start()
        await turns()
        for number in range(10):
            queue.track(click(number))
        await turns()

    async def come_back() -> DeliveryReport:
        await queue.start()
        return await queue.aclose(10)

    asyncio.run(leave())
    in_the_first = len(bodies)
    report = asyncio.run(come_back())

    assert in_the_first == 0
    assert numbers_in(b"".join(bodies)) == list(range(10))
    assert (report.delivered, queue.stats().possible_duplicates) == (10, 0)


@pytest.mark.parametrize("after", range(6))
def test_what_was_about_to_be_stored_when_the_loop_ended_is_stored(after: int) -> None:
    outbox = MemoryOutbox()
    queue = DurableQueue(None, outbox, options=QueueOptions(batch_events=3))

    async def track_and_leave() -> None:
        await queue.start()
        for number in range(3):
            queue.track(click(number))
        await turns(after)

    asyncio.run(track_and_leave())
    stats = queue.stats()
    kept = asyncio.run(outbox.claim(100, 1 << 40))
    asyncio.run(queue.aclose(10))

    assert (stats.pending, stats.stored) == (0, 3)
    assert sum(group.count for group in kept) == 3


def test_the_warning_counts_what_did_not_go_through_the_outbox_as_well() -> None:
    async def fail(_: bytes) -> Outcome:
        return Failed(reason="500", ambiguous=False)

    async def main() -> None:
        queue = DurableQueue(fail, MemoryOutbox())
        await queue.start()
        for number in range(3):
            await queue.submit(click(number))

    with pytest.warns(ResourceWarning, match="unclosed event queue with 3 events"):  # noqa: PT031 - it takes both
        asyncio.run(main())
        gc.collect()
