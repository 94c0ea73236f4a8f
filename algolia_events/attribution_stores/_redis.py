"""A store in Redis, shared by the processes of many machines."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from algolia_events._redis_client import describe, make_client
from algolia_events.attribution_stores._memory import DEFAULT_TTL
from algolia_events.config import seconds
from algolia_events.errors import AttributionError, ConfigurationError

_TIMEOUT: Final = 0.25
"""In seconds: an answer waits for its hits to be remembered, and should not wait for a Redis that is gone."""
_RETRIES: Final = 0
"""For the same reason: a try more would double what it waits."""


class RedisAttributionStore:
    """Keeps entries under `prefix` and a digest, each for `ttl`; Redis's own `maxmemory` is the bound.

    What is given is a URL, for which a client is made, or a client of redis-py, which stays its owner's to
    close. No user token gets to Redis in clear.

    Args:
        url_or_client: `redis://[user:password@]host[:port][/db]`, `rediss://…` for TLS, `unix://path`; as in redis-py,
            with its parameters: `?ssl_ca_certs=/etc/ssl/redis-ca.pem` is whom to trust instead of the system's
            authorities. Or a client.
        ttl: seconds or `timedelta`.
        prefix: what each key begins with.

    Raises:
        ConfigurationError: an argument is wrong.
    """

    def __init__(
        self,
        url_or_client: str | Redis,
        *,
        ttl: float | timedelta = DEFAULT_TTL,
        prefix: str = "algolia-events:attribution:",
    ) -> None:
        """Make a store; connects at the first use."""
        if seconds(ttl) <= 0:
            raise ConfigurationError("ttl must be above 0")
        self._owned = isinstance(url_or_client, str)
        self._redis: Redis = _client_of(url_or_client) if isinstance(url_or_client, str) else url_or_client
        self._ttl_ms = max(1, round(seconds(ttl) * 1000))
        self._prefix = prefix.encode()

    async def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Get the value of each key, None where there is none, in one round trip; see `AttributionStore.get_many`."""
        if not keys:
            return []
        names = [self._name(key) for key in keys]
        with _translated("read"):
            values = await self._redis.mget(names)
        return [value.encode() if isinstance(value, str) else value for value in values]

    async def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep entries, in one round trip; see `AttributionStore.put_many`."""
        named = {self._name(key): value for key, value in entries.items()}
        with _translated("written"):
            async with self._redis.pipeline(transaction=False) as pipeline:
                for name, value in named.items():
                    pipeline.set(name, value, px=self._ttl_ms)
                # An error that redis-py raises here by itself holds the command, the entry's key and value in it.
                outcomes = await pipeline.execute(raise_on_error=False)
            for outcome in outcomes:
                if isinstance(outcome, RedisError):
                    raise outcome

    async def aclose(self) -> None:
        """Close the client, unless it was lent."""
        if self._owned:
            await self._redis.aclose()

    def _name(self, key: bytes) -> bytes:
        return self._prefix + key.hex().encode()


def _client_of(url: str) -> Redis:
    try:
        return make_client(url, timeout=_TIMEOUT, retries=_RETRIES)
    except ValueError as exc:
        raise ConfigurationError(f"the address of a Redis store is wrong: {exc}") from None


@contextmanager
def _translated(done: str) -> Iterator[None]:
    """Turn what goes wrong into our own error, which holds neither the address nor an entry."""
    try:
        yield
    except (RedisError, OSError) as exc:
        raise AttributionError(f"Redis cannot be {done}: {describe(exc)}") from exc
