"""What one event costs before it waits: built with every rule checked, and encoded.

    python benchmarks/micro_events.py

The event is a click after a search as a shop would send it. All rows are measured in turns in one process and the
median round is printed; compare rows of one run only. "plain" rows are what the same values cost without any check:
an `attrs` class, frozen or not, and a mapping written by orjson.
"""

import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import attrs
import orjson

from algolia_events._codec import encode, encoder_for, parse_event, to_mapping
from algolia_events.events import ClickedObjectIDsAfterSearch

ROUNDS = 15
CALLS = 20_000
NOW_MS = 1_700_000_000_000
FIELDS: dict[str, Any] = {
    "event_name": "Product Clicked",
    "index": "prod_products_en",
    "object_ids": ["sku-1234567", "sku-7654321"],
    "positions": [1, 2],
    "query_id": "7dfe2ada7bca48bdd0629649df0bee07",
    "user_token": "anonymous-2f0a1b3c-4d5e-4f60-8a7b-9c0d1e2f3a4b",
    "authenticated_user_token": "user-12345678",
}
EVENT = ClickedObjectIDsAfterSearch(**FIELDS)
MAPPING = to_mapping(EVENT, NOW_MS)
NAMES = dict.fromkeys([*FIELDS, "timestamp"], object)
Plain = attrs.make_class("Plain", {name: attrs.field(default=None) for name in NAMES}, kw_only=True, slots=True)
Frozen = attrs.make_class(
    "Frozen", {name: attrs.field(default=None) for name in NAMES}, kw_only=True, slots=True, frozen=True
)


def build(cls: Any) -> Callable[[], object]:
    object_ids, positions = FIELDS["object_ids"], FIELDS["positions"]
    query_id, token, authenticated = FIELDS["query_id"], FIELDS["user_token"], FIELDS["authenticated_user_token"]
    return lambda: cls(
        event_name="Product Clicked",
        index="prod_products_en",
        object_ids=object_ids,
        positions=positions,
        query_id=query_id,
        user_token=token,
        authenticated_user_token=authenticated,
    )


def nanoseconds(call: Callable[[], object]) -> float:
    calls = range(CALLS)
    started = time.perf_counter_ns()
    for _ in calls:
        call()
    return (time.perf_counter_ns() - started) / CALLS


def main() -> None:
    encoder = encoder_for(ClickedObjectIDsAfterSearch)
    wire = to_mapping(EVENT)
    rows: dict[str, Callable[[], object]] = {
        "(the loop and an empty call)": lambda: None,
        "plain attrs class, built": build(Plain),
        "plain frozen attrs class, built": build(Frozen),
        "event, built and validated": build(ClickedObjectIDsAfterSearch),
        "event, encoded": lambda: encoder(EVENT, NOW_MS),
        "event, encoded through encode()": lambda: encode(EVENT, NOW_MS),
        "plain mapping, orjson.dumps": lambda: orjson.dumps(MAPPING),
        "event, parsed from a mapping": lambda: parse_event(wire),
    }
    rounds: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(ROUNDS):
        for name, call in rows.items():
            rounds[name].append(nanoseconds(call))
    base = statistics.median(rounds["(the loop and an empty call)"])
    print(f"CPython {sys.version.split()[0]}, attrs {version('attrs')}, orjson {version('orjson')}")
    print(f"an event of {len(encode(EVENT, NOW_MS))} bytes, {ROUNDS} rounds of {CALLS} calls, ns a call")
    for name, times in rounds.items():
        median = statistics.median(times) - (0 if name.startswith("(") else base)
        print(f"{name:34} {median:8.0f}")


if __name__ == "__main__":
    main()
