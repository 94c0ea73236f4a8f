"""A queue with its line to a server, and a record of everything that it sends."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from algolia_events import ClickedObjectIDs, EventQueue, QueueOptions, RetryOptions
from algolia_events._http import AiohttpTransport
from algolia_events._insights import InsightsApi
from algolia_events._retry import Outcome
from algolia_events.sandbox import Sandbox

LONG_S = 30.0
"""What nothing here takes, however busy the machine is."""

_NUMBERS = re.compile(rb'"sku-(\d+)"')


def click(number: int = 0, **fields: Any) -> ClickedObjectIDs:
    """Make an event that is known by its number."""
    values = {
        "event_name": "Clicked",
        "index": "products",
        "object_ids": [f"sku-{number}"],
        "user_token": "anonymous-1",
    }
    return ClickedObjectIDs(**{**values, **fields})


def numbers_in(body: bytes) -> list[int]:
    """List the numbers of the events in a body."""
    return [int(number) for number in _NUMBERS.findall(body)]


def arrived(sandbox: Sandbox) -> list[int]:
    """List the numbers of the events that a sandbox has accepted, in its order."""
    return [int(event["objectIDs"][0].removeprefix("sku-")) for event in sandbox.events]


async def turns(count: int = 20) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], *, timeout: float = LONG_S) -> None:  # noqa: ASYNC109 - a bound that a test states
    """Let the loop turn until something is so."""
    ends = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError(f"not so within {timeout} s")
        await asyncio.sleep(0)


class Rig:
    """A queue that sends to `url`, and what it sent: `bodies` in the order in which the attempts began, `outcomes` in
    the order in which they ended, `overlaps` with how many were under way as each began."""

    def __init__(
        self,
        url: str,
        *,
        retry: RetryOptions | None = None,
        api_key: str = "KEY",
        transport: AiohttpTransport | None = None,
        clock: Any = None,
        hooks: Any = (),
        **options: Any,
    ) -> None:
        retry = retry or RetryOptions()
        self.transport = transport or AiohttpTransport()
        self.api = InsightsApi(self.transport, app_id="APP", api_key=api_key, url=url, retry=retry)
        self.queue = EventQueue(
            self._deliver,
            options=QueueOptions(**{"linger": 3600.0, **options}),
            retry=retry,
            clock=clock,
            hooks=hooks,
        )
        self.bodies: list[bytes] = []
        self.outcomes: list[Outcome] = []
        self.overlaps: list[int] = []
        self._under_way = 0

    def track(self, count: int, *, first: int = 0, **fields: Any) -> None:
        """Track events with numbers in a row; each must be taken in."""
        for number in range(first, first + count):
            assert self.queue.track(click(number, **fields))

    async def until_answered(self, attempts: int) -> None:
        """Wait until so many attempts are over and booked."""
        await until(lambda: len(self.outcomes) >= attempts and not self.queue.stats().in_flight)

    async def _deliver(self, body: bytes) -> Outcome:
        self.bodies.append(body)
        self.overlaps.append(self._under_way)
        self._under_way += 1
        try:
            outcome = await self.api.deliver(body)
        finally:
            self._under_way -= 1
        self.outcomes.append(outcome)
        return outcome


class MakeRig(Protocol):
    """Make a rig; it is closed after the test."""

    def __call__(self, url: str, **options: Any) -> Rig: ...


@asynccontextmanager
async def rigs() -> AsyncIterator[MakeRig]:
    """Make rigs, and close them, their connections too."""
    made: list[Rig] = []

    def make(url: str, **options: Any) -> Rig:
        made.append(Rig(url, **options))
        return made[-1]

    try:
        yield make
    finally:
        for rig in made:
            await rig.queue.aclose(0)
            await rig.transport.aclose()
