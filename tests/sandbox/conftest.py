"""A sandbox on a free port and a client that shows credentials, for the tests of the sandbox."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from algolia_events.sandbox import Sandbox

CREDENTIALS = {"x-algolia-application-id": "APP", "x-algolia-api-key": "search-key"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers=CREDENTIALS, timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


@pytest.fixture
def click() -> Callable[..., dict[str, Any]]:
    """Build a click as it stands on the wire; a field given as None is left out."""

    def build(**fields: Any) -> dict[str, Any]:
        event = {
            "eventName": "Product Clicked",
            "eventType": "click",
            "index": "products",
            "userToken": "user-1",
            "objectIDs": ["sku-1"],
            "timestamp": int(time.time() * 1000),
            **fields,
        }
        return {name: value for name, value in event.items() if value is not None}

    return build
