"""F13: SIGTERM with 100,000 events waiting: what cannot be sent in time is in the outbox, and the process is gone.

`aclose()` alone says the same: that time ran out, and that everything is stored; the next process sends it.
"""

import asyncio
import os
import re
import socket
import sys
import time
from pathlib import Path

import aiohttp
import pytest
from support.applications import ROOT
from support.groups import MakeOutbox, events_in

from algolia_events import AlgoliaEvents, ClickedObjectIDs
from algolia_events.abc import Outbox
from algolia_events.outbox import SQLiteOutbox
from algolia_events.sandbox import Hang, Sandbox, Status

EVENTS = 100_000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def serve(url: str, outbox: Path, port: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "web:app", "--port", str(port), "--log-level", "warning"),
        cwd=Path(__file__).parent / "programs",
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "ALGOLIA_APP_ID": "APP",
            "ALGOLIA_API_KEY": "key",
            "ALGOLIA_INSIGHTS_URL": url,
            "ALGOLIA_OUTBOX": f"sqlite:///{outbox}",
        },
        stdout=asyncio.subprocess.PIPE,
    )


async def track(port: int) -> None:
    """Have it track the events, once it listens."""
    async with asyncio.timeout(20), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/track/{EVENTS}") as answer:
                    assert await answer.json() == {"taken": EVENTS}
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.mark.parametrize("fault", [Hang(), Status(503)], ids=["hangs", "fails"])
async def test_what_a_dead_server_did_not_take_is_in_the_outbox(tmp_path: Path, fault: Hang | Status) -> None:
    path, port = tmp_path / "events.db", free_port()

    async with Sandbox() as sandbox:
        with sandbox.fault(fault):
            process = await serve(sandbox.url, path, port)
            await track(port)
            begun = time.monotonic()
            process.terminate()
            out, _ = await asyncio.wait_for(process.communicate(), 30)
            seconds = time.monotonic() - begun
    outbox = SQLiteOutbox(path)
    kept = events_in(await outbox.claim(10 * EVENTS, 1 << 40))
    await outbox.aclose()

    figures = [int(number) for number in re.findall(rb"\d+", out)]
    assert figures == [0, EVENTS, 0]
    assert len(set(kept)) == len(kept) == EVENTS
    assert seconds < 8  # 5 s allowed, and the machine may be busy


def client(sandbox: Sandbox, outbox: Outbox) -> AlgoliaEvents:
    return AlgoliaEvents(app_id="APP", api_key="key", insights_url=sandbox.url, outbox=outbox)


async def test_a_close_that_runs_out_of_time_says_so_and_leaves_all_to_the_next_process(
    make_outbox: MakeOutbox,
) -> None:
    names = [str(number) for number in range(2500)]

    async with Sandbox() as sandbox:
        with sandbox.fault(Hang()):
            one = client(sandbox, await make_outbox())
            await one.start()
            for name in names:
                one.events.track(
                    ClickedObjectIDs(event_name="Clicked", index="products", object_ids=[name], user_token="user-1")
                )
            await sandbox.wait_for(lambda: len(sandbox.requests) == 3)
            report = await one.aclose(0.2)
            closed = one.stats()
        async with client(sandbox, await make_outbox()) as other:
            await sandbox.wait_for(len(names))
            await other.events.flush(30)
            sent = other.stats().sending
        arrived = [event["objectIDs"][0] for event in sandbox.events]

    assert (report.timed_out, report.stored) == (True, 2500)
    assert (report.delivered, report.rejected, report.dropped, report.pending) == (0, 0, 0, 0)
    assert closed.sending is not None
    assert (closed.sending.claimed, closed.sending.given_back, closed.sending.in_flight) == (2500, 2500, 0)
    assert sent is not None
    assert (sent.claimed, sent.accepted, sent.given_back, sent.in_flight) == (2500, 2500, 0, 0)
    assert sorted(arrived, key=int) == names
