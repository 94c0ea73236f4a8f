"""Outboxes in memory that can do less than others, or fail."""

from collections.abc import Sequence
from typing import Any

from algolia_events.errors import OutboxError
from algolia_events.outbox import ClaimedGroup, EventGroup, MemoryOutbox, OutboxSizes


class PlainOutbox:
    """Does what the protocol asks for and no more; an outbox of somebody else's may be like this."""

    notice: str | None = None

    def __init__(self) -> None:
        self.memory = MemoryOutbox()

    async def open(self) -> None:
        await self.memory.open()

    async def store(self, groups: Sequence[EventGroup]) -> None:
        await self.memory.store(groups)

    async def claim(self, max_events: int, max_bytes: int) -> Sequence[ClaimedGroup]:
        return await self.memory.claim(max_events, max_bytes)

    async def settle(self, **verdicts: Any) -> None:
        await self.memory.settle(**verdicts)

    async def sizes(self) -> OutboxSizes:
        return await self.memory.sizes()

    async def aclose(self) -> None:
        await self.memory.aclose()


class FailingOutbox(MemoryOutbox):
    """Can neither be opened nor stored in nor claimed from for as long as it `fails`."""

    reason = "the disk is gone"

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.fails = fails
        self.openings = 0

    async def open(self) -> None:
        self.openings += 1
        self._check()

    async def store(self, groups: Sequence[EventGroup]) -> None:
        self._check()
        await super().store(groups)

    async def claim(self, max_events: int, max_bytes: int) -> Sequence[ClaimedGroup]:
        self._check()
        return await super().claim(max_events, max_bytes)

    def _check(self) -> None:
        if self.fails:
            raise OutboxError(self.reason)
