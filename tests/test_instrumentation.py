"""Hooks hear what happens, meters add up, and what an application leaves out is left out and counted."""

import asyncio
import contextvars
import gc
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from algolia_events import (
    AlgoliaEvents,
    ClickedObjectIDs,
    ConfigurationError,
    Event,
    EventDroppedError,
    QueueOptions,
    RawEvent,
)
from algolia_events.abc import Hook
from algolia_events.instrumentation import LoggingHook
from algolia_events.outbox import MemoryOutbox
from algolia_events.reports import Health
from algolia_events.sandbox import Sandbox, Status

MakeClient = Callable[..., AlgoliaEvents]


def click(user: str = "anyone", *objects: str) -> ClickedObjectIDs:
    return ClickedObjectIDs(event_name="Clicked", index="products", object_ids=objects or ("sku-1",), user_token=user)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def make(sandbox: Sandbox) -> AsyncIterator[MakeClient]:
    made: list[AlgoliaEvents] = []

    def build(**options: Any) -> AlgoliaEvents:
        queue = QueueOptions(linger=60.0)
        client = AlgoliaEvents(app_id="APP", api_key="KEY", insights_url=sandbox.url, **{"queue": queue, **options})
        made.append(client)
        return client

    yield build
    for client in made:
        await client.aclose(0)


class Listener(Hook):
    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def attached(self, stats: Callable[[], Any], max_events: int) -> None:
        self.heard.append(("attached", stats().tracked, max_events))

    def tracked(self, event: object) -> None:
        self.heard.append(("tracked", event))

    def dropped(self, reason: str, count: int) -> None:
        self.heard.append(("dropped", str(reason), count))

    def batch_sent(self, events: int, body_bytes: int) -> None:
        self.heard.append(("sent", events))

    def batch_settled(self, events: int, result: str, seconds: float) -> None:
        assert seconds >= 0
        self.heard.append(("settled", events, result))

    def retrying(self, events: int, reason: str, delay: float) -> None:
        self.heard.append(("retrying", events, reason))

    def state_changed(self, health: Health) -> None:
        self.heard.append(("state", str(health.state)))


async def test_a_hook_hears_the_life_of_a_batch(sandbox: Sandbox, make: MakeClient) -> None:
    listener = Listener()
    client = make(hooks=[listener], queue=QueueOptions(linger=60.0, max_events=1))
    event = click()
    sandbox.faults.add(Status(503))

    client.events.track(event)
    client.events.track(event)
    await client.events.flush(timeout=10)

    assert listener.heard == [
        ("attached", 0, 1),
        ("tracked", event),
        ("dropped", "queue_full", 1),
        ("sent", 1),
        ("settled", 1, "failed"),
        ("retrying", 1, "503: Service Unavailable"),
        ("state", "retrying"),
        ("sent", 1),
        ("settled", 1, "accepted"),
        ("state", "ok"),
    ]


async def test_the_logging_hook_writes_a_line_a_step(make: MakeClient, caplog: pytest.LogCaptureFixture) -> None:
    client = make(hooks=[LoggingHook(level=logging.INFO)])

    with caplog.at_level(logging.INFO, "algolia_events.requests"):
        client.events.track(click())
        await client.events.flush(timeout=10)

    assert [record.message for record in caplog.records] == [
        "algolia_events.batch_sent",
        "algolia_events.batch_settled",
    ]
    assert caplog.records[1].__dict__["result"] == "accepted"


async def test_the_meters_of_opentelemetry(sandbox: Sandbox, make: MakeClient) -> None:
    metrics_sdk = pytest.importorskip("opentelemetry.sdk.metrics")
    export = pytest.importorskip("opentelemetry.sdk.metrics.export")
    instrumentation = pytest.importorskip("algolia_events.instrumentation")
    reader = export.InMemoryMetricReader()
    provider = metrics_sdk.MeterProvider(metric_readers=[reader])
    client = make(hooks=[instrumentation.OpenTelemetryHook(provider)], queue=QueueOptions(linger=60.0, max_events=3))
    sandbox.reject = lambda event: "no" if event["userToken"] == "bad" else None

    for user in ("good", "bad", "good", "one-too-many"):
        client.events.track(click(user))
    waiting = _points(reader)
    await client.events.flush(timeout=10)
    points = _points(reader)
    provider.shutdown()

    assert list(waiting["algolia_events.queue.size"].values()) == [3]
    assert list(points["algolia_events.queue.size"].values()) == [0]
    assert list(points["algolia_events.queue.capacity"].values()) == [3]
    assert points["algolia_events.processed"] == {"": 2, "422": 1, "queue_full": 1}
    assert points["algolia_events.batch.duration"]["refused"] >= 1


async def test_the_buckets_of_durations_are_seconds(sandbox: Sandbox, make: MakeClient) -> None:
    metrics_sdk = pytest.importorskip("opentelemetry.sdk.metrics")
    export = pytest.importorskip("opentelemetry.sdk.metrics.export")
    instrumentation = pytest.importorskip("algolia_events.instrumentation")
    reader = export.InMemoryMetricReader()
    provider = metrics_sdk.MeterProvider(metric_readers=[reader])
    client = make(hooks=[instrumentation.OpenTelemetryHook(provider)])

    client.events.track(click("user-1"))
    await client.events.flush(timeout=10)
    metrics = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    provider.shutdown()

    (bounds,) = (m.data.data_points[0].explicit_bounds for m in metrics if m.name == "algolia_events.batch.duration")
    assert (bounds[0], bounds[-1]) == (0.005, 10)


@pytest.mark.parametrize("is_shared", [True, False], ids=["one hook", "a hook each"])
async def test_opentelemetry_sees_each_queue_for_as_long_as_it_lives(sandbox: Sandbox, is_shared: bool) -> None:
    metrics_sdk = pytest.importorskip("opentelemetry.sdk.metrics")
    export = pytest.importorskip("opentelemetry.sdk.metrics.export")
    instrumentation = pytest.importorskip("algolia_events.instrumentation")
    reader = export.InMemoryMetricReader()
    provider = metrics_sdk.MeterProvider(metric_readers=[reader])
    first_hook = instrumentation.OpenTelemetryHook(provider)
    hooks = [first_hook, first_hook if is_shared else instrumentation.OpenTelemetryHook(provider)]
    access: dict[str, Any] = {"app_id": "APP", "api_key": "KEY", "insights_url": sandbox.url}

    async with AlgoliaEvents(**access, hooks=hooks[1:], queue=QueueOptions(linger=60.0, max_events=200)) as second:
        async with AlgoliaEvents(**access, hooks=hooks[:1], queue=QueueOptions(linger=60.0, max_events=100)) as first:
            first.events.track(click())
            second.events.track(click())
            second.events.track(click())
            both = _points(reader)
        del first
        gc.collect()
        one = _points(reader)
    provider.shutdown()

    assert sorted(both["algolia_events.queue.size"].values()) == [1, 2]
    assert sorted(both["algolia_events.queue.capacity"].values()) == [100, 200]
    assert list(one["algolia_events.queue.size"].values()) == [2]
    assert list(one["algolia_events.queue.capacity"].values()) == [200]


def _points(reader: Any) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for resource in reader.get_metrics_data().resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    label = "".join(str(value) for value in point.attributes.values())
                    value = point.count if hasattr(point, "count") else point.value
                    found.setdefault(metric.name, {})[label] = value
    return found


async def test_the_background_task_is_part_of_no_request(sandbox: Sandbox) -> None:
    request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")
    prepared: contextvars.ContextVar[bool] = contextvars.ContextVar("prepared", default=False)
    seen: list[tuple[str, bool]] = []

    class Context(Hook):
        def background(self) -> None:
            prepared.set(True)

        def batch_sent(self, events: int, body_bytes: int) -> None:
            seen.append((request_id.get(), prepared.get()))

    request_id.set("GET /")
    async with AlgoliaEvents(app_id="APP", api_key="KEY", insights_url=sandbox.url, hooks=[Context()]) as client:
        client.events.track(click())
        await client.events.flush(timeout=10)

    assert seen == [("none", True)]
    assert not prepared.get()


async def test_opentelemetry_hides_own_requests_from_itself() -> None:
    context = pytest.importorskip("opentelemetry.context")
    instrumentation = pytest.importorskip("algolia_events.instrumentation")
    hook = instrumentation.OpenTelemetryHook()
    own = contextvars.Context()

    own.run(hook.background)

    assert own.run(context.get_value, "suppress_instrumentation") is True
    assert context.get_value("suppress_instrumentation") is None


@pytest.mark.parametrize("hook", [Hook, print, object()], ids=["a class", "a function", "an object"])
async def test_what_is_no_hook_is_refused(make: MakeClient, hook: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"hooks\[1\]"):
        make(hooks=[Listener(), hook])


@pytest.mark.parametrize("outbox", [None, MemoryOutbox()], ids=["in memory", "with an outbox"])
async def test_no_hooks_at_all_are_an_empty_list(make: MakeClient, outbox: MemoryOutbox | None) -> None:
    with pytest.raises(ConfigurationError, match="hooks must be a list of hooks, not a NoneType"):
        make(hooks=None, outbox=outbox)


async def test_a_hook_need_not_have_every_method(sandbox: Sandbox, make: MakeClient) -> None:
    class Partial:
        def __init__(self) -> None:
            self.events: list[int] = []
            self.tracked = self.events.append

        def batch_sent(self, events: int, body_bytes: int) -> None:
            self.events.append(events)

    class Narrow:
        def retrying(self, events: int, reason: str, delay: float) -> None:
            raise AssertionError

    hook = Partial()
    client = make(hooks=[hook, Narrow()])
    event = click()

    client.events.track(event)
    await client.events.flush(timeout=10)

    assert hook.events == [event, 1]
    assert client.stats().callback_errors == 0


@pytest.mark.parametrize("name", ["before_send", "opted_out"])
async def test_callbacks_that_are_async_are_refused(make: MakeClient, name: str) -> None:
    async def callback(_: object) -> None:
        """Be awaited by nobody."""

    with pytest.raises(ConfigurationError, match=name):
        make(**{name: callback})


async def test_each_callback_that_raises_is_logged_once(make: MakeClient, caplog: pytest.LogCaptureFixture) -> None:
    filtering = True

    def opted_out(token: str) -> bool:
        if not filtering:
            raise asyncio.CancelledError
        return False

    def before_send(event: Event) -> Event | None:
        raise ZeroDivisionError

    client = make(before_send=before_send, opted_out=opted_out)

    taken = [client.events.track(click()) for _ in range(2)]
    filtering = False
    taken += [client.events.track(click()) for _ in range(2)]

    assert taken == [False] * 4
    assert client.stats().callback_errors == 4
    lines = [record for record in caplog.records if record.message == "algolia_events.callback_failed"]
    assert [line.__dict__["callback"] for line in lines] == ["before_send", "opted_out"]


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("name", ["before_send", "opted_out"])
async def test_what_ends_the_program_within_a_callback_gets_through(
    make: MakeClient, name: str, end: type[BaseException]
) -> None:
    def callback(_: object) -> None:
        raise end

    client = make(**{name: callback})

    with pytest.raises(end):
        client.events.track(click())
    assert client.stats().callback_errors == 0


async def test_asking_who_has_opted_out_leaves_the_loop_its_turns(sandbox: Sandbox, make: MakeClient) -> None:
    turn = 0
    asked: Counter[int] = Counter()
    client = make(opted_out=lambda _: bool(asked.update([turn])))
    for _ in range(500):
        client.events.track(click())
    asked.clear()

    async def count_turns() -> None:
        nonlocal turn
        while True:
            await asyncio.sleep(0)
            turn += 1

    counting = asyncio.create_task(count_turns())
    await client.events.flush(timeout=10)
    counting.cancel()

    assert asked.total() == 500
    assert max(asked.values()) <= 100


@pytest.mark.parametrize("stamp", [None, 1_000_000_000_000], ids=["fresh", "expired"])
async def test_an_event_that_few_readers_of_json_take_costs_no_other(
    sandbox: Sandbox, make: MakeClient, stamp: int | None
) -> None:
    client = make(opted_out=lambda _: False)
    for number in range(5):
        client.events.track(click(f"user-{number}"))
    client.events.track(RawEvent({"userToken": "raw", "number": 10**400, "timestamp": stamp}))

    report = await client.events.flush(timeout=10)

    assert (report.delivered, report.rejected + report.dropped) == (5, 1)
    assert client.health().ok


async def test_before_send_may_change_or_drop_an_event(sandbox: Sandbox, make: MakeClient) -> None:
    def before_send(event: Event) -> Event | None:
        return None if event.user_token == "bot" else click("changed")

    client = make(before_send=before_send)

    taken = [client.events.track(click(user)) for user in ("bot", "human")]
    with pytest.raises(EventDroppedError, match="filtered"):
        await client.events.put(click("bot"))
    await client.events.flush(timeout=10)

    assert taken == [False, True]
    assert [event["userToken"] for event in sandbox.events] == ["changed"]
    assert client.stats().dropped == {"filtered": 2}


async def test_a_before_send_that_raises_costs_the_event_and_is_logged_once(
    make: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    def before_send(event: Event) -> Event | None:
        raise ZeroDivisionError

    client = make(before_send=before_send)

    taken = [client.events.track(click()) for _ in range(3)]

    assert taken == [False] * 3
    assert client.stats().dropped == {"filtered": 3}
    assert [r.message for r in caplog.records].count("algolia_events.callback_failed") == 1


async def test_a_sample_keeps_whole_users(sandbox: Sandbox, make: MakeClient) -> None:
    client = make(sample_rate=0.3)
    users = [f"user-{number}" for number in range(1000)]

    kept = {user for user in users if client.events.track(click(user))}
    again = {user for user in users if client.events.track(click(user))}

    assert kept == again
    assert 200 < len(kept) < 400
    assert client.stats().dropped == {"sampled": 2 * (1000 - len(kept))}


@pytest.mark.parametrize("rate", [-0.1, 1.1, True, "1", float("nan")])
def test_a_sample_rate_is_checked(rate: Any) -> None:
    with pytest.raises(ConfigurationError, match="sample_rate"):
        AlgoliaEvents(app_id="APP", api_key="KEY", sample_rate=rate)


async def test_an_opt_out_holds_when_tracking_and_again_when_sending(sandbox: Sandbox, make: MakeClient) -> None:
    opted_out = {"early"}
    client = make(opted_out=opted_out.__contains__)

    taken = [client.events.track(click(user)) for user in ("early", "late", "stays", "late")]
    opted_out.add("late")
    report = await client.events.flush(timeout=10)

    assert taken == [False, True, True, True]
    assert [event["userToken"] for event in sandbox.events] == ["stays"]
    assert (report.delivered, report.dropped) == (1, 3)
    assert client.stats().dropped == {"opted_out": 3}
    assert client.stats().requests == len(sandbox.requests) == 1


async def test_an_opt_out_of_the_authenticated_user_holds_too(make: MakeClient) -> None:
    client = make(opted_out={"account-7"}.__contains__)

    taken = client.user("anonymous-1", "account-7").clicked_object_ids("Clicked", "products", ["sku-1"])

    assert not taken
