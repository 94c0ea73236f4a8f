"""A client, its traffic and its ends, and everybody's notes of what happened to each event."""

import asyncio
import itertools
import json
import random
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Coroutine
from typing import Any, Final

import attrs

from algolia_events import (
    AlgoliaEvents,
    ClickedObjectIDs,
    ClientClosedError,
    EventDroppedError,
    EventRejectedError,
    Hook,
    QueueFullError,
    QueueOptions,
    RetryOptions,
    TransportError,
    to_mapping,
)
from algolia_events._http import AiohttpTransport
from algolia_events._wire import Request, Response
from benchmarks._chaos_weather import SERVER_BYTES

MONTH_MS: Final = 40 * 86_400_000
RETRY: Final = RetryOptions(
    attempt_timeout=0.4,
    connect_timeout=0.3,
    read_timeout=0.3,
    backoff_base=0.005,
    backoff_cap=0.05,
    max_retry_after=0.1,
    probe_interval=0.05,
)
_NAME: Final = re.compile(rb'"objectIDs":\["([^"]+)"\]')


def _names_in(body: bytes) -> list[str]:
    return [name.decode() for name in _NAME.findall(body)]


class Witness(Hook):
    """Hears which events were taken in, and which the server refused for good."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.rejected_events: list[str] = []

    def tracked(self, event: Any) -> None:
        """Note an event that was taken in."""
        self.taken.extend(event.object_ids)

    def rejected(self, event: bytes, status: int, message: str) -> None:  # noqa: ARG002 - as the protocol has it
        """Note an event that was refused for good."""
        self.rejected_events.append(json.loads(event)["objectIDs"][0])


@attrs.define(eq=False)
class Attempt:
    """What the client came to know of one request; unknown until it ends, and for good where its loop died."""

    result: str = "ambiguous"


class Recorder:
    """A transport that notes, for each event, what became of each request that it was in."""

    def __init__(self) -> None:
        self._inner = AiohttpTransport()
        self.attempts: dict[str, list[Attempt]] = defaultdict(list)

    async def send(self, request: Request) -> Response:
        """Send a request, and note what the client comes to know of it."""
        attempt = Attempt()
        for name in _names_in(request.body):
            self.attempts[name].append(attempt)
        try:
            response = await self._inner.send(request)
        except TransportError as exc:
            attempt.result = "ambiguous" if exc.ambiguous else "failed"
            raise
        if 200 <= response.status < 300:
            attempt.result = "accepted"
        elif response.status != 504:
            attempt.result = "refused"
        return response

    async def aclose(self) -> None:
        """Close the transport."""
        await self._inner.aclose()


class Generation:
    """One client, its traffic, and what everybody noted about it."""

    def __init__(self, number: int, chance: random.Random, url: str) -> None:
        self.number = number
        self.witness, self.recorder = Witness(), Recorder()
        self.refused: list[str] = []
        self.verdicts: list[tuple[str, str]] = []
        self.closing = Counter[str]()
        self._chance = chance
        self._numbers = itertools.count()
        self._over = threading.Event()
        self.options = QueueOptions(
            max_events=chance.choice((50, 1000, 20_000)),
            max_bytes=chance.choice((100_000, 10_000_000)),
            batch_events=chance.choice((1, 7, 100, 1000)),
            linger=chance.choice((0.0, 0.01, 0.1)),
            in_flight=chance.choice((1, 2, 4, 8)),
            overflow=chance.choice(("drop-newest", "drop-oldest", "raise")),
            on_ambiguous=chance.choice(("retry", "retry", "drop")),
        )
        self.client = AlgoliaEvents(
            app_id="APP",
            api_key="KEY",
            insights_url=url,
            transport=self.recorder,
            queue=self.options,
            retry=RETRY,
            hooks=[self.witness],
        )

    # --- traffic -----------------------------------------------------------------------------------------------------

    def event(self, chance: random.Random) -> ClickedObjectIDs:
        """Make an event with a name of its own; a few are bad, too large or too old."""
        name = f"g{self.number}-{next(self._numbers)}" + ("-bad" if chance.random() < 0.003 else "")
        size = chance.choices((8, 500, 5000, SERVER_BYTES + 1000), (100, 20, 2, 0.1))[0]
        old = chance.random() < 0.003
        return ClickedObjectIDs(
            event_name="Clicked",
            index="x" * size,
            object_ids=[name],
            user_token="chaos",
            timestamp=time.time_ns() // 1_000_000 - MONTH_MS if old else None,
        )

    def track(self, chance: random.Random) -> None:
        """Track an event, now and then as a mapping that may be invalid; note it if it was refused."""
        event = self.event(chance)
        what: Any = event
        if chance.random() < 0.02:
            what = to_mapping(event)
            if chance.random() < 0.5:
                what["eventType"] = "nonsense"
        try:
            taken = self.client.events.track(what)
        except QueueFullError:
            taken = False
        if not taken:
            self.refused.extend(event.object_ids)

    def track_from_a_thread(self, seed: float) -> None:
        """Track until the client's life is over, whether a loop runs or not."""
        chance = random.Random(seed)
        while not self._over.wait(chance.expovariate(1 / 0.01)):
            for _ in range(chance.choice((1, 5, 50))):
                self.track(chance)

    async def _judged(self, name: str, waiting: Awaitable[Any]) -> None:
        """Note what became of an event that somebody waits for."""
        try:
            verdict = await waiting
        except EventRejectedError:
            self.verdicts.append((name, "rejected"))
        except EventDroppedError as exc:
            self.verdicts.append((name, exc.reason))
        except (TimeoutError, ClientClosedError):
            return
        else:
            if isinstance(verdict, asyncio.Future):
                settlement = await verdict
                self.verdicts.append((name, settlement.dropped or ("rejected" if settlement.rejection else "accepted")))
            elif verdict is not None:
                raise AssertionError(f"an unexpected verdict: {verdict!r}")

    async def _delivered(self, event: ClickedObjectIDs, timeout: float) -> None:  # noqa: ASYNC109 - handed on
        await self.client.events.deliver(event, timeout)
        self.verdicts.append((event.object_ids[0], "accepted"))

    def _something(self) -> Coroutine[Any, Any, Any]:
        chance, events = self._chance, self.client.events
        event = self.event(chance)
        name = event.object_ids[0]
        match chance.randrange(5):
            case 0:
                return self._judged(name, events.put(event))
            case 1:
                return self._judged(name, events.submit(event))
            case 2:
                return self._judged(name, self._delivered(event, chance.uniform(0, 0.5)))
            case 3:
                return events.flush(chance.choice((0, 0.01, 0.2, 1)))
            case _:
                return asyncio.sleep(chance.expovariate(1 / 0.02))

    async def _act(self) -> None:
        """Do one thing after the other; some are cancelled at some point."""
        chance = self._chance
        while True:
            for _ in range(chance.choice((0, 1, 10, 100))):
                self.track(chance)
            doing = asyncio.create_task(self._something())
            try:
                await asyncio.wait([doing], timeout=chance.choice((None, 0, 0.001, 0.02)))
            finally:
                doing.cancel()
                await asyncio.wait([doing])
            if not doing.cancelled():
                doing.result()
            if chance.random() < 0.02:
                self.client.set_api_key("KEY")

    # --- its life ----------------------------------------------------------------------------------------------------

    async def _live(self, seconds: float) -> None:
        await self.client.start()
        actors = [asyncio.create_task(self._act()) for _ in range(self._chance.randint(1, 6))]
        done, _ = await asyncio.wait(actors, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for actor in actors:
            actor.cancel()
        await asyncio.wait(actors)
        for actor in done:
            actor.result()

    async def _live_and_close(self, seconds: float) -> None:
        await self._live(seconds)
        for _ in range(self._chance.randrange(3)):
            closing = asyncio.create_task(self.client.aclose(5))
            await asyncio.wait([closing], timeout=self._chance.choice((0, 0.001, 0.02)))
            closing.cancel()
            await asyncio.wait([closing])
        allowed = self._chance.choice((0, 0.05, 0.5, 5))
        await asyncio.gather(self.client.aclose(allowed), self.client.aclose(allowed))

    def live(self, seconds: float) -> None:
        """Go through some loops; all but the last end without a word."""
        threads = [threading.Thread(target=self.track_from_a_thread, args=(self._chance.random(),)) for _ in range(2)]
        for thread in threads:
            thread.start()
        loops = self._chance.choice((1, 1, 2, 3))
        try:
            for _ in range(loops - 1):
                if self._chance.random() < 0.5:
                    asyncio.run(self._live(seconds / loops))
                else:
                    loop = asyncio.new_event_loop()
                    loop.run_until_complete(self._live(seconds / loops))
                    loop.close()
            asyncio.run(self._live_and_close(seconds / loops))
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
