"""The relay sends what others stored, side by side with others, and leaves what it cannot send."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.clock import HandClock
from support.groups import events_in, group
from support.outboxes import FailingOutbox

from algolia_events._relay import RelayWork
from algolia_events._retry import Accepted, Failed, Outcome
from algolia_events.config import QueueOptions, RetryOptions
from algolia_events.errors import ConfigurationError
from algolia_events.outbox import MemoryOutbox
from algolia_events.relay import Relay
from algolia_events.reports import HealthState
from algolia_events.sandbox import Delay, Sandbox, Status

HOUR = 3600.0


async def spin() -> None:
    """Let everything that can run do so."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.fixture
async def outbox() -> AsyncIterator[MemoryOutbox]:
    outbox = MemoryOutbox(max_bytes=1 << 30)
    yield outbox
    await outbox.aclose()


async def test_it_gives_back_what_the_server_does_not_take(outbox: MemoryOutbox) -> None:
    await outbox.store([group("a", "b"), group("c")])

    async with Sandbox() as sandbox:
        with sandbox.fault(Status(503)):
            relay = Relay(app_id="A", api_key="k", insights_url=sandbox.url, outbox=outbox)
            await relay.start()
            await sandbox.wait_for(lambda: sandbox.counts.requests >= 1)
            stats = await relay.aclose(2)

    assert (stats.claimed, stats.given_back, stats.accepted, stats.in_flight) == (3, 3, 0, 0)
    assert len(events_in(await outbox.claim(100, 1 << 30))) == 3


async def test_a_time_limit_that_is_none_is_an_error_and_the_relay_works_on(outbox: MemoryOutbox) -> None:
    async with Sandbox() as sandbox, Relay(app_id="A", api_key="k", insights_url=sandbox.url, outbox=outbox) as relay:
        with pytest.raises(ConfigurationError, match="timeout must be a number of seconds or a timedelta, not '1'"):
            await relay.aclose("1")  # type: ignore[arg-type]
        await outbox.store([group("a")])
        await sandbox.wait_for(lambda: sandbox.counts.requests == 1)

    assert relay.stats().claimed == 1


async def test_closing_is_taken_up_where_whoever_waited_for_it_was_cancelled(outbox: MemoryOutbox) -> None:
    await outbox.store([group("a")])

    async with Sandbox() as sandbox:
        with sandbox.fault(Delay(0.3)):
            relay = Relay(app_id="A", api_key="k", insights_url=sandbox.url, outbox=outbox)
            await relay.start()
            await sandbox.wait_for(lambda: sandbox.counts.requests == 1)
            first = asyncio.create_task(relay.aclose(5))
            await spin()
            first.cancel()
            await asyncio.wait({first})
            stats = await relay.aclose(5)

    assert first.cancelled()
    assert (stats.claimed, stats.rejected, stats.given_back) == (1, 1, 0)


def test_what_the_environment_lacks_is_named() -> None:
    with pytest.raises(ConfigurationError, match="ALGOLIA_API_KEY and ALGOLIA_OUTBOX"):
        Relay.from_env({"ALGOLIA_APP_ID": "A"})


async def test_an_outage_of_an_hour_costs_nothing_and_ends_with_the_oldest_first(
    outbox: MemoryOutbox, clock: HandClock
) -> None:
    """A million events come in while the server fails; what the relay holds of them stays at one request's worth."""
    names = [f"{number:07}" for number in range(1_000_000)]
    down, sent, attempts = True, [], 0
    held: list[int] = []

    async def deliver(body: bytes) -> Outcome:
        nonlocal attempts
        attempts += 1
        if down:
            return Failed(reason="503", ambiguous=False)
        sent.append(body)
        return Accepted()

    options = QueueOptions(in_flight=1, shutdown_timeout=1)
    work = RelayWork(deliver, outbox, options=options, clock=clock, retry=RetryOptions(), draw=lambda: 0.99)
    await work.start()
    for minute in range(60):
        for start in range(0, 1_000_000 // 60, 1000):
            first = minute * (1_000_000 // 60) + start
            await outbox.store([group(*names[first : min(first + 1000, (minute + 1) * (1_000_000 // 60))])])
        clock.advance(60)
        await spin()
        held.append(work.stats().in_flight)
    attempts_while_down = attempts
    down = False
    while (await outbox.sizes()).events:
        clock.advance(1)
        await spin()
    stats = await work.aclose()

    stored = 60 * (1_000_000 // 60)
    assert max(held) <= 1000
    assert attempts_while_down <= 75  # a probe a minute, and the doubling before
    assert (stats.claimed - stats.given_back, stats.accepted) == (stored, stored)
    order = [int(body[body.index(b'"name":"') + 8 :][:7]) for body in sent]
    assert order == sorted(order)


async def test_a_drain_goes_on_behind_a_claim_that_was_full(outbox: MemoryOutbox) -> None:
    async def deliver(_: bytes) -> Outcome:
        return Accepted()

    await outbox.store([group(str(number), padding=2000) for number in range(100)])
    work = RelayWork(deliver, outbox, options=QueueOptions(batch_bytes=10_000))
    await work.start()

    await asyncio.wait_for(work.drain(), 10)
    sizes = await outbox.sizes()
    await work.aclose()

    assert sizes.groups == 0


async def test_the_outbox_is_closed_with_the_relay() -> None:
    class NotingOutbox(MemoryOutbox):
        closings = 0

        async def aclose(self) -> None:
            self.closings += 1
            await super().aclose()

    outbox = NotingOutbox()

    async with Sandbox() as sandbox, Relay(app_id="A", api_key="k", insights_url=sandbox.url, outbox=outbox):
        before = outbox.closings

    assert (before, outbox.closings) == (0, 1)


async def test_it_says_that_the_outbox_is_away_until_it_works(clock: HandClock) -> None:
    outbox = FailingOutbox(fails=True)

    async def deliver(_: bytes) -> Outcome:
        return Accepted()

    work = RelayWork(deliver, outbox, clock=clock)
    await work.start()
    at_once = work.health()
    clock.advance(60)
    await spin()
    later = work.health()
    outbox.fails = False
    clock.advance(1)
    await spin()
    after = work.health()
    await work.aclose()

    assert (at_once.state, at_once.reason) == (HealthState.DEGRADED, "the disk is gone")
    assert later == at_once
    assert after.ok


@pytest.mark.parametrize("name", ["algolia_events", "algolia_events.feeder"])
async def test_a_background_task_that_somebody_cancels_begins_again(outbox: MemoryOutbox, name: str) -> None:
    async with Sandbox() as sandbox, Relay(app_id="A", api_key="k", insights_url=sandbox.url, outbox=outbox):
        background = [task for task in asyncio.all_tasks() if task.get_name() == name]

        for task in background:
            task.cancel()
        await asyncio.wait(background)
        await outbox.store([group("a")])
        await sandbox.wait_for(lambda: sandbox.counts.requests >= 1)

        assert background


async def test_closing_goes_on_where_somebody_cancels_its_task(outbox: MemoryOutbox) -> None:
    async def accept(_: bytes) -> Outcome:
        return Accepted()

    work = RelayWork(accept, outbox)
    await work.start()

    closing = asyncio.create_task(work.aclose(10))
    await spin()
    for task in asyncio.all_tasks():
        if task.get_name() == "algolia_events.closing":
            task.cancel()
    stats = await closing

    assert stats.in_flight == 0
