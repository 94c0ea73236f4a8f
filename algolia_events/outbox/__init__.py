"""Durable outboxes: an event is safe once it is stored, and whoever is alive sends it."""

from typing import TYPE_CHECKING, Any

from algolia_events._groups import ClaimedGroup, DeadLetter, EventGroup, OutboxSizes
from algolia_events.errors import ConfigurationError
from algolia_events.outbox._memory import MemoryOutbox
from algolia_events.outbox._open import open_outbox
from algolia_events.outbox._sqlite import SQLiteOutbox

if TYPE_CHECKING:
    from algolia_events.outbox._redis import RedisOutbox

__all__ = [
    "ClaimedGroup",
    "DeadLetter",
    "EventGroup",
    "MemoryOutbox",
    "OutboxSizes",
    "RedisOutbox",
    "SQLiteOutbox",
    "open_outbox",
]


def __getattr__(name: str) -> Any:
    """Import the Redis outbox when it is asked for: redis is an extra."""
    if name != "RedisOutbox":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from algolia_events.outbox._redis import RedisOutbox  # noqa: PLC0415
    except ModuleNotFoundError as exc:
        raise ConfigurationError("RedisOutbox needs redis: pip install 'algolia-events[redis]'") from exc
    return RedisOutbox
