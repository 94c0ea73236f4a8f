"""Where it is remembered which answer showed what to whom: in this process, or in Redis for many."""

from typing import TYPE_CHECKING, Any

from algolia_events.attribution_stores._memory import MemoryAttributionStore
from algolia_events.errors import ConfigurationError

if TYPE_CHECKING:
    from algolia_events.attribution_stores._redis import RedisAttributionStore

__all__ = ["MemoryAttributionStore", "RedisAttributionStore"]


def __getattr__(name: str) -> Any:
    """Import the Redis store when it is asked for: redis is an extra."""
    if name != "RedisAttributionStore":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from algolia_events.attribution_stores._redis import RedisAttributionStore  # noqa: PLC0415
    except ModuleNotFoundError as exc:
        raise ConfigurationError("RedisAttributionStore needs redis: pip install 'algolia-events[redis]'") from exc
    return RedisAttributionStore
