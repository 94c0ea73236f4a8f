"""F9: with a wrong key or address nothing is sent and nothing is lost; it is said once, and a new key mends it."""

import asyncio
import logging

import pytest
from support.clock import HandClock
from support.rigs import LONG_S, MakeRig, arrived, click, turns, until
from support.server import OK, read_request, serve

from algolia_events import AlgoliaEvents, HealthState, QueueOptions
from algolia_events.sandbox import Sandbox, Status

MINUTES = 30


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_sending_stops_but_for_a_probe_a_minute(
    sandbox: Sandbox, make: MakeRig, clock: HandClock, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    rig = make(sandbox.url, clock=clock, batch_events=10)

    with caplog.at_level(logging.INFO, "algolia_events"), sandbox.fault(Status(status)):
        rig.track(100)
        await rig.queue.start()
        await rig.until_answered(4)
        health = rig.queue.health()
        for minute in range(MINUTES):
            clock.advance(59.9)
            rig.track(1, first=100 + minute)
            await turns()
            assert len(sandbox.requests) == 4 + minute
            clock.advance(0.1)
            await rig.until_answered(5 + minute)
    lines = [record for record in caplog.records if record.name == "algolia_events"]
    clock.advance(60)
    report = await rig.queue.flush()

    assert health.state is HealthState.BLOCKED
    assert health.reason is not None
    assert health.reason.startswith(f"{status}: ")
    assert [(line.message, line.levelname) for line in lines] == [("algolia_events.state", "ERROR")]
    assert (report.delivered, report.dropped, report.rejected, report.possible_duplicates) == (100 + MINUTES, 0, 0, 0)
    assert sorted(arrived(sandbox)) == list(range(100 + MINUTES))


async def test_a_new_key_mends_it_at_once(make: MakeRig, clock: HandClock) -> None:
    async with Sandbox(app_id="APP", api_key="right") as sandbox:
        rig = make(sandbox.url, api_key="wrong", clock=clock)
        rig.track(100)
        await rig.queue.flush(0)
        await rig.until_answered(1)
        await turns()

        rig.api.set_api_key("right")
        rig.queue.reopen()
        await rig.until_answered(2)

        assert rig.queue.stats().delivered == 100
        assert arrived(sandbox) == list(range(100))


async def test_a_new_key_before_anything_runs_is_the_key_to_begin_with(make: MakeRig, clock: HandClock) -> None:
    async with Sandbox(app_id="APP", api_key="right") as sandbox:
        rig = make(sandbox.url, api_key="wrong", clock=clock)
        rig.track(1)

        rig.api.set_api_key("right")
        rig.queue.reopen()
        report = await rig.queue.flush()

        assert (report.delivered, len(rig.bodies)) == (1, 1)


async def test_what_the_server_says_of_the_old_key_after_that_stops_nothing(make: MakeRig, clock: HandClock) -> None:
    asked, replaced = asyncio.Event(), asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _ = await read_request(reader)
        if b"wrong" in head:
            asked.set()
            await replaced.wait()
        writer.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n" if b"wrong" in head else OK)
        await writer.drain()

    async with serve(handle) as url:
        rig = make(url, api_key="wrong", clock=clock)
        rig.track(100)
        await rig.queue.flush(0)
        await asked.wait()

        rig.api.set_api_key("right")
        rig.queue.reopen()
        replaced.set()
        async with asyncio.timeout(LONG_S):  # the clock of the queue stands: a probe would never be due
            report = await rig.queue.flush()

        assert (report.delivered, len(rig.bodies)) == (100, 2)


async def test_the_client_takes_a_new_key_while_it_runs(caplog: pytest.LogCaptureFixture) -> None:
    async with Sandbox(app_id="APP", api_key="right-key") as sandbox:
        client = AlgoliaEvents(
            app_id="APP", api_key="wrong-key", insights_url=sandbox.url, queue=QueueOptions(linger=0)
        )
        async with client:
            for number in range(100):
                client.events.track(click(number))
            await until(lambda: client.health().state is HealthState.BLOCKED and not client.stats().in_flight)
            kept = client.stats().pending

            client.set_api_key("right-key")
            report = await client.events.flush(LONG_S)

        assert (kept, report.delivered) == (100, 100)
        assert sorted(arrived(sandbox)) == list(range(100))
    assert "wrong-key" not in caplog.text
    assert "right-key" not in caplog.text
