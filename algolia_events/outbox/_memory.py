"""An outbox without the disk: what the protocol means, in the fewest words."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

import attrs

from algolia_events._groups import ClaimedGroup, DeadLetter, EventGroup, OutboxSizes
from algolia_events.errors import ConfigurationError, OutboxFullError
from algolia_events.outbox._letters import groups_of

_Item = TypeVar("_Item")
_DEFAULT_MAX_BYTES: Final = 256 * 1024 * 1024


class MemoryOutbox:
    """Keeps groups in this process's memory: for tests, and as the pattern for an outbox of your own.

    It has no use in production, since the queue keeps events in memory by itself.
    """

    def __init__(self, *, max_bytes: int = _DEFAULT_MAX_BYTES) -> None:
        if max_bytes < 1:
            raise ConfigurationError(f"max_bytes must be at least 1, not {max_bytes}")
        self._max_bytes = max_bytes
        self._bytes = 0
        # Both in the order of their keys, which is the order of storing.
        self._groups: dict[object, ClaimedGroup] = {}
        self._letters: dict[object, DeadLetter] = {}
        self._claimed: set[object] = set()
        self._keys = itertools.count(1)

    @property
    def notice(self) -> str | None:
        """Nothing can be wrong with it."""
        return None

    async def open(self) -> None:
        """There is nothing to open."""

    async def store(self, groups: Sequence[EventGroup]) -> None:
        """Keep groups; see `Outbox.store`."""
        size = sum(len(group.body) for group in groups)
        if self._bytes + size > self._max_bytes:
            raise OutboxFullError(self._max_bytes)
        self._bytes += size
        for group in groups:
            key = next(self._keys)
            self._groups[key] = ClaimedGroup(
                body=group.body, count=group.count, oldest_ms=group.oldest_ms, origin=group.origin, key=key
            )

    async def claim(self, max_events: int, max_bytes: int) -> Sequence[ClaimedGroup]:
        """Take groups to send; see `Outbox.claim`."""
        claimed: list[ClaimedGroup] = []
        events = size = 0
        for key, group in self._groups.items():
            if events >= max_events or size >= max_bytes:
                break
            if key not in self._claimed:
                claimed.append(group)
                events += group.count
                size += len(group.body)
        self._claimed.update(group.key for group in claimed)
        return claimed

    async def exchange(
        self,
        groups: Sequence[EventGroup],
        *,
        done: Sequence[ClaimedGroup] = (),
        max_events: int = 0,
        max_bytes: int = 0,
    ) -> Sequence[ClaimedGroup]:
        """Settle, keep and claim; see `ExchangingOutbox.exchange`."""
        await self.store(groups)  # first, since it alone may fail
        await self.settle(done=done)
        return await self.claim(max_events, max_bytes)

    async def settle(
        self,
        *,
        done: Sequence[ClaimedGroup] = (),
        rejected: Sequence[DeadLetter] = (),
        left: Sequence[ClaimedGroup] = (),
    ) -> None:
        """Book what became of claimed groups; see `Outbox.settle`."""
        for group in done:
            if group.key in self._claimed:
                self._claimed.remove(group.key)
                self._bytes -= len(self._groups.pop(group.key).body)
        for group in left:
            if group.key in self._claimed:
                self._claimed.remove(group.key)
                self._bytes -= len(self._groups[group.key].body) - len(group.body)
                self._groups[group.key] = group
        for letter in rejected:
            key = next(self._keys)
            self._letters[key] = attrs.evolve(letter, key=key)

    async def sizes(self) -> OutboxSizes:
        """Count what is there."""
        groups = self._groups.values()
        return OutboxSizes(
            events=sum(group.count for group in groups),
            groups=len(groups),
            bytes=self._bytes,
            rejected=len(self._letters),
            oldest_ms=next((group.oldest_ms for group in groups), None),
        )

    async def groups(self, after: object = None, limit: int = 100) -> Sequence[ClaimedGroup]:
        """Read groups; see `InspectableOutbox.groups`."""
        return list(itertools.islice(_after(self._groups, after), limit))

    async def dead_letters(self, after: object = None, limit: int = 100) -> Sequence[DeadLetter]:
        """Read dead letters; see `InspectableOutbox.dead_letters`."""
        return list(itertools.islice(_after(self._letters, after), limit))

    async def retry_dead_letters(self) -> int:
        """Send dead letters again; see `InspectableOutbox.retry_dead_letters`."""
        letters = list(self._letters.values())
        await self.store(list(groups_of(letters)))
        self._letters.clear()
        return len(letters)

    async def purge(self, *, events: bool, dead_letters: bool) -> int:
        """Delete what is asked for; see `InspectableOutbox.purge`."""
        purged = 0
        if events:
            for key in self._groups.keys() - self._claimed:
                group = self._groups.pop(key)
                self._bytes -= len(group.body)
                purged += group.count
        if dead_letters:
            purged += len(self._letters)
            self._letters.clear()
        return purged

    async def aclose(self) -> None:
        """Give back what was claimed; what is kept stays, for whoever uses the object again."""
        self._claimed.clear()


def _after(items: dict[object, _Item], after: object) -> Iterator[_Item]:
    """Yield the items that come after a key, or all."""
    passed = after is None
    for key, item in items.items():
        if passed:
            yield item
        passed = passed or key == after
