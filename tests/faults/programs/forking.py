"""Fork a process that has a client with events queued and a connection open; `argv[1]` is the server's address.

The parent tracks "parent-…", the child "child-…", each twice ten events: before and after it knows of the fork.
Both print what their client counted, as JSON.
"""

import asyncio
import gc
import json
import os
import sys
import time

from algolia_events import AlgoliaEvents, ClickedObjectIDs, QueueOptions

WAIT_S = 20


def track(client: AlgoliaEvents, who: str, first: int) -> None:
    for number in range(first, first + 10):
        client.events.track(
            ClickedObjectIDs(
                event_name="Clicked", index="products", object_ids=[f"{who}-{number}"], user_token="anonymous-1"
            )
        )


def show(client: AlgoliaEvents, who: str, **more: object) -> None:
    stats = client.stats()
    account = {
        "who": who,
        "tracked": stats.tracked,
        "delivered": stats.delivered,
        "possible_duplicates": stats.possible_duplicates,
        **more,
    }
    sys.stdout.write(json.dumps(account) + "\n")
    sys.stdout.flush()


async def be_child(client: AlgoliaEvents, empty: bool) -> None:
    track(client, "child", 10)
    await client.aclose(WAIT_S)
    show(client, "child", empty=empty)


def child(client: AlgoliaEvents) -> None:
    stats = client.stats()
    track(client, "child", 0)
    gc.collect()  # whatever of the parent's is collected here must not touch the parent's connection
    asyncio.run(be_child(client, stats.tracked == stats.pending == 0 and client.health().ok))
    gc.collect()


async def main(url: str) -> None:
    client = AlgoliaEvents(app_id="APP", api_key="KEY", insights_url=url, queue=QueueOptions(linger=3600))
    await client.start()
    track(client, "parent", 0)
    await client.events.flush(WAIT_S)  # the connection is in the pool now
    track(client, "parent", 10)
    pid = os.fork()
    if not pid:
        asyncio._set_running_loop(None)
        child(client)
        sys.stdout.flush()
        os._exit(0)
    _, status = os.waitpid(pid, 0)  # noqa: ASYNC222 - there is nothing else to do
    track(client, "parent", 20)
    began = time.monotonic()
    await client.events.flush(WAIT_S)
    lasted = time.monotonic() - began
    await client.aclose(WAIT_S)
    show(client, "parent", child_status=status, lasted=lasted)


asyncio.run(main(sys.argv[1]))
