"""What is measured of this library alone; each measure runs in a process of its own and returns its figures."""

import asyncio
import gc
import itertools
import selectors
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from algolia_events import AlgoliaEvents, QueueOptions
from benchmarks._sample import typed, values

_EVENTS: Final = 100_000
_IDLE_SECONDS: Final = 2.0
_TICK: Final = 0.001
_IMPORTS: Final = 7


def _client(url: str, **options: Any) -> AlgoliaEvents:
    queue = QueueOptions(max_events=1_000_000, max_bytes=1 << 30, **options)
    return AlgoliaEvents(app_id="app", api_key="key", insights_url=url, queue=queue)


async def track(url: str) -> dict[str, float]:
    """Time each `track()` of an event built beforehand, in µs; the price of reading the clock is taken off."""
    events = [typed(value) for value in values(_EVENTS)]
    clock = time.perf_counter_ns
    empty: list[int] = []
    times: list[int] = []
    async with _client(url, linger=3600.0) as algolia:
        call = algolia.events.track
        gc.collect()
        for event in events:
            start = clock()
            end = clock()
            empty.append(end - start)
            start = clock()
            call(event)
            end = clock()
            times.append(end - start)
    overhead = statistics.median(empty)
    cuts = statistics.quantiles(times, n=1000)
    return {"p50": (cuts[499] - overhead) / 1000, "p99": (cuts[989] - overhead) / 1000}


async def ticker(url: str) -> dict[str, float]:
    """Let a task sleep 1 ms again and again while 100,000 waiting events are flushed; how late it woke, in ms."""
    late: list[float] = []

    async def tick() -> None:
        while True:
            due = time.perf_counter() + _TICK
            await asyncio.sleep(_TICK)
            late.append((time.perf_counter() - due) * 1000)

    async def worst_during(seconds: float) -> float:
        late.clear()
        task = asyncio.create_task(tick())
        await asyncio.sleep(seconds)
        task.cancel()
        return max(late)

    async with _client(url, linger=3600.0) as algolia:
        for value in values(2000):
            algolia.events.track(typed(value))
        await algolia.events.flush()
        idle = await worst_during(0.3)
        for value in values(_EVENTS):
            algolia.events.track(typed(value))
        gc.collect()
        late.clear()
        task = asyncio.create_task(tick())
        await asyncio.sleep(2 * _TICK)
        await algolia.events.flush()
        await asyncio.sleep(2 * _TICK)
        task.cancel()
    return {"flushing": max(late), "idle": idle}


def _resident() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the system does not say how much memory a process has")


async def memory(url: str) -> dict[str, float]:
    """Let 100,000 events wait; what the process has grown by, in bytes an event."""
    sample = values(_EVENTS)
    algolia = _client(url)
    for value in sample[:2000]:
        algolia.events.track(typed(value))
    gc.collect()
    before = _resident()
    for value in sample:
        algolia.events.track(typed(value))
    gc.collect()
    grown = _resident() - before
    await algolia.aclose()
    return {"bytes": grown / _EVENTS}


async def aclose(url: str) -> dict[str, float]:
    """Close with 100,000 events waiting; seconds until all are delivered."""
    async with _client(url, linger=3600.0) as algolia:
        for value in values(_EVENTS):
            algolia.events.track(typed(value))
        start = time.perf_counter()
        report = await algolia.aclose()
        took = time.perf_counter() - start
    if report.delivered != _EVENTS:
        raise RuntimeError(f"not all events were delivered: {report}")
    return {"seconds": took}


async def slots(url: str) -> dict[str, float]:
    """Flush 100,000 waiting events through 4 slots; seconds."""
    async with _client(url, linger=3600.0, in_flight=4) as algolia:
        for value in values(_EVENTS):
            algolia.events.track(typed(value))
        start = time.perf_counter()
        report = await algolia.events.flush()
        took = time.perf_counter() - start
    if report.delivered != _EVENTS:
        raise RuntimeError(f"not all events were delivered: {report}")
    return {"seconds": took}


class _CountingSelector(selectors.DefaultSelector):
    """Counts how often the loop was woken up."""

    def __init__(self) -> None:
        super().__init__()
        self.wakes = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(timeout)
        self.wakes += timeout is None or timeout > 0  # without a wait it is the same waking
        return ready


def idle(url: str) -> dict[str, float]:
    """Be idle for two seconds, before the first event and after a flush: how often the loop woke, beside our own call.

    `timers` are those that are pending then; the one after a flush is aiohttp's, for the pooled connection.
    """

    async def watch() -> dict[str, float]:
        loop: Any = asyncio.get_running_loop()
        figures: dict[str, float] = {}
        async with _client(url) as algolia:
            for moment in ("fresh", "flushed"):
                await asyncio.sleep(0.1)
                figures[f"timers {moment}"] = sum(not timer.cancelled() for timer in loop._scheduled)  # noqa: SLF001 - nothing public tells
                before = selector.wakes
                await asyncio.sleep(_IDLE_SECONDS)
                figures[f"wakes {moment}"] = selector.wakes - before - 1  # the one that ends this sleep
                for value in values(1000):
                    algolia.events.track(typed(value))
                await algolia.events.flush()
        return figures

    selector = _CountingSelector()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        return runner.run(watch())


def imports(_: str) -> dict[str, float]:
    """Import the package in fresh interpreters, and `aiohttp` alone; seconds, the best of several in turns."""
    code = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"
    times: dict[str, list[float]] = {"algolia_events": [], "aiohttp": []}
    for _round, name in itertools.product(range(_IMPORTS), times):
        run = subprocess.run([sys.executable, "-c", code.format(name)], capture_output=True, text=True, check=True)
        times[name].append(float(run.stdout))
    return {name: statistics.median(found) for name, found in times.items()}


MEASURES: Final = {
    "track": track,
    "ticker": ticker,
    "memory": memory,
    "aclose": aclose,
    "slots": slots,
    "idle": idle,
    "imports": imports,
}
