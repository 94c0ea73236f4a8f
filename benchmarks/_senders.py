"""The ways to send events that are compared, each as a context that hands out one function: send all of these.

The function returns once the server has answered for the last of them. Clients run with the batch size that they come
with (snowplow's would be 10: it gets 100), the official client with the most that the API takes, or with one event a
request. Those that are not installed are left out of the table.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import attrs

from algolia_events import AlgoliaEvents, QueueOptions
from algolia_events._batching import join_body
from algolia_events._codec import encode
from benchmarks._sample import EVENT_NAME, Values, mapping, typed

Send = Callable[[Sequence[Values]], Awaitable[None]]
Opener = Callable[[str], AbstractAsyncContextManager[Send]]

BATCH: Final = 1000
_BURST: Final = BATCH
"""After how many events the other tasks of the loop get a turn: as many as make a full request of the naive way."""
_SMALL_BURST: Final = 100


@asynccontextmanager
async def ours(url: str, burst: int = _BURST) -> AsyncIterator[Send]:
    """Build, validate, track and flush typed events."""
    options = QueueOptions(max_events=1_000_000, max_bytes=1 << 30)
    async with AlgoliaEvents(app_id="app", api_key="key", insights_url=url, queue=options) as algolia:

        async def send(values: Sequence[Values]) -> None:
            before, track = algolia.stats().delivered, algolia.events.track
            for start in range(0, len(values), burst):
                for value in values[start : start + burst]:
                    track(typed(value))
                await asyncio.sleep(0)
            report = await algolia.events.flush()
            if report.delivered - before != len(values):
                raise RuntimeError(f"not all events were delivered: {report}")

        yield send


@asynccontextmanager
async def naive(url: str, burst: int = _BURST) -> AsyncIterator[Send]:
    """Put dicts into an `asyncio.Queue`; a task posts up to 1000 with `json=`. No check, no retry, no bound."""
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def work(session: aiohttp.ClientSession) -> None:
        while True:
            events = [await queue.get()]
            while len(events) < BATCH and not queue.empty():
                events.append(queue.get_nowait())
            async with session.post(f"{url}/1/events", json={"events": events}) as answer:
                await answer.read()
                answer.raise_for_status()
            for _ in events:
                queue.task_done()

    async def send(values: Sequence[Values]) -> None:
        for start in range(0, len(values), burst):
            for value in values[start : start + burst]:
                queue.put_nowait(mapping(value))
            await asyncio.sleep(0)
        await queue.join()

    async with aiohttp.ClientSession() as session:
        worker = asyncio.create_task(work(session))
        yield send
        worker.cancel()


def _official(url: str) -> Any:
    hosts = importlib.import_module("algoliasearch.http.hosts")
    module = importlib.import_module("algoliasearch.insights.config")
    config = module.InsightsConfig("app", "key")
    address = urlsplit(url)
    config.hosts = hosts.HostsCollection([hosts.Host(str(address.hostname), scheme="http", port=address.port)])
    return importlib.import_module("algoliasearch.insights.client").InsightsClient.create_with_config(config)


@asynccontextmanager
async def official_dicts(url: str) -> AsyncIterator[Send]:
    """Gather dicts and hand over 1000 at a time."""
    async with _official(url) as client:

        async def send(values: Sequence[Values]) -> None:
            for start in range(0, len(values), BATCH):
                await client.push_events({"events": [mapping(value) for value in values[start : start + BATCH]]})

        yield send


@asynccontextmanager
async def official_models(url: str) -> AsyncIterator[Send]:
    """Gather the client's typed models and hand over 1000 at a time."""
    folder = "algoliasearch.insights.models."
    click = importlib.import_module(f"{folder}clicked_object_ids_after_search").ClickedObjectIDsAfterSearch
    kind = importlib.import_module(f"{folder}click_event").ClickEvent.CLICK
    item = importlib.import_module(f"{folder}events_items").EventsItems
    events = importlib.import_module(f"{folder}insights_events").InsightsEvents

    def model(value: Values) -> Any:
        fields = {**mapping(value), "eventType": kind}
        return item(click(**fields))

    async with _official(url) as client:

        async def send(values: Sequence[Values]) -> None:
            for start in range(0, len(values), BATCH):
                await client.push_events(events(events=[model(value) for value in values[start : start + BATCH]]))

        yield send


@asynccontextmanager
async def official_single(url: str) -> AsyncIterator[Send]:
    """Call the official client for each event, as its documentation shows."""
    async with _official(url) as client:

        async def send(values: Sequence[Values]) -> None:
            for value in values:
                await client.push_events({"events": [mapping(value)]})

        yield send


def _properties(value: Values) -> dict[str, Any]:
    fields = mapping(value)
    del fields["eventName"], fields["userToken"]
    return fields


@asynccontextmanager
async def posthog_async(url: str) -> AsyncIterator[Send]:
    """Capture with `AsyncPosthog`."""
    client = importlib.import_module("posthog").AsyncPosthog("key", host=url, max_queue_size=1_000_000)

    async def send(values: Sequence[Values]) -> None:
        for start in range(0, len(values), _BURST):
            for value in values[start : start + _BURST]:
                client.capture(EVENT_NAME, distinct_id=value.user_token, properties=_properties(value))
            await asyncio.sleep(0)
        await client.flush()

    yield send
    await client.shutdown()


@asynccontextmanager
async def segment(url: str) -> AsyncIterator[Send]:
    """Track with segment-analytics-python, whose thread sends."""
    module = importlib.import_module("segment.analytics.client")
    client = module.Client("key", host=url, max_queue_size=1_000_000)

    async def send(values: Sequence[Values]) -> None:
        for value in values:
            client.track(value.user_token, EVENT_NAME, _properties(value))
        client.flush()

    yield send
    client.join()


@asynccontextmanager
async def snowplow(url: str) -> AsyncIterator[Send]:
    """Track self-describing events with snowplow-tracker, whose thread sends."""
    module = importlib.import_module("snowplow_tracker")
    address = urlsplit(url)
    emitter = module.AsyncEmitter(address.hostname, protocol="http", port=address.port, batch_size=100)
    tracker = module.Tracker("bench", emitter, encode_base64=False)

    async def send(values: Sequence[Values]) -> None:
        for value in values:
            data = module.SelfDescribingJson("iglu:com.example/click/jsonschema/1-0-0", mapping(value))
            tracker.track(module.SelfDescribing(data))
        tracker.flush()

    yield send


class _Raw(asyncio.Protocol):
    """Waits for one answer at a time."""

    def __init__(self) -> None:
        self.answered = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        if data:
            self.answered.set()


@asynccontextmanager
async def floor(url: str) -> AsyncIterator[Send]:
    """Write one body of 1000 events, made beforehand, to a bare transport again and again."""
    address = urlsplit(url)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(_Raw, str(address.hostname), address.port or 80)
    sample = [encode(typed(Values("sku-00000000", 1, "0" * 32, "u" * 42, "v" * 17)), 1_700_000_000_000).encode()]
    body = join_body(sample * BATCH)
    request = b"POST /1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body) + body

    async def send(values: Sequence[Values]) -> None:
        for _ in range(0, len(values), BATCH):
            protocol.answered.clear()
            transport.write(request)
            await protocol.answered.wait()

    yield send
    transport.close()


@attrs.frozen
class Sender:
    """One row of the table."""

    title: str
    open: Opener
    events: int
    """How many of its events a round sends: fewer where each costs a hundred times as much."""
    package: str | None = None


SENDERS: Final = {
    "ours": Sender("algolia_events: typed, validated, queued", ours, 100_000),
    "naive": Sender("naive: dicts, asyncio.Queue, aiohttp json=", naive, 100_000),
    "ours-small": Sender("algolia_events, in bursts of 100", partial(ours, burst=_SMALL_BURST), 100_000),
    "naive-small": Sender("naive, in bursts of 100", partial(naive, burst=_SMALL_BURST), 100_000),
    "official": Sender("official client, dicts, 1000 a request", official_dicts, 100_000, "algoliasearch"),
    "models": Sender("official client, models, 1000 a request", official_models, 20_000, "algoliasearch"),
    "single": Sender("official client, one event a request", official_single, 1_000, "algoliasearch"),
    "posthog": Sender("posthog, AsyncPosthog", posthog_async, 4_000, "posthog"),
    "segment": Sender("segment-analytics-python", segment, 10_000, "segment-analytics-python"),
    "snowplow": Sender("snowplow-tracker", snowplow, 10_000, "snowplow-tracker"),
    "floor": Sender("floor: bytes made beforehand, bare transport", floor, 100_000),
}
