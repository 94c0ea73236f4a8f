"""The queue in front of an outbox: stored first, sent from there, both ledgers exact; memory helps out."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import pytest
from support.books import check_books
from support.clock import HandClock
from support.groups import events_in
from support.outboxes import FailingOutbox, PlainOutbox
from support.rigs import turns

from algolia_events import AlgoliaEvents, ClickedObjectIDs
from algolia_events._durable import DurableQueue
from algolia_events._retry import Accepted, Failed, Outcome
from algolia_events.abc import Hook, Outbox
from algolia_events.config import QueueOptions, RetryOptions
from algolia_events.errors import (
    ConfigurationError,
    EventDroppedError,
    EventRejectedError,
    OutboxFullError,
)
from algolia_events.outbox import EventGroup, MemoryOutbox
from algolia_events.reports import Health, HealthState
from algolia_events.sandbox import Hang, Sandbox, Status

QUICK = RetryOptions(backoff_base=0.01, backoff_cap=0.05)


def event(name: object, event_name: str = "Clicked") -> ClickedObjectIDs:
    return ClickedObjectIDs(event_name=event_name, index="products", object_ids=[str(name)], user_token="user-1")


def client(sandbox: Sandbox, outbox: Outbox, *, deliver: bool = True, **queue: object) -> AlgoliaEvents:
    return AlgoliaEvents(
        app_id="APP",
        api_key="key",
        insights_url=sandbox.url,
        outbox=outbox,
        deliver=deliver,
        queue=QueueOptions(**{"linger": 0.05, **queue}),  # type: ignore[arg-type]
        retry=QUICK,
    )


def names(sandbox: Sandbox) -> list[str]:
    return [each["objectIDs"][0] for each in sandbox.events]


class StateHook(Hook):
    """Notes the states that it is told of."""

    def __init__(self) -> None:
        self.states: list[HealthState] = []

    def state_changed(self, health: Health) -> None:
        self.states.append(health.state)


async def test_what_is_flushed_has_gone_through_the_outbox_to_the_server() -> None:
    async with Sandbox() as sandbox, client(sandbox, MemoryOutbox()) as algolia:
        for number in range(100):
            algolia.events.track(event(number))
        before = algolia.stats()
        report = await algolia.events.flush(10)

    after = algolia.stats()
    check_books(before)
    check_books(after)
    assert (report.delivered, report.stored, report.pending, report.timed_out) == (100, 0, 0, False)
    assert sorted(names(sandbox), key=int) == [str(number) for number in range(100)]
    assert after.sending is not None
    assert (after.sending.claimed, after.sending.accepted) == (100, 100)
    assert after.requests == sandbox.counts.requests


async def test_put_returns_once_the_event_is_stored() -> None:
    outbox = MemoryOutbox()

    async with Sandbox() as sandbox, client(sandbox, outbox, deliver=False) as algolia:
        await algolia.events.put(event("a"))
        kept = events_in(await outbox.groups())

    assert [json.loads(each)["objectIDs"] for each in kept] == [["a"]]
    assert sandbox.counts.requests == 0


async def test_puts_at_the_same_time_share_a_commit() -> None:
    outbox = MemoryOutbox()

    async with Sandbox() as sandbox, client(sandbox, outbox, deliver=False) as algolia:
        await asyncio.gather(*(algolia.events.put(event(number)) for number in range(300)))
        sizes = await outbox.sizes()

    assert sizes.events == 300
    assert sizes.groups <= 3


async def test_small_groups_leave_together() -> None:
    outbox = MemoryOutbox()
    await outbox.store([group_of(number) for number in range(50)])

    async with Sandbox() as sandbox, client(sandbox, outbox):
        await sandbox.wait_for(50)

    assert sandbox.counts.requests == 1


def group_of(number: int) -> EventGroup:
    """A group of one event as the wire has it, stored by somebody else."""
    body = json.dumps(
        {
            "eventType": "click",
            "eventName": "Clicked",
            "index": "products",
            "userToken": "user-1",
            "objectIDs": [str(number)],
        }
    )
    return EventGroup(body=body.encode(), count=1, oldest_ms=1 << 62, origin="elsewhere")


async def test_what_others_stored_is_in_the_second_ledger_only() -> None:
    outbox = MemoryOutbox()
    await outbox.store([group_of(1), group_of(2)])

    async with Sandbox() as sandbox, client(sandbox, outbox) as algolia:
        algolia.events.track(event("mine"))
        await algolia.events.flush(10)
        await sandbox.wait_for(3)
        await algolia.events.flush(10)
        stats = algolia.stats()

    check_books(stats)
    assert (stats.tracked, stats.delivered, stats.stored) == (1, 1, 0)
    assert stats.sending is not None
    assert (stats.sending.claimed, stats.sending.accepted) == (3, 3)


async def test_one_that_only_stores_leaves_its_events_to_others() -> None:
    outbox = MemoryOutbox()

    async with Sandbox() as sandbox:
        async with client(sandbox, outbox, deliver=False) as algolia:
            for number in range(10):
                algolia.events.track(event(number))
            with pytest.raises(ConfigurationError, match="only stores"):
                await algolia.events.deliver(event("verdict"))
        stats = algolia.stats()

    check_books(stats)
    assert (stats.stored, stats.requests, stats.sending) == (10, 0, None)
    assert (await outbox.sizes()).events == 10


async def test_a_bad_event_becomes_a_dead_letter_and_costs_no_other() -> None:
    outbox = MemoryOutbox()

    async with Sandbox(reject=lambda e: "EventType is required" if e["eventName"] == "bad" else None) as sandbox:
        async with client(sandbox, outbox) as algolia:
            for number in range(100):
                algolia.events.track(event(number, "bad" if number == 37 else "good"))
            report = await algolia.events.flush(10)
        letters = await outbox.dead_letters()
        sizes = await outbox.sizes()

    check_books(algolia.stats())
    assert (report.delivered, report.rejected, report.stored) == (99, 1, 0)
    assert [(each.status, each.message, json.loads(each.event)["objectIDs"]) for each in letters] == [
        (422, "EventType is required", ["37"])
    ]
    assert sizes.events == 0


async def test_deliver_brings_the_servers_verdict_past_the_outbox() -> None:
    async with Sandbox(reject=lambda e: "no" if e["eventName"] == "bad" else None) as sandbox:
        async with client(sandbox, MemoryOutbox()) as algolia:
            await algolia.events.deliver(event(1), 10)
            with pytest.raises(EventRejectedError, match="no"):
                await algolia.events.deliver(event(2, "bad"), 10)
        stats = algolia.stats()

    check_books(stats)
    assert (stats.tracked, stats.delivered, stats.rejected) == (2, 1, 1)


async def test_memory_takes_over_from_a_failing_outbox_and_gives_back_to_it() -> None:
    outbox = FailingOutbox(fails=True)

    async with Sandbox() as sandbox, client(sandbox, outbox) as algolia:
        algolia.events.track(event("in memory"))
        await sandbox.wait_for(1)
        degraded = algolia.health()
        outbox.fails = False
        await asyncio.wait_for(_store_again(algolia, outbox), 10)
        report = await algolia.events.flush(10)
        recovered = algolia.health()

    check_books(algolia.stats())
    assert (degraded.state, degraded.reason) == (HealthState.DEGRADED, "the disk is gone")
    assert recovered.ok
    assert report.dropped == report.pending == 0
    assert "in memory" in names(sandbox)


async def _store_again(algolia: AlgoliaEvents, outbox: FailingOutbox) -> None:
    """Track until something has been stored: the store is tried again once a second."""
    while algolia.stats().sending is None or not algolia.stats().sending.claimed:  # type: ignore[union-attr]
        algolia.events.track(event("next"))
        await asyncio.sleep(0.05)


async def test_put_waits_for_the_server_while_the_outbox_fails() -> None:
    async with Sandbox() as sandbox, client(sandbox, FailingOutbox(fails=True)) as algolia:
        await asyncio.wait_for(algolia.events.put(event("a")), 10)
        accepted = names(sandbox)

    assert accepted == ["a"]


async def test_requests_are_no_larger_though_more_is_stored_together(clock: HandClock) -> None:
    """Through the outbox, past it, and where the outbox keeps what its process could not send."""
    outbox, sent = FailingOutbox(), list[bytes]()
    options = QueueOptions(batch_events=10, linger=0.1)
    queue = DurableQueue(partial(take, sent=sent), outbox, clock=clock, options=options)
    await queue.start()

    for fails in (False, True):
        outbox.fails = fails
        for number in range(35):
            queue.track(event(number))
        await pass_time(clock, 5.0)
    report = await queue.aclose()
    only_stores = DurableQueue(None, outbox, clock=clock, options=options)
    outbox.fails = False
    await only_stores.start()
    for number in range(35):
        only_stores.track(event(number))
    only_stores._ensure_runner().task.cancel()  # as the end of a loop does
    await turns()
    kept = await outbox.groups(limit=100)
    await only_stores.aclose()

    assert (report.delivered, report.dropped) == (70, 0)
    assert max(body.count(b'"objectIDs"') for body in sent) == 10
    assert (max(group.count for group in kept), sum(group.count for group in kept)) == (10, 35)


async def test_without_outbox_and_server_the_bound_holds_and_all_is_counted() -> None:
    async with Sandbox() as sandbox:
        with sandbox.fault(Status(500)):
            algolia = client(sandbox, FailingOutbox(fails=True), max_events=100, batch_events=10)
            await algolia.start()
            for number in range(1000):
                algolia.events.track(event(number))
            await algolia.events.flush(0.3)
            during = algolia.stats()
            report = await algolia.aclose(0.2)

    check_books(during)
    check_books(algolia.stats())
    assert during.pending == 100
    assert during.dropped == {"queue_full": 900}
    assert (report.dropped, report.pending, report.delivered) == (1000, 0, 0)


async def test_what_memory_sends_past_a_failing_outbox_makes_room_for_whoever_waits() -> None:
    outbox = FailingOutbox(fails=True)

    async with Sandbox() as sandbox, client(sandbox, outbox, max_events=20, batch_events=5) as algolia:
        await asyncio.wait_for(asyncio.gather(*(algolia.events.put(event(number)) for number in range(200))), 30)

    assert sorted(names(sandbox), key=int) == [str(number) for number in range(200)]


async def test_the_oldest_give_way_while_outbox_and_server_fail(clock: HandClock) -> None:
    answer = asyncio.Event()
    sent: list[bytes] = []

    async def deliver(body: bytes) -> Accepted:
        await answer.wait()
        return await take(body, sent)

    options = QueueOptions(max_events=100, batch_events=10, in_flight=1, overflow="drop-oldest")
    queue = DurableQueue(deliver, FailingOutbox(fails=True), clock=clock, options=options)
    await queue.start()
    for number in range(1000):
        queue.track(event(number))
        await turns(2)
    held = queue.stats()
    answer.set()
    await pass_time(clock, 10.0)
    await queue.aclose()

    check_books(held)
    assert held.pending == 100
    assert b'"999"' in sent[-1]
    assert b"".join(sent).count(b'"objectIDs"') == 100


@pytest.mark.parametrize("deliver", [True, False], ids=["sends", "only stores"])
async def test_a_batch_larger_than_the_outbox_is_cut(clock: HandClock, deliver: bool) -> None:
    outbox = MemoryOutbox(max_bytes=10_000)
    sent: list[bytes] = []
    queue = DurableQueue(
        partial(take, sent=sent) if deliver else None, outbox, clock=clock, options=QueueOptions(linger=0.1)
    )
    await queue.start()

    for number in range(500):
        queue.track(event(number))
    await pass_time(clock, 30.0)
    health, stats, sizes = queue.health(), queue.stats(), await outbox.sizes()
    report = await queue.aclose(0 if not deliver else None)

    check_books(stats)
    if deliver:
        assert (health.ok, report.delivered, report.dropped) == (True, 500, 0)
        assert b"".join(sent).count(b'"objectIDs"') == 500
    else:
        assert stats.stored == sizes.events > 0
        assert sizes.bytes > 5000
        assert (health.state, health.reason) == (HealthState.DEGRADED, "the outbox is at its bound of 10000 bytes")


async def test_what_never_fits_into_the_outbox_goes_past_it() -> None:
    """One event that is larger than the bound."""
    outbox = MemoryOutbox(max_bytes=100)

    async with Sandbox() as sandbox, client(sandbox, outbox) as algolia:
        for number in range(3):
            algolia.events.track(event(number))
        await sandbox.wait_for(3)
        health = algolia.health()
        report = await algolia.events.flush(10)

    check_books(algolia.stats())
    assert (report.delivered, report.dropped) == (3, 0)
    assert health.state is HealthState.DEGRADED


async def test_an_outbox_full_of_dead_letters_is_passed_with_whole_batches(clock: HandClock) -> None:
    outbox = LetteredOutbox()
    sent: list[bytes] = []
    queue = DurableQueue(partial(take, sent=sent), outbox, clock=clock, options=QueueOptions(batch_events=100))
    await queue.start()

    for number in range(500):
        queue.track(event(number))
    await turns()
    health = queue.health()
    await pass_time(clock, 10.0)
    report = await queue.aclose()

    assert (report.delivered, report.dropped) == (500, 0)
    assert len(sent) == 5
    assert health.state is HealthState.DEGRADED


class LetteredOutbox(MemoryOutbox):
    """Has no room, although it holds no event."""

    async def store(self, groups: Sequence[EventGroup]) -> None:
        raise OutboxFullError(1 << 20)


async def test_a_full_outbox_holds_back_and_goes_on_when_there_is_room() -> None:
    outbox = MemoryOutbox(max_bytes=2000)

    async with Sandbox() as sandbox:
        async with client(sandbox, outbox, deliver=False, batch_events=5) as algolia:
            for number in range(50):
                algolia.events.track(event(number))
            with sandbox.fault(Hang()):
                report = await algolia.events.flush(0.2)
            full = algolia.health()
            while report.pending:
                await outbox.settle(done=await outbox.claim(1000, 1 << 40))
                report = await algolia.events.flush(0.2)
        stats = algolia.stats()

    check_books(stats)
    assert full.state is HealthState.DEGRADED
    assert (stats.stored, stats.pending, stats.dropped) == (50, 0, {})


async def test_closing_leaves_what_cannot_be_sent_in_the_outbox() -> None:
    outbox = MemoryOutbox()

    async with Sandbox() as sandbox:
        with sandbox.fault(Status(503)):
            algolia = client(sandbox, outbox)
            await algolia.start()
            for number in range(500):
                algolia.events.track(event(number))
            report = await asyncio.wait_for(algolia.aclose(5), 4)
    again = await algolia.aclose()

    check_books(algolia.stats())
    assert report == again
    assert (report.stored, report.dropped, report.pending, report.delivered) == (500, 0, 0, 0)
    assert not report.timed_out
    assert (await outbox.sizes()).events == 500
    assert len(events_in(await outbox.claim(1000, 1 << 40))) == 500


async def test_closing_in_an_outage_asks_the_server_no_more(clock: HandClock) -> None:
    outbox = MemoryOutbox()
    await outbox.store([group_of(number) for number in range(3)])
    attempts: list[bytes] = []
    queue = DurableQueue(partial(refuse, attempts), outbox, clock=clock, options=QueueOptions(batch_events=1))
    await queue.start()
    await pass_time(clock, 10.0)
    before = len(attempts)

    report = await asyncio.wait_for(queue.aclose(), 10)
    free = await outbox.claim(1000, 1 << 40)

    assert len(attempts) == before
    assert not report.timed_out
    assert len(free) == 3


@pytest.mark.parametrize("make_outbox", [MemoryOutbox, PlainOutbox])
@pytest.mark.parametrize(("count", "failures"), [(20, 3), (3, 4)], ids=["some fail", "all fail and are given back"])
async def test_a_flush_waits_while_the_server_fails(
    make_outbox: Callable[[], Outbox], count: int, failures: int
) -> None:
    async with Sandbox() as sandbox, client(sandbox, make_outbox(), batch_events=1) as algolia:
        sandbox.faults.add(Status(503), times=failures)
        for number in range(count):
            algolia.events.track(event(number))
        report = await algolia.events.flush(10)

    assert (report.delivered, report.stored, report.timed_out) == (count, 0, False)


async def test_pauses_between_attempts_are_as_long_as_it_was_told(clock: HandClock) -> None:
    outbox = MemoryOutbox()
    await outbox.store([group_of(1)])
    attempts: list[bytes] = []
    retry = RetryOptions(backoff_base=600, backoff_cap=600)
    queue = DurableQueue(partial(refuse, attempts), outbox, clock=clock, retry=retry, draw=lambda: 0.99)

    await queue.start()
    await pass_time(clock, 500.0)
    early = len(attempts)
    await pass_time(clock, 100.0)
    late = len(attempts)
    await queue.aclose()

    assert (early, late) == (1, 2)


async def test_what_was_given_up_past_the_outbox_is_on_the_books() -> None:
    async with Sandbox() as sandbox:
        with sandbox.fault(Hang()):
            algolia = client(sandbox, MemoryOutbox())
            await algolia.start()
            waiting = asyncio.create_task(algolia.events.deliver(event("verdict")))
            await sandbox.wait_for(lambda: sandbox.counts.requests >= 1)
            await algolia.aclose(0.05)
    given_up = await asyncio.gather(waiting, return_exceptions=True)

    stats = algolia.stats()
    check_books(stats)
    assert isinstance(given_up[0], EventDroppedError)
    assert stats.dropped == {"ambiguous": 1}


async def test_a_flush_that_runs_out_of_time_says_what_is_stored() -> None:
    async with Sandbox() as sandbox:
        with sandbox.fault(Hang()):
            algolia = client(sandbox, MemoryOutbox())
            await algolia.start()
            for number in range(10):
                algolia.events.track(event(number))
            report = await algolia.events.flush(0.3)
            await algolia.aclose(0.1)

    check_books(algolia.stats())
    assert (report.timed_out, report.stored, report.pending) == (True, 10, 0)


@pytest.mark.parametrize("deliver", [True, False], ids=["sends", "only stores"])
async def test_health_heals_without_an_event(clock: HandClock, deliver: bool) -> None:
    """An outbox is looked at once a second while it fails, and left in peace once it works."""
    outbox = FailingOutbox(fails=True)
    hook = StateHook()
    queue = DurableQueue(take if deliver else None, outbox, clock=clock, hooks=[hook])
    await queue.start()
    before = queue.health()

    await pass_time(clock, 10.0)
    looked_while_it_failed = outbox.openings
    outbox.fails = False
    await pass_time(clock, 2.0)
    after = queue.health()
    looked = outbox.openings
    await pass_time(clock, 3600.0)
    await queue.aclose()

    assert (before.state, before.reason) == (HealthState.DEGRADED, "the disk is gone")
    assert 9 <= looked_while_it_failed <= 11
    assert after.ok
    assert outbox.openings == looked
    assert hook.states == [HealthState.DEGRADED, HealthState.OK]


async def test_what_was_stored_before_an_outbox_failed_leaves_once_it_works(clock: HandClock) -> None:
    outbox = FailingOutbox()
    await outbox.store([group_of(1), group_of(2)])
    outbox.fails = True
    sent: list[bytes] = []
    queue = DurableQueue(partial(take, sent=sent), outbox, clock=clock)
    await queue.start()
    await pass_time(clock, 60.0)
    sent_while_it_failed = len(sent)

    outbox.fails = False
    await pass_time(clock, 2.0)
    await queue.aclose()

    assert sent_while_it_failed == 0
    assert b"".join(sent).count(b'"objectIDs"') == 2


async def test_a_full_outbox_does_not_seem_well_as_long_as_something_waits(clock: HandClock) -> None:
    outbox = MemoryOutbox(max_bytes=10)
    hook = StateHook()
    queue = DurableQueue(None, outbox, clock=clock, hooks=[hook])
    await queue.start()

    queue.track(event("a"))
    await pass_time(clock, 60.0)
    states = list(hook.states)
    await queue.aclose(0)

    assert states == [HealthState.DEGRADED]


async def test_after_a_long_failure_what_waits_is_stored_within_a_second_or_two(clock: HandClock) -> None:
    """However long the pauses between attempts to send may become."""
    outbox = FailingOutbox(fails=True)
    queue = DurableQueue(None, outbox, clock=clock, retry=RetryOptions(backoff_cap=600))
    await queue.start()
    queue.track(event("a"))
    await pass_time(clock, 600.0)

    outbox.fails = False
    await pass_time(clock, 2.0)
    sizes = await outbox.sizes()
    await queue.aclose()

    assert sizes.events == 1


class WrongOutbox(MemoryOutbox):
    """Can never work here."""

    async def open(self) -> None:
        raise ConfigurationError("it lies on a network file system")


async def test_an_outbox_that_can_never_work_is_said_at_the_start() -> None:
    queue = DurableQueue(take, WrongOutbox())

    with pytest.raises(ConfigurationError, match="network file system"):
        await queue.start()
    await queue.aclose()

    assert queue.health().state is HealthState.CLOSED


class StuckOutbox(MemoryOutbox):
    """Is opened for ever."""

    async def open(self) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("outbox", [WrongOutbox(), StuckOutbox()], ids=["refused", "cancelled"])
async def test_a_client_that_could_not_be_entered_is_closed(outbox: MemoryOutbox) -> None:
    client = AlgoliaEvents(app_id="APP", api_key="key", outbox=outbox)
    before = asyncio.all_tasks()

    entering = asyncio.create_task(client.__aenter__())
    await turns()
    if isinstance(outbox, StuckOutbox):
        entering.cancel()
    await asyncio.wait({entering})

    assert entering.cancelled() or isinstance(entering.exception(), ConfigurationError)
    assert client.health().state is HealthState.CLOSED
    assert asyncio.all_tasks() == before


async def take(body: bytes, sent: list[bytes] | None = None) -> Accepted:
    """Accept a request."""
    if sent is not None:
        sent.append(body)
    return Accepted()


async def refuse(attempts: list[bytes], body: bytes) -> Outcome:
    """Fail, and note that it was asked."""
    attempts.append(body)
    return Failed(reason="503", ambiguous=False)


async def pass_time(clock: HandClock, seconds: float) -> None:
    """Let time pass in steps of half a second, and everything happen that falls due."""
    for _ in range(int(seconds * 2)):
        clock.advance(0.5)
        await turns()


def test_storing_only_needs_an_outbox() -> None:
    with pytest.raises(ConfigurationError, match="needs an outbox"):
        AlgoliaEvents(app_id="APP", api_key="key", deliver=False)


def test_the_environment_names_the_outbox(tmp_path: object) -> None:
    environ = {"ALGOLIA_APP_ID": "A", "ALGOLIA_API_KEY": "k", "ALGOLIA_OUTBOX": "nonsense"}

    with pytest.raises(ConfigurationError, match="an outbox is"):
        AlgoliaEvents.from_env(environ)


async def test_a_flush_waits_for_what_an_earlier_loop_has_stored_as_well() -> None:
    outbox, sent = MemoryOutbox(), list[bytes]()
    queue = DurableQueue(lambda body: take(body, sent), outbox, options=QueueOptions(linger=0.1))

    async def earlier() -> None:
        await queue.start()
        for number in range(10):
            queue.track(event(number))

    await asyncio.to_thread(asyncio.run, earlier())
    queue.track(event(10))
    first = await queue.flush()
    queue.track(event(11))
    second = await queue.flush()
    await queue.aclose()

    assert (first.delivered, first.stored) == (11, 0)
    assert (second.delivered, second.stored) == (12, 0)


async def accept(_: bytes) -> Outcome:
    await asyncio.sleep(0)
    return Accepted()


async def test_hooks_of_both_parts_are_counted_and_hear_of_nothing_that_hooks_do() -> None:
    class Hooked(Hook):
        def __init__(self) -> None:
            self.tracked_events: list[object] = []
            self.batches = 0

        def tracked(self, event: object) -> None:
            self.tracked_events.append(event)

        def batch_settled(self, events: int, result: str, seconds: float) -> None:
            self.batches += 1
            if self.batches == 1:
                queue.track(event("of the hook"))
            raise ZeroDivisionError

    hook = Hooked()
    queue = DurableQueue(accept, MemoryOutbox(), options=QueueOptions(linger=0), hooks=[hook])
    mine = event("mine")

    queue.track(mine)
    await queue.flush(10)
    report = await queue.aclose(10)

    assert report.delivered == 2
    assert hook.tracked_events == [mine]
    assert queue.stats().callback_errors == hook.batches == 2


@pytest.mark.parametrize("what", ["put", "flush", "deliver", "submit", "aclose"])
@pytest.mark.parametrize("after", [1, 2, 3, 5, 9, 14])
async def test_cancelling_all_background_tasks_strands_nobody(what: str, after: int) -> None:
    queue = DurableQueue(accept, MemoryOutbox(), options=QueueOptions(linger=0.01))
    theirs = asyncio.all_tasks()
    await queue.start()
    queue.track(event(1))

    async def submit() -> object:
        return await (await queue.submit(event(2)))

    does: dict[str, Callable[[], Awaitable[object]]] = {
        "put": lambda: queue.put(event(2)),
        "flush": queue.flush,
        "deliver": lambda: queue.deliver(event(2)),
        "submit": submit,
        "aclose": lambda: queue.aclose(10),
    }
    waiting = asyncio.ensure_future(does[what]())
    await turns(after)
    for task in asyncio.all_tasks() - theirs - {waiting}:
        task.cancel()
    await asyncio.wait({waiting}, timeout=10)
    report = await queue.aclose(10)

    assert waiting.done()
    assert waiting.exception() is None
    check_books(queue.stats())
    assert report.delivered + report.stored == queue.stats().tracked, "what is stored can be sent later"


@pytest.mark.parametrize("name", ["algolia_events", "algolia_events.feeder"])
async def test_what_is_tracked_after_a_background_task_was_cancelled_is_sent(name: str) -> None:
    async with Sandbox() as sandbox, client(sandbox, MemoryOutbox()) as algolia:
        background = [task for task in asyncio.all_tasks() if task.get_name() == name]

        for task in background:
            task.cancel()
        await asyncio.wait(background)
        algolia.events.track(event("after"))
        await sandbox.wait_for(1)

        assert background
        assert names(sandbox) == ["after"]


async def test_a_flush_ends_though_the_feeder_is_cancelled_before_it_has_begun() -> None:
    queue = DurableQueue(accept, MemoryOutbox(), options=QueueOptions(linger=0.01))
    queue.track(event(1))
    flushing = asyncio.create_task(queue.flush())
    await turns(1)

    feeders = [task for task in asyncio.all_tasks() if task.get_name() == "algolia_events.feeder"]
    for task in feeders:
        task.cancel()
    await asyncio.wait({flushing}, timeout=2)
    flushed = flushing.done()
    report = await queue.aclose(10)

    assert feeders
    assert flushed
    assert report.delivered == 1


async def test_what_was_sent_is_settled_though_somebody_cancels_the_feeder_while_the_queue_closes() -> None:
    outbox = MemoryOutbox()
    sent: list[bytes] = []
    going = asyncio.Event()

    async def accept_slowly(body: bytes) -> Outcome:
        sent.append(body)
        await going.wait()
        return Accepted()

    queue = DurableQueue(accept_slowly, outbox, options=QueueOptions(batch_events=1, linger=0, in_flight=2))
    for number in range(6):
        await queue.put(event(number))
    closing = asyncio.create_task(queue.aclose(30))
    await turns()

    for task in asyncio.all_tasks():
        if task.get_name() == "algolia_events.feeder":
            task.cancel()
    await turns()
    going.set()
    report = await closing
    kept = await outbox.sizes()

    assert report.delivered == len(sent) > 0
    assert kept.events == 6 - len(sent)
