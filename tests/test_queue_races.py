"""Events join a batch without the lock: whatever else happens in that very moment, each is counted and sent once."""

import asyncio
import contextlib
import copy
import itertools
import pickle
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algolia_events import ClickedObjectIDs, QueueOptions, RawEvent, to_mapping
from algolia_events._batching import Entry
from algolia_events._queue import EventQueue
from algolia_events._retry import Accepted, Outcome
from algolia_events.reports import DropReason

_OBJECT = re.compile(rb'"objectIDs":\["(\d+)"\]')


class Sent:
    """Stands where requests leave, and keeps the numbers of the events in them, request by request."""

    def __init__(self, expected: int = 0) -> None:
        self.requests: list[list[int]] = []
        self.missing = expected
        self.complete = asyncio.Event()

    async def __call__(self, body: bytes) -> Outcome:
        self.requests.append([int(number) for number in _OBJECT.findall(body)])
        self.missing -= len(self.requests[-1])
        if self.missing == 0:
            self.complete.set()
        return Accepted()

    @property
    def numbers(self) -> list[int]:
        return [number for request in self.requests for number in request]


class Interleaved(list[Entry]):
    """The events that have joined; what another thread does just before or after an event joins them is done here."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[], object] | None = None
        self.after: Callable[[], object] | None = None

    def append(self, entry: Entry) -> None:
        before, self.before = self.before, None
        after, self.after = self.after, None
        if before is not None:
            before()
        super().append(entry)
        if after is not None:
            after()


def click(number: int, timestamp: int | None = None, index: str = "products") -> ClickedObjectIDs:
    return ClickedObjectIDs(
        event_name="Clicked", index=index, object_ids=[str(number)], user_token="anyone", timestamp=timestamp
    )


def interleaved(queue: EventQueue) -> Interleaved:
    """Have a fresh queue keep what joins where threads can be made to meet."""
    entries = Interleaved()
    queue._batcher._entries = queue._batcher.open.entries = entries
    return entries


class Ticket:
    """Stands for whoever waits for an event."""

    def __init__(self, number: int) -> None:
        self.number = number

    def done(self) -> bool:
        return True


class Others:
    """What other threads do to a queue, besides tracking events of their own."""

    def __init__(self, queue: EventQueue) -> None:
        self.queue = queue
        self.tracked: list[int] = []
        self.refused: list[int] = []
        self._number = 1_000_000

    def track(self, count: int) -> None:
        for _ in range(count):
            self._number += 1
            taken = self.queue.track(click(self._number))
            (self.tracked if taken else self.refused).append(self._number)

    def seal(self) -> None:
        with self.queue._lock:
            self.queue._batcher.seal()

    def seal_and_track(self) -> None:
        self.seal()
        self.track(1)

    def close(self) -> None:
        with self.queue._lock:
            self.queue._batcher.close(DropReason.CLOSED)

    def close_and_count(self) -> None:
        self.close()
        self.count()

    def count(self) -> None:
        self.queue.stats()

    def leave_news(self) -> None:
        """Do as the background task does at each turn."""
        with self.queue._lock:
            self.queue._batcher.deadline(now=0.0)
            self.queue._batcher.has_news = False


ACTS: dict[str, Callable[[Others], None] | None] = {
    "nothing": None,
    "one more": lambda others: others.track(1),
    "some more": lambda others: others.track(30),
    "a batch full": lambda others: others.track(300),
    "sealed": Others.seal,
    "sealed, one more": Others.seal_and_track,
    "counted": Others.count,
    "a turn": Others.leave_news,
    "closed": Others.close,
    "closed, counted": Others.close_and_count,
}
Step = tuple[int, str, str, bool]
"""How many events come first, what happens just before and after the next one joins, and whether it is waited for."""
acts = st.sampled_from(list(ACTS))


BOUNDS: list[dict[str, int]] = [
    {"batch_events": 70, "max_events": 75},
    {"batch_events": 1000, "max_events": 1200},
    {"batch_bytes": 20_000, "max_bytes": 45_000},
]


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("overflow", ["drop-newest", "drop-oldest"])
@pytest.mark.parametrize("before", ACTS)
def test_whatever_happens_while_an_event_joins_it_is_counted_and_sent_once(
    before: str, overflow: Any, bounds: dict[str, int]
) -> None:
    for after, ahead, waited_for in itertools.product(ACTS, (0, 5, 68, 198), (False, True)):
        steps = [(ahead, before, after, waited_for), (1, after, before, not waited_for)]
        try_out(steps, overflow=overflow, **bounds)


@given(
    steps=st.lists(st.tuples(st.integers(0, 250), acts, acts, st.booleans()), max_size=8),
    batch_events=st.integers(1, 300),
    max_events=st.integers(1, 1200),
    overflow=st.sampled_from(["drop-newest", "drop-oldest"]),
)
def test_whatever_happens_while_many_events_join_each_is_counted_and_sent_once(
    steps: list[Step], batch_events: int, max_events: int, overflow: Any
) -> None:
    try_out(steps, batch_events=batch_events, max_events=max_events, overflow=overflow)


def try_out(steps: list[Step], **bounds: Any) -> None:
    sent = Sent()
    options = QueueOptions(**bounds)
    queue = EventQueue(sent, options=options)
    entries, others = interleaved(queue), Others(queue)
    taken: list[int] = []
    waited: set[int] = set()
    number = 0
    for ahead, before, after, waited_for in steps:
        for _ in range(ahead):
            number += 1
            if queue.track(click(number)):
                taken.append(number)
        acts_of = [None if ACTS[name] is None else (lambda act=ACTS[name]: act(others)) for name in (before, after)]
        entries.before, entries.after = acts_of
        number += 1
        if waited_for:
            text = f'{{"objectIDs":["{number}"]}}'
            if queue._add(text, 1, cast("Any", Ticket(number))) is None:
                taken.append(number)
                waited.add(number)
        elif queue.track(click(number)):
            taken.append(number)
        entries.before = entries.after = None
        batch = queue._batcher.open
        assert batch.count or not entries, "an event waits that nobody would ever look at"
        stats = queue.stats()
        assert stats.tracked == stats.pending + sum(stats.dropped.values())
        assert stats.pending <= options.max_events
        assert stats.pending_bytes <= options.max_bytes
    tickets: dict[Any, int] = {}
    with queue._lock:
        queue._batcher.seal()
        for sealed in queue._batcher._ready:
            names = [int(name) for name in _OBJECT.findall(b" ".join(bytes(piece) for piece in sealed.pieces))]
            tickets |= {ticket: names[place - sealed.first] for place, ticket in sealed.tickets.items()}
    assert all(ticket.number == name for ticket, name in tickets.items()), "a verdict would reach somebody else"
    if options.overflow == "drop-newest":
        assert {ticket.number for ticket in tickets} == waited, "somebody would wait for ever"

    report = asyncio.run(queue.aclose(10))

    assert all(len(request) <= options.batch_events for request in sent.requests)
    assert len(set(sent.numbers)) == len(sent.numbers) == report.delivered
    assert report.pending == 0
    stats = queue.stats()
    assert stats.tracked == stats.delivered + sum(stats.dropped.values())
    ours = [n for n in sent.numbers if n < 1_000_000 and n in set(taken)]
    assert ours == sorted(ours), "one thread's events keep their order"
    if options.overflow == "drop-newest":
        assert {*taken, *others.tracked} == set(sent.numbers), "what track() says is what becomes of an event"


def test_an_event_that_joins_while_the_queue_is_closed_is_refused_or_sent() -> None:
    for act in ("before", "after"):
        sent = Sent()
        queue = EventQueue(sent)
        entries, others = interleaved(queue), Others(queue)
        assert queue.track(click(1))
        setattr(entries, act, others.close)

        taken = queue.track(click(2))
        report = asyncio.run(queue.aclose(10))

        assert taken is (act == "after")
        assert sent.numbers == ([1, 2] if taken else [1])
        assert report.delivered + report.dropped == 2


def test_a_large_event_joins_only_where_there_is_room_for_its_bytes() -> None:
    sent = Sent()
    queue = EventQueue(sent, options=QueueOptions(max_bytes=1_000_000))
    large = click(2, index="y" * 600_000)

    taken = [queue.track(event) for event in (click(1), large, large, click(3))]
    report = asyncio.run(queue.aclose(10))

    assert taken == [True, True, False, True]
    assert (report.delivered, sent.numbers, queue.stats().dropped) == (3, [1, 2, 3], {"queue_full": 1})


@pytest.mark.parametrize("max_bytes", range(20_000, 40_000, 1000))
def test_an_event_joins_unasked_only_where_there_is_room_for_its_bytes(max_bytes: int) -> None:
    queue = EventQueue(Sent(), options=QueueOptions(max_bytes=max_bytes))

    taken = [queue.track(click(number)) for number in range(500)]
    report = asyncio.run(queue.aclose(10))

    assert taken == sorted(taken, reverse=True)
    assert report.delivered == sum(taken)


@pytest.mark.parametrize("late", ["first", "behind another", "first, and sealed at once"])
def test_an_old_event_that_gets_into_the_next_batch_still_expires(late: str) -> None:
    month_ago = time.time_ns() // 1_000_000 - 31 * 86_400_000
    sent = Sent()
    queue = EventQueue(sent)
    entries, others = interleaved(queue), Others(queue)
    queue.track(click(1, timestamp=month_ago))
    entries.before = others.seal_and_track if late == "behind another" else others.seal
    entries.after = others.seal if late == "first, and sealed at once" else None

    queue.track(click(2, timestamp=month_ago))
    report = asyncio.run(queue.aclose(10))

    assert (report.delivered, queue.stats().dropped) == (len(others.tracked), {"expired": 2})


@pytest.mark.parametrize("asking", range(5))
def test_what_track_says_stays_true_where_some_ask_for_room_and_some_do_not(asking: int) -> None:
    queue = EventQueue(Sent(), options=QueueOptions(max_events=40))

    taken = [queue.track(copy.copy(click(n)) if 0 < n <= asking else click(n)) for n in range(50)]

    assert taken == [True] * 40 + [False] * 10
    assert asyncio.run(queue.aclose(10)).delivered == 40


@pytest.mark.parametrize("size", range(150_000, 200_000, 7000))
def test_a_large_event_takes_no_room_that_others_were_promised(size: int) -> None:
    queue = EventQueue(Sent(), options=QueueOptions(max_bytes=200_000))

    taken = [
        queue.track(click(0)),
        queue.track(click(1, index="y" * size)),
        *(queue.track(click(2)) for _ in range(300)),
    ]

    assert asyncio.run(queue.aclose(10)).delivered == sum(taken)


def test_what_is_no_event_in_truth_keeps_no_other_from_leaving(caplog: pytest.LogCaptureFixture) -> None:
    sent = Sent()
    queue = EventQueue(sent)
    broken: Any = click(2)
    del broken._index

    taken = [queue.track(event) for event in (click(0), click(1), broken, click(3))]
    stats = queue.stats()
    report = asyncio.run(queue.aclose(10))

    assert taken == [True] * 4
    assert (stats.pending, stats.dropped) == (3, {DropReason.INVALID: 1})
    assert (report.delivered, sent.numbers) == (3, [0, 1, 3])
    assert [record.message for record in caplog.records] == ["algolia_events.dropped"]


def test_events_keep_their_order_whichever_way_they_join() -> None:
    sent = Sent()
    queue = EventQueue(sent)
    ways: list[Callable[[ClickedObjectIDs], Any]] = [
        lambda event: event,
        lambda event: attrs.evolve(event, timestamp=time.time_ns() // 1_000_000),
        copy.copy,
        lambda event: pickle.loads(pickle.dumps(event)),
        lambda event: attrs.evolve(event, index="y" * 9000),
        to_mapping,
        lambda event: RawEvent(to_mapping(event)),
        lambda event: pickle.loads(pickle.dumps(RawEvent(to_mapping(event)))),
    ]

    for number in range(1500):
        assert queue.track(ways[number % len(ways)](click(number)))
    report = asyncio.run(queue.aclose(10))

    assert sent.numbers == list(range(1500))
    assert report.delivered == 1500


# --- real threads, real signals --------------------------------------------------------------------------------------


@pytest.fixture
def eager_switches() -> Iterator[None]:
    """Have threads take turns as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("batch_events", [1, 8, 1000])
async def test_threads_that_track_at_once_wake_the_sender_for_every_event(
    eager_switches: None, batch_events: int
) -> None:
    total, threads = 8000, 8
    sent = Sent(expected=total)
    queue = EventQueue(sent, options=QueueOptions(batch_events=batch_events, linger=3600.0))
    await queue.start()

    def track(start: int) -> None:
        for number in range(start, total, threads):
            assert queue.track(click(number))

    await asyncio.gather(*(asyncio.to_thread(track, start) for start in range(threads)))
    async with asyncio.timeout(60):  # without a flush: a batch that nobody hears of would wait for an hour
        await sent.complete.wait()
    await queue.aclose()

    assert sorted(sent.numbers) == list(range(total))
    for start in range(threads):
        assert [n for n in sent.numbers if n % threads == start] == list(range(start, total, threads))


async def test_threads_racing_for_the_last_room_never_exceed_it(eager_switches: None) -> None:
    async def never(_: bytes) -> Outcome:
        await asyncio.sleep(3600)
        raise AssertionError

    bound = 5000
    queue = EventQueue(never, options=QueueOptions(max_events=bound))
    seen: list[int] = []
    taken: list[bool] = []

    def track() -> None:
        for number in range(2000):
            taken.append(queue.track(click(number)))
            if number % 50 == 0:
                seen.append(queue.stats().pending)

    await asyncio.gather(*(asyncio.to_thread(track) for _ in range(8)))
    report = await queue.aclose(0)

    assert max(seen) <= bound
    assert sum(taken) == bound
    assert report.dropped == 16_000


@pytest.mark.parametrize("batch_events", [10, 1000])
def test_a_signal_handler_that_tracks_loses_and_repeats_nothing(batch_events: int) -> None:
    sent = Sent()
    queue = EventQueue(sent, options=QueueOptions(max_events=1_000_000, batch_events=batch_events))
    handled: list[int] = []
    draw = random.Random(1)
    number = 0

    def handle(*_: object) -> None:
        for _again in range(3):
            handled.append(1_000_000 + len(handled))
            assert queue.track(click(handled[-1]))

    before = signal.signal(signal.SIGALRM, handle)
    try:
        for calls in range(1, 500):
            signal.setitimer(signal.ITIMER_REAL, draw.uniform(0.00002, 0.0002))
            while len(handled) < 3 * calls:
                assert queue.track(click(number))
                number += 1
    finally:
        signal.signal(signal.SIGALRM, before)
    report = asyncio.run(queue.aclose(60))

    assert report.delivered == number + len(handled)
    assert sorted(sent.numbers) == [*range(number), *handled]


def test_a_signal_handler_that_tracks_into_a_full_queue_finds_the_books_right() -> None:
    sent = Sent()
    options = QueueOptions(max_events=300, batch_events=100, overflow="drop-oldest")
    queue = EventQueue(sent, options=options)
    wrong: list[object] = []
    draw = random.Random(1)
    handled = number = 0

    def handle(*_: object) -> None:
        nonlocal handled
        for _again in range(3):
            handled += 1
            queue.track(click(1_000_000 + handled))
        stats = queue.stats()
        if stats.pending > 300 or stats.tracked != stats.pending + sum(stats.dropped.values()):
            wrong.append(stats)

    before = signal.signal(signal.SIGALRM, handle)
    try:
        for calls in range(1, 2000):
            signal.setitimer(signal.ITIMER_REAL, draw.uniform(0.00002, 0.0002))
            while handled < 3 * calls:
                assert queue.track(click(number))
                number += 1
    finally:
        signal.signal(signal.SIGALRM, before)
    report = asyncio.run(queue.aclose(60))

    assert wrong == []
    assert queue.stats().tracked == number + handled
    assert report.delivered == 300 == len(set(sent.numbers))
    assert report.dropped == number + handled - 300


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("batch_events", [10, 1000])
def test_a_signal_handler_that_raises_leaves_the_queue_usable_and_its_books_right(batch_events: int) -> None:
    class Interrupt(BaseException):
        pass

    interrupted = threading.Event()

    def interrupt(*_: object) -> None:
        interrupted.set()
        raise Interrupt

    sent, draw = Sent(), random.Random(1)
    queue = EventQueue(sent, options=QueueOptions(max_events=1_000_000, batch_events=batch_events))
    taken: list[int] = []
    numbers = itertools.count()

    def track_until_interrupted() -> None:  # a function: not every jump of a loop is within the `with` around it
        interrupted.clear()
        signal.setitimer(signal.ITIMER_REAL, draw.uniform(0.0001, 0.0005))
        while not interrupted.is_set():  # what is raised in a finalizer is swallowed by the interpreter
            number = next(numbers)
            if queue.track(click(number)):
                taken.append(number)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(300):
            with contextlib.suppress(Interrupt):
                track_until_interrupted()
    finally:
        signal.signal(signal.SIGALRM, before)
    other = threading.Thread(target=queue.stats, daemon=True)
    other.start()
    other.join(10)
    assert not other.is_alive(), "the lock was left taken"
    report = asyncio.run(queue.aclose(60))

    assert len(set(sent.numbers)) == len(sent.numbers) == report.delivered == queue.stats().tracked
    assert set(taken) <= set(sent.numbers)


def test_an_event_older_than_the_others_of_its_batch_is_noted() -> None:
    week_ago = time.time_ns() // 1_000_000 - 7 * 86_400_000
    queue = EventQueue(Sent())

    for timestamp in (None, week_ago, None):
        assert queue.track(click(1, timestamp))

    assert queue._batcher.open.oldest_ms == week_ago
    asyncio.run(queue.aclose(0))
