"""Around an outbox the core packs what was stored into requests, keeps books of its own on it, and shares the room."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.batches import LIMIT, NOW_MS, add, event, make, make_intake, make_sender, numbers, settle, stored, take_all

from algolia_events._batching import SEPARATOR, Batch, Claim, Gathering, pack
from algolia_events._retry import Accepted, Failed, Moved, Refused
from algolia_events.reports import DropReason


def test_events_taken_out_of_a_claim_are_booked_for_those_who_stored_them() -> None:
    sender = make_sender(in_flight=1)
    claim = Claim([stored("a", range(4)), stored("b", range(4, 6))])
    sender.admit_claim(claim)
    batch = sender.take(now=0.0, wall_ms=NOW_MS)
    assert batch is not None

    sender.withdraw(batch, {0, 2, 4}, DropReason.OPTED_OUT)
    gone = [claim.book(item, item.batch, wall_ms=NOW_MS) for item in sender.dropped() if item.batch is not None]
    rest = sender.take(now=0.0, wall_ms=NOW_MS)
    assert rest is not None
    sender.interrupt(rest, ambiguous=False)
    given_back = [claim.book(item, item.batch, wall_ms=NOW_MS) for item in sender.give_back() if item.batch is not None]
    _, left = claim.verdict()

    assert numbers(rest) == [1, 3, 5]
    assert [(fate.kind, fate.by_origin) for fate in (*gone, *given_back)] == [
        ("opted_out", {"a": 2, "b": 1}),
        ("given_back", {"a": 2, "b": 1}),
    ]
    assert [group.body for group in left] == [f"{event(1)},\n{event(3)}".encode(), event(5).encode()]
    assert (sender.pending, sender.pending_bytes, sender.sending_stats().in_flight) == (0, 0, 0)


def test_events_taken_out_of_a_part_of_a_claim_leave_its_other_parts_as_they_are() -> None:
    sender = make_sender(in_flight=2)
    claim = Claim([stored("a", range(4)), stored("b", range(4, 5))])
    sender.admit_claim(claim)
    settle(sender, take_all(sender)[0], Refused(422, "no"))
    first, second = take_all(sender)

    sender.withdraw(second, {0}, DropReason.OPTED_OUT)
    sender.withdraw(first, {1}, DropReason.OPTED_OUT)
    accepted = settle(sender, take_all(sender)[0], Accepted())
    sender.reclaim()
    settlements = [*sender.dropped(), accepted, *sender.give_back()]
    fates = [claim.book(item, item.batch, wall_ms=NOW_MS) for item in settlements if item.batch is not None]

    assert [(fate.kind, fate.by_origin) for fate in fates] == [
        ("opted_out", {"a": 1}),
        ("opted_out", {"a": 1}),
        ("delivered", {"a": 2}),
        ("given_back", {"b": 1}),
    ]
    assert claim.is_settled
    assert [group.body for group in claim.verdict()[1]] == [event(4).encode()]


def test_a_batch_that_the_sender_takes_over_keeps_its_tickets_in_their_places() -> None:
    intake, sender = make(batch_events=4), make_sender(in_flight=2)
    for number in range(4):
        add(intake, number, ticket=number)
    sender.admit_claim(Claim([stored("a", range(1))]))
    settle(sender, take_all(sender)[0], Accepted())

    sender.take_over(take_all(intake)[0])
    settle(sender, take_all(sender)[0], Refused(422, "no"))
    halves = [settle(sender, half, Accepted()) for half in take_all(sender)]

    assert [half.tickets for half in halves] == [(0, 1), (2, 3)]


@pytest.mark.parametrize("spare", [0, -1])
@pytest.mark.parametrize("bound", ["max_events", "max_bytes"])
def test_the_sender_takes_over_what_it_has_room_for(bound: str, spare: int) -> None:
    intake = make(batch_events=4)
    for number in range(4):
        add(intake, number)
    batch = take_all(intake)[0]
    room = {"max_events": 4 + 3, "max_bytes": batch.size + 3 * (batch.size // 4)}
    sender = make_sender(**{bound: room[bound] + spare})

    sender.admit_claim(Claim([stored("a", range(3))]))

    assert sender.has_room_for(batch) is (spare == 0)


@pytest.mark.parametrize(("keep_probe", "under_way", "kept"), [(True, 0, 1), (True, 1, 0), (False, 0, 0)])
def test_in_an_outage_the_sender_holds_what_the_next_probe_takes(keep_probe: bool, under_way: int, kept: int) -> None:
    sender = make_sender(in_flight=2)
    for number in range(4):
        sender.admit_claim(Claim([stored("a", range(number, number + 1))]))
    before = sender.give_back_in_outage(keep_probe=keep_probe)
    settle(sender, take_all(sender)[0], Failed(reason="503", ambiguous=False))
    sender.reclaim()
    for _ in range(under_way):
        sender.take(now=100.0, wall_ms=NOW_MS)

    given_back = sender.give_back_in_outage(keep_probe=keep_probe)

    assert before == []
    assert [each.batch.first for each in given_back if each.batch] == list(range(under_way + kept, 4))


def test_stored_groups_leave_in_full_requests_and_the_last_one_lingers() -> None:
    gathering = Gathering(max_events=4, max_body=LIMIT, linger=1.0)
    gathering.add([stored("a", range(2))], now=10.0)
    early = gathering.take(now=10.5)

    gathering.add([stored("b", range(2, 4)), stored("c", range(4, 5))], now=10.5)
    at_once = gathering.take(now=10.5)
    due = gathering.due
    later = gathering.take(now=11.5)

    assert early == []
    assert [[group.origin for group in claim.groups] for claim in (*at_once, *later)] == [["a", "b"], ["c"]]
    assert (len(at_once), due, gathering.due) == (1, 11.5, float("inf"))


@pytest.mark.parametrize(("spare", "requests"), [(0, 2), (-1, 4)])
def test_requests_of_stored_groups_are_as_large_as_their_bound_and_no_larger(spare: int, requests: int) -> None:
    groups = [stored("a", range(1)) for _ in range(4)]
    of_two = len(b",\n".join([group.body for group in groups[:2]])) + len('{"events":[]}')

    by_size = pack(groups, max_events=1000, max_body=of_two + spare)
    by_count = pack(groups, max_events=2 + spare, max_body=LIMIT)

    assert (len(by_size), len(by_count)) == (requests, requests)


def test_as_much_less_is_taken_in_as_others_hold() -> None:
    intake = make_intake(max_events=4, max_bytes=1000)

    reasons = []
    for held in ((3, 0), (0, 800), (0, 0)):
        intake.leave_room_for(*held)
        reasons.append([add(intake, number, size=100) for number in range(2)])

    assert reasons == [[None, DropReason.QUEUE_FULL], [DropReason.QUEUE_FULL] * 2, [None, None]]


@pytest.mark.parametrize(
    ("bounds", "together"),
    [
        ({}, [8, 1]),
        ({"max_events": 16}, [8, 1]),
        ({"max_events": 15}, [4, 4, 1]),
        ({"max_bytes": 2 * 8 * 152}, [8, 1]),
        ({"max_bytes": 2 * 8 * 152 - 2}, [4, 4, 1]),
        ({"batch_bytes": 8 * 152 + 11}, [8, 1]),
        ({"batch_bytes": 8 * 152 + 9}, [4, 4, 1]),
    ],
    ids=str,
)
def test_two_requests_worth_are_stored_together_where_they_fit(bounds: dict[str, int], together: list[int]) -> None:
    """Into a body, and into half the queue: else the rest of one would be a request of its own."""
    intake = make_intake(batch_events=4, linger=0.0, **bounds)

    for number in range(9):
        assert len(event(number, size=108)) == 150
        add(intake, number, size=108)

    assert [batch.count for batch in take_all(intake)] == together


def test_less_is_stored_together_while_others_hold_what_the_queue_may() -> None:
    intake = make_intake(batch_events=4, max_events=16, linger=0.0)
    intake.leave_room_for(2, 0)

    for number in range(9):
        add(intake, number)

    assert [batch.count for batch in take_all(intake)] == [4, 4, 1]


def test_one_event_that_was_sent_says_that_its_whole_commit_was_kept() -> None:
    intake = make_intake(batch_events=4)
    for number in range(16):
        add(intake, number)
    first, second = take_all(intake)

    kept = [(intake.is_kept(first), intake.is_kept(second))]
    for sent in (8, 1):  # eight may all be of one
        intake.sent("delivered", sent)
        kept.append((intake.is_kept(first), intake.is_kept(second)))

    assert kept == [(False, False), (False, False), (True, True)]


def test_what_goes_past_the_outbox_leaves_in_requests() -> None:
    intake, sender = make_intake(batch_events=4), make_sender(batch_events=4)
    for number in range(8):
        add(intake, number, ticket=number)
    commit = take_all(intake)[0]

    undecided = settle(intake, commit, Moved(sender.take_over))
    pending = intake.pending
    for part in take_all(intake):
        settle(intake, part, Moved(sender.take_over))
    requests = take_all(sender)
    tickets = [settle(sender, request, Accepted()).tickets for request in requests]

    assert (undecided.tickets, pending, intake.pending, sender.ledger.delivered) == ((), 8, 0, 8)
    assert [numbers(request) for request in requests] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert tickets == [(0, 1, 2, 3), (4, 5, 6, 7)]


@pytest.mark.parametrize("outcome", [Failed(reason="full", ambiguous=False), Moved(lambda _: None)])
def test_what_was_not_stored_comes_back_in_parts_that_may_find_room(outcome: Failed | Moved) -> None:
    intake = make_intake(batch_events=4, in_flight=9)
    for number in range(16):
        add(intake, number, ticket=number)
    first, second = take_all(intake)

    settle(intake, second, outcome)
    settle(intake, first, outcome)
    intake.gate.reopen()
    parts = take_all(intake)

    assert [numbers(part) for part in parts] == [[*range(start, start + 4)] for start in (0, 4, 8, 12)]
    assert [[*part.tickets.values()] for part in parts] == [[*range(start, start + 4)] for start in (0, 4, 8, 12)]
    assert (intake.pending, intake.in_flight) == (16, 4)


def test_what_goes_past_the_outbox_ends_an_outage_of_it() -> None:
    intake = make_intake(batch_events=4)
    for number in range(16):
        add(intake, number)
    first, second = take_all(intake)
    settle(intake, first, Failed(reason="full", ambiguous=False))
    second.era = intake.gate.era

    settle(intake, second, Moved(lambda _: None))

    assert intake.gate.is_open


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=9),
    viewed=st.sets(st.integers(0, 8)),
    max_events=st.integers(1, 40),
)
def test_a_commit_is_cut_into_runs_of_as_many_events_as_a_request_holds(
    sizes: list[int], viewed: set[int], max_events: int
) -> None:
    events = [event(number).encode() for number in range(sum(sizes))]
    rest = iter(events)
    pieces = [SEPARATOR.join(next(rest) for _ in range(size)) for size in sizes]
    commit = Batch(
        first=0,
        count=len(events),
        size=sum(len(each) + len(SEPARATOR) for each in events),
        oldest_ms=NOW_MS,
        counts=sizes,
        pieces=deque(memoryview(piece) if place in viewed else piece for place, piece in enumerate(pieces)),
    )

    runs = list(commit.runs(max_events))

    assert [run.split(SEPARATOR) for run, _ in runs] == [
        events[start : start + max_events] for start in range(0, len(events), max_events)
    ]
    assert [count for _, count in runs] == [len(run.split(SEPARATOR)) for run, _ in runs]


@given(batch_events=st.integers(1, 20), room=st.integers(1, 300), given=st.integers(1, 600))
def test_what_is_left_where_the_oldest_gave_way_is_cut_as_before(batch_events: int, room: int, given: int) -> None:
    intake = make_intake(batch_events=batch_events, max_events=room, overflow="drop-oldest", in_flight=1000)
    for number in range(given):
        add(intake, number)

    intake.seal()
    commits = take_all(intake)
    runs = [run for commit in commits for run in commit.runs(batch_events)]

    kept = [event(number).encode() for number in range(max(0, given - room), given)]
    assert [each for body, _ in runs for each in body.split(SEPARATOR)] == kept
    assert [count for _, count in runs] == [len(body.split(SEPARATOR)) for body, _ in runs]
    assert all(count <= batch_events for _, count in runs)


def test_what_has_expired_in_a_commit_is_dropped_once() -> None:
    intake = make_intake(batch_events=4)
    for number in range(8):
        add(intake, number, stamp=NOW_MS - (number < 6) * 31 * 86_400_000, ticket=number)

    (rest,) = take_all(intake)
    dropped = [settlement.tickets for settlement in intake.dropped()]

    assert numbers(rest) == [6, 7]
    assert dropped == [(0, 1, 2, 3, 4, 5)]
    assert (intake.ledger.dropped[DropReason.EXPIRED], intake.pending) == (6, 2)
