"""Dead letters become events again in groups as large as a request may be, with the earliest of their timestamps."""

import pytest

from algolia_events._batching import ENVELOPE_BYTES, SEPARATOR
from algolia_events._limits import MAX_EVENTS_PER_REQUEST, MAX_REQUEST_BYTES
from algolia_events.outbox import DeadLetter
from algolia_events.outbox._letters import groups_of


def letter(event: bytes) -> DeadLetter:
    return DeadLetter(event=event, status=422, message="no", rejected_ms=1)


def padded(number: int, size: int) -> bytes:
    """An event of so many bytes."""
    return b'{"n":%d,"p":"%s"}' % (number, b"." * (size - len(b'{"n":%d,"p":""}' % number)))


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [
        ([30] * 2500, [MAX_EVENTS_PER_REQUEST, MAX_EVENTS_PER_REQUEST, 500]),
        ([700_000] * 5, [2, 2, 1]),
        ([1_900_000, 50, 1_900_000], [2, 1]),
        ([1_900_000] * 2, [1, 1]),
    ],
)
def test_groups_are_as_large_as_a_request_may_be(sizes: list[int], counts: list[int]) -> None:
    events = [padded(number, size) for number, size in enumerate(sizes)]

    groups = list(groups_of(map(letter, events)))

    assert [group.count for group in groups] == counts
    assert [event for group in groups for event in group.body.split(b",\n")] == events
    assert all(len(group.body) + ENVELOPE_BYTES < MAX_REQUEST_BYTES for group in groups)


def test_a_group_ends_before_the_limit() -> None:
    first = padded(1, 1_000_000)
    room = MAX_REQUEST_BYTES - ENVELOPE_BYTES - len(first) - 2 * len(SEPARATOR)

    fits = list(groups_of(map(letter, [first, padded(2, room - 1)])))
    is_too_much = list(groups_of(map(letter, [first, padded(2, room)])))

    assert [group.count for group in fits] == [2]
    assert [group.count for group in is_too_much] == [1, 1]


@pytest.mark.parametrize(
    ("events", "oldest_ms"),
    [([b'{"timestamp":5}', b'{"timestamp":3}', b"{}"], 3), ([b"{}"], 1 << 62)],
    ids=["the earliest", "none, which cannot be too old"],
)
def test_the_earliest_timestamp_counts(events: list[bytes], oldest_ms: int) -> None:
    (group,) = groups_of(map(letter, events))

    assert group.oldest_ms == oldest_ms
