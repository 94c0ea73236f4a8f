"""Track five events with a client that is never closed (`argv[1]` says in which way), to the server at `argv[2]`."""

import asyncio
import sys
from typing import Any

from algolia_events import AlgoliaEvents, ClickedObjectIDs, QueueOptions

EVENT = ClickedObjectIDs(event_name="Clicked", index="products", object_ids=["sku"], user_token="user")


def make(url: str, **options: Any) -> AlgoliaEvents:
    return AlgoliaEvents(app_id="APP", api_key="KEY", insights_url=url, queue=QueueOptions(**options))


def track(client: AlgoliaEvents, count: int) -> None:
    for _ in range(count):
        sys.stdout.write(f"{client.events.track(EVENT)}\n")


async def wait(client: AlgoliaEvents) -> None:
    await client.start()
    track(client, 3)


async def leave_in_flight(client: AlgoliaEvents) -> None:
    await client.start()
    track(client, 3)
    while not client.stats().in_flight:  # noqa: ASYNC110 - a counter, which tells nobody
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)  # the connection is made and the request leaves, or not: both must be right


async def close(client: AlgoliaEvents) -> None:
    flushed = await client.events.flush(5)
    await client.aclose()
    sys.stdout.write(f"{flushed.delivered}\n")


def main(way: str, url: str) -> None:
    # With a full batch the loop ends when its request is about to begin.
    client = make(url, linger=0 if "in-flight" in way else 3600, batch_events=3 if "full" in way else 1000)
    work = leave_in_flight if "in-flight" in way else wait
    if way == "no-loop":
        track(client, 3)
    elif way.startswith("close"):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(work(client))
        loop.close()
    else:
        asyncio.run(work(client))
    track(client, 2)
    if way.endswith("again"):
        asyncio.run(close(client))


main(*sys.argv[1:])
