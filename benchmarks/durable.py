"""Measure what durability costs, on top of the same queue in memory.

    python -m benchmarks.durable [--rounds N] [--rate EVENTS_PER_SECOND] [--redis URL] [--only ROW ...]

Events come in at a steady rate. All queues live in one process and take turns of half a second, so that they share the
machine's moods; each figure is CPU of the whole process, its worker thread included, in µs an event, the median of the
turns. "On top" is what a turn costs more than the turns without an outbox right before and after it: the median, and
within which bounds half of the rounds lie. For rows that only store, what it is compared with is a queue whose requests
are answered at once, without a socket. Without `--redis` a server is started where `redis-server` is installed.
"""

import argparse
import asyncio
import math
import secrets
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Final
from urllib.parse import urlsplit

import attrs

from algolia_events import AlgoliaEvents, QueueOptions
from algolia_events._wire import Request, Response
from algolia_events.abc import Hook
from algolia_events.events import Event
from benchmarks._cores import stay_on
from benchmarks._sample import typed, values
from benchmarks._sink import Sink

_TICK: Final = 0.01
_LEAST_ROUNDS: Final = 2
_ROWS: Final = (
    ("memory", "in memory"),
    ("memory store", "in memory, its requests answered at once"),
    ("sqlite normal", "SQLite, normal: stored, claimed, sent, settled"),
    ("sqlite full", "SQLite, full: the same"),
    ("redis", "Redis: the same"),
    ("floor", "floor: in memory, and as many bytes to Redis, bare"),
    ("sqlite normal store", "SQLite, normal: stored only (deliver=False)"),
    ("sqlite full store", "SQLite, full: stored only"),
    ("redis store", "Redis: stored only"),
)


def _outbox_of(name: str, folder: str, redis: str) -> str | None:
    kind, *rest = name.split()
    if kind == "sqlite":
        return f"sqlite:///{folder}/{'-'.join(rest)}.db?synchronous={rest[0]}"
    # A file or a stream of its own: what a row that only stores leaves behind, another would send.
    return f"{redis}?stream={secrets.token_hex(4)}" if kind == "redis" else None


class _BareWrites(Hook, asyncio.Protocol):
    """Has Redis add as many bytes to a stream as each request holds: no way of storing groups there does without that.

    The bytes are made beforehand, nothing is claimed or settled, and nobody waits for the answer.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._bytes = b"x" * (1 << 20)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def batch_sent(self, events: int, body_bytes: int) -> None:  # noqa: ARG002 - as the hook has it
        if self._transport is not None:
            head = (
                b"*7\r\n$4\r\nXADD\r\n$5\r\nfloor\r\n$6\r\nMAXLEN\r\n$1\r\n1\r\n$1\r\n*\r\n$1\r\nb\r\n$%d\r\n"
                % body_bytes
            )
            self._transport.writelines([head, memoryview(self._bytes)[:body_bytes], b"\r\n"])


class _AnswersAtOnce:
    """A transport that opens no connection."""

    async def send(self, request: Request) -> Response:  # noqa: ARG002 - as the protocol has it
        return Response(status=200, headers={}, body=b"{}")

    async def aclose(self) -> None:
        """Nothing was opened."""


def _base_of(name: str) -> str:
    """Name the row that a row is compared with."""
    return "memory store" if name.endswith("store") else "memory"


@attrs.frozen
class Turn:
    """What half a second took: µs of CPU an event, µs of `track()` at the median, ms that a ticker was late at most."""

    cpu: float
    p50: float
    late: float
    requests: int
    on_top: float = math.nan
    """How much more CPU than the turns of the base before and after it."""


async def measure(
    names: Sequence[str], url: str, folder: str, redis: str, *, rate: int, rounds: int
) -> dict[str, list[Turn]]:
    """Let the queues take turns, forwards and backwards."""
    events = [typed(value) for value in values(rate // 2)]
    found: dict[str, list[Turn]] = {name: [] for name in names}
    async with AsyncExitStack() as stack:
        clients = {}
        for name in names:
            hooks = [await _bare_writes(redis)] if name == "floor" else []
            clients[name] = await stack.enter_async_context(_client(name, url, folder, redis, hooks))
        rows = [name for name in names if name != _base_of(name)]
        for number in range(rounds + 1):
            for name in rows if number % 2 else reversed(rows):
                base = _base_of(name)
                before, turn, after = [await _turn(clients[each], events, rate) for each in (base, name, base)]
                if number:  # the first is to warm up
                    found[base] += before, after
                    found[name].append(attrs.evolve(turn, on_top=turn.cpu - (before.cpu + after.cpu) / 2))
    return found


async def _bare_writes(redis: str) -> _BareWrites:
    address = urlsplit(redis)
    loop = asyncio.get_running_loop()
    _, writes = await loop.create_connection(_BareWrites, str(address.hostname), address.port or 6379)
    return writes


def _client(name: str, url: str, folder: str, redis: str, hooks: Sequence[Hook]) -> AlgoliaEvents:
    outbox = _outbox_of(name, folder, redis)
    return AlgoliaEvents(
        app_id="app",
        api_key="key",
        insights_url=url,
        queue=QueueOptions(max_events=1_000_000, max_bytes=1 << 30),
        outbox=outbox,
        deliver=outbox is None or not name.endswith("store"),
        transport=_AnswersAtOnce() if name == "memory store" else None,
        hooks=hooks,
    )


async def _turn(algolia: AlgoliaEvents, events: Sequence[Event], rate: int) -> Turn:
    """Track events at a steady rate, flush, and say what it took."""
    costs: list[int] = []
    late: list[float] = []
    before = algolia.stats()
    ticker = asyncio.create_task(_tick(late))
    begun, cpu = time.perf_counter(), time.process_time()
    done = 0
    while done < len(events):
        due = min(len(events), round((time.perf_counter() - begun) * rate) + 1)
        for event in events[done:due]:
            start = time.perf_counter_ns()
            algolia.events.track(event)
            costs.append(time.perf_counter_ns() - start)
        done = due
        await asyncio.sleep(_TICK)
    report = await algolia.events.flush(60)
    cpu = time.process_time() - cpu
    ticker.cancel()
    if report.delivered + report.stored - before.delivered - before.stored != len(events):
        raise RuntimeError(f"{report} does not account for {len(events)} events more")
    costs.sort()
    return Turn(
        cpu=cpu / len(events) * 1e6,
        p50=costs[len(costs) // 2] / 1000,
        late=max(late, default=0.0) * 1000,
        requests=algolia.stats().requests - before.requests,
    )


async def _tick(late: list[float]) -> None:
    """Note by how much an idle 1 ms ticker is late."""
    while True:
        due = time.perf_counter() + 0.001
        await asyncio.sleep(0.001)
        late.append(time.perf_counter() - due)


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
        stay_on(-1, server.pid)
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
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--redis")
    rows = [name for name, _ in _ROWS if name != _base_of(name)]
    parser.add_argument("--only", nargs="+", metavar="ROW", choices=rows, help="besides what they are compared with")
    options = parser.parse_args()
    if options.rounds < _LEAST_ROUNDS:
        parser.error(f"--rounds must be at least {_LEAST_ROUNDS}")
    with Sink() as sink, _redis(options.redis) as redis, tempfile.TemporaryDirectory() as folder:
        stay_on(0)
        rows = options.only or rows
        wanted = {*rows, *map(_base_of, rows)}
        names = [name for name, _ in _ROWS if name in wanted and (redis or not name.startswith(("redis", "floor")))]
        found = asyncio.run(measure(names, sink.url, folder, redis, rate=options.rate, rounds=options.rounds))
    print(f"turns of {options.rate // 2} events of 313 bytes, {options.rate} a second, {options.rounds} rounds\n")
    print(f"{'':50} {'CPU':>6} {'on top':>7} {'half within':>14} {'track p50':>10} {'ticker late':>12} {'requests':>9}")
    for name, text in _ROWS:
        if turns := found.get(name):
            _print(text, turns, is_base=name == _base_of(name))


def _print(text: str, turns: Sequence[Turn], *, is_base: bool) -> None:
    def median(field: Callable[[Turn], float]) -> float:
        return statistics.median(map(field, turns))

    more = ""
    if not is_base:
        low, middle, high = statistics.quantiles([turn.on_top for turn in turns], n=4, method="inclusive")
        more = f"{middle:7.2f} {low:6.2f} … {high:5.2f}"
    print(
        f"{text:50} {median(lambda turn: turn.cpu):6.2f} {more:22} {median(lambda turn: turn.p50):8.2f}µs "
        f"{median(lambda turn: turn.late):10.1f}ms {median(lambda turn: turn.requests):9.0f}"
    )


if __name__ == "__main__":
    main()
