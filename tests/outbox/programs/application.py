"""A process of an application that shares an outbox; its first argument is a JSON object that says what it does.

Every event has an object ID of its own; one is written to the standard output once `put()` has returned for it.
"""

import asyncio
import json
import signal
import sys
from typing import Any

from algolia_events import AlgoliaEvents, ClickedObjectIDs
from algolia_events.config import QueueOptions, RetryOptions
from algolia_events.relay import Relay

PROMPT = RetryOptions(backoff_base=0.05, backoff_cap=0.2, probe_interval=0.2, attempt_timeout=60, read_timeout=60)
"""Patient with answers: the test's own process gives them, and on a busy machine some come late. To give up on one is
to send its events again, which no test here asks for."""


def event(name: str) -> ClickedObjectIDs:
    return ClickedObjectIDs(event_name="Clicked", index="products", object_ids=[name], user_token="user-1")


def client(todo: dict[str, Any]) -> AlgoliaEvents:
    return AlgoliaEvents(
        app_id=todo.get("app_id", "APP"),
        api_key="key",
        insights_url=todo["insights_url"],
        outbox=todo["outbox"],
        deliver=todo.get("deliver", True),
        queue=QueueOptions(linger=0.05, in_flight=todo.get("in_flight", 2), batch_events=todo.get("batch_events", 200)),
        retry=PROMPT,
    )


async def put_for_ever(todo: dict[str, Any]) -> None:
    """Put events, some at a time, until somebody ends it."""
    async with client(todo) as algolia:

        async def put(number: int) -> None:
            name = f"{todo['name']}-{number}"
            await algolia.events.put(event(name))
            sys.stdout.write(name + "\n")

        number = 0
        while True:
            await asyncio.gather(*(put(number + offset) for offset in range(20)))
            sys.stdout.flush()
            number += 20


async def put_some(todo: dict[str, Any]) -> None:
    """Track `events`, wait for all to be stored, and close."""
    async with client(todo) as algolia:
        for number in range(todo["events"]):
            if number % 100:
                algolia.events.track(event(f"{todo['name']}-{number}"))
            else:
                await algolia.events.put(event(f"{todo['name']}-{number}"))
        report = await algolia.events.flush(60)
    sys.stdout.write(json.dumps({"delivered": report.delivered, "dropped": report.dropped}) + "\n")


async def share(todo: dict[str, Any]) -> None:
    """Track `events`, say once all of them are stored, and send whatever there is until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with client(todo) as algolia:
        for number in range(1, todo["events"]):
            algolia.events.track(event(f"{todo['name']}-{number}"))
        await algolia.events.put(event(f"{todo['name']}-0"))  # the last to come: the others are stored as well
        sys.stdout.write("stored\n")
        sys.stdout.flush()
        await ended.wait()
    stats = algolia.stats()
    assert stats.sending is not None
    sys.stdout.write(json.dumps({"dropped": sum(stats.dropped.values()), "accepted": stats.sending.accepted}) + "\n")


async def track_and_leave(todo: dict[str, Any]) -> None:
    """Track `events`, and let the loop end without closing anything."""
    algolia = client(todo)
    await algolia.start()
    for number in range(todo["events"]):
        algolia.events.track(event(f"{todo['name']}-{number}"))


async def relay(todo: dict[str, Any]) -> None:
    """Send what others have stored, until somebody ends it."""
    queue = QueueOptions(in_flight=2, batch_events=todo.get("batch_events", 200))
    async with Relay(
        app_id="APP", api_key="key", insights_url=todo["insights_url"], outbox=todo["outbox"], queue=queue, retry=PROMPT
    ):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    what = json.loads(sys.argv[1])
    asyncio.run(globals()[what["do"]](what))
