"""Measure what durability costs, on top of the same queue in memory.

    python -m benchmarks.durable [--rounds N] [--rate EVENTS_PER_SECOND] [--redis URL] [--only ROW ...]

Events come in at a steady rate; each figure is CPU of the whole process, its worker thread included, in µs an event,
the median of several rounds that run every row once, each in a process of its own. "On top" is what a row costs more
than the same without an outbox: for rows that only store, that is a queue whose requests are answered at once, without
a socket. Without `--redis` a server is started where `redis-server` is installed.
"""

import argparse
import asyncio
import json
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from algolia_events import AlgoliaEvents, QueueOptions
from algolia_events._wire import Request, Response
from benchmarks._sample import typed, values
from benchmarks._sink import Sink

_EVENTS: Final = 100_000
_WARM_UP: Final = 2_000
_TICK: Final = 0.01
_FIGURES: Final = ("cpu", "p50", "late", "requests")
_ROWS: Final = (
    ("memory", "in memory"),
    ("memory store", "in memory, its requests answered at once"),
    ("sqlite normal", "SQLite, normal: stored, claimed, sent, settled"),
    ("sqlite full", "SQLite, full: the same"),
    ("redis", "Redis: the same"),
    ("sqlite normal store", "SQLite, normal: stored only (deliver=False)"),
    ("sqlite full store", "SQLite, full: stored only"),
    ("redis store", "Redis: stored only"),
)


def _outbox_of(name: str, folder: str, redis: str) -> str | None:
    kind, *rest = name.split()
    if kind == "sqlite":
        return f"sqlite:///{folder}/events.db?synchronous={rest[0]}"
    # A stream of its own: what the rows that only store leave behind, the next round would send.
    return f"{redis}?stream={secrets.token_hex(4)}" if kind == "redis" else None


class _AnswersAtOnce:
    """A transport that opens no connection."""

    async def send(self, request: Request) -> Response:  # noqa: ARG002 - as the protocol has it
        return Response(status=200, headers={}, body=b"{}")

    async def aclose(self) -> None:
        """Nothing was opened."""


async def measure(name: str, url: str, outbox: str | None, rate: int) -> dict[str, float]:
    """Track events at a steady rate, flush, and say what it took."""
    deliver = outbox is None or not name.endswith("store")
    transport = _AnswersAtOnce() if name == "memory store" else None
    events = [typed(value) for value in values(_EVENTS)]
    queue = QueueOptions(max_events=1_000_000, max_bytes=1 << 30)
    costs: list[int] = []
    late: list[float] = []
    async with AlgoliaEvents(
        app_id="app",
        api_key="key",
        insights_url=url,
        queue=queue,
        outbox=outbox,
        deliver=deliver,
        transport=transport,
    ) as algolia:
        for value in values(_WARM_UP):
            algolia.events.track(typed(value))
        await algolia.events.flush(60)
        ticker = asyncio.create_task(_tick(late))
        begun, cpu = time.perf_counter(), time.process_time()
        done = 0
        while done < _EVENTS:
            due = min(_EVENTS, round((time.perf_counter() - begun) * rate) + 1)
            for event in events[done:due]:
                start = time.perf_counter_ns()
                algolia.events.track(event)
                costs.append(time.perf_counter_ns() - start)
            done = due
            await asyncio.sleep(_TICK)
        report = await algolia.events.flush(60)
        cpu = time.process_time() - cpu
        ticker.cancel()
        requests = algolia.stats().requests
    if report.delivered + report.stored != _EVENTS + _WARM_UP:
        raise RuntimeError(f"{report} does not account for {_EVENTS} events")
    costs.sort()
    return {
        "cpu": cpu / _EVENTS * 1e6,
        "p50": costs[_EVENTS // 2] / 1000,
        "late": max(late, default=0.0) * 1000,
        "requests": requests,
    }


async def _tick(late: list[float]) -> None:
    """Note by how much an idle 1 ms ticker is late."""
    while True:
        due = time.perf_counter() + 0.001
        await asyncio.sleep(0.001)
        late.append(time.perf_counter() - due)


def _run(name: str, url: str, redis: str, rate: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        outbox = _outbox_of(name, folder, redis)
        command = [sys.executable, "-m", "benchmarks.durable", "--child", json.dumps([name, url, outbox, rate])]
        figures: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return figures


@contextmanager
def _redis(given: str | None) -> Iterator[str]:
    """Use the server that is given, or start one that keeps an append-only file, written once a second."""
    binary = shutil.which("redis-server")
    if given is not None or binary is None:
        yield given or ""
        return
    with socket.socket() as probe, tempfile.TemporaryDirectory() as folder:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        options = ["--port", str(port), "--dir", folder, "--appendonly", "yes", "--save", "", "--loglevel", "warning"]
        server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.kill()
            server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--redis")
    parser.add_argument("--only", nargs="+", metavar="ROW", choices=[name for name, _ in _ROWS], help="besides memory")
    parser.add_argument("--child")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(asyncio.run(measure(*json.loads(options.child)))))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name, _ in _ROWS}
    with Sink() as sink, _redis(options.redis) as redis:
        wanted = {"memory", "memory store", *(options.only or found)}
        rows = [row for row in _ROWS if row[0] in wanted and (redis or not row[0].startswith("redis"))]
        for _ in range(options.rounds):
            for name, _ in rows:
                found[name].append(_run(name, sink.url, redis, options.rate))
    _print(rows, found, options)


def _print(rows: list[tuple[str, str]], found: dict[str, list[dict[str, float]]], options: Any) -> None:
    print(f"{_EVENTS} events of 313 bytes at {options.rate} a second, median of {options.rounds} rounds\n")
    print(f"{'':50} {'CPU':>6} {'on top':>7} {'track p50':>10} {'ticker late':>12} {'requests':>9}")
    for name, text in rows:
        base = statistics.median(each["cpu"] for each in found["memory store" if name.endswith("store") else "memory"])
        cpu, p50, late, requests = (statistics.median(each[key] for each in found[name]) for key in _FIGURES)
        print(f"{text:50} {cpu:6.2f} {cpu - base:7.2f} {p50:8.2f}µs {late:10.1f}ms {requests:9.0f}")


if __name__ == "__main__":
    main()
