"""Whatever an outbox of somebody else's does wrong, once or late, no event is lost and the books stay exact."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from support.books import check_books
from support.clock import HandClock
from support.outboxes import PlainOutbox
from support.rigs import turns

from algolia_events import ClickedObjectIDs
from algolia_events._durable import DurableQueue
from algolia_events._retry import Accepted, Outcome
from algolia_events.config import QueueOptions
from algolia_events.errors import OutboxError
from algolia_events.outbox import ClaimedGroup, EventGroup
from algolia_events.reports import HealthState


def event(name: object) -> ClickedObjectIDs:
    return ClickedObjectIDs(event_name="Clicked", index="products", object_ids=[str(name)], user_token="user-1")


class ForeignOutbox(PlainOutbox):
    """A plain one; `goes_wrong` says which call does something else, once."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_wrong: dict[str, Callable[[], Any]] = {}
        self.times_wrong = 0

    async def _instead(self, call: str) -> Any:
        """Do the wrong thing, once; None to do the right one."""
        wrong = self.goes_wrong.pop(call, None)
        if wrong is None:
            return None
        self.times_wrong += 1
        return [await wrong()]

    async def open(self) -> None:
        await self._instead("open")

    async def store(self, groups: Sequence[EventGroup]) -> None:
        await self._instead("store")
        await super().store(groups)

    async def claim(self, max_events: int, max_bytes: int) -> Sequence[ClaimedGroup]:
        instead = await self._instead("claim")
        return instead[0] if instead else await super().claim(max_events, max_bytes)

    async def settle(self, **verdicts: Any) -> None:
        await self._instead("settle")
        await super().settle(**verdicts)


def gives(answer: Any) -> Callable[[], Any]:
    async def give() -> Any:
        return answer

    return give


def raises(error: BaseException) -> Callable[[], Any]:
    async def fail() -> Any:
        raise error

    return fail


class Panic(BaseException):
    """What some extension modules raise."""


async def a_helper_is_cancelled() -> None:
    """Wait for a task that somebody cancels: a pool that closes one of its connections, for instance."""
    helper = asyncio.create_task(asyncio.sleep(3600))
    helper.cancel()
    await helper


def group_of(body: bytes, count: int) -> ClaimedGroup:
    return ClaimedGroup(body=body, count=count, oldest_ms=0, origin="elsewhere", key=1)


WRONG = {
    "claim gives None": ("claim", gives(None), "the outbox answered with a NoneType where groups were claimed"),
    "claim gives a text": ("claim", gives("abc"), "the outbox answered with a str where groups were claimed"),
    "claim gives numbers": ("claim", gives([1, 2]), "the outbox handed out a int for a group"),
    "claim gives no event": ("claim", gives([group_of(b"", 0)]), "the outbox handed out a group that is none"),
    "claim gives a text for a body": (
        "claim",
        gives([group_of("{}", 1)]),  # type: ignore[arg-type]
        "the outbox handed out a group that is none",
    ),
    "claim miscounts": (
        "claim",
        gives([group_of(b"{},\n{}", 7)]),
        "the outbox handed out a group that does not hold as many events as it says",
    ),
    "claim raises": ("claim", raises(ValueError("secret")), "the outbox raised ValueError"),
    "claim is cancelled": ("claim", a_helper_is_cancelled, "the outbox raised CancelledError"),
    "settle raises": ("settle", raises(ValueError("secret")), "the outbox raised ValueError"),
    "settle is cancelled": ("settle", a_helper_is_cancelled, "the outbox raised CancelledError"),
    "store raises": ("store", raises(ValueError("secret")), "the outbox raised ValueError"),
    "store panics": ("store", raises(Panic()), "the outbox raised Panic"),
    "store is cancelled": ("store", a_helper_is_cancelled, "the outbox raised CancelledError"),
    "open raises": ("open", raises(ValueError("secret")), "the outbox raised ValueError"),
    "open is cancelled": ("open", a_helper_is_cancelled, "the outbox raised CancelledError"),
}


class Server:
    """Accepts everything; keeps what it got."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def deliver(self, body: bytes) -> Outcome:
        self.bodies.append(body)
        return Accepted()

    @property
    def events(self) -> int:
        return b"".join(self.bodies).count(b'"objectIDs"')


def queue_of(outbox: ForeignOutbox, server: Server, clock: HandClock) -> DurableQueue:
    return DurableQueue(server.deliver, outbox, clock=clock, options=QueueOptions(batch_events=10, linger=0.1))


@pytest.mark.parametrize("case", WRONG)
async def test_one_mistake_is_survived_and_told(clock: HandClock, case: str) -> None:
    call, wrong, reason = WRONG[case]
    outbox, server = ForeignOutbox(), Server()
    queue = queue_of(outbox, server, clock)
    outbox.goes_wrong[call] = wrong
    await queue.start()
    reasons = {queue.health().reason}

    for number in range(100):
        queue.track(event(number))
        await turns()
        reasons.add(queue.health().reason)
        clock.advance(0.05)
        check_books(queue.stats())
    report = await queue.flush()
    healthy = queue.health()
    await queue.aclose()

    assert outbox.times_wrong == 1
    assert reasons == {None, reason}
    assert healthy.state is HealthState.OK
    assert (report.delivered, report.dropped, report.stored, report.pending) == (100, 0, 0, 0)
    assert server.events == 100


class RaisingNotice(ForeignOutbox):
    """Cannot say how it is."""

    @property
    def notice(self) -> str | None:  # type: ignore[override]
        raise RuntimeError("secret")


async def test_a_notice_that_cannot_be_had_is_all_that_is_missing(clock: HandClock) -> None:
    server = Server()
    queue = queue_of(RaisingNotice(), server, clock)
    await queue.start()

    queue.track(event(1))
    health = queue.health()
    report = await queue.aclose()

    assert (health.ok, health.reason) == (True, "the outbox raised RuntimeError")
    assert report.delivered == 1


class LateOutbox(ForeignOutbox):
    """Keeps what it is given at once, and says so, or says that it does not, when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[asyncio.Future[None]] = []

    async def store(self, groups: Sequence[EventGroup]) -> None:
        await self.memory.store(groups)
        self.answers.append(asyncio.get_running_loop().create_future())
        await self.answers[-1]


async def pass_time(clock: HandClock, seconds: float) -> None:
    for _ in range(round(seconds * 10)):
        clock.advance(0.1)
        await turns()


async def test_what_is_sent_before_the_store_is_answered_is_booked_once_it_is(clock: HandClock) -> None:
    outbox, server = LateOutbox(), Server()
    queue = queue_of(outbox, server, clock)
    await queue.start()
    for first in (0, 10):
        for number in range(first, first + 10):
            queue.track(event(number))
        await pass_time(clock, 1.0)

    sent = server.events
    early = queue.stats()
    outbox.answers[0].set_result(None)
    await turns()
    half = queue.stats()
    outbox.answers[1].set_result(None)
    report = await queue.flush()
    await queue.aclose()

    check_books(early)
    check_books(half)
    assert sent == 20
    assert (early.delivered, early.pending, early.stored, early.possible_duplicates) == (0, 20, 0, 0)
    assert (half.delivered, half.pending, half.stored, half.possible_duplicates) == (10, 10, 0, 0)
    assert (report.delivered, report.stored, report.possible_duplicates, report.timed_out) == (20, 0, 0, False)


async def test_what_is_sent_before_the_store_is_said_to_have_failed_is_sent_twice_and_counted(
    clock: HandClock,
) -> None:
    outbox, server = LateOutbox(), Server()
    queue = queue_of(outbox, server, clock)
    await queue.start()
    for first in (0, 10):
        for number in range(first, first + 10):
            queue.track(event(number))
        await pass_time(clock, 1.0)

    outbox.answers[0].set_exception(OutboxError("no answer in time"))
    await turns()
    outbox.answers[1].set_result(None)
    await turns()
    stats = queue.stats()
    report = await queue.aclose()

    check_books(stats)
    assert server.events == 30
    assert (report.delivered, report.stored, report.pending, report.dropped) == (20, 0, 0, 0)
    assert report.possible_duplicates == 10


async def test_what_was_sent_counts_even_where_the_outbox_never_says_that_it_was_stored(clock: HandClock) -> None:
    outbox, server = LateOutbox(), Server()
    queue = queue_of(outbox, server, clock)
    await queue.start()
    for number in range(10):
        queue.track(event(number))
    await pass_time(clock, 2.0)

    closing = asyncio.create_task(queue.aclose(1.0))
    await pass_time(clock, 2.0)
    report = await closing

    check_books(queue.stats())
    assert server.events == 10
    assert (report.delivered, report.dropped, report.possible_duplicates) == (10, 0, 0)


class SlowServer(Server):
    """Accepts one request, and answers no other."""

    async def deliver(self, body: bytes) -> Outcome:
        if self.bodies:
            await asyncio.Event().wait()
        return await super().deliver(body)


async def test_what_is_kept_with_what_was_sent_is_not_said_to_be_lost(clock: HandClock) -> None:
    outbox, server = LateOutbox(), SlowServer()
    queue = queue_of(outbox, server, clock)
    await queue.start()
    puts = [asyncio.create_task(queue.put(event(number))) for number in range(20)]
    await pass_time(clock, 2.0)

    closing = asyncio.create_task(queue.aclose(1.0))
    await pass_time(clock, 2.0)
    report = await closing
    await asyncio.gather(*puts)

    check_books(queue.stats())
    assert server.events == 10
    assert (report.delivered, report.stored, report.dropped) == (10, 10, 0)


def test_what_ends_the_program_is_no_mistake_of_the_outbox() -> None:
    async def main() -> None:
        outbox = ForeignOutbox()
        outbox.goes_wrong["open"] = raises(KeyboardInterrupt())
        queue = DurableQueue(None, outbox)
        try:
            await queue.start()
            await asyncio.wait_for(asyncio.Event().wait(), 10)
        finally:
            await queue.aclose(0)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
