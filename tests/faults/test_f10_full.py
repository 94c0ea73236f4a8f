"""F10: a full queue does exactly what was chosen, in events and in bytes, and never takes more memory than allowed."""

import json
import logging
import sys
from pathlib import Path

import pytest
from support.clock import HandClock
from support.programs import run
from support.rigs import LONG_S, MakeRig, Rig, arrived, click, until

from algolia_events import QueueFullError, RetryOptions
from algolia_events._codec import encode
from algolia_events.sandbox import Hang, Sandbox

HUNG_SERVER_MEMORY = Path(__file__).parent / "programs" / "hung_server_memory.py"
STAMP = 1_750_000_000_000
QUICK = RetryOptions(attempt_timeout=0.5, backoff_base=0.01)
BOUNDS = {
    "events": {"max_events": 40},
    "bytes": {"max_bytes": 40 * (len(encode(click(1000, timestamp=STAMP), STAMP)) + 2)},
}


async def fill(rig: Rig, sandbox: Sandbox) -> None:
    """Fill up: 10 events in flight to a server that hangs, 30 waiting."""
    rig.track(10, first=1000)
    await rig.queue.start()
    await sandbox.wait_for(lambda: sum(request.events for request in sandbox.requests) == 10)
    rig.track(30, first=1010)


@pytest.mark.parametrize("bound", BOUNDS.values(), ids=BOUNDS.keys())
async def test_the_newest_goes(sandbox: Sandbox, make: MakeRig, bound: dict[str, int]) -> None:
    rig = make(sandbox.url, retry=QUICK, batch_events=10, in_flight=1, **bound)
    with sandbox.fault(Hang()):
        await fill(rig, sandbox)

        taken = [rig.queue.track(click(number)) for number in range(2000, 2100)]
        stats = rig.queue.stats()

    assert not any(taken)
    assert (stats.pending, stats.in_flight, stats.dropped) == (40, 1, {"queue_full": 100})
    assert await remainder(rig, sandbox) == list(range(1000, 1040))


@pytest.mark.parametrize("bound", BOUNDS.values(), ids=BOUNDS.keys())
async def test_the_oldest_goes_but_what_is_in_flight_stays(
    sandbox: Sandbox, make: MakeRig, bound: dict[str, int]
) -> None:
    rig = make(sandbox.url, retry=QUICK, batch_events=10, in_flight=1, overflow="drop-oldest", **bound)
    with sandbox.fault(Hang()):
        await fill(rig, sandbox)

        taken = [rig.queue.track(click(number)) for number in range(2000, 2025)]
        stats = rig.queue.stats()

    assert all(taken)
    assert (stats.pending, stats.in_flight, stats.dropped) == (40, 1, {"queue_full": 25})
    assert await remainder(rig, sandbox) == [*range(1000, 1010), *range(1035, 1040), *range(2000, 2025)]


@pytest.mark.parametrize("bound", BOUNDS.values(), ids=BOUNDS.keys())
async def test_the_caller_is_told(sandbox: Sandbox, make: MakeRig, bound: dict[str, int]) -> None:
    rig = make(sandbox.url, retry=QUICK, batch_events=10, in_flight=1, overflow="raise", **bound)
    with sandbox.fault(Hang()):
        await fill(rig, sandbox)

        with pytest.raises(QueueFullError):
            rig.queue.track(click(2000))
        stats = rig.queue.stats()

    assert (stats.pending, stats.in_flight, stats.dropped) == (40, 1, {"queue_full": 1})
    assert await remainder(rig, sandbox) == list(range(1000, 1040))


async def test_with_everything_in_flight_even_the_oldest_cannot_go(sandbox: Sandbox, make: MakeRig) -> None:
    rig = make(sandbox.url, batch_events=10, in_flight=4, overflow="drop-oldest", max_events=40)
    with sandbox.fault(Hang()):
        rig.track(40)
        await rig.queue.start()
        await until(lambda: rig.queue.stats().in_flight == 4)

        taken = rig.queue.track(click(2000))

    assert not taken
    assert rig.queue.stats().pending == 40


async def test_one_line_a_reason_every_thirty_seconds_with_the_count(
    sandbox: Sandbox, make: MakeRig, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    rig = make(sandbox.url, clock=clock, max_events=1)
    rig.track(1)

    with caplog.at_level(logging.WARNING, "algolia_events"):
        for _ in range(61):
            for number in range(100):
                rig.queue.track(click(number))
            clock.advance(1)

    lines = [record for record in caplog.records if record.message == "algolia_events.dropped"]
    assert [line.__dict__["count"] for line in lines] == [1, 3000, 3000]
    assert {line.__dict__["reason"] for line in lines} == {"queue_full"}


async def test_a_million_events_against_a_hung_server_take_bounded_memory(sandbox: Sandbox) -> None:
    with sandbox.fault(Hang()):
        ended = await run(sys.executable, str(HUNG_SERVER_MEMORY), sandbox.url)

    assert ended.code == 0, ended.errors
    seen = json.loads(ended.output)
    assert seen["tracked"] == 1_000_000
    assert seen["pending"] + seen["dropped"] == 1_000_000
    assert seen["in_flight"] == 4
    assert 0.98 * seen["max_bytes"] < seen["pending_bytes"] <= seen["max_bytes"]
    assert seen["grown_bytes"] <= 1.3 * seen["max_bytes"]
    assert seen["tasks"] <= seen["in_flight"] + 3


async def remainder(rig: Rig, sandbox: Sandbox) -> list[int]:
    """Let everything arrive that is left, when the attempts under way have run into their time limit."""
    await rig.queue.flush(LONG_S)
    return sorted(arrived(sandbox))
