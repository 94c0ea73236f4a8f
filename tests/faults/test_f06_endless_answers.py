"""F6: an attempt ends at its time limit, whatever the server does with its answer, and reads 64 KiB of it at most."""

import gc
import time
import tracemalloc

import pytest
from support.rigs import LONG_S, MakeRig, arrived, turns

from algolia_events import RetryOptions
from algolia_events.sandbox import Drip, EndlessBody, Fault, Hang, Sandbox

LIMIT_S = 0.4
MANNERS = {
    "hangs": (Hang(), True),
    "hangs, and has taken them": (Hang(request="handled"), True),
    "drips": (Drip(bytes_per_second=20), True),
}


@pytest.mark.parametrize(("fault", "ambiguous"), MANNERS.values(), ids=MANNERS.keys())
async def test_the_total_limit_ends_an_attempt(sandbox: Sandbox, make: MakeRig, fault: Fault, ambiguous: bool) -> None:
    retry = RetryOptions(attempt_timeout=LIMIT_S, read_timeout=60, backoff_base=0.001, backoff_cap=0.001)
    rig = make(sandbox.url, retry=retry)
    rounds: list[float] = []

    rig.track(10)
    with sandbox.fault(fault):
        before = time.monotonic()
        await rig.queue.flush(0)
        for attempt in range(3):
            await rig.until_answered(attempt + 1)
            rounds.append(time.monotonic() - before)
            before = time.monotonic()
    report = await rig.queue.flush(LONG_S)

    # What else the machine does can only lengthen a round.
    assert LIMIT_S * 0.9 < min(rounds) < LIMIT_S + 0.2
    assert report.delivered == 10
    assert (report.possible_duplicates > 0) is ambiguous
    assert set(arrived(sandbox)) == set(range(10))


@pytest.mark.parametrize("status", [200, 503])
async def test_an_answer_without_end_is_read_to_64_kib(sandbox: Sandbox, make: MakeRig, status: int) -> None:
    rig = make(sandbox.url)

    with sandbox.fault(EndlessBody(status=status)):
        response = await rig.api.post_events(b'{"events":[]}')
        await turns()

    assert response.status == status
    assert len(response.body) == 65_536
    assert not response.complete


async def test_memory_stays_flat_while_answers_never_end(sandbox: Sandbox, make: MakeRig) -> None:
    retry = RetryOptions(backoff_base=0.001, backoff_cap=0.001)
    rig = make(sandbox.url, retry=retry)
    rig.track(10)

    tracemalloc.start()
    try:
        with sandbox.fault(EndlessBody(status=503, request="ignored")):
            await rig.queue.flush(0)
            await rig.until_answered(5)
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            await rig.until_answered(50)
        report = await rig.queue.flush(LONG_S)
        await turns()
        _, peak = tracemalloc.get_traced_memory()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # The sandbox is in this process too: its broken connections refer to themselves, until they are collected.
    assert after - before < 1_000_000
    assert peak - before < 5_000_000
    assert (report.delivered, report.possible_duplicates) == (10, 0)
