"""`RawEvent` takes any mapping that JSON can hold, as it is at that moment."""

import json
from types import MappingProxyType
from typing import Any

import pytest

from algolia_events.errors import InvalidEventError
from algolia_events.events import RawEvent


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def test_the_mapping_is_copied() -> None:
    fields = {"eventName": "é\n", "userToken": "u", "list": [1]}
    event = RawEvent(fields)

    fields["list"].append(2)  # type: ignore[attr-defined]

    assert json.loads(event.text)["list"] == [1]
    assert event.text.isascii()
    assert "\n" not in event.text


def test_what_the_queue_asks_of_an_event_is_there() -> None:
    with_time = RawEvent(MappingProxyType({"userToken": "u", "timestamp": 1_700_000_000_000}))
    without = RawEvent({"userToken": 5, "timestamp": None})

    assert (with_time.user_token, with_time.timestamp, with_time.stamped) == ("u", 1_700_000_000_000, True)
    assert (without.user_token, without.timestamp, without.stamped) == (None, None, False)


@pytest.mark.parametrize(
    "fields",
    [
        None,
        5,
        "{}",
        [("a", 1)],
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": object()},
        {"a": {1, 2}},
        {"a": "\ud800"},
        {(1, 2): 1},
        {"a": 10**5000},
        nested(100_000),
    ],
    ids=lambda _: "case",
)
def test_what_json_cannot_hold_is_refused(fields: Any) -> None:
    with pytest.raises(InvalidEventError, match="RawEvent: fields"):
        RawEvent(fields)
