"""Look into an event that is encoded already, for the few decisions that come up after that."""

import orjson


def event_timestamp(event: bytes) -> int | None:
    """Find the timestamp of an encoded event, in epoch milliseconds; None where it has none that is a number."""
    content = orjson.loads(event)
    stamp = content.get("timestamp") if isinstance(content, dict) else None
    return stamp if type(stamp) is int else None
