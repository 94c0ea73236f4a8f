"""The queue as its users see it: `track` goes on at once, everything arrives, and the books are exact."""

import asyncio
import contextlib
import copy
import gc
import json
import logging
import math
import pickle
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import attrs
import pytest
from support.clock import HandClock

from algolia_events import (
    ClickedObjectIDs,
    ClientClosedError,
    ConfigurationError,
    DropReason,
    EventDroppedError,
    EventQueue,
    EventRejectedError,
    HealthState,
    InvalidEventError,
    QueueFullError,
    QueueOptions,
    RetryOptions,
    WrongLoopError,
    to_mapping,
)
from algolia_events._batching import Batch
from algolia_events._http import AiohttpTransport
from algolia_events._insights import InsightsApi
from algolia_events._retry import Accepted, Failed, Outcome
from algolia_events.abc import Hook
from algolia_events.sandbox import Hang, Sandbox, Status

MakeQueue = Callable[..., EventQueue]


def click(number: int = 0, **fields: Any) -> ClickedObjectIDs:
    values = {
        "event_name": "Clicked",
        "index": "products",
        "object_ids": [f"sku-{number}"],
        "user_token": "anonymous-1",
    }
    return ClickedObjectIDs(**{**values, **fields})


def arrived(sandbox: Sandbox) -> list[int]:
    return [int(event["objectIDs"][0].removeprefix("sku-")) for event in sandbox.events]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def make(sandbox: Sandbox) -> AsyncIterator[MakeQueue]:
    """Make queues that send to the sandbox; they are closed, and their connections too."""
    transport = AiohttpTransport()
    made: list[EventQueue] = []

    def build(*, retry: RetryOptions | None = None, clock: Any = None, hooks: Any = (), **options: Any) -> EventQueue:
        retry = retry or RetryOptions(backoff_base=0.01)
        api = InsightsApi(transport, app_id="APP", api_key="KEY", url=sandbox.url, retry=retry)
        queue = EventQueue(
            api.deliver, options=QueueOptions(**{"linger": 60.0, **options}), retry=retry, clock=clock, hooks=hooks
        )
        made.append(queue)
        return queue

    yield build
    for queue in made:
        await queue.aclose(0)
    await transport.aclose()


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# --- sending ---------------------------------------------------------------------------------------------------------


async def test_a_flush_does_not_wait_for_the_linger(sandbox: Sandbox, make: MakeQueue) -> None:
    queue = make(linger=60.0)
    for number in range(14):
        assert queue.track(click(number))

    report = await queue.flush(timeout=10)

    assert (report.delivered, report.pending, report.timed_out) == (14, 0, False)
    assert arrived(sandbox) == list(range(14))
    assert len(sandbox.requests) == 1


async def test_what_lingers_leaves_by_itself_when_the_time_is_over(
    sandbox: Sandbox, make: MakeQueue, clock: HandClock
) -> None:
    queue = make(linger=30.0, clock=clock, max_event_age=10**9)
    await queue.start()
    queue.track(click(1, timestamp=int(time.time() * 1000)))
    await turns()
    clock.advance(29.9)
    await turns()
    before = len(sandbox.requests)

    clock.advance(0.2)
    await sandbox.wait_for(1)

    assert before == 0


async def test_an_idle_queue_has_no_timer(make: MakeQueue, clock: HandClock) -> None:
    queue = make(clock=clock)
    await queue.start()
    await queue.flush()
    await queue.deliver(click(timestamp=time.time_ns() // 1_000_000), timeout=60)
    await turns()

    assert clock.timers == 0


async def test_events_are_stamped_when_they_are_tracked(sandbox: Sandbox, make: MakeQueue) -> None:
    queue = make()
    own = int(time.time() * 1000) - 3_600_000
    before = time.time_ns() // 1_000_000
    queue.track(click(0))
    queue.track(click(1, timestamp=own))
    after = time.time_ns() // 1_000_000

    await queue.flush(timeout=10)

    stamps = [event["timestamp"] for event in sandbox.events]
    assert before <= stamps[0] <= after
    assert stamps[1] == own


async def test_a_hundred_thousand_events_leave_in_a_hundred_requests(sandbox: Sandbox, make: MakeQueue) -> None:
    queue = make()
    for number in range(100_000):
        assert queue.track(click(number))

    report = await queue.flush(timeout=60)

    assert report.delivered == 100_000
    assert len(sandbox.requests) == 100
    assert all(request.body_bytes < 2_000_000 and request.events <= 1000 for request in sandbox.requests)
    assert sorted(arrived(sandbox)) == list(range(100_000))


async def test_requests_begin_one_after_the_other_and_leave_everybody_else_a_turn() -> None:
    began: list[int] = []
    turn = -1

    async def deliver(_: bytes) -> Outcome:
        began.append(turn)
        await asyncio.sleep(3600)
        return Accepted()

    queue = EventQueue(deliver, options=QueueOptions(batch_events=1, in_flight=4), retry=RetryOptions())
    for number in range(4):
        queue.track(click(number))
    await queue.start()
    for turn in range(50):  # noqa: B007 - read by `deliver`
        await asyncio.sleep(0)
    await queue.aclose(0)

    assert len(began) == len(set(began)) == 4


async def test_one_bad_event_is_found_and_the_others_arrive(sandbox: Sandbox, make: MakeQueue) -> None:
    sandbox.reject = lambda event: "EventName is required" if event["objectIDs"] == ["sku-617"] else None
    heard: list[tuple[bytes, int, str]] = []

    class Listener(Hook):
        def rejected(self, event: bytes, status: int, message: str) -> None:
            heard.append((event, status, message))

    queue = make(hooks=[Listener()])
    for number in range(1000):
        queue.track(click(number))

    report = await queue.flush(timeout=30)

    assert (report.delivered, report.rejected, report.pending) == (999, 1, 0)
    assert len(sandbox.requests) <= 21
    assert sorted(arrived(sandbox)) == [number for number in range(1000) if number != 617]
    assert [(b'"sku-617"' in event, status, message) for event, status, message in heard] == [
        (True, 422, "EventName is required")
    ]


async def test_an_outage_loses_nothing_and_repeats_nothing(sandbox: Sandbox, make: MakeQueue) -> None:
    queue = make(batch_events=50)
    sandbox.faults.add(Status(503), times=4)

    for number in range(1000):
        queue.track(click(number))
        stats = queue.stats()
        assert stats.tracked == stats.delivered + stats.pending
        if number % 100 == 0:
            await asyncio.sleep(0.005)
    report = await queue.flush(timeout=30)

    assert (report.delivered, report.possible_duplicates) == (1000, 0)
    assert sorted(arrived(sandbox)) == list(range(1000))


# --- bounds ----------------------------------------------------------------------------------------------------------


async def test_a_full_queue_refuses_and_counts(make: MakeQueue, caplog: pytest.LogCaptureFixture) -> None:
    queue = make(max_events=3)

    with caplog.at_level(logging.WARNING, "algolia_events"):
        taken = [queue.track(click(number)) for number in range(10)]

    assert taken == [True] * 3 + [False] * 7
    assert queue.stats().dropped == {"queue_full": 7}
    warnings = [record for record in caplog.records if record.message == "algolia_events.dropped"]
    assert [record.__dict__["count"] for record in warnings] == [1], "one line a reason every 30 s"


async def test_drops_that_were_not_logged_are_logged_at_the_end(
    make: MakeQueue, caplog: pytest.LogCaptureFixture
) -> None:
    queue = make(max_events=3)
    for number in range(10):
        queue.track(click(number))

    await queue.aclose(10)

    counts = [r.__dict__["count"] for r in caplog.records if r.message == "algolia_events.dropped"]
    assert counts == [1, 6]


async def test_events_too_old_for_a_server_of_the_older_contract_are_noted_once(
    make: MakeQueue, caplog: pytest.LogCaptureFixture
) -> None:
    queue = make(batch_events=1)
    day = 86_400_000
    now = time.time_ns() // 1_000_000

    noted = []
    for days in (3, 5, 5):
        queue.track(click(timestamp=now - days * day))
        await queue.flush()
        noted.append([record.message for record in caplog.records])

    line = "algolia_events.old_events"
    assert noted == [[], [line], [line]]


async def test_a_full_queue_raises_where_that_was_chosen(make: MakeQueue) -> None:
    queue = make(max_events=1, overflow="raise")
    queue.track(click())

    with pytest.raises(QueueFullError, match="1 events"):
        queue.track(click())

    assert queue.stats().dropped == {DropReason.QUEUE_FULL: 1}


async def test_counters_can_be_copied_sent_to_a_process_and_written_as_json(make: MakeQueue) -> None:
    queue = make(max_events=1)
    queue.track(click())
    queue.track(click())

    stats = queue.stats()

    assert copy.deepcopy(stats) == pickle.loads(pickle.dumps(stats)) == stats
    assert json.loads(json.dumps(attrs.asdict(stats)))["dropped"] == {"queue_full": 1}


async def test_put_waits_for_room_in_order(sandbox: Sandbox, make: MakeQueue) -> None:
    queue = make(max_events=2, batch_events=2, in_flight=1, linger=0.0)
    await queue.start()

    await asyncio.gather(*(queue.put(click(number)) for number in range(41)))
    report = await queue.flush(timeout=10)

    assert report.delivered == 41
    assert arrived(sandbox) == list(range(41))
    assert not queue.stats().dropped


async def test_a_cancelled_put_passes_its_turn_on(make: MakeQueue, sandbox: Sandbox) -> None:
    queue = make(max_events=1, linger=60.0)
    await queue.put(click(0))
    waiting = [asyncio.create_task(queue.put(click(number))) for number in (1, 2)]
    await turns()

    waiting[0].cancel()
    await queue.flush(timeout=10)
    await waiting[1]
    await queue.flush(timeout=10)

    assert waiting[0].cancelled()
    assert arrived(sandbox) == [0, 2]


async def test_put_of_what_never_fits_is_an_error_and_does_not_wait(
    make: MakeQueue, caplog: pytest.LogCaptureFixture
) -> None:
    queue = make(max_bytes=100)

    with pytest.raises(EventDroppedError, match="too_large"):
        await queue.put(click(0, index="x" * 200))

    assert queue.stats().dropped == {"too_large": 1}
    assert [(r.message, r.__dict__["reason"]) for r in caplog.records] == [("algolia_events.dropped", "too_large")]


# --- deliver ---------------------------------------------------------------------------------------------------------


async def test_deliver_returns_once_the_event_is_accepted(sandbox: Sandbox, make: MakeQueue) -> None:
    queue = make(linger=60.0)

    await asyncio.gather(*(queue.deliver(click(number), timeout=10) for number in range(10)))

    assert sorted(arrived(sandbox)) == list(range(10))
    assert len(sandbox.requests) == 1, "what is delivered in one turn of the loop leaves together"


async def test_a_verdict_that_is_kept_keeps_no_events(sandbox: Sandbox, make: MakeQueue) -> None:
    queue = make()
    verdicts = [await queue.submit(click(number)) for number in range(3)]
    await queue.flush()

    settlements = [await verdict for verdict in verdicts]

    assert [(each.delivered, each.batch, each.tickets) for each in settlements] == [(3, None, ())] * 3


async def test_what_is_delivered_is_let_go_of(make: MakeQueue) -> None:
    def batches() -> int:
        gc.collect()
        return sum(type(item) is Batch for item in gc.get_objects())

    queue = make(batch_events=1)
    before = batches()

    for number in range(10):
        queue.track(click(number))
    await queue.flush()

    assert batches() <= before


async def test_deliver_raises_with_the_servers_words(sandbox: Sandbox, make: MakeQueue) -> None:
    queue = make()
    sandbox.reject = lambda event: "The timestamp is too far in the past" if event["objectIDs"] == ["sku-1"] else None

    results = await asyncio.gather(*(queue.deliver(click(n), 10) for n in range(3)), return_exceptions=True)

    refused = results[1]
    assert (results[0], results[2]) == (None, None)
    assert isinstance(refused, EventRejectedError)
    assert (refused.status, refused.message) == (422, "The timestamp is too far in the past")


async def test_deliver_gives_up_waiting_and_the_event_stays(sandbox: Sandbox, make: MakeQueue) -> None:
    queue = make()
    with sandbox.fault(Status(503)):
        with pytest.raises(TimeoutError, match="no verdict"):
            await queue.deliver(click(5), timeout=0.05)
        pending = queue.stats().pending
    await queue.flush(timeout=10)

    assert pending == 1
    assert arrived(sandbox) == [5]


@pytest.mark.parametrize("limit", [math.nan, True, "1"])
async def test_a_time_limit_that_is_none_is_an_error_and_changes_nothing(make: MakeQueue, limit: Any) -> None:
    queue = make()

    for call in (queue.flush, queue.aclose, partial(queue.deliver, click())):
        with pytest.raises(ConfigurationError, match="timeout must be a number of seconds or a timedelta, not"):
            await call(timeout=limit)

    assert queue.stats().tracked == 0
    assert queue.health().state is HealthState.OK


async def test_deliver_tells_why_an_event_was_given_up(sandbox: Sandbox, make: MakeQueue) -> None:
    queue = make()
    with sandbox.fault(Status(503)):
        waiting = asyncio.create_task(queue.deliver(click()))
        await turns()
        await queue.aclose(0)

    with pytest.raises(EventDroppedError):
        await waiting


# --- mappings --------------------------------------------------------------------------------------------------------


async def test_a_mapping_is_checked_and_sent(sandbox: Sandbox, make: MakeQueue) -> None:
    queue = make()
    mapping = to_mapping(click(3))
    mapping["indexName"] = mapping.pop("index")

    taken = queue.track(mapping)
    await queue.flush(timeout=10)

    assert taken
    assert sandbox.events[0]["index"] == "products"
    assert "indexName" in mapping, "the caller's mapping is left alone"


@pytest.mark.parametrize("wrong", [{"eventType": "click"}, {}, None, 5, "text", [], {1: 2}])
async def test_what_is_no_event_counts_as_dropped_or_raises(
    make: MakeQueue, caplog: pytest.LogCaptureFixture, wrong: Any
) -> None:
    lenient, strict = make(), make(strict=True)

    taken = lenient.track(wrong)
    with pytest.raises(InvalidEventError):
        strict.track(wrong)

    assert not taken
    assert lenient.stats().dropped == {"invalid": 1}
    assert strict.stats().tracked == 0
    assert [(r.message, r.__dict__["reason"]) for r in caplog.records] == [("algolia_events.dropped", "invalid")]


# --- threads, loops, tasks -------------------------------------------------------------------------------------------


async def test_ten_threads_lose_nothing(sandbox: Sandbox, make: MakeQueue) -> None:
    queue = make(linger=0.01)
    await queue.start()

    def work(thread: int) -> None:
        for number in range(1000):
            assert queue.track(click(thread * 1000 + number))

    await asyncio.gather(*(asyncio.to_thread(work, thread) for thread in range(10)))
    await queue.flush(timeout=30)

    assert sorted(arrived(sandbox)) == list(range(10_000))


async def test_a_blocked_loop_does_not_hold_up_a_thread(make: MakeQueue) -> None:
    queue = make()
    await queue.start()
    worked = threading.Event()

    def work() -> None:
        for number in range(5000):
            queue.track(click(number))
        worked.set()

    thread = threading.Thread(target=work)
    thread.start()
    finished = worked.wait(30)  # blocks the loop on purpose
    thread.join()

    assert finished
    assert queue.stats().tracked == 5000


async def test_another_loop_is_told_what_is_wrong(make: MakeQueue) -> None:
    queue = make()
    await queue.start()

    def elsewhere() -> None:
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            for wrong in (queue.flush(), queue.aclose(), queue.start(), queue.put(click())):
                with pytest.raises(WrongLoopError, match="another event loop"):
                    loop.run_until_complete(wrong)

    await asyncio.to_thread(elsewhere)

    assert queue.health().ok


async def test_start_and_close_in_different_tasks(sandbox: Sandbox, make: MakeQueue) -> None:
    queue = make()
    await asyncio.create_task(queue.start())
    queue.track(click(1))

    report = await asyncio.create_task(queue.aclose(10))

    assert report.delivered == 1


async def test_closing_again_or_at_once_gives_the_same_report(make: MakeQueue) -> None:
    queue = make()
    queue.track(click())

    reports = [*await asyncio.gather(queue.aclose(), queue.aclose(), queue.aclose(5)), await queue.aclose()]

    assert all(report is reports[0] for report in reports)


async def test_a_cancelled_close_is_finished_by_another(sandbox: Sandbox, make: MakeQueue) -> None:
    queue = make()
    sandbox.latency = 0.2
    queue.track(click(9))
    first = asyncio.create_task(queue.aclose(30))
    await turns()

    first.cancel()
    report = await queue.aclose(30)

    assert first.cancelled()
    assert report.delivered == 1


async def test_a_closed_queue_takes_nothing(make: MakeQueue) -> None:
    queue = make()
    await queue.aclose()

    taken = queue.track(click())
    with pytest.raises(ClientClosedError):
        await queue.put(click())
    with pytest.raises(ClientClosedError):
        await queue.start()

    assert not taken
    assert await queue.flush() == await queue.aclose()
    assert queue.stats().dropped == {"closed": 1}
    assert queue.health().state is HealthState.CLOSED


@pytest.mark.parametrize("pending", [1, 100, 100_000])
async def test_closing_against_a_server_that_never_answers(sandbox: Sandbox, make: MakeQueue, pending: int) -> None:
    queue = make()
    sandbox.faults.add(Hang(), seconds=60)
    for number in range(pending):
        queue.track(click(number))

    began = time.monotonic()
    report = await queue.aclose(0.5)
    lasted = time.monotonic() - began

    stats = queue.stats()
    under_way = min(pending, 4000)
    assert (report.delivered, report.dropped, report.pending, report.timed_out) == (0, pending, 0, True)
    assert stats.dropped.get(DropReason.AMBIGUOUS, 0) == under_way
    assert stats.dropped.get(DropReason.SHUTDOWN, 0) == pending - under_way
    assert 0.4 < lasted < 2.0


async def test_closing_does_not_wait_where_waiting_is_no_use(sandbox: Sandbox, make: MakeQueue) -> None:
    queue = make()
    queue.track(click())

    with sandbox.fault(Status(429, headers={"retry-after": "3600"})):
        began = time.monotonic()
        report = await queue.aclose(60)

    assert time.monotonic() - began < 30
    assert (report.dropped, report.timed_out) == (1, True)


# --- the end of a loop -----------------------------------------------------------------------------------------------


def test_a_queue_outlives_the_loop_it_was_never_closed_in() -> None:
    sent: list[int] = []

    async def accept(body: bytes) -> Outcome:
        sent.append(body.count(b"eventName"))
        return Accepted()

    queue = EventQueue(accept, options=QueueOptions(linger=60.0))

    async def first() -> None:
        await queue.start()
        queue.track(click())
        await turns()

    async def second() -> None:
        report = await queue.aclose()
        assert report.delivered == 2

    asyncio.run(first())
    taken = queue.track(click())
    asyncio.run(second())

    assert taken
    assert sent == [2]


def test_a_verdict_for_somebody_in_a_loop_that_has_ended_disturbs_nobody() -> None:
    async def accept(_: bytes) -> Outcome:
        return Accepted()

    queue = EventQueue(accept, options=QueueOptions(batch_events=2, in_flight=1))
    ended = asyncio.new_event_loop()
    verdict = ended.run_until_complete(queue.submit(click()))
    verdict.add_done_callback(print)
    for _ in range(2):
        queue.track(click())
    ended.close()

    report = asyncio.run(queue.aclose(10))

    assert (report.delivered, report.dropped) == (3, 0)


def test_room_is_waited_for_in_whatever_loop_runs() -> None:
    server_works = threading.Event()

    async def deliver(_: bytes) -> Outcome:
        if not server_works.is_set():
            await asyncio.sleep(3600)
        return Accepted()

    queue = EventQueue(deliver, options=QueueOptions(max_events=1, linger=0))

    async def leave_waiting() -> None:
        waiting = [asyncio.create_task(queue.put(click(number))) for number in range(3)]
        await turns()
        assert [task.done() for task in waiting] == [True, False, False]

    async def wait_for_room() -> None:
        await asyncio.gather(*(queue.put(click(number)) for number in range(3)))
        await queue.aclose()

    asyncio.run(leave_waiting())
    server_works.set()
    asyncio.run(wait_for_room())

    assert queue.stats().delivered == 4


def test_an_unclosed_queue_warns_with_what_it_held() -> None:
    async def never(body: bytes) -> Outcome:
        raise AssertionError(body)

    async def main() -> None:
        queue = EventQueue(never, options=QueueOptions(linger=60.0))
        await queue.start()
        for _ in range(3):
            queue.track(click())

    with pytest.warns(ResourceWarning, match="unclosed event queue with 3 events"):  # noqa: PT031 - it takes both
        asyncio.run(main())
        gc.collect()


# --- what must never stop the sender ---------------------------------------------------------------------------------


async def test_a_hook_that_raises_is_counted_and_logged_once(
    sandbox: Sandbox, make: MakeQueue, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Hook):
        def tracked(self, event: object) -> None:
            raise RuntimeError("no")

        def batch_settled(self, events: int, result: str, seconds: float) -> None:
            raise RuntimeError("no")

    queue = make(hooks=[Broken()])
    for number in range(5):
        assert queue.track(click(number))

    await queue.flush(timeout=10)

    assert len(sandbox.events) == 5
    assert queue.stats().callback_errors == 6
    assert [r.__dict__["method"] for r in caplog.records if r.message == "algolia_events.hook_failed"] == [
        "tracked",
        "batch_settled",
    ]


class Panic(BaseException):
    """What some extension modules raise."""


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError, Panic])
async def test_a_transport_that_raises_anything_costs_no_event(sandbox: Sandbox, error: type[BaseException]) -> None:
    attempts: list[bytes] = []

    async def flaky(body: bytes) -> Outcome:
        attempts.append(body)
        if len(attempts) == 1:
            raise error
        return Accepted()

    queue = EventQueue(flaky, options=QueueOptions(linger=0), retry=RetryOptions(backoff_base=0.01))
    queue.track(click())

    report = await queue.aclose(10)

    assert report.delivered == 1
    assert len(attempts) == 2


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_within_an_attempt_gets_through_and_costs_no_event(end: type[BaseException]) -> None:
    attempts: list[bytes] = []

    async def ended(body: bytes) -> Outcome:
        attempts.append(body)
        if len(attempts) == 1:
            raise end
        return Accepted()

    queue = EventQueue(ended)
    queue.track(click())

    with pytest.raises(end):
        asyncio.run(queue.flush())
    report = asyncio.run(queue.aclose(10))

    assert (report.delivered, report.possible_duplicates) == (1, 1)


async def test_when_the_background_task_dies_everybody_learns_it() -> None:
    async def fail(body: bytes) -> Outcome:
        return Failed(reason="503", ambiguous=False)

    def broken() -> float:
        raise ZeroDivisionError

    queue = EventQueue(fail, options=QueueOptions(linger=0, max_events=2), draw=broken)
    delivering = asyncio.create_task(queue.deliver(click()))
    await turns(1)
    report = await queue.flush(timeout=10)

    with pytest.raises(EventDroppedError, match="ambiguous"):  # its request was under way
        await delivering
    assert report.dropped == 1
    assert queue.health().state is HealthState.FAILED
    assert not queue.track(click())
    assert (await queue.aclose()).pending == 0


async def test_closing_may_take_for_ever_and_takes_as_long_as_it_needs() -> None:
    async def deliver(_: bytes) -> Outcome:
        return Accepted()

    queue = EventQueue(deliver)
    queue.track(click())

    async with asyncio.timeout(30):
        report = await queue.aclose(math.inf)

    assert report.delivered == 1


if sys.version_info >= (3, 12):  # tasks may begin at once

    async def test_attempts_that_end_before_they_wait_leave_nothing_behind() -> None:
        async def deliver(_: bytes) -> Outcome:
            return Accepted()

        queue = EventQueue(deliver, options=QueueOptions(batch_events=10, in_flight=2))
        for number in range(100):
            queue.track(click(number))
        loop = asyncio.get_running_loop()
        factory = loop.get_task_factory()
        # Not the factory itself, which anyio knows and passes by.
        loop.set_task_factory(partial(asyncio.eager_task_factory))
        try:
            report = await queue.flush(30)
        finally:
            loop.set_task_factory(factory)
        await queue.aclose()

        assert report.delivered == 100
