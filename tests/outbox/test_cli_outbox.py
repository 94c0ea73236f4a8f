"""The commands `relay`, `outbox` and `health`, as processes."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from support.applications import ROOT
from support.binaries import require_binary
from support.groups import group
from support.redis_server import RedisServer

from algolia_events import AlgoliaEvents, ClickedObjectIDs
from algolia_events.outbox import DeadLetter, SQLiteOutbox
from algolia_events.sandbox import Sandbox


@attrs.frozen
class Finished:
    code: int | None
    out: str
    err: str

    @property
    def json(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def environ(url: str, outbox: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "ALGOLIA_APP_ID": "APP",
        "ALGOLIA_API_KEY": "key",
        "ALGOLIA_INSIGHTS_URL": url,
        "ALGOLIA_OUTBOX": outbox,
    }


async def start(
    outbox: Path | str, *arguments: str, url: str = "http://127.0.0.1:1", stdout: int = asyncio.subprocess.PIPE
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "algolia_events.cli", *arguments),
        env=environ(url, outbox if isinstance(outbox, str) else f"sqlite:///{outbox}"),
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process) -> Finished:
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return Finished(process.returncode, (out or b"").decode(errors="replace"), err.decode())


async def run(outbox: Path | str, *arguments: str, stdout: int = asyncio.subprocess.PIPE) -> Finished:
    return await ended(await start(outbox, *arguments, stdout=stdout))


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """An outbox with three events in two groups, and one dead letter."""
    path = tmp_path / "events.db"
    outbox = SQLiteOutbox(path)
    await outbox.store([group("a", "b"), group("c")])
    await outbox.aclose()
    return path


async def test_stats_count_what_waits(path: Path) -> None:
    finished = await run(path, "outbox", "stats", "--json")

    (figures,) = finished.json
    assert (finished.code, figures["events"], figures["groups"], figures["rejected"]) == (0, 3, 2, 0)


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
    finished = await run(path, "health", *arguments)

    assert finished.code == code, finished


async def test_an_outbox_that_cannot_be_reached_is_not_well(tmp_path: Path) -> None:
    finished = await run(tmp_path / "nowhere" / "events.db", "health")

    assert finished.code == 1
    assert "nowhere" in finished.err


INSPECTIONS = [("health",), *(("outbox", name) for name in ("stats", "list", "rejected", "export"))]


@pytest.mark.parametrize("arguments", [*INSPECTIONS, ("outbox", "retry"), ("outbox", "purge", "--yes")], ids=" ".join)
async def test_a_path_that_is_wrong_is_named_and_nothing_is_made(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    finished = await run(tmp_path / "events.bd", *arguments)

    assert (finished.code, finished.out) == (1, "")
    assert "events.bd" in finished.err
    assert await asyncio.to_thread(lambda: list(tmp_path.iterdir())) == []


@pytest.fixture(scope="module")
def full_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that takes nothing new."""
    with RedisServer(require_binary("redis-server"), tmp_path_factory.mktemp("redis"), "--maxmemory", "1") as server:
        yield server


@pytest.mark.parametrize("arguments", [*INSPECTIONS, ("outbox", "purge", "--dead-letters", "--yes")], ids=" ".join)
async def test_a_redis_that_is_full_can_be_looked_into(full_redis: RedisServer, arguments: tuple[str, ...]) -> None:
    finished = await run(full_redis.url, *arguments)

    assert finished.code == 0, finished


@pytest.fixture
async def hung() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The address of a Redis that takes connections and never answers, and whether it was asked something."""
    asked = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            while await reader.read(1000):
                asked.set()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", asked


async def test_health_waits_for_an_answer_as_long_as_it_is_told(hung: tuple[str, asyncio.Event]) -> None:
    finished = await run(hung[0], "health", "--timeout", "0.1")

    assert (finished.code, finished.out) == (1, "")
    assert "no answer within 0.1 s" in finished.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_though_no_answer_comes(hung: tuple[str, asyncio.Event], number: signal.Signals) -> None:
    process = await start(hung[0], "outbox", "stats")
    await asyncio.wait_for(hung[1].wait(), 20)

    process.send_signal(number)
    begun = time.monotonic()
    finished = await ended(process)

    assert time.monotonic() - begun < 3  # an answer is waited for twice, 2 s each
    assert (finished.code, finished.err) == (1, "algolia-events: interrupted\n")


async def test_words_of_others_are_shown_and_never_obeyed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "no\n\x1b[31mé\u202e😀"
    outbox = SQLiteOutbox(path)
    await outbox.settle(rejected=[DeadLetter(event=b'{"name":"x"}', status=422, message=words, rejected_ms=1)])
    await outbox.aclose()
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")

    for_people = await run(path, "outbox", "rejected")
    for_programs = await run(path, "outbox", "rejected", "--json")

    assert for_people.out == "status 422, message no\\n\\x1b[31m\ufffd\\u202e\\U0001f600, rejected ms 1\n"
    assert json.loads(for_programs.out)["message"] == words


async def test_a_limit_has_a_limit(path: Path) -> None:
    finished = await run(path, "outbox", "list", "--limit", "9" * 30)

    assert finished.code == 2
    assert "Traceback" not in finished.err


@pytest.fixture
def full() -> Iterator[int]:
    """A file that takes nothing."""
    with Path("/dev/full").open("wb") as file:
        yield file.fileno()


@pytest.mark.parametrize("arguments", [("health",), ("outbox", "stats"), ("outbox", "export")], ids=" ".join)
async def test_an_output_without_room_is_said_in_a_line(path: Path, full: int, arguments: tuple[str, ...]) -> None:
    finished = await run(path, *arguments, stdout=full)

    assert finished.code == 1
    assert finished.err.splitlines()[-1].startswith("algolia-events: the standard output cannot be written: ")
    assert "Traceback" not in finished.err
    assert "Exception" not in finished.err


async def test_a_closed_output_is_said_in_a_line(path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "algolia_events.cli", "outbox", "stats"),
        env=environ("http://127.0.0.1:1", f"sqlite:///{path}"),
        stderr=asyncio.subprocess.PIPE,
    )
    finished = await ended(process)

    assert (finished.code, finished.err) == (1, "algolia-events: the standard output is closed\n")


async def test_a_relay_sends_though_its_figures_cannot_be_written(path: Path, full: int) -> None:
    async with Sandbox() as sandbox:
        process = await start(path, "relay", "--stats-interval", "0.05", url=sandbox.url, stdout=full)
        assert process.stderr is not None
        lines = [await asyncio.wait_for(process.stderr.readline(), 20) for _ in range(3)]
        async with AlgoliaEvents(
            app_id="A", api_key="k", insights_url=sandbox.url, outbox=f"sqlite:///{path}", deliver=False
        ) as algolia:
            await algolia.events.put(ClickedObjectIDs(event_name="C", index="i", object_ids=["1"], user_token="u"))
        await sandbox.wait_for(lambda: any(each["objectIDs"] == ["1"] for each in sandbox.events), timeout=20)
        process.terminate()
        finished = await ended(process)

    assert [b"cannot be written" in line for line in lines] == [False, True, True]
    assert finished.code == 0
    assert "Traceback" not in finished.err


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
