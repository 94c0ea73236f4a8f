"""A store in this process's memory, bounded in number and in time."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from algolia_events.config import seconds
from algolia_events.errors import ConfigurationError

DEFAULT_TTL: Final = 86_400.0
"""A day, in seconds: a purchase follows its recommendation within one or not at all, and older answers show what is
no longer on the page."""


class MemoryAttributionStore:
    """Keeps the newest entries, at most `max_entries` and for `ttl`.

    An entry of a recommendation takes about 250 bytes.
    """

    def __init__(
        self,
        *,
        max_entries: int = 100_000,
        ttl: float | timedelta = DEFAULT_TTL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make an empty store.

        Args:
            max_entries: when it is reached, the oldest goes.
            ttl: seconds or `timedelta`.
            clock: gives the present in seconds, of any origin.
        """
        if max_entries < 1 or seconds(ttl) <= 0:
            raise ConfigurationError("max_entries and ttl must be above 0")
        self._max_entries = max_entries
        self._ttl = seconds(ttl)
        self._clock = clock
        # Every entry has the same time to live, so the order of writing is the order of expiry.
        self._entries: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()

    def __len__(self) -> int:
        self._expire(self._clock())
        return len(self._entries)

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Get the value of each key, None where there is none."""
        self._expire(self._clock())
        return [entry[1] if (entry := self._entries.get(key)) is not None else None for key in keys]

    async def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep entries."""
        now = self._clock()
        for key, value in entries.items():
            self._entries[key] = (now + self._ttl, value)
            self._entries.move_to_end(key)
        self._expire(now)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    async def aclose(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def _expire(self, now: float) -> None:
        while self._entries:
            expires_at, _ = next(iter(self._entries.values()))
            if expires_at > now:
                return
            self._entries.popitem(last=False)
