"""What a process stores it sends without reading it back, and what is sent is settled with the next store."""

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest
from support.clock import HandClock
from support.groups import group
from support.outboxes import PlainOutbox
from support.rigs import turns

from algolia_events import ClickedObjectIDs
from algolia_events._batching import COMMIT_LINGER
from algolia_events._clock import Handle
from algolia_events._durable import DurableQueue
from algolia_events._retry import Accepted, Failed, Outcome
from algolia_events.abc import ExchangingOutbox, Outbox
from algolia_events.config import QueueOptions, RetryOptions
from algolia_events.errors import OutboxError
from algolia_events.outbox import ClaimedGroup, EventGroup, MemoryOutbox
from algolia_events.reports import HealthState


def event(name: object) -> ClickedObjectIDs:
    return ClickedObjectIDs(event_name="Clicked", index="products", object_ids=[str(name)], user_token="user-1")


class CountingOutbox(PlainOutbox):
    """Counts what it is asked, and how many groups it hands out."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.claimed = 0
        self.settlements = 0
        self.cannot_settle = False

    async def claim(self, max_events: int, max_bytes: int) -> Sequence[ClaimedGroup]:
        self.looks += 1
        claimed = await super().claim(max_events, max_bytes)
        self.claimed += len(claimed)
        return claimed

    async def settle(self, **verdicts: Any) -> None:
        self.settlements += 1
        if self.cannot_settle:
            raise OutboxError("the disk is full")
        await super().settle(**verdicts)


class CountingExchange(CountingOutbox):
    """Exchanges as well, unless it is told to fail; notes what it stored, and how many groups it settled with that."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = False
        self.stored: list[list[int]] = []
        self.done: list[int] = []

    async def exchange(self, groups: Sequence[EventGroup], **terms: Any) -> Sequence[ClaimedGroup]:
        if self.fails:
            raise OutboxError("the disk is gone")
        self.stored.append([each.count for each in groups])
        self.done.append(len(terms["done"]))
        return await self.memory.exchange(groups, **terms)


@attrs.define
class Server:
    """Answers as it is told, and keeps what it got."""

    outcome: Outcome = attrs.field(factory=Accepted)
    bodies: list[bytes] = attrs.field(factory=list)

    async def deliver(self, body: bytes) -> Outcome:
        self.bodies.append(body)
        return self.outcome

    @property
    def names(self) -> list[int]:
        return [name for body in self.bodies for name in names_in(body)]


def names_in(body: bytes) -> list[int]:
    """List the objects of the events in a body."""
    return [int(part.split(b'"')[0]) for part in body.split(b'"objectIDs":["')[1:]]


def queue_of(outbox: Outbox, server: Server, clock: HandClock, **options: object) -> DurableQueue:
    return DurableQueue(
        server.deliver,
        outbox,
        clock=clock,
        options=QueueOptions(**{"batch_events": 10, **options}),  # type: ignore[arg-type]
        retry=RetryOptions(backoff_base=0.1, backoff_cap=0.2),
    )


async def started_queue(outbox: Outbox, server: Server, clock: HandClock, **options: object) -> DurableQueue:
    """Make a queue that has opened its outbox, and looked into it."""
    queue = queue_of(outbox, server, clock, **options)
    await queue.start()
    await turns()
    return queue


async def track_ticks(queue: DurableQueue, clock: HandClock, numbers: range, *, at_once: int = 10) -> None:
    """Track so many events at a time, as often as few are stored."""
    for first in numbers[::at_once]:
        for number in range(first, first + at_once):
            queue.track(event(number))
        await turns()
        clock.advance(COMMIT_LINGER)
        await turns()


def test_only_an_outbox_that_exchanges_is_asked_to() -> None:
    assert not isinstance(CountingOutbox(), ExchangingOutbox)
    assert isinstance(CountingExchange(), ExchangingOutbox)


async def test_what_is_stored_is_sent_without_being_read_and_settled_with_the_next_store(clock: HandClock) -> None:
    outbox, server = CountingExchange(), Server()
    queue = await started_queue(outbox, server, clock)

    await track_ticks(queue, clock, range(80), at_once=20)
    settlements = outbox.settlements
    report = await queue.flush()
    sizes = await outbox.sizes()
    await queue.aclose()

    assert server.names == list(range(80))
    assert (outbox.claimed, settlements) == (0, 0)
    assert outbox.done == [0, 2, 2, 2]
    assert (report.delivered, report.stored, sizes.groups) == (80, 0, 0)


async def test_who_stores_all_the_time_does_not_look_besides(clock: HandClock) -> None:
    """To store is to look as well, where the outbox exchanges."""
    outbox, server = CountingExchange(), Server()
    queue = await started_queue(outbox, server, clock)
    at_first = outbox.looks

    await track_ticks(queue, clock, range(160))
    meanwhile = outbox.looks
    clock.advance(0.5)
    await turns()
    afterwards = outbox.looks
    await queue.aclose()

    assert at_first == meanwhile
    assert afterwards == meanwhile + 1


async def test_what_others_left_is_looked_for_although_less_is_stored_than_there_is_room_for(clock: HandClock) -> None:
    outbox, server = CountingExchange(), Server()
    queue = await started_queue(outbox, server, clock)
    await outbox.store([names_group(range(first, first + 10)) for first in range(100, 200, 10)])

    await track_ticks(queue, clock, range(1), at_once=1)
    for _ in range(10):
        await turns()
    names = list(server.names)
    await queue.aclose()

    assert names == [*range(100, 200), 0]


class ModestExchange(CountingExchange):
    """Hands out no more than the oldest group, as far as an exchange is asked."""

    async def exchange(self, groups: Sequence[EventGroup], **terms: Any) -> Sequence[ClaimedGroup]:
        return await super().exchange(groups, **{**terms, "max_events": min(terms["max_events"], 1)})


async def test_who_stores_all_the_time_looks_besides_where_that_brings_what_is_older(clock: HandClock) -> None:
    """However many events that is: what is stored stays behind, and nobody else may come for it."""
    outbox, server = ModestExchange(), Server()
    queue = await started_queue(outbox, server, clock, in_flight=1)
    await outbox.store([names_group(range(first, first + 10)) for first in range(1000, 1200, 10)])

    await track_ticks(queue, clock, range(200))
    clock.advance(0.5)
    await turns()
    names = list(server.names)
    await queue.aclose()

    assert sorted(names) == [*range(200), *range(1000, 1200)]


async def test_a_million_events_a_minute_are_stored_by_whole_requests(clock: HandClock) -> None:
    outbox, server = CountingExchange(), Server()
    queue = await started_queue(outbox, server, clock, batch_events=1000)

    for first in range(0, 12_000, 100):
        for number in range(first, first + 100):
            queue.track(event(number))
        await turns(1)
        clock.advance(100 / (1_000_000 / 60))
        await turns(1)
    await queue.flush()
    await queue.aclose()

    assert outbox.stored == [[1000, 1000]] * 6


class PatientServer(Server):
    """Accepts a request for each permit."""

    def __init__(self) -> None:
        super().__init__()
        self.permits = asyncio.Semaphore(0)

    async def deliver(self, body: bytes) -> Outcome:
        self.bodies.append(body)
        await self.permits.acquire()
        return self.outcome

    async def accept(self, requests: int) -> None:
        for _ in range(requests):
            self.permits.release()
        await turns()


async def test_a_flush_does_not_look_where_all_that_was_stored_is_on_its_way(clock: HandClock) -> None:
    outbox, server = CountingExchange(), PatientServer()
    queue = await started_queue(outbox, server, clock)
    await track_ticks(queue, clock, range(20))
    looks = outbox.looks

    flush = asyncio.create_task(queue.flush())
    await turns()
    await server.accept(2)
    report = await flush
    looks_at_the_end = outbox.looks
    await queue.aclose()

    assert (report.delivered, report.stored) == (20, 0)
    assert looks_at_the_end == looks


async def test_a_flush_finds_what_somebody_else_held_and_gave_back(clock: HandClock) -> None:
    """It looks for that once nothing else is on its way."""
    outbox, server = CountingExchange(), PatientServer()
    queue = await started_queue(outbox, server, clock, in_flight=1)
    await track_ticks(queue, clock, range(30))
    somebody_elses = await outbox.memory.claim(10, 1 << 40)
    await server.accept(1)

    flush = asyncio.create_task(queue.flush())
    await turns()
    await outbox.memory.settle(left=somebody_elses)
    await server.accept(2)
    report = await flush
    await queue.aclose()

    assert names_in(somebody_elses[0].body) == list(range(20, 30))
    assert (report.delivered, report.stored) == (30, 0)
    assert server.names == list(range(30))


async def test_a_flush_looks_at_once_for_what_was_stored_and_not_claimed(clock: HandClock) -> None:
    outbox, server = CountingOutbox(), PatientServer()
    queue = await started_queue(outbox, server, clock)
    await track_ticks(queue, clock, range(10))
    await track_ticks(queue, clock, range(10, 13), at_once=3)
    before = list(server.names)

    flush = asyncio.create_task(queue.flush())
    await turns()
    while_nothing_is_answered = list(server.names)
    await server.accept(2)
    await flush
    await queue.aclose()

    assert before == list(range(10))
    assert while_nothing_is_answered == list(range(13))


class LateExchange(CountingExchange):
    """Does at once what it is asked, and keeps the answer back while it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.waits_for: asyncio.Event | None = None

    async def exchange(self, groups: Sequence[EventGroup], **terms: Any) -> Sequence[ClaimedGroup]:
        waits_for = self.waits_for
        claimed = await super().exchange(groups, **terms)
        if waits_for is not None:
            await waits_for.wait()
        return claimed


async def test_a_late_answer_does_not_put_off_what_was_stored_since(clock: HandClock) -> None:
    outbox, server = LateExchange(), PatientServer()
    queue = await started_queue(outbox, server, clock, in_flight=2)
    await track_ticks(queue, clock, range(20), at_once=20)

    outbox.waits_for = late = asyncio.Event()
    await track_ticks(queue, clock, range(20, 30))
    outbox.waits_for = None
    await track_ticks(queue, clock, range(30, 40))
    late.set()
    await turns()
    await server.accept(3)
    names = list(server.names)
    await server.accept(1)
    await queue.aclose()

    assert names == list(range(40))


async def test_a_late_answer_does_not_put_off_what_others_have_stored_since(clock: HandClock) -> None:
    outbox, server = LateExchange(), PatientServer()
    queue = await started_queue(outbox, server, clock, in_flight=2)

    outbox.waits_for = late = asyncio.Event()
    await track_ticks(queue, clock, range(10))
    await outbox.store([names_group(range(first, first + 10)) for first in range(100, 200, 10)])
    clock.advance(0.5)  # a look, which brings what there is room for
    await turns()
    late.set()
    await turns()
    for _ in range(11):
        await server.accept(1)
    names = sorted(server.names)
    await queue.aclose()

    assert names == [*range(10), *range(100, 200)]


async def test_a_flush_waits_until_the_outbox_knows_what_was_sent_although_others_hold_the_rest(
    clock: HandClock,
) -> None:
    outbox, server = CountingExchange(), PatientServer()
    queue = await started_queue(outbox, server, clock, in_flight=1)
    await track_ticks(queue, clock, range(30))
    somebody_elses = await outbox.memory.claim(10, 1 << 40)
    outbox.cannot_settle = True
    await server.accept(2)

    flush = asyncio.create_task(queue.flush())
    await turns()
    too_early = flush.done()
    outbox.cannot_settle = False
    for _ in range(3):
        clock.advance(0.5)
        await turns()
    report = await flush
    groups = await outbox.memory.groups()
    await queue.aclose()

    assert not too_early
    assert (report.delivered, report.stored) == (20, 10)
    assert [each.body for each in groups] == [each.body for each in somebody_elses]


async def test_an_outbox_that_only_stores_and_claims_serves_as_well(clock: HandClock) -> None:
    outbox, server = CountingOutbox(), Server()
    queue = await started_queue(outbox, server, clock)

    await track_ticks(queue, clock, range(100))
    report = await queue.flush()
    sizes = await outbox.sizes()
    await queue.aclose()

    assert server.names == list(range(100))
    assert outbox.claimed == 10
    assert (report.delivered, sizes.groups) == (100, 0)


async def test_what_is_stored_in_an_outbox_that_only_stores_leaves_when_it_has_lingered(clock: HandClock) -> None:
    """And not with what others have stored, which is looked for twice a second."""
    outbox, server = PlainOutbox(), Server()
    queue = await started_queue(outbox, server, clock, linger=0.1, batch_events=1000)

    await track_ticks(queue, clock, range(1), at_once=1)
    clock.advance(0.05)
    await turns()
    early = list(server.names)
    clock.advance(0.1)
    await turns()
    late = server.names
    await queue.aclose()

    assert (early, late) == ([], [0])


async def test_few_events_gather_until_they_have_lingered(clock: HandClock) -> None:
    outbox, server = CountingExchange(), Server()
    queue = await started_queue(outbox, server, clock, linger=0.7, batch_events=1000)

    await track_ticks(queue, clock, range(6), at_once=1)
    early = len(server.bodies)
    for _ in range(4):
        clock.advance(0.1)
        await turns()
    await queue.aclose()

    assert early == 0
    assert len(server.bodies) == 1
    assert server.names == list(range(6))


async def test_what_was_sent_is_settled_soon_where_nothing_more_is_stored(clock: HandClock) -> None:
    outbox, server = CountingExchange(), Server()
    queue = await started_queue(outbox, server, clock)

    await track_ticks(queue, clock, range(10))
    clock.advance(0.15)
    await turns()
    sizes = await outbox.sizes()
    await queue.aclose()

    assert (sizes.groups, outbox.settlements) == (0, 1)


async def test_what_could_not_be_settled_with_a_store_is_settled_later(clock: HandClock) -> None:
    outbox, server = CountingExchange(), Server()
    queue = await started_queue(outbox, server, clock)
    await track_ticks(queue, clock, range(10))
    held = (await outbox.sizes()).groups

    outbox.fails = True
    await track_ticks(queue, clock, range(10, 20))
    outbox.fails = False
    for _ in range(10):
        clock.advance(0.5)
        await turns()
    report = await queue.flush()
    sizes = await outbox.sizes()
    await queue.aclose()

    assert held == 1
    assert sorted(server.names) == list(range(20))
    assert (report.delivered, report.dropped, sizes.groups) == (20, 0, 0)


@pytest.mark.parametrize("in_flight", [1, 2, 4])
async def test_a_death_would_never_repeat_more_than_a_request_a_slot(clock: HandClock, in_flight: int) -> None:
    """What the server has got, and the outbox still holds."""
    outbox, server = CountingExchange(), Server()
    queue = await started_queue(outbox, server, clock, in_flight=in_flight)
    repeated = []

    for number in range(500):
        queue.track(event(number))
        for _ in range(12 if number % 7 == 0 else 0):
            await turns(1)
            sent = set(server.names)
            unsettled = await outbox.memory.groups(limit=1000)
            repeated.append(sum(not sent.isdisjoint(names_in(each.body)) for each in unsettled))
        if number % 50 == 0:
            clock.advance(0.05)
    await queue.flush()
    await queue.aclose()

    assert server.names == list(range(500))
    assert 1 <= max(repeated) <= in_flight


async def test_in_an_outage_what_has_gathered_is_left_to_others(clock: HandClock) -> None:
    outbox, server = CountingExchange(), Server(Failed(reason="500", ambiguous=False))
    await outbox.store([group("9")])
    queue = await started_queue(outbox, server, clock)

    await track_ticks(queue, clock, range(50), at_once=5)
    clock.advance(1.0)
    await turns()
    others = await outbox.claim(1000, 1 << 40)
    await queue.aclose()

    assert sum(each.count for each in others) >= 40


async def test_the_next_loop_writes_what_the_last_one_had_not() -> None:
    outbox, server, clock = CountingExchange(), Server(), HandClock()
    queue = queue_of(outbox, server, clock)

    async def first() -> None:
        await queue.start()
        await turns()
        await track_ticks(queue, clock, range(10))

    await asyncio.to_thread(asyncio.run, first())
    unsettled = (await outbox.sizes()).groups
    await queue.start()
    await turns()
    await queue.flush()
    sizes = await outbox.sizes()
    await queue.aclose()

    assert unsettled == 1
    assert sizes.groups == 0
    assert server.names == list(range(10))


class ForgetfulOutbox(MemoryOutbox):
    """Loses its first answer about groups that are given back: does what it is asked, and says that it fails."""

    loses = True

    async def settle(self, **verdicts: Any) -> None:
        await super().settle(**verdicts)
        if verdicts.get("left") and self.loses:
            self.loses = False
            raise OutboxError("no answer in time")


class StallingServer(Server):
    """Fails four times, accepts one request, and then answers no more until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()

    async def deliver(self, body: bytes) -> Outcome:
        self.bodies.append(body)
        if len(self.bodies) <= 4:
            return Failed(reason="500", ambiguous=False)
        if len(self.bodies) > 5:
            await self.answers.wait()
        return Accepted()


async def test_what_was_given_back_unheard_is_not_claimed_until_that_is_known(clock: HandClock) -> None:
    """Or it would be given back once more while it is being sent, to somebody who sends it as well."""
    outbox, server = ForgetfulOutbox(), StallingServer()
    for first in range(0, 40, 10):
        await outbox.store([names_group(range(first, first + 10))])
    queue = await started_queue(outbox, server, clock)

    for _ in range(30):
        clock.advance(0.1)
        await turns()
    others = await outbox.claim(1000, 1 << 40)
    server.answers.set()
    await turns()
    await queue.aclose()

    assert not outbox.loses
    assert list(others) == []
    assert sorted(server.names[40:]) == list(range(40))


class HeldOutbox(MemoryOutbox):
    """Does an exchange only when it is told to; notes what begins and ends."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = asyncio.Event()
        self.log: list[str] = []

    async def exchange(self, groups: Sequence[EventGroup], **terms: Any) -> Sequence[ClaimedGroup]:
        self.log.append(f"exchange claims {terms['max_events'] > 0}")
        await self.goes_on.wait()
        self.log.append("exchange ends")
        return await super().exchange(groups, **terms)

    async def settle(self, **verdicts: Any) -> None:
        if verdicts.get("left"):
            self.log.append("gives back")
        await super().settle(**verdicts)


class LateServer(Server):
    """Lets its first three requests wait, and then fails them."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = asyncio.Event()

    async def deliver(self, body: bytes) -> Outcome:
        self.bodies.append(body)
        if len(self.bodies) <= 3:
            await self.fails.wait()
            return Failed(reason="500", ambiguous=False)
        return Accepted()


async def test_nothing_is_given_back_while_a_store_might_claim_it(clock: HandClock) -> None:
    outbox, server = HeldOutbox(), LateServer()
    for first in range(0, 30, 10):
        await outbox.store([names_group(range(first, first + 10))])
    queue = await started_queue(outbox, server, clock)
    for name in range(30, 50):
        queue.track(event(name))
    await turns()

    server.fails.set()
    await turns()
    held = list(outbox.log)
    outbox.goes_on.set()
    for _ in range(60):
        clock.advance(0.5)
        await turns()
    await queue.aclose()

    assert held == ["exchange claims True"]
    assert outbox.log[1:3] == ["exchange ends", "gives back"]
    assert sorted(server.names[30:]) == list(range(50))


def names_group(names: range) -> EventGroup:
    """A group of events that the server can tell apart."""
    events = [b'{"objectIDs":["%d"]}' % name for name in names]
    return EventGroup(body=b",\n".join(events), count=len(events), oldest_ms=2_000_000_000_000, origin="there")


@pytest.mark.parametrize("make_outbox", [CountingOutbox, CountingExchange])
async def test_what_leaves_is_part_of_no_request(make_outbox: type[CountingOutbox]) -> None:
    request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")
    seen: list[str] = []

    async def deliver(_: bytes) -> Outcome:
        seen.append(request_id.get())
        return Accepted()

    request_id.set("GET /")
    queue = DurableQueue(deliver, make_outbox())
    await queue.start()
    queue.track(event(1))
    await queue.aclose()

    assert seen == ["none"]


class EarlyClock(HandClock):
    """Calls back half a millisecond too early, as uvloop may."""

    def call_at(self, when: float, callback: Callable[[], object]) -> Handle:
        return super().call_at(max(when - 0.0005, self.now + 0.0001), callback)


async def test_a_timer_that_fires_too_early_is_set_again() -> None:
    clock, server = EarlyClock(), Server()
    queue = await started_queue(CountingExchange(), server, clock, linger=0.2)

    queue.track(event(1))
    for _ in range(3500):
        clock.advance(0.0001)
        await turns(1)
    sent = list(server.names)
    await queue.aclose()

    assert sent == [1]


async def test_without_room_for_claims_no_timer_is_left(clock: HandClock) -> None:
    answer = asyncio.Event()

    async def deliver(_: bytes) -> Outcome:
        await answer.wait()
        return Accepted()

    queue = DurableQueue(deliver, CountingExchange(), clock=clock, options=QueueOptions(batch_events=10, in_flight=1))
    await queue.start()
    await track_ticks(queue, clock, range(40))
    for _ in range(10):
        clock.advance(0.5)
        await turns()
    timers = clock.timers
    answer.set()
    report = await queue.aclose()

    assert timers == 0
    assert report.delivered == 40


class SilentOutbox(CountingExchange):
    """Keeps what it is given, and says that it does not."""

    async def exchange(self, groups: Sequence[EventGroup], **terms: Any) -> Sequence[ClaimedGroup]:
        if not self.fails:
            return await super().exchange(groups, **terms)
        await self.memory.store(groups)
        raise OutboxError("no answer in time")


async def test_what_was_stored_against_all_appearances_is_booked_once(clock: HandClock) -> None:
    outbox, server = SilentOutbox(), Server()
    queue = await started_queue(outbox, server, clock)

    outbox.fails = True
    await track_ticks(queue, clock, range(10))
    outbox.fails = False
    for _ in range(10):
        clock.advance(0.5)
        await turns()
    await track_ticks(queue, clock, range(10, 15), at_once=5)
    report = await queue.aclose()

    assert sorted(server.names) == sorted([*range(15), *range(10)])
    assert (report.delivered, report.stored, report.pending) == (15, 0, 0)
    assert queue.stats().possible_duplicates == 10


async def test_when_the_sender_dies_the_rest_is_stored_once_and_closing_says_so(clock: HandClock) -> None:
    outbox = CountingExchange()
    answered: list[bytes] = []

    async def deliver(body: bytes) -> Outcome:
        answered.append(body)
        return Accepted()

    def broken_by_the_answer() -> float:
        return 0.5 if not answered else 1 / (len(answered) - 1)

    queue = DurableQueue(deliver, outbox, clock=clock, options=QueueOptions(batch_events=10), draw=broken_by_the_answer)
    await queue.start()
    await turns()

    await track_ticks(queue, clock, range(10))
    answered += answered  # nothing is wrong with what comes later
    await track_ticks(queue, clock, range(10, 30))
    health = queue.health()
    flushed = await queue.flush()
    report = await queue.aclose()
    sizes = await outbox.sizes()

    assert health.state is HealthState.FAILED
    assert (flushed.stored, report.stored, report.dropped) == (20, 20, 10)
    assert queue.stats().dropped == {"ambiguous": 10}
    assert sizes.events == 20
