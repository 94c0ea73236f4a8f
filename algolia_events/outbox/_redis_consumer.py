"""A process as a consumer of a stream in Redis: its name there, what it holds, and what it knows of other holders."""

import asyncio
import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from algolia_events._groups import ClaimedGroup
from algolia_events._redis_client import Connections
from algolia_events.outbox import _redis_scripts as scripts
from algolia_events.outbox._redis_entries import group_of, key_of
from algolia_events.outbox._redis_watch import Watch

_NO_ANSWER: Final = (RedisConnectionError, RedisTimeoutError, OSError)


class Consumer:
    """Claims for one process, one claim at a time.

    A claim whose answer is lost may have been carried out, or may be carried out at any later time. So a consumer that
    loses an answer goes on under another name: it takes along what it knows to be its own, and gives back the rest.
    What comes to the old name later belongs to one that shows no sign of life, and is taken over as from the dead.
    """

    def __init__(self, stream: str, group: str) -> None:
        self._stream = stream
        self._group = group
        self.process = secrets.token_hex(8)
        self._names = 0
        self.known: dict[bytes, tuple[int, int]] = {}
        """Bytes and events of what is ours, as they are in the stream."""
        self.lost_an_answer = False
        """Whether Redis may have done, or may do, under the present name what we know nothing of."""
        self.watch = Watch()
        self.begin_in_a_loop()

    def begin_in_a_loop(self) -> None:
        """Begin in the running loop; what was under way in another will have no answer any more."""
        self.one_at_a_time = asyncio.Lock()

    @property
    def name(self) -> str:
        """The consumer that holds what is ours."""
        return f"{self.process}.{self._names}"

    def note(self, groups: Iterable[ClaimedGroup]) -> None:
        """Know what is ours."""
        self.known.update((key_of(group), (len(group.body), group.count)) for group in groups)

    def forget(self, groups: Iterable[ClaimedGroup]) -> None:
        """Know what is ours no longer."""
        for group in groups:
            self.known.pop(key_of(group), None)

    def those_known(self, groups: Sequence[ClaimedGroup]) -> list[ClaimedGroup]:
        """List those that are ours."""
        return [group for group in groups if key_of(group) in self.known]

    def dead(self) -> list[bytes]:
        """List who is taken for dead, each followed by the sign of life that has not changed."""
        return [part for pair in self.watch.silent(time.monotonic()) for part in pair]

    async def claim(self, connections: Connections, max_events: int, max_bytes: int) -> Sequence[ClaimedGroup]:
        """Take groups, also those of the dead; the caller has `one_at_a_time`.

        Raises:
            RedisError, OSError: as redis-py has it.
        """
        try:
            return await self._claim(connections, max_events, max_bytes)
        except ResponseError as exc:
            if not lacks_group(exc):
                raise
            await make_group(connections, self._stream, self._group)
        except _NO_ANSWER:  # the connection may have been closed long ago, which shows only now
            pass
        return await self._claim(connections, max_events, max_bytes)

    async def _claim(self, connections: Connections, max_events: int, max_bytes: int) -> Sequence[ClaimedGroup]:
        if self.lost_an_answer:
            await self.change_name(connections)
        asked = time.monotonic()
        self.lost_an_answer = True
        claimed, signs = await connections.for_claims.call_once(
            *script_call(scripts.CLAIM, [self._stream], self._group, self.name, max_events, max_bytes, *self.dead())
        )
        self.lost_an_answer = False
        self.watch.see(signs, asked=asked, answered=time.monotonic())
        groups = [group_of(row) for row in claimed]
        self.note(groups)
        return groups

    async def change_name(self, connections: Connections) -> None:
        """Leave behind what is not known; the caller has `one_at_a_time`."""
        heir = f"{self.process}.{self._names + 1}"
        await connections.for_claims.call(
            *script_call(scripts.LEAVE, [self._stream], self._group, self.name, heir, *self.known)
        )
        self._names += 1
        self.lost_an_answer = False

    async def beat(self, connections: Connections) -> None:
        """Show that this process lives, and see who else does."""
        asked = time.monotonic()
        signs = await connections.for_beats.call(*script_call(scripts.BEAT, [self._stream], self._group, self.name))
        self.watch.see(signs, asked=asked, answered=time.monotonic())
        if self.lost_an_answer and not self.one_at_a_time.locked():  # else it is about to come, or claiming sees to it
            async with self.one_at_a_time:
                await self.change_name(connections)

    async def give_all_back(self, connections: Connections) -> None:
        """Leave all to others."""
        self.known.clear()
        await connections.client.eval(scripts.LEAVE, 1, self._stream, self._group, self.name, "")


def script_call(script: str | bytes, keys: Sequence[str], *arguments: str | bytes | int) -> list[bytes]:
    """Write down the call of a script, as a direct connection takes it."""
    parts = ("EVAL", script, len(keys), *keys, *arguments)
    return [part if isinstance(part, bytes) else str(part).encode() for part in parts]


async def make_group(connections: Connections, stream: str, group: str) -> None:
    """Make a stream and its consumer group where they are missing."""
    try:
        await connections.client.xgroup_create(stream, group, id="0", mkstream=True)
    except ResponseError as exc:
        if "BUSYGROUP" not in str(exc):
            raise


def lacks_group(exc: Exception) -> bool:
    """Say whether the stream is missing: nobody has opened it yet, or everything was deleted."""
    return isinstance(exc, ResponseError) and "NOGROUP" in str(exc)
