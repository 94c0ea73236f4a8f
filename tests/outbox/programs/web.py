"""A web application on uvicorn: each request tracks so many events."""

import os

from fastapi import FastAPI

from algolia_events import AlgoliaEvents, ClickedObjectIDs
from algolia_events.config import QueueOptions, RetryOptions

algolia = AlgoliaEvents.from_env(
    deliver=os.environ.get("DELIVER") != "no",
    queue=QueueOptions(max_events=200_000, shutdown_timeout=5.0),
    retry=RetryOptions(backoff_base=0.05, backoff_cap=0.2),
)


async def close() -> None:
    report = await algolia.aclose()
    print(f"delivered {report.delivered} stored {report.stored} dropped {report.dropped}", flush=True)  # noqa: T201


app = FastAPI(on_startup=[algolia.start], on_shutdown=[close])


@app.get("/track/{count}")
async def track(count: int) -> dict[str, int]:
    taken = sum(
        algolia.events.track(
            ClickedObjectIDs(
                event_name="Clicked", index="products", object_ids=[f"{os.getpid()}-{number}"], user_token="user-1"
            )
        )
        for number in range(count)
    )
    return {"taken": taken}
