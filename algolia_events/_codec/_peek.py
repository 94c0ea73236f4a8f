"""Look into an event that is encoded already, for the few decisions that come up after that.

An outbox hands out what any process has stored: what is no JSON has no fields, and the server will say so.
"""

import json
from typing import Any

import orjson


def event_timestamp(event: bytes) -> int | None:
    """Find the timestamp of an encoded event, in epoch milliseconds; None where it has none that is a number."""
    stamp = _fields(event).get("timestamp")
    return stamp if type(stamp) is int else None


def user_tokens(event: bytes) -> tuple[str, ...]:
    """Find the tokens of an encoded event's user."""
    fields = _fields(event)
    found = (fields.get(name) for name in ("userToken", "authenticatedUserToken"))
    return tuple(token for token in found if isinstance(token, str))


def _fields(event: bytes) -> dict[str, Any]:
    try:
        content = orjson.loads(event)
    except orjson.JSONDecodeError:
        try:
            content = json.loads(event)  # which takes larger numbers, as a RawEvent may hold
        except (ValueError, RecursionError):
            return {}
    return content if isinstance(content, dict) else {}
