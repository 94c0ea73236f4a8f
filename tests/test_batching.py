"""The core holds events, hands out batches and books verdicts: nothing is lost, doubled, reordered or oversized."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.batches import LIMIT, NOW_MS, add, event, make, numbers, settle, take_all

from algolia_events._batching import Batch, Settlement
from algolia_events._retry import Accepted, Blocked, Failed, Refused, TooLarge
from algolia_events.reports import DropReason

DAY_MS = 86_400_000


def fate(settlement: Settlement) -> str | None:
    """Say what whoever waits for these events learns; None while nothing is final."""
    if settlement.delivered:
        return "delivered"
    if settlement.rejection is not None:
        return "rejected"
    return None if settlement.dropped is None else "dropped"


# --- filling and leaving ---------------------------------------------------------------------------------------------


def test_a_full_batch_leaves_at_once_and_a_partial_one_after_its_linger() -> None:
    batcher = make(batch_events=3, linger=1.0)
    for number in range(5):
        add(batcher, number)

    at_once = take_all(batcher, now=10.0)
    due = batcher.deadline(now=10.0)
    later = take_all(batcher, now=11.0)

    assert [numbers(batch) for batch in at_once] == [[0, 1, 2]]
    assert due == 11.0
    assert [numbers(batch) for batch in later] == [[3, 4]]


def test_an_empty_queue_has_no_deadline() -> None:
    assert make().deadline(now=5.0) == float("inf")


def test_sealing_ends_the_linger() -> None:
    batcher = make(linger=60.0)
    add(batcher, 0)

    before = take_all(batcher)
    batcher.seal()

    assert before == []
    assert [numbers(batch) for batch in take_all(batcher)] == [[0]]


def test_hastening_an_event_that_has_filled_its_batch_leaves_nothing_to_be_asked_for() -> None:
    batcher = make(batch_events=2)
    add(batcher, 1)
    add(batcher, 2)
    batcher.hasten()

    take_all(batcher)

    assert batcher.deadline(now=0.0) == float("inf")


def test_hastening_lets_what_comes_before_the_next_look_join() -> None:
    batcher = make(linger=60.0)
    add(batcher, 0)
    batcher.hasten()
    add(batcher, 1)

    batches = take_all(batcher)

    assert [numbers(batch) for batch in batches] == [[0, 1]]


def test_a_body_has_exactly_the_size_that_was_reckoned() -> None:
    batcher = make()
    for number in range(431):
        add(batcher, number, size=number)
    batcher.seal()

    batch = take_all(batcher)[0]

    assert len(batch.body()) == batch.body_size


@given(sizes=st.lists(st.integers(0, 900), min_size=1, max_size=120), limit=st.integers(1, 2500))
def test_no_body_is_over_its_bound_unless_one_event_is(sizes: list[int], limit: int) -> None:
    batcher = make(batch_bytes=limit, in_flight=1000)
    for number, size in enumerate(sizes):
        add(batcher, number, size=size)
    batcher.seal()

    batches = take_all(batcher)

    assert [n for batch in batches for n in numbers(batch)] == list(range(len(sizes)))
    assert all(len(batch.body()) <= limit or batch.count == 1 for batch in batches)


@pytest.mark.parametrize(("spare", "counts"), [(0, [2, 2, 2]), (-1, [1] * 6)])
def test_parts_are_cut_as_large_as_their_bound_and_no_larger(spare: int, counts: list[int]) -> None:
    batcher = make(batch_events=6)
    for number in range(6):
        add(batcher, number)
    batch = take_all(batcher)[0]
    of_two = len(b",\n".join([event(0).encode()] * 2)) + len('{"events":[]}')

    parts = batch.parts_within(of_two + spare)

    assert [part.count for part in parts] == counts


def test_no_event_is_larger_than_a_request_may_be() -> None:
    batcher = make()
    overhead = len(event(0)) + len('{"events":[]}')

    fits = add(batcher, 0, size=LIMIT - 1 - overhead)
    too_large = add(batcher, 0, size=LIMIT - overhead)
    batcher.seal()

    assert (fits, too_large) == (None, DropReason.TOO_LARGE)
    assert len(take_all(batcher)[0].body()) == LIMIT - 1


def test_no_more_requests_are_handed_out_than_may_be_under_way() -> None:
    batcher = make(batch_events=1, in_flight=2)
    for number in range(5):
        add(batcher, number)

    first = take_all(batcher)
    settle(batcher, first[0], Accepted())
    second = take_all(batcher)

    assert (len(first), len(second)) == (2, 1)


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_what_is_in_flight_counts_towards_the_bound() -> None:
    batcher = make(max_events=2, batch_events=2)
    add(batcher, 0)
    add(batcher, 1)
    batch = take_all(batcher)[0]

    refused = add(batcher, 2)
    settle(batcher, batch, Accepted())
    taken = add(batcher, 3)

    assert (refused, taken) == (DropReason.QUEUE_FULL, None)


def test_the_oldest_waiting_events_give_way_one_by_one() -> None:
    batcher = make(max_events=4, batch_events=2, in_flight=1, overflow="drop-oldest")
    for number in range(4):
        add(batcher, number, ticket=number)
    in_flight = take_all(batcher)[0]

    reasons = [add(batcher, number) for number in (4, 5, 6)]
    told = batcher.dropped()
    settle(batcher, in_flight, Accepted())
    next_up = take_all(batcher)[0]

    assert numbers(in_flight) == [0, 1]
    assert numbers(next_up) == [5]
    assert reasons == [None, None, None]
    assert [(fate(item), item.dropped_count, item.tickets) for item in told] == [
        ("dropped", 1, (2,)),
        ("dropped", 1, (3,)),
        ("dropped", 1, ()),
    ]
    assert batcher.ledger.dropped_so_far() == {DropReason.QUEUE_FULL: 3}


def test_nothing_gives_way_when_everything_is_in_flight() -> None:
    batcher = make(max_events=2, batch_events=2, overflow="drop-oldest")
    add(batcher, 0)
    add(batcher, 1)
    take_all(batcher)

    assert add(batcher, 2) is DropReason.QUEUE_FULL


def test_nothing_gives_way_to_an_event_that_would_find_no_room_even_so() -> None:
    batcher = make(max_bytes=1000, overflow="drop-oldest")
    add(batcher, 0, size=700)
    batcher.seal()
    take_all(batcher)
    add(batcher, 1)

    refused = add(batcher, 2, size=300)

    assert refused is DropReason.QUEUE_FULL
    assert batcher.pending == 2


@given(
    sizes=st.lists(st.integers(0, 300), max_size=60),
    bound=st.integers(1, 2000),
    policy=st.sampled_from(["drop-newest", "drop-oldest"]),
)
def test_the_bound_in_bytes_is_never_passed(sizes: list[int], bound: int, policy: Any) -> None:
    batcher = make(max_bytes=bound, batch_events=7, overflow=policy)

    for number, size in enumerate(sizes):
        add(batcher, number, size=size)
        assert batcher.pending_bytes <= bound

    assert batcher.pending + sum(batcher.ledger.dropped.values()) == len(sizes)


# --- verdicts --------------------------------------------------------------------------------------------------------


def test_one_bad_event_of_a_thousand_costs_21_requests_and_no_other_event() -> None:
    for bad in (0, 1, 499, 500, 998, 999):
        batcher = make()
        for number in range(1000):
            add(batcher, number, ticket=number)
        accepted: list[int] = []
        refused: list[int] = []
        requests = 0
        while batches := take_all(batcher):
            for batch in batches:
                requests += 1
                held = numbers(batch)
                settlement = settle(batcher, batch, Refused(422, "no") if bad in held else Accepted())
                {"delivered": accepted, "rejected": refused}.get(fate(settlement) or "", []).extend(settlement.tickets)

        assert requests <= 21
        assert refused == [bad]
        assert sorted(accepted) == [n for n in range(1000) if n != bad]


def test_a_thousand_bad_events_cost_a_bounded_number_of_requests() -> None:
    batcher = make()
    for number in range(1000):
        add(batcher, number)

    requests = 0
    while batches := take_all(batcher):
        for batch in batches:
            requests += 1
            settle(batcher, batch, Refused(422, "no"))

    assert requests < 300
    assert batcher.ledger.rejected == 1000
    assert batcher.is_empty()


def test_413_cuts_by_bytes_and_no_body_is_sent_twice_unchanged() -> None:
    batcher = make(in_flight=4)
    for number in range(1000):
        add(batcher, number, size=300)
    sent: Counter[bytes] = Counter()

    delivered: list[int] = []
    while batches := take_all(batcher):
        for batch in batches:
            body = batch.body()
            sent[body] += 1
            if len(body) >= 100_000:
                settle(batcher, batch, TooLarge(413, "too large"))
            else:
                delivered += numbers(batch)
                settle(batcher, batch, Accepted())

    assert sorted(delivered) == list(range(1000))
    assert set(sent.values()) == {1}
    assert batcher.ledger.rejected == 0


def test_413_for_the_smallest_of_bodies_ends_in_rejections() -> None:
    batcher = make()
    for _ in range(2):
        batcher.add("{}", NOW_MS)
    batcher.seal()

    requests = 0
    while batches := take_all(batcher):
        for batch in batches:
            requests += 1
            settle(batcher, batch, TooLarge(413, "too large"))

    assert requests == 3
    assert batcher.ledger.rejected == 2


def test_the_limit_learnt_from_a_413_holds_for_a_while_and_grows_back() -> None:
    batcher = make()
    for number in range(100):
        add(batcher, number, size=1000)
    batcher.seal()
    settle(batcher, take_all(batcher)[0], TooLarge(413, "too large"))
    for batch in take_all(batcher):
        settle(batcher, batch, Accepted())

    def largest(now: float) -> int:
        take_all(batcher, now=now)
        for number in range(100):
            add(batcher, number, size=1000)
        batcher.seal()
        batches = take_all(batcher, now=now)
        for batch in batches:
            settle(batcher, batch, Accepted(), now=now)
        return max(batch.count for batch in batches)

    assert largest(1.0) <= 51
    assert largest(61.0) == 100


def test_413_for_one_event_alone_is_a_rejection() -> None:
    batcher = make()
    add(batcher, 7, size=1000, ticket="waiting")
    batcher.seal()

    settlement = settle(batcher, take_all(batcher)[0], TooLarge(413, "too large"))

    assert fate(settlement) == "rejected"
    assert (settlement.rejection.status, settlement.rejection.message) == (413, "too large")
    assert settlement.tickets == ("waiting",)


@pytest.mark.parametrize(("max_events", "batch_events"), [(1, 2), (3, 2), (2, 1000)])
def test_events_refused_by_a_full_queue_are_no_news(max_events: int, batch_events: int) -> None:
    batcher = make(max_events=max_events, batch_events=batch_events)
    for number in range(max_events):
        add(batcher, number)
    assert batcher.take_news()

    refused = [add(batcher, number) for number in range(10)]

    assert refused == [DropReason.QUEUE_FULL] * 10
    assert not batcher.take_news()


def test_a_failed_batch_goes_back_whole_to_its_place() -> None:
    batcher = make(batch_events=2, in_flight=2)
    for number in range(6):
        add(batcher, number)
    first, second = take_all(batcher)

    settle(batcher, second, Failed(reason="503", ambiguous=False))
    settle(batcher, first, Failed(reason="503", ambiguous=False))
    probe = take_all(batcher, now=100.0)
    settle(batcher, probe[0], Accepted(), now=100.0)

    assert [batch.body() for batch in probe] == [first.body()]
    assert [numbers(batch) for batch in take_all(batcher, now=100.0)] == [[2, 3], [4, 5]]


@pytest.mark.parametrize("verdict", [Accepted(), Refused(422, "no"), TooLarge(413, "no")])
def test_whatever_the_server_says_of_a_batch_ends_an_outage(verdict: Any) -> None:
    batcher = make(batch_events=1, in_flight=2)
    for number in range(3):
        add(batcher, number)
    for batch in take_all(batcher):
        settle(batcher, batch, Failed(reason="503", ambiguous=False))

    probes = take_all(batcher, now=100.0)
    settle(batcher, probes[0], verdict, now=100.0)
    after = take_all(batcher, now=100.0)

    assert (len(probes), len(after)) == (1, 2)


def test_a_possible_duplicate_is_counted_when_it_is_sent_again() -> None:
    batcher = make(batch_events=3)
    for number in range(3):
        add(batcher, number)
    settle(batcher, take_all(batcher)[0], Failed(reason="reset", ambiguous=True))

    before = batcher.ledger.possible_duplicates
    take_all(batcher, now=100.0)

    assert (before, batcher.ledger.possible_duplicates) == (0, 3)


def test_an_ambiguous_batch_is_dropped_where_that_was_chosen() -> None:
    batcher = make(batch_events=3, on_ambiguous="drop")
    for number in range(3):
        add(batcher, number)

    settlement = settle(batcher, take_all(batcher)[0], Failed(reason="reset", ambiguous=True))

    assert settlement.dropped is DropReason.AMBIGUOUS
    assert batcher.ledger.dropped_so_far() == {DropReason.AMBIGUOUS: 3}
    assert batcher.is_empty()


def test_a_batch_that_did_not_arrive_is_kept_where_ambiguous_ones_are_dropped() -> None:
    batcher = make(batch_events=3, on_ambiguous="drop")
    for number in range(3):
        add(batcher, number)
    settle(batcher, take_all(batcher)[0], Failed(reason="503", ambiguous=False))

    again = take_all(batcher, now=100.0)

    assert [numbers(batch) for batch in again] == [[0, 1, 2]]


def test_only_events_that_are_too_old_are_dropped_before_sending() -> None:
    batcher = make(max_event_age=30 * 86_400)
    for number in range(6):
        add(batcher, number, stamp=NOW_MS - 30 * DAY_MS - (number in {0, 3}), ticket=number)
    batcher.seal()

    batches = take_all(batcher)

    assert [n for batch in batches for n in numbers(batch)] == [1, 2, 4, 5]
    assert [(item.dropped, item.dropped_count, item.tickets) for item in batcher.dropped()] == [
        (DropReason.EXPIRED, 2, (0, 3))
    ]
    assert len(batches) == 1, "what is left leaves in one request"
    assert batcher.ledger.dropped_so_far() == {DropReason.EXPIRED: 2}


def test_what_is_left_when_the_oldest_have_expired_can_expire_later() -> None:
    batcher = make(max_event_age=30 * 86_400)
    for number, days in enumerate((31, 29, 0)):
        add(batcher, number, stamp=NOW_MS - days * DAY_MS)
    batcher.seal()
    settle(batcher, take_all(batcher)[0], Failed(reason="503", ambiguous=False))

    batch = batcher.take(now=100.0, wall_ms=NOW_MS + 2 * DAY_MS)

    assert batch is not None
    assert numbers(batch) == [2]
    assert batcher.ledger.dropped_so_far() == {DropReason.EXPIRED: 2}


def test_events_that_give_way_leave_no_trace_but_a_count() -> None:
    batcher = make(max_events=10, batch_events=10, overflow="drop-oldest")
    for number in range(1000):
        add(batcher, number)

    told = batcher.dropped()

    assert [(item.dropped, item.dropped_count) for item in told] == [(DropReason.QUEUE_FULL, 990)]
    assert batcher.dropped() == []


def test_events_taken_out_here_and_there_leave_one_request_and_tickets_in_their_places() -> None:
    batcher = make(batch_events=10, in_flight=1)
    for number in range(10):
        add(batcher, number, ticket=number)
    batch = take_all(batcher)[0]

    batcher.withdraw(batch, {1, 4, 5, 9}, DropReason.OPTED_OUT)
    rest = take_all(batcher)[0]
    settle(batcher, rest, Refused(status=422, message="no"))
    halves = [settle(batcher, half, Accepted()) for _ in range(2) for half in take_all(batcher)]

    assert numbers(rest) == [0, 2, 3, 6, 7, 8]
    assert [(item.dropped, item.tickets) for item in batcher.dropped()] == [(DropReason.OPTED_OUT, (1, 4, 5, 9))]
    assert [half.tickets for half in halves] == [(0, 2, 3), (6, 7, 8)]
    assert batcher.is_empty()


def test_abandoning_tells_what_may_have_arrived_from_what_did_not() -> None:
    batcher = make(batch_events=2, in_flight=1)
    for number in range(5):
        add(batcher, number)
    batcher.interrupt(take_all(batcher)[0], ambiguous=True)

    batcher.abandon(DropReason.SHUTDOWN)

    assert batcher.ledger.dropped_so_far() == {DropReason.AMBIGUOUS: 2, DropReason.SHUTDOWN: 3}
    assert batcher.is_empty()


def test_what_may_have_arrived_once_stays_in_doubt_whatever_became_of_later_attempts() -> None:
    batcher = make(batch_events=2)
    for number in range(2):
        add(batcher, number)
    settle(batcher, take_all(batcher)[0], Failed(reason="reset", ambiguous=True))
    settle(batcher, take_all(batcher, now=100.0)[0], Failed(reason="503", ambiguous=False), now=100.0)

    batcher.abandon(DropReason.SHUTDOWN)

    assert batcher.ledger.dropped_so_far() == {DropReason.AMBIGUOUS: 2}


@pytest.mark.parametrize("reason", [DropReason.CLOSED, DropReason.FAILED])
def test_a_closed_queue_refuses_but_still_sends(reason: DropReason) -> None:
    batcher = make()
    add(batcher, 0)

    batcher.close(reason)
    refused = add(batcher, 1)
    batcher.seal()

    assert refused is reason
    assert [numbers(batch) for batch in take_all(batcher)] == [[0]]


# --- everything at once ----------------------------------------------------------------------------------------------


class Anything(RuleBasedStateMachine):
    """Any order of events, requests and verdicts; a model keeps its own books of every single event."""

    flying = Bundle("flying")

    @initialize(
        policy=st.sampled_from(["drop-newest", "drop-oldest"]),
        on_ambiguous=st.sampled_from(["retry", "drop"]),
        batch_events=st.integers(1, 9),
        batch_bytes=st.integers(60, 900),
        in_flight=st.integers(1, 3),
        max_events=st.integers(1, 40),
    )
    def begin(self, **options: Any) -> None:
        options["overflow"] = options.pop("policy")
        self.batcher = make(**options, max_event_age=86_400)
        self.options = options
        self.now = 0.0
        self.tracked = 0
        self.waiting: set[int] = set()
        self.in_flight: dict[int, list[int]] = {}
        self.ended: Counter[int] = Counter()
        self.bodies: Counter[bytes] = Counter()
        self.refusals = 0

    @rule(size=st.integers(0, 200), old=st.booleans())
    def track(self, size: int, old: bool) -> None:
        number, self.tracked = self.tracked, self.tracked + 1
        stamp = NOW_MS - 2 * DAY_MS if old else NOW_MS

        refused = add(self.batcher, number, size=size, stamp=stamp, ticket=number)

        if refused is None:
            self.waiting.add(number)
        else:
            self.ended[number] += 1
        self._hear(self.batcher.dropped())

    @rule(seconds=st.floats(0, 90))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def seal(self) -> None:
        self.batcher.seal()

    @rule(target=flying)
    def take(self) -> Any:
        batch = self.batcher.take(now=self.now, wall_ms=NOW_MS)
        self._hear(self.batcher.dropped())
        if batch is None:
            return None
        held = numbers(batch)
        assert held == sorted(held)
        assert set(held) <= self.waiting
        assert len(held) <= self.options["batch_events"]
        assert len(batch.body()) == batch.body_size
        assert batch.body_size <= self.options["batch_bytes"] or len(held) == 1
        if self.options["in_flight"] == 1:
            assert held[0] == min(self.waiting), "with one slot, what came first leaves first"
        self.in_flight[id(batch)] = held
        self.waiting -= set(held)
        return batch

    @rule(
        batch=flying,
        outcome=st.sampled_from(
            [
                Accepted(),
                Accepted(),
                Refused(422, "no"),
                TooLarge(413, "no"),
                Failed(reason="503", ambiguous=False),
                Failed(reason="reset", ambiguous=True),
                Failed(reason="429", ambiguous=False, pause=30.0, throttled=True),
                Blocked(reason="401"),
            ]
        ),
    )
    def answer(self, batch: Batch | None, outcome: Any) -> None:
        if batch is None or id(batch) not in self.in_flight:
            return
        self.waiting |= set(self.in_flight.pop(id(batch)))
        self._hear([settle(self.batcher, batch, outcome, now=self.now)])

    @precondition(lambda self: self.tracked > 0)
    @rule(batch=flying)
    def interrupt(self, batch: Batch | None) -> None:
        if batch is None or id(batch) not in self.in_flight:
            return
        self.waiting |= set(self.in_flight.pop(id(batch)))
        self.batcher.interrupt(batch, ambiguous=True)

    def _hear(self, settlements: list[Any]) -> None:
        for settlement in settlements:
            for ticket in settlement.tickets:
                assert fate(settlement) is not None
                self.waiting.discard(ticket)
                self.ended[ticket] += 1

    @invariant()
    def every_event_is_in_one_place(self) -> None:
        if not hasattr(self, "batcher"):
            return
        flying = [number for held in self.in_flight.values() for number in held]
        assert sorted([*self.waiting, *flying, *self.ended]) == list(range(self.tracked))
        assert set(self.ended.values()) <= {1}

    @invariant()
    def the_books_add_up(self) -> None:
        if not hasattr(self, "batcher"):
            return
        ledger = self.batcher.ledger
        ended = ledger.delivered + ledger.rejected + sum(ledger.dropped.values())
        assert self.batcher.tracked == self.tracked == ended + self.batcher.pending
        assert self.batcher.pending <= self.options["max_events"]
        assert self.batcher.is_empty() == (self.batcher.pending == 0)

    def teardown(self) -> None:
        if not hasattr(self, "batcher"):
            return
        for batch in list(self.batcher._in_flight):
            self.answer(batch, Accepted())
        self.batcher.seal()
        while self.waiting:
            self.now += 4000.0
            taken = self.take()
            if taken is not None:
                self.answer(taken, Accepted())
        self.the_books_add_up()


Anything.TestCase.settings = settings(max_examples=120, stateful_step_count=60)
TestAnything = Anything.TestCase
