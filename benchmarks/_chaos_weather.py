"""A server that fails in every way it knows, at random moments."""

import asyncio
import random
import threading
from typing import Any, Final, Self

from algolia_events.sandbox import (
    CloseWithoutAnswer,
    Delay,
    Drip,
    EndlessBody,
    Fault,
    Hang,
    ResetBeforeBody,
    ResetInAnswer,
    ResetInBody,
    ResetOnConnect,
    Sandbox,
    Status,
)

SERVER_BYTES: Final = 30_000
FAULTS: Final[tuple[Fault, ...]] = (
    *(Status(status) for status in (401, 403, 404, 408, 500, 502, 503)),
    Status(429, headers={"retry-after": "0.05"}),
    Status(503, headers={"retry-after": "3600"}),
    Status(504),
    Status(504, request="handled"),
    Delay(0.02),
    Delay(0.5),
    ResetOnConnect(),
    ResetBeforeBody(),
    ResetInBody(after_bytes=100),
    ResetInBody(after_bytes=10**9),
    ResetInAnswer(),
    CloseWithoutAnswer(),
    CloseWithoutAnswer(request="handled"),
    Hang(),
    Hang(request="handled"),
    Drip(bytes_per_second=50),
    EndlessBody(503, request="ignored"),
)


class Weather:
    """The sandbox and its faults, in a thread and loop of their own that outlive every client."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._calm = 0.1
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="weather")
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._over: asyncio.Event
        self.sandbox: Sandbox

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    async def _main(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with Sandbox(max_body_bytes=SERVER_BYTES, reject=_is_bad) as self.sandbox:
            self._ready.set()
            storms = asyncio.create_task(self._storms())
            await self._over.wait()
            storms.cancel()
            await asyncio.wait([storms])

    async def _storms(self) -> None:
        chance = self._chance
        while True:
            await asyncio.sleep(chance.expovariate(1 / self._calm))
            match chance.randrange(14):
                case 0:
                    self._calm = chance.choice((0.02, 0.1, 0.4))
                case 1:
                    self.sandbox.faults.clear()
                case 2:
                    await self.sandbox.stop_listening()
                    await asyncio.sleep(chance.uniform(0, 0.1))
                    await self.sandbox.listen_again()
                case 3:
                    self.sandbox.latency = chance.choice((0.0, 0.0, 0.005, 0.03))
                case 4:
                    self.sandbox.faults.add(chance.choice(FAULTS), seconds=chance.uniform(0, 0.2))
                case _:
                    self.sandbox.faults.add(chance.choice(FAULTS), times=chance.randint(1, 4))


def _is_bad(event: Any) -> str | None:
    return "EventName is required" if event["objectIDs"][0].endswith("-bad") else None
