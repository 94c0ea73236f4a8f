"""Look into an event that is encoded already, for the few decisions that come up after that."""

import orjson


def event_timestamp(event: bytes) -> int | None:
    """Find the timestamp of an encoded event, in epoch milliseconds; None where it has none that is a number."""
    content = orjson.loads(event)
    stamp = content.get("timestamp") if isinstance(content, dict) else None
    return stamp if type(stamp) is int else None


def user_tokens(event: bytes) -> tuple[str, ...]:
    """Find the tokens of an encoded event's user."""
    content = orjson.loads(event)
    found = (content.get(name) for name in ("userToken", "authenticatedUserToken")) if isinstance(content, dict) else ()
    return tuple(token for token in found if isinstance(token, str))
