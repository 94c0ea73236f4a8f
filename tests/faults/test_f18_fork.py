"""F18: a forked child starts with an empty queue and connections of its own; each event is sent once, by its own."""

import asyncio
import json
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
from support.programs import ending, run, started

from algolia_events.sandbox import Sandbox

PROGRAMS = Path(__file__).parent / "programs"
CLICKS = 40


def object_ids(sandbox: Sandbox) -> list[str]:
    return sorted(event["objectIDs"][0] for event in sandbox.events)


async def test_parent_and_child_each_send_their_own_events_once(sandbox: Sandbox) -> None:
    ended = await run(sys.executable, "-X", "dev", str(PROGRAMS / "forking.py"), sandbox.url)

    assert ended.code == 0, ended.errors
    seen: dict[str, dict[str, Any]] = {line["who"]: line for line in map(json.loads, ended.output.splitlines())}
    expected = [f"parent-{number}" for number in range(30)] + [f"child-{number}" for number in range(20)]
    assert object_ids(sandbox) == sorted(expected)
    assert seen["child"]["empty"]
    assert (seen["child"]["tracked"], seen["child"]["delivered"]) == (20, 20)
    assert (seen["parent"]["tracked"], seen["parent"]["delivered"]) == (30, 30)
    assert seen["parent"]["child_status"] == 0
    assert [one["possible_duplicates"] for one in seen.values()] == [0, 0]
    assert seen["parent"]["lasted"] < 4, "the child has not taken the parent's connection out of its hands"
    for noise in ("Traceback", "ResourceWarning", "Exception ignored"):
        assert noise not in ended.errors


async def test_workers_of_a_preloaded_application_send_what_they_tracked_themselves(sandbox: Sandbox) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {"ALGOLIA_APP_ID": "APP", "ALGOLIA_API_KEY": "key", "ALGOLIA_INSIGHTS_URL": sandbox.url}
    options = ("--preload", "--workers", "2", "-k", "uvicorn_worker.UvicornWorker", "--chdir", str(PROGRAMS))
    command = ("-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *options, "preloaded:app")

    async with started(sys.executable, *command, **environment) as process:
        pids = await click_until_both_have_answered(f"http://127.0.0.1:{port}", process)
        process.send_signal(signal.SIGTERM)
        ended = await ending(process)

    assert len(pids) >= CLICKS
    assert len(set(pids)) == 2
    assert object_ids(sandbox) == sorted(f"worker-{number}" for number in range(len(pids)))
    assert ended.code == 0, ended.errors
    assert "Traceback" not in ended.errors


async def click_until_both_have_answered(url: str, process: asyncio.subprocess.Process) -> list[int]:
    """Click, each time over a new connection, until both workers have had some; return who answered."""
    pids: list[int] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        while process.returncode is None and (len(pids) < CLICKS or len(set(pids)) < 2):
            with suppress(aiohttp.ClientConnectorError):
                async with session.post(f"{url}/click/{len(pids)}") as answer:
                    content = await answer.json()
                assert content["taken"]
                pids.append(content["pid"])
                continue
            await asyncio.sleep(0.02)  # it does not take connections yet, which shows only by trying
    return pids
