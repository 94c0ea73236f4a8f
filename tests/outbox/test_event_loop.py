"""With an outbox too, nothing blocks the event loop: not the disk, not the network, not a certificate's file."""

import time
from collections.abc import Iterator, Sequence

import pytest
from support.groups import MakeOutbox
from support.redis_server import certificates_only_in_threads

from algolia_events import AlgoliaEvents, ClickedObjectIDs
from algolia_events.abc import Outbox
from algolia_events.config import QueueOptions
from algolia_events.outbox import EventGroup, MemoryOutbox, RedisOutbox
from algolia_events.reports import HealthState
from algolia_events.sandbox import Sandbox

EVENTS = 300


def click(name: object, event_name: str = "Clicked") -> ClickedObjectIDs:
    return ClickedObjectIDs(event_name=event_name, index="products", object_ids=[str(name)], user_token="user-1")


def client(sandbox: Sandbox, outbox: Outbox) -> AlgoliaEvents:
    queue = QueueOptions(linger=0.05)
    return AlgoliaEvents(app_id="APP", api_key="key", insights_url=sandbox.url, outbox=outbox, queue=queue)


async def test_tracking_storing_and_sending_block_nobody(make_outbox: MakeOutbox) -> None:
    """Blockbuster, which watches every test, makes a blocking call an error: it would show in `health()`."""
    outbox = await make_outbox()

    async with (
        Sandbox(reject=lambda e: "no" if e["eventName"] == "bad" else None) as sandbox,
        client(sandbox, outbox) as algolia,
    ):
        for number in range(EVENTS):
            algolia.events.track(click(number))
        algolia.events.track(click("bad", "bad"))
        await algolia.events.put(click("put"))
        await algolia.events.deliver(click("delivered"), 30)
        report = await algolia.events.flush(30)
        health = algolia.health()

    assert health.ok, health
    assert (report.delivered, report.rejected, report.dropped, report.stored) == (EVENTS + 2, 1, 0, 0)


class BlockingOutbox(MemoryOutbox):
    """Does what it must not."""

    async def store(self, groups: Sequence[EventGroup]) -> None:
        time.sleep(0.001)  # noqa: ASYNC251 - that is the point
        await super().store(groups)


async def test_an_outbox_that_blocks_would_be_found() -> None:
    async with Sandbox() as sandbox, client(sandbox, BlockingOutbox()) as algolia:
        algolia.events.track(click("a"))
        await sandbox.wait_for(1)
        health = algolia.health()

    assert (health.state, health.reason) == (HealthState.DEGRADED, "the outbox raised BlockingError")


@pytest.fixture
def no_certificates_in_the_loop() -> Iterator[None]:
    with certificates_only_in_threads():
        yield


async def test_certificates_are_read_elsewhere(no_certificates_in_the_loop: None) -> None:
    outbox = RedisOutbox("rediss://127.0.0.1:1/0")

    async with Sandbox() as sandbox, client(sandbox, outbox) as algolia:
        algolia.events.track(click("a"))
        await sandbox.wait_for(1)
        health = algolia.health()

    assert health.reason == "the outbox in Redis fails: Connection refused"
