"""A FastAPI shop that fills its queue and is then told to go.

`POST /fill/{count}` tracks so many events and ends the server with SIGTERM, all in one turn of the loop, so that
everything is still queued. What became of the events goes to standard output, as JSON. The environment configures the
client.
"""

import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request

from algolia_events import AlgoliaEvents, ClickedObjectIDs, QueueOptions

ALLOWED_S = 5.0


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    algolia = AlgoliaEvents.from_env(queue=QueueOptions(shutdown_timeout=ALLOWED_S, linger=3600))
    app.state.algolia = algolia
    try:
        async with algolia:
            yield
    finally:
        stats = algolia.stats()
        account = {
            "killed_at": app.state.killed_at,
            "closed_at": time.monotonic(),
            "tracked": stats.tracked,
            "delivered": stats.delivered,
            "rejected": stats.rejected,
            "dropped": {str(reason): count for reason, count in stats.dropped.items()},
            "pending": stats.pending,
            "possible_duplicates": stats.possible_duplicates,
        }
        sys.stdout.write(json.dumps(account) + "\n")
        sys.stdout.flush()


app = FastAPI(lifespan=lifespan)


@app.post("/fill/{count}")
async def fill(count: int, request: Request) -> None:
    algolia: AlgoliaEvents = request.app.state.algolia
    for number in range(count):
        algolia.events.track(
            ClickedObjectIDs(
                event_name="Clicked", index="products", object_ids=[f"sku-{number}"], user_token="anonymous-1"
            )
        )
    request.app.state.killed_at = time.monotonic()
    os.kill(os.getpid(), signal.SIGTERM)
