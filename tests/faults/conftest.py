"""What the proofs share: a sandbox, queues that send to it, and a clock that stands still."""

import time
from collections.abc import AsyncIterator

import pytest
from support.clock import HandClock
from support.rigs import MakeRig, rigs

from algolia_events.sandbox import Sandbox


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def make() -> AsyncIterator[MakeRig]:
    async with rigs() as make:
        yield make


@pytest.fixture
def clock() -> HandClock:
    """The sandbox judges ages by the real wall clock, so this one starts there."""
    return HandClock(wall=time.time())
