"""F13: a server that is told to go with 100,000 events queued delivers them if it can, and is gone in time if not."""

import asyncio
import json
import signal
import socket
import sys
from contextlib import suppress
from typing import Any

import aiohttp
from support.programs import Ended, ending, started
from support.rigs import numbers_in
from support.server import OK, read_request, serve

EVENTS = 100_000
ALLOWED_S = 5.0
ANSWER_S = 0.05
# The interpreter's own end and what else a busy machine does; the library's share is asserted without it.
SLACK_S = 3.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def fill_and_end(insights_url: str) -> tuple[Ended, dict[str, Any]]:
    """Run the shop until it has ended; return that, and its own account."""
    port = free_port()
    command = ("-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), "--no-access-log", "shop:app")
    environment = {
        "ALGOLIA_APP_ID": "APP",
        "ALGOLIA_API_KEY": "key",
        "ALGOLIA_INSIGHTS_URL": insights_url,
    }
    arguments = (sys.executable, *command, "--app-dir", "tests/faults/programs")
    async with started(*arguments, **environment) as process, aiohttp.ClientSession() as session:
        await fill(session, f"http://127.0.0.1:{port}/fill/{EVENTS}", process)
        ended = await ending(process)
    assert ended.code == -signal.SIGTERM, "uvicorn closes in order, and ends as it was told to"
    assert "Traceback" not in ended.errors
    return ended, json.loads(ended.output.splitlines()[-1])


async def fill(session: aiohttp.ClientSession, url: str, process: asyncio.subprocess.Process) -> None:
    """Ask for it as soon as the shop takes connections, which cannot be known but by trying."""
    while process.returncode is None:
        with suppress(aiohttp.ClientConnectorError):
            async with session.post(url) as answer:
                assert answer.status == 200
            return
        await asyncio.sleep(0.02)


async def test_a_server_that_answers_in_50_ms_gets_all_of_them_in_time() -> None:
    bodies: list[bytes] = []

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, body = await read_request(reader)
            bodies.append(body)
            await asyncio.sleep(ANSWER_S)  # what a request takes, not something to wait for
            writer.write(OK)
            await writer.drain()

    async with serve(slow) as url:
        ended, account = await fill_and_end(url)

    assert (account["tracked"], account["delivered"], account["pending"]) == (EVENTS, EVENTS, 0)
    assert (account["dropped"], account["possible_duplicates"]) == ({}, 0)
    assert sorted(number for body in bodies for number in numbers_in(body)) == list(range(EVENTS))
    assert account["closed_at"] - account["killed_at"] < ALLOWED_S
    assert ended.at - account["killed_at"] < ALLOWED_S + SLACK_S


async def test_dead_servers_do_not_keep_it_and_what_is_given_up_is_counted() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            pass

    async with serve(hang) as hung:
        (hung_end, by_hung), (refused_end, by_refused) = await asyncio.gather(
            fill_and_end(hung), fill_and_end(f"http://127.0.0.1:{free_port()}")
        )

    assert by_hung["dropped"] == {"ambiguous": 4000, "shutdown": EVENTS - 4000}, "four requests were under way"
    assert by_refused["dropped"] == {"shutdown": EVENTS}
    for ended, account in ((hung_end, by_hung), (refused_end, by_refused)):
        assert (account["tracked"], account["delivered"], account["pending"]) == (EVENTS, 0, 0)
        assert account["closed_at"] - account["killed_at"] < ALLOWED_S + 0.3 + SLACK_S / 2
        assert ended.at - account["killed_at"] < ALLOWED_S + 0.3 + SLACK_S
