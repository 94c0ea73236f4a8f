"""F11: an application that forgets to close the client gets one warning with the count, and no other noise."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.programs import Ended, run
from support.rigs import LONG_S, click

from algolia_events import EventQueue, QueueOptions
from algolia_events._retry import Accepted, Outcome
from algolia_events.sandbox import Hang, Sandbox

PROGRAM = Path(__file__).parent / "programs" / "forgetful.py"


async def forget(sandbox: Sandbox, way: str) -> Ended:
    return await run(sys.executable, "-X", "dev", "-W", "always::ResourceWarning", str(PROGRAM), way, sandbox.url)


def assert_one_warning(ended: Ended, held: int) -> None:
    assert ended.code == 0, ended.errors
    assert f"unclosed event queue with {held} events" in ended.errors
    assert ended.errors.count("unclosed event queue") == 1
    for noise in ("Event loop is closed", "Task was destroyed", "Traceback", "never awaited", "Exception ignored"):
        assert noise not in ended.errors


@pytest.mark.parametrize("way", ["run", "close", "run-full", "close-full"])
async def test_events_that_wait_are_named_when_the_loop_is_gone(sandbox: Sandbox, way: str) -> None:
    ended = await forget(sandbox, way)

    assert ended.output.split() == ["True"] * 5, "track() goes on, after the loop too"
    assert_one_warning(ended, 5)


@pytest.mark.parametrize("way", ["run-in-flight", "close-in-flight"])
async def test_events_in_flight_are_named_too(sandbox: Sandbox, way: str) -> None:
    with sandbox.fault(Hang()):
        ended = await forget(sandbox, way)

    assert ended.output.split() == ["True"] * 5
    assert_one_warning(ended, 5)


async def test_a_client_that_was_never_started_names_what_it_holds(sandbox: Sandbox) -> None:
    ended = await forget(sandbox, "no-loop")

    assert ended.output.split() == ["True"] * 5
    assert_one_warning(ended, 5)


@pytest.mark.parametrize("way", ["run", "close", "run-full", "close-full", "run-in-flight", "close-in-flight"])
async def test_a_second_loop_delivers_what_the_first_left_behind(sandbox: Sandbox, way: str) -> None:
    if way.endswith("in-flight"):
        sandbox.faults.add(Hang())

    ended = await forget(sandbox, f"{way}-again")

    assert ended.code == 0, ended.errors
    assert ended.output.split() == ["True"] * 5 + ["5"]
    assert len(sandbox.events) == 5
    assert "unclosed event queue" not in ended.errors
    assert "Traceback" not in ended.errors


def test_who_waited_in_a_loop_that_has_ended_troubles_the_next_one_with_nothing() -> None:
    async def accept(_: bytes) -> Outcome:
        return Accepted()

    queue = EventQueue(accept, options=QueueOptions(linger=3600.0))
    heard: list[asyncio.Future[Any]] = []

    async def submit() -> None:
        (await queue.submit(click(1))).add_done_callback(heard.append)

    asyncio.run(submit())
    report = asyncio.run(queue.aclose(LONG_S))

    assert (report.delivered, report.dropped) == (1, 0)
    assert heard == []


@pytest.mark.parametrize("clean_up", [asyncio.sleep, lambda seconds: asyncio.gather(asyncio.sleep(seconds))])
def test_nothing_begins_again_in_a_loop_that_takes_its_time_to_end(clean_up: Callable[[float], Any]) -> None:
    bodies: list[bytes] = []

    async def accept(body: bytes) -> Outcome:
        bodies.append(body)
        return Accepted()

    queue = EventQueue(accept, options=QueueOptions(linger=0))

    async def linger() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            queue.track(click(1))
            await clean_up(0.2)

    async def leave() -> None:
        await queue.start()
        lingering.append(asyncio.create_task(linger()))
        await asyncio.sleep(0)

    lingering: list[asyncio.Task[None]] = []
    asyncio.run(leave())
    in_the_first = len(bodies)
    report = asyncio.run(queue.aclose(LONG_S))

    assert in_the_first == 0
    assert report.delivered == 1
