"""Around an outbox the core packs what was stored into requests, keeps books of its own on it, and shares the room."""

import pytest
from support.batches import LIMIT, NOW_MS, add, event, make, make_intake, make_sender, numbers, settle, stored, take_all

from algolia_events._batching import Claim, Gathering, pack
from algolia_events._retry import Accepted, Failed, Refused
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
