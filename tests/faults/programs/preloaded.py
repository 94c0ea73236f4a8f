"""An application whose client is made, and tracks, before gunicorn forks its workers (`--preload`)."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from algolia_events import AlgoliaEvents, ClickedObjectIDs

algolia = AlgoliaEvents.from_env()


def track(object_id: str) -> bool:
    return algolia.events.track(
        ClickedObjectIDs(event_name="Clicked", index="products", object_ids=[object_id], user_token="anonymous-1")
    )


for number in range(10):
    track(f"master-{number}")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with algolia:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/click/{number}")
async def click(number: int) -> dict[str, int | bool]:
    return {"pid": os.getpid(), "taken": track(f"worker-{number}")}
