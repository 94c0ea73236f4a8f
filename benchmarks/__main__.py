"""Measure everything and print one table.

    python -m benchmarks [--rounds N] [--only NAME …]

Each figure is the median of several rounds. A round runs every row once, each in a process of its own against a
server in another, so that what else the machine does meets all of them alike: compare rows of one run.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from algolia_events import __version__
from algolia_events._native import speedups
from benchmarks._library import MEASURES
from benchmarks._senders import SENDERS, Sender
from benchmarks._sink import Sink

_DELAYS: Final = {"slots": 0.03, "aclose": 0.05}
_TIME_LIMIT: Final = 300
_GOALS: Final = (
    ("ours", "naive", 0.6),
    ("ours-small", "naive-small", 0.6),
    ("ours", "official", 0.3),
    ("ours", "models", 1 / 12),
    ("ours", "posthog", 1 / 75),
    ("ours", "single", 1 / 150),
)
_LIBRARY_ROWS: Final = (
    ("track() of a built event, median", "track", "p50", "µs", 1.0),
    ("track() of a built event, 99 of 100", "track", "p99", "µs", 5.0),
    ("1 ms ticker while 100,000 leave, latest", "ticker", "flushing", "ms", 3.0),
    ("the same without work", "ticker", "idle", "ms", None),
    ("memory a waiting event", "memory", "bytes", "B", 350.0),
    ("100,000 at 30 ms a request, 4 slots", "slots", "seconds", "s", 1.0),
    ("aclose() of 100,000 at 50 ms a request", "aclose", "seconds", "s", 5.0),
    ("wake-ups in 2 s before the first event", "idle", "wakes fresh", "", 0.0),
    ("timers then", "idle", "timers fresh", "", 0.0),
    ("wake-ups in 2 s after a flush", "idle", "wakes flushed", "", 0.0),
    ("timers then (1: aiohttp's, for the connection)", "idle", "timers flushed", "", None),
    ("importing the package", "imports", "algolia_events", "s", 0.25),
    ("of which aiohttp, alone", "imports", "aiohttp", "s", None),
)

Rounds = dict[str, list[dict[str, float]]]


def _installed(sender: Sender) -> bool:
    try:
        return sender.package is None or bool(version(sender.package))
    except PackageNotFoundError:
        return False


def _measure(*arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks._child", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIME_LIMIT)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _run(rounds: int, senders: Mapping[str, Sender], measures: Sequence[str]) -> Rounds:
    found: Rounds = {name: [] for name in (*senders, *measures)}
    with Sink() as plain, Sink(_DELAYS["slots"]) as slow, Sink(_DELAYS["aclose"]) as slower:
        sinks = {"slots": slow, "aclose": slower}
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            for name, sender in senders.items():
                before = plain.received()
                figures = _measure(name, plain.url, str(sender.events))
                found[name].append({**figures, "bytes": (plain.received() - before) / sender.events})
            for name in measures:
                found[name].append(_measure(name, sinks.get(name, plain).url))
    return found


def _median(found: Rounds, name: str, figure: str) -> float:
    return statistics.median(run[figure] for run in found[name])


def _print_senders(found: Rounds, senders: Mapping[str, Sender]) -> None:
    naive = _median(found, "naive", "cpu") if found.get("naive") else None
    print(f"\n{'':46} {'CPU µs':>9} {'of naive':>9} {'wall µs':>9} {'best CPU':>9} {'events':>8}")
    for name, sender in senders.items():
        cpu = _median(found, name, "cpu")
        share = "" if naive is None else f"{cpu / naive:.2f}"
        best = min(run["cpu"] for run in found[name])
        wall = _median(found, name, "wall")
        print(f"{sender.title:46} {cpu:9.2f} {share:>9} {wall:9.2f} {best:9.2f} {sender.events:8,}")
    for name in SENDERS.keys() - senders.keys():
        print(f"{SENDERS[name].title:46} left out")


def _print_goals(found: Rounds) -> None:
    print(f"\n{'our CPU beside theirs':46} {'is':>9} {'goal':>9}")
    for ours, theirs, goal in _GOALS:
        if found.get(ours) and found.get(theirs):
            ratio = _median(found, ours, "cpu") / _median(found, theirs, "cpu")
            print(f"{SENDERS[theirs].title:46} {ratio:9.4f} {goal:9.4f} {'' if ratio <= goal else 'missed'}")


def _print_library(found: Rounds) -> None:
    print(f"\n{'':46} {'is':>9} {'goal':>9}")
    for title, name, figure, unit, goal in _LIBRARY_ROWS:
        if found.get(name):
            value = _median(found, name, figure)
            aim = "" if goal is None else f"{goal:g}"
            verdict = "missed" if goal is not None and value > goal else ""
            print(f"{title:46} {value:9.2f} {aim:>9} {unit:3} {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=[*SENDERS, *MEASURES], default=[*SENDERS, *MEASURES])
    chosen = parser.parse_args()
    senders = {name: sender for name, sender in SENDERS.items() if name in chosen.only and _installed(sender)}
    measures = [name for name in MEASURES if name in chosen.only]
    found = _run(chosen.rounds, senders, measures)
    packages = ["aiohttp", "attrs", "orjson", *(s.package for s in senders.values() if s.package)]
    python = f"CPython {platform.python_version()} on {platform.machine()}"
    extension = "without" if speedups is None else "with"
    print(f"algolia_events {__version__} {extension} its extension, {python}; medians of {chosen.rounds} rounds")
    print(", ".join(f"{name} {version(name)}" for name in dict.fromkeys(packages)))
    if senders:
        _print_senders(found, senders)
        _print_goals(found)
    if measures:
        _print_library(found)


if __name__ == "__main__":
    main()
