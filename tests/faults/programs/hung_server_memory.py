"""Track a million events of 1 kB while the server at `argv[1]` hangs; print what that took, as JSON."""

import asyncio
import gc
import json
import os
import sys

from algolia_events import AlgoliaEvents, ClickedObjectIDs, QueueOptions, RetryOptions

EVENTS = 1_000_000
MAX_BYTES = 64 * 1024 * 1024
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - nothing between us and the number
        return int(statm.read().split()[1]) * PAGE_BYTES


def event(index: str) -> ClickedObjectIDs:
    return ClickedObjectIDs(event_name="Clicked", index=index, object_ids=["sku"], user_token="user")


async def main(url: str) -> None:
    options = QueueOptions(max_events=10 * EVENTS, max_bytes=MAX_BYTES)
    client = AlgoliaEvents(
        app_id="APP",
        api_key="KEY",
        insights_url=url,
        queue=options,
        retry=RetryOptions(attempt_timeout=600, read_timeout=600),
    )
    await client.start()
    one = event("x" * 860)
    client.events.track(one)
    gc.collect()
    before = resident_bytes()
    for number in range(1, EVENTS):
        client.events.track(one)
        if number % 1000 == 0:
            await asyncio.sleep(0)
    while client.stats().in_flight < options.in_flight:  # noqa: ASYNC110 - a counter, which tells nobody
        await asyncio.sleep(0.01)
    stats = client.stats()
    account = {
        "grown_bytes": resident_bytes() - before,
        "max_bytes": MAX_BYTES,
        "tracked": stats.tracked,
        "pending": stats.pending,
        "pending_bytes": stats.pending_bytes,
        "dropped": sum(stats.dropped.values()),
        "in_flight": stats.in_flight,
        "tasks": len(asyncio.all_tasks()) - 1,
    }
    sys.stdout.write(json.dumps(account) + "\n")
    sys.stdout.flush()
    await client.aclose(0)


asyncio.run(main(sys.argv[1]))
