"""The commands `relay`, `outbox` and `health`, as processes."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from support.applications import ROOT
from support.groups import group

from algolia_events import AlgoliaEvents, ClickedObjectIDs
from algolia_events.outbox import SQLiteOutbox
from algolia_events.sandbox import Sandbox


@attrs.frozen
class Finished:
    code: int | None
    out: str
    err: str

    @property
    def json(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def environ(url: str, path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "ALGOLIA_APP_ID": "APP",
        "ALGOLIA_API_KEY": "key",
        "ALGOLIA_INSIGHTS_URL": url,
        "ALGOLIA_OUTBOX": f"sqlite:///{path}",
    }


async def start(path: Path, *arguments: str, url: str = "http://127.0.0.1:1") -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "algolia_events.cli", *arguments),
        env=environ(url, path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(path: Path, *arguments: str) -> Finished:
    process = await start(path, *arguments)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return Finished(process.returncode, out.decode(), err.decode())


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """An outbox with three events in two groups, and one dead letter."""
    path = tmp_path / "events.db"
    outbox = SQLiteOutbox(path)
    await outbox.store([group("a", "b"), group("c")])
    await outbox.aclose()
    return path


async def test_stats_count_what_waits(path: Path) -> None:
    ended = await run(path, "outbox", "stats", "--json")

    (figures,) = ended.json
    assert (ended.code, figures["events"], figures["groups"], figures["rejected"]) == (0, 3, 2, 0)


async def test_list_and_export_only_look(path: Path) -> None:
    listed = await run(path, "outbox", "list", "--json")
    exported = await run(path, "outbox", "export")
    after = await run(path, "outbox", "stats", "--json")

    assert [each["events"] for each in listed.json] == [2, 1]
    assert [each["name"] for each in exported.json] == ["a", "b", "c"]
    assert after.json[0]["events"] == 3


async def test_purge_asks_to_be_meant(path: Path) -> None:
    asked = await run(path, "outbox", "purge")
    meant = await run(path, "outbox", "purge", "--yes", "--json")
    after = await run(path, "outbox", "stats", "--json")

    assert (asked.code, asked.out) == (2, "")
    assert "--yes" in asked.err
    assert (meant.code, meant.json, after.json[0]["events"]) == (0, [{"purged": 3}], 0)


@pytest.mark.parametrize(
    ("arguments", "code"), [((), 0), (("--max-events", "3"), 0), (("--max-events", "2"), 1), (("--max-age", "60"), 1)]
)
async def test_health_is_the_exit_code(path: Path, arguments: tuple[str, ...], code: int) -> None:
    ended = await run(path, "health", *arguments)

    assert ended.code == code, ended


async def test_an_outbox_that_cannot_be_reached_is_not_well(tmp_path: Path) -> None:
    ended = await run(tmp_path / "nowhere" / "events.db", "health")

    assert ended.code == 1
    assert "nowhere" in ended.err


async def test_the_relay_sends_what_was_stored_and_stops_on_sigterm(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    bad = "EventName is required"

    async with Sandbox(reject=lambda e: bad if e["eventName"] == "bad" else None) as sandbox:
        async with AlgoliaEvents(
            app_id="A", api_key="k", insights_url=sandbox.url, outbox=f"sqlite:///{path}", deliver=False
        ) as algolia:
            for number in range(1500):
                name = "bad" if number == 700 else "Clicked"
                algolia.events.track(
                    ClickedObjectIDs(event_name=name, index="i", object_ids=[str(number)], user_token="u")
                )
        process = await start(path, "relay", "--stats-interval", "60", url=sandbox.url)
        await sandbox.wait_for(1499, timeout=20)
        process.send_signal(signal.SIGUSR1)
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 10)
        process.terminate()
        out, _ = await asyncio.wait_for(process.communicate(), 20)
        rejected = await run(path, "outbox", "rejected", "--json")
        again = await run(path, "outbox", "retry", "--json")

    assert process.returncode == 0
    assert json.loads(line)["claimed"] == 1500
    last = json.loads(out.splitlines()[-1])
    assert (last["accepted"], last["rejected"], last["in_flight"]) == (1499, 1, 0)
    assert [(each["status"], each["message"], each["event"]["objectIDs"]) for each in rejected.json] == [
        (422, bad, ["700"])
    ]
    assert again.json == [{"to_be_sent_again": 1}]
