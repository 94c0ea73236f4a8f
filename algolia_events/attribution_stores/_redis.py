"""A store in Redis, shared by the processes of many machines."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import redis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from algolia_events.attribution_stores._memory import DEFAULT_TTL
from algolia_events.config import seconds
from algolia_events.errors import AttributionError, ConfigurationError

_TIMEOUT: Final = 0.25
"""In seconds: an answer waits for its hits to be remembered, and should not wait for a Redis that is gone."""


class RedisAttributionStore:
    """Keeps entries under `prefix` and a digest, each for `ttl`; Redis's own `maxmemory` is the bound.

    What is given is a URL, for which a client is made, or a client of redis-py, which stays its owner's to
    close. No user token gets to Redis in clear.
    """

    def __init__(
        self,
        url_or_client: str | Redis,
        *,
        ttl: float | timedelta = DEFAULT_TTL,
        prefix: str = "algolia-events:attribution:",
    ) -> None:
        """Make a store; connects at the first use. `ttl` is seconds or `timedelta`."""
        if seconds(ttl) <= 0:
            raise ConfigurationError("ttl must be above 0")
        self._owned = isinstance(url_or_client, str)
        self._redis: Redis = _connect(url_or_client) if isinstance(url_or_client, str) else url_or_client
        self._ttl_ms = max(1, round(seconds(ttl) * 1000))
        self._prefix = prefix.encode()

    async def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Get the value of each key, None where there is none, in one round trip."""
        if not keys:
            return []
        try:
            values = await self._redis.mget([self._name(key) for key in keys])
        except (RedisError, OSError) as exc:
            raise AttributionError(f"Redis cannot be read: {type(exc).__name__}") from exc
        return [value.encode() if isinstance(value, str) else value for value in values]

    async def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep entries, in one round trip."""
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key, value in entries.items():
                    pipeline.set(self._name(key), value, px=self._ttl_ms)
                await pipeline.execute()
        except (RedisError, OSError) as exc:
            raise AttributionError(f"Redis cannot be written: {type(exc).__name__}") from exc

    async def aclose(self) -> None:
        """Close the client, unless it was lent."""
        if self._owned:
            await self._redis.aclose()

    def _name(self, key: bytes) -> bytes:
        return self._prefix + key.hex().encode()


def _connect(url: str) -> Redis:
    options: dict[str, Any] = {"socket_timeout": _TIMEOUT, "socket_connect_timeout": _TIMEOUT}
    with suppress(ModuleNotFoundError):
        # redis-py from 7.1 on would look its own version up on the disk for each connection, in the event loop.
        from redis.driver_info import DriverInfo  # noqa: PLC0415

        options["driver_info"] = DriverInfo(lib_version=redis.__version__)
    return Redis.from_url(url, **options)
