"""A signal handler can run, track and raise behind any call: the books add up, and what is held can still leave."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import orjson
import pytest
from support.batches import stored

from algolia_events import ClickedObjectIDs, RawEvent
from algolia_events._batching import Batch, Batcher, Claim, FateKind, IntakeBatcher, SenderBatcher
from algolia_events._batching._open import RUN_EVENTS
from algolia_events._queue import EventQueue
from algolia_events._retry import Accepted, Failed, Gate, Outcome, Refused, Stored, TooLarge
from algolia_events.config import QueueOptions, RetryOptions
from algolia_events.reports import DropReason

NOW_MS = 1_750_000_000_000
DAY_MS = 86_400_000
MAX_EVENTS = 4
OUTCOMES: tuple[Outcome, ...] = (
    TooLarge(status=413, message="no"),
    Failed(reason="reset", ambiguous=True),
    Refused(status=422, message="no"),
    Accepted(),
)


class Interrupt(BaseException):
    pass


@contextmanager
def interrupted(at: int, handle: Callable[[], object]) -> Iterator[list[int]]:
    """Call `handle` at the given one of the points where the interpreter lets signal handlers run; count them all.

    These are in functions of the batcher: where one begins, and behind each call of one that is written in C.
    """
    passed = [0]

    def notice(frame: FrameType, event: str, _: object) -> None:
        if event in {"call", "c_return"} and "_batching" in frame.f_code.co_filename:
            passed[0] += 1
            if passed[0] == at:
                sys.setprofile(None)
                handle()

    sys.setprofile(notice)
    try:
        yield passed
    finally:
        sys.setprofile(None)


CLICK = ClickedObjectIDs(event_name="Clicked", index="products", object_ids=["1"], user_token="anyone")


async def never(_: bytes) -> Outcome:
    raise AssertionError


def make(overflow: str, batch_events: int, kind: type[Any] = Batcher) -> Any:
    options = QueueOptions(max_events=MAX_EVENTS, batch_events=batch_events, overflow=overflow, in_flight=2)  # type: ignore[arg-type]
    return kind(options, Gate(2, RetryOptions()))


def add(batcher: Batcher, number: int, *, age_ms: int = 0) -> None:
    """Add an event; one with an odd number joins without asking where it may, as `track()` has it."""
    stamp = NOW_MS - age_ms
    event, batch = RawEvent({"n": number, "timestamp": stamp}), batcher.open
    if number % 2 and len(batch.entries) < batch.room and stamp >= batch.oldest_ms:
        entry = (event, stamp)
        batch.entries.append(entry)
        if len(batch.entries) > batch.last:
            batcher.refusal_of(entry)
    else:
        batcher.add(event.text, stamp, number)
    assert batcher._sealed_events + batcher.open.count <= MAX_EVENTS


def live(batcher: Batcher) -> None:
    """Let events come, give way, expire, and meet every outcome."""
    now = 0.0
    for number, outcome in enumerate(OUTCOMES * 2):
        add(batcher, 2 * number)
        add(batcher, 2 * number + 1, age_ms=(number % 3 == 0) * 31 * DAY_MS)
        now += 1000.0
        batch = batcher.take(now=now, wall_ms=NOW_MS)
        if batch is not None:
            assert len({*batch.events()}) == batch.count
            check_tickets(batch)
        if batch is not None and number == len(OUTCOMES):
            batcher.withdraw(batch, {0}, DropReason.OPTED_OUT)
        elif batch is not None:
            batcher.settle(batch, outcome, now=now, jitter=0.5)


def live_before_an_outbox(batcher: IntakeBatcher) -> None:
    """Let events be stored, also late and in vain, and sent, also before the outbox has said that they are stored."""
    kinds: tuple[FateKind, ...] = ("delivered", "rejected", DropReason.EXPIRED)
    for number in range(8):
        add(batcher, 2 * number)
        add(batcher, 2 * number + 1)
        batcher.sent(kinds[number % 3], 1)
        for batch in batcher.take_all():
            assert len({*batch.events()}) == batch.count
            stored = number != 2
            batcher.settle(batch, Stored() if stored else Failed(reason="no", ambiguous=False), now=0.0, jitter=0.5)


def held(batcher: Batcher) -> list[bytes]:
    """Take out all there is, as a queue does that begins again."""
    batcher.reclaim()
    batcher.seal()
    batches: list[Batch] = [*batcher._ready]
    for batch in batches:
        check_tickets(batch)
    assert all(batch.count <= batcher._next_look(MAX_EVENTS) for batch in batches)
    return [event for batch in batches for event in batch.events()]


def check_tickets(batch: Batch) -> None:
    """See that each ticket, the number of its event, is at its event."""
    numbers = [orjson.loads(event)["n"] for event in batch.events()]
    assert all(numbers[place - batch.first] == ticket for place, ticket in batch.tickets.items())


def check_books(batcher: Batcher) -> None:
    stats = batcher.stats()
    known = stats.delivered + stats.rejected + sum(stats.dropped.values()) + stats.stored
    assert stats.tracked == known + stats.pending
    assert 0 <= stats.pending <= MAX_EVENTS


@pytest.mark.parametrize(("kind", "live"), [(Batcher, live), (IntakeBatcher, live_before_an_outbox)])
@pytest.mark.parametrize("batch_events", [1, 2, 8])
@pytest.mark.parametrize("overflow", ["drop-oldest", "drop-newest"])
@pytest.mark.parametrize("raises", [False, True], ids=["tracks", "tracks and raises"])
def test_wherever_a_handler_runs_nothing_is_lost(
    overflow: str, batch_events: int, raises: bool, kind: type[Batcher], live: Callable[[Any], None]
) -> None:
    at = 0
    while True:
        at += 1
        batcher = make(overflow, batch_events, kind)
        tracked: list[int] = []

        def handle(batcher: Batcher = batcher, tracked: list[int] = tracked) -> None:
            check_books(batcher)
            for number in (1000, 1001, 1003):
                add(batcher, number)
                tracked.append(number)
            check_books(batcher)
            if raises:
                raise Interrupt

        with suppress(Interrupt), interrupted(at, handle) as passed:
            live(batcher)
        if passed[0] < at:
            break

        events = held(batcher)
        assert len(tracked) == 3, at
        assert len(events) == len(set(events)) == batcher.pending, at
        check_books(batcher)
    assert at > 500, "there were that many points"


@pytest.mark.parametrize("raises", [False, True], ids=["looks", "looks and raises"])
def test_wherever_a_handler_runs_while_claims_are_sent_both_ledgers_add_up(raises: bool) -> None:
    at = 0
    while True:
        at += 1
        sender = make("drop-newest", 3, SenderBatcher)

        def look(sender: SenderBatcher = sender) -> None:
            sent = sender.sending_stats()
            known = sent.accepted + sent.rejected + sum(sent.dropped.values()) + sent.given_back
            assert sent.claimed == known + sent.in_flight
            check_books(sender)

        def handle(look: Callable[[], None] = look) -> None:
            look()
            if raises:
                raise Interrupt

        with suppress(Interrupt), interrupted(at, handle) as passed:
            for outcome in OUTCOMES:
                sender.admit_claim(Claim([stored("a", range(3))]))
                batch = sender.take(now=1000.0, wall_ms=NOW_MS)
                assert batch is not None
                sender.settle(batch, outcome, now=0.0, jitter=0.5)
                sender.give_back()
        if passed[0] < at:
            break

        look()
        assert sender.sending_stats().in_flight == len(held(sender)), at
    assert at > 100, "there were that many points"


def test_wherever_a_handler_runs_while_there_is_more_room_what_track_says_stays_true() -> None:
    at = 0
    while True:
        at += 1
        queue = EventQueue(never, options=QueueOptions(max_events=RUN_EVENTS + 10))
        assert queue.track(CLICK)
        queue._batcher.seal()
        batch = queue._batcher.take(now=0.0, wall_ms=0.0)
        assert batch is not None
        taken = [queue.track(CLICK) for _ in range(RUN_EVENTS - 2)]

        def track(queue: EventQueue = queue, taken: list[bool] = taken) -> None:
            taken.extend(queue.track(CLICK) for _ in range(3))

        with interrupted(at, track) as passed:
            queue._batcher.settle(batch, Accepted(), now=0.0, jitter=0.5)
        for _ in range(10):
            track()

        assert sum(taken) == queue.stats().pending == RUN_EVENTS + 10, at
        asyncio.run(queue.aclose(0))
        if passed[0] < at:
            break


@pytest.mark.parametrize("raises", [False, True], ids=["looks", "looks and raises"])
def test_wherever_a_handler_runs_what_joins_too_late_is_refused_once(raises: bool) -> None:
    at = 0
    while True:
        at += 1
        batcher = make("drop-newest", 8)
        add(batcher, 1)
        batcher.close(DropReason.CLOSED)
        late = [(CLICK, NOW_MS), (CLICK, NOW_MS)]
        batcher._entries += late  # by threads that had found room just before

        def look(batcher: Batcher = batcher) -> None:
            check_books(batcher)
            if raises:
                raise Interrupt

        reasons: list[DropReason | None] = []
        with suppress(Interrupt), interrupted(at, look) as passed:
            reasons += [batcher.refusal_of(entry) for entry in late]
        if passed[0] < at:
            break

        check_books(batcher)
        assert batcher.stats().dropped == {DropReason.CLOSED: 2}, at
        assert raises or reasons == [DropReason.CLOSED] * 2, at
    assert at > 10, "there were that many points"


@pytest.mark.parametrize("raises", [False, True], ids=["looks", "looks and raises"])
def test_wherever_a_handler_runs_while_claims_come_the_bound_holds(raises: bool) -> None:
    at = 0
    while True:
        at += 1
        sender = make("drop-newest", 8, SenderBatcher)
        add(sender, 0)

        def look(sender: SenderBatcher = sender) -> None:
            check_books(sender)
            if raises:
                raise Interrupt

        with suppress(Interrupt), interrupted(at, look) as passed:
            sender.admit_claim(Claim([stored("a", range(3))]))
        if passed[0] < at:
            break

        for number in range(1, 6):
            add(sender, number)
            check_books(sender)
    assert at > 10, "there were that many points"


@pytest.mark.parametrize("waiting", range(4))
def test_wherever_a_handler_makes_events_give_way_whoever_waits_for_one_hears_of_it(waiting: int) -> None:
    at = 0
    while True:
        at += 1
        batcher = make("drop-oldest", 8)
        for number in range(waiting):
            batcher.add(f'{{"n":{number}}}', NOW_MS, number)

        def track(batcher: Batcher = batcher) -> None:
            for number in range(100, 100 + MAX_EVENTS):
                batcher.add(f'{{"n":{number}}}', NOW_MS - 1, number)

        with interrupted(at, track) as passed:
            batcher.add(f'{{"n":{waiting}}}', NOW_MS, waiting)
        if passed[0] < at:
            break

        batcher.seal()
        settlements = batcher.dropped()
        heard = [ticket for settlement in settlements for ticket in settlement.tickets]
        held = [ticket for batch in batcher._ready for ticket in batch.tickets.values()]
        for batch in batcher._ready:
            check_tickets(batch)
        assert sorted([*heard, *held]) == [*range(waiting + 1), *range(100, 100 + MAX_EVENTS)], at
    assert at > 5, "there were that many points"


def test_what_a_handler_raises_while_events_are_encoded_gets_through() -> None:
    batcher = make("drop-newest", 8)
    for number in range(2):
        add(batcher, number)
    assert batcher._entries

    def interrupt(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "encode_all":
            sys.setprofile(None)
            raise ValueError

    sys.setprofile(interrupt)
    try:
        with pytest.raises(ValueError, match=r"^$"):
            batcher.count_in()
    finally:
        sys.setprofile(None)

    assert batcher.stats().pending == 2
