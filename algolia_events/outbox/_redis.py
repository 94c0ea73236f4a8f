"""An outbox in Redis Streams, shared by the processes of many machines."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from redis.exceptions import RedisError

from algolia_events._cancelling import cancel_again, cancel_requests
from algolia_events._fork import keep_for_parent, watch_forks
from algolia_events._groups import ClaimedGroup, DeadLetter, EventGroup, OutboxSizes
from algolia_events._redis_client import Connections, describe, eviction_notice, make_client
from algolia_events.errors import ConfigurationError, OutboxError, OutboxFullError
from algolia_events.outbox import _redis_scripts as scripts
from algolia_events.outbox._exchange import Call, Exchange, merged, shared_out
from algolia_events.outbox._letters import groups_of
from algolia_events.outbox._pending import PendingResult
from algolia_events.outbox._redis_consumer import Consumer, lacks_group, make_group, script_call
from algolia_events.outbox._redis_entries import (
    behind,
    exchanged_group_of,
    key_of,
    read_group,
    read_letter,
    settlement_of,
    terms_of,
)

_TIMEOUT: Final = 2.0
"""In seconds, for each answer: a Redis that hangs must not hold up what memory can take over."""
_RETRIES: Final = 1
"""Once more, at once: a connection from the pool may have been closed since. Each script may be run twice."""
_DEFAULT_MAX_BYTES: Final = 256 * 1024 * 1024
_LETTERS_SHARE: Final = 4
_LETTERS_MIN_BYTES: Final = 1024 * 1024
"""What dead letters may take beside the events: a quarter of their bound, or this where that is less."""
_BEAT_SECONDS: Final = 1.0
"""How often a process that holds something shows that it lives."""
_PURGE_LOOK_SECONDS: Final = 0.25
_PURGE_PATIENCE_SECONDS: Final = 10.0
"""How often, and how long, a purge looks whether those who hold something live."""
_NO_ROOM: Final = 0
_DONE_BEFORE: Final = 1
"""What `EXCHANGE` answers in place of a list of rows."""
_Item = TypeVar("_Item")


class RedisOutbox:
    """Keeps groups as entries of a Redis stream; a consumer group hands each to one process at a time.

    Redis 6.2 or later. What a process had claimed is taken over some 5 s after its last sign of life, by one that has
    watched it for as long while Redis answered; one that was suspended, or alone cut off from Redis, for longer may
    send what another has sent as well. An entry is deleted when it is settled and never trimmed before. How durable it
    is, is up to Redis: see `docs/delivery.md` for `appendonly` and `maxmemory-policy`.

    Args:
        url: `redis://[user:password@]host[:port][/db]`, `rediss://…` for TLS, `unix://path`; as in redis-py, with its
            parameters: `?ssl_ca_certs=/etc/ssl/redis-ca.pem` is whom to trust instead of the system's authorities.
        stream: the key of the stream; other keys are `{stream}:…`.
        group: the consumer group of all who send.
        max_bytes: the bound on the events in the stream, whoever stores them; dead letters may take a quarter besides.

    Raises:
        ConfigurationError: an argument is wrong.
    """

    def __init__(
        self,
        url: str,
        *,
        stream: str = "algolia_events",
        group: str = "senders",
        max_bytes: int = _DEFAULT_MAX_BYTES,
    ) -> None:
        if type(max_bytes) is not int or max_bytes < 1:
            raise ConfigurationError(f"max_bytes must be a whole number of at least 1, not {max_bytes!r}")
        if not stream or not group:
            raise ConfigurationError("stream and group must not be empty")
        self._url = url
        self._stream = stream
        self._group = group
        self._max_bytes = max_bytes
        self._max_letters_bytes = max(max_bytes // _LETTERS_SHARE, _LETTERS_MIN_BYTES)
        self._sizes, self._rejected, self._marks = (f"{{{stream}}}:{name}" for name in ("sizes", "rejected", "marks"))
        self._step = [b"EVAL", scripts.EXCHANGE, b"3", *(key.encode() for key in (stream, self._sizes, self._marks))]
        try:
            make_client(url, timeout=_TIMEOUT, retries=_RETRIES)
        except ValueError as exc:
            raise ConfigurationError(f"the address of a Redis outbox is wrong: {exc}") from None
        self.notice: str | None = None
        self._start_afresh()
        watch_forks(self)

    def _start_afresh(self) -> None:
        self._consumer = Consumer(self._stream, self._group)
        self._connections: Connections | None = None
        self._beating: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._calls: deque[Call] = deque()
        self._exchange_number = 0
        self._settlement_number = 0

    def after_fork(self) -> None:
        """Begin anew in a forked child: connection and claims are the parent's."""
        if self._connections is not None:
            keep_for_parent(self._connections)
        self._start_afresh()

    # --- what an outbox does ---------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, and make the stream and its consumer group where they are missing; see `Outbox.open`."""
        async with self._translated() as connections:
            await make_group(connections, self._stream, self._group)
            await connections.client.eval(scripts.TIDY, 2, self._stream, self._marks, self._group)
            self.notice = await eviction_notice(connections.client)

    async def store(self, groups: Sequence[EventGroup]) -> None:
        """Keep groups; see `Outbox.store`."""
        if groups:
            await self.exchange(groups)

    async def exchange(
        self,
        groups: Sequence[EventGroup],
        *,
        done: Sequence[ClaimedGroup] = (),
        max_events: int = 0,
        max_bytes: int = 0,
    ) -> Sequence[ClaimedGroup]:
        """Settle, keep and claim; see `ExchangingOutbox.exchange`. Calls at the same time go out together."""
        self._connected()
        call = Call(Exchange(groups=groups, done=done, max_events=max_events, max_bytes=max_bytes), PendingResult())
        self._calls.append(call)
        self._keep_writing()
        try:
            return await call.result.wait()
        except asyncio.CancelledError:
            if not call.result.is_awaited and self._writing is not None:
                self._writing.cancel()  # which goes on where others wait
            raise

    async def claim(self, max_events: int, max_bytes: int) -> Sequence[ClaimedGroup]:
        """Take groups to send; see `Outbox.claim`."""
        async with self._translated() as connections, self._consumer.one_at_a_time:
            claimed = await self._consumer.claim(connections, max_events, max_bytes)
            self._keep_beating()
        return claimed

    async def settle(
        self,
        *,
        done: Sequence[ClaimedGroup] = (),
        rejected: Sequence[DeadLetter] = (),
        left: Sequence[ClaimedGroup] = (),
    ) -> None:
        """Book what became of claimed groups; see `Outbox.settle`."""
        consumer = self._consumer
        keys = (self._stream, self._sizes, self._rejected, self._marks)
        async with self._translated() as connections, consumer.one_at_a_time:
            lost_before = consumer.lost_an_answer
            # A settlement without an answer may come late, and give back what has been claimed anew by then.
            consumer.lost_an_answer = lost_before or bool(left)
            self._settlement_number += 1
            number, bound = self._settlement_number, str(self._max_letters_bytes)
            terms = (self._group, consumer.name, consumer.process, number, _now(), bound)
            settled = settlement_of(
                consumer.known, done=consumer.those_known(done), left=consumer.those_known(left), rejected=rejected
            )
            await connections.for_claims.call(*script_call(scripts.SETTLE, keys, *terms, *settled))
            consumer.lost_an_answer = lost_before
            consumer.forget((*done, *left))

    async def sizes(self) -> OutboxSizes:
        """Count what is there; see `Outbox.sizes`."""
        async with self._translated() as connections, connections.client.pipeline(transaction=False) as pipeline:
            pipeline.hmget(self._sizes, "events", "bytes")
            pipeline.xlen(self._stream)
            pipeline.xlen(self._rejected)
            (events, size), groups, rejected = await pipeline.execute()
            self.notice = await eviction_notice(connections.client)
        if not groups:  # somebody may have deleted the stream alone
            return OutboxSizes(events=0, groups=0, bytes=0, rejected=rejected, oldest_ms=None)
        oldest = await self.groups(limit=1)
        return OutboxSizes(
            events=int(events or 0),
            groups=groups,
            bytes=int(size or 0),
            rejected=rejected,
            oldest_ms=oldest[0].oldest_ms if oldest else None,
        )

    async def groups(self, after: object = None, limit: int = 100) -> Sequence[ClaimedGroup]:
        """Read groups; see `InspectableOutbox.groups`."""
        return await self._read(self._stream, read_group, after, limit)

    async def dead_letters(self, after: object = None, limit: int = 100) -> Sequence[DeadLetter]:
        """Read dead letters; see `InspectableOutbox.dead_letters`."""
        return await self._read(self._rejected, read_letter, after, limit)

    async def _read(
        self, stream: str, read: Callable[[bytes, dict[bytes, bytes]], _Item | None], after: object, limit: int
    ) -> Sequence[_Item]:
        """Read what is ours of a stream: anybody may add entries to it."""
        items: list[_Item] = []
        rows: Any = None
        while rows is None or (len(rows) == limit and len(items) < limit):
            async with self._translated() as connections:
                rows = await connections.client.xrange(stream, min=behind(after), count=limit)
            items += [item for key, fields in rows if (item := read(key, fields)) is not None]
            after = rows[-1][0] if rows else after
        return items[:limit]

    async def retry_dead_letters(self) -> int:
        """Send dead letters again; see `InspectableOutbox.retry_dead_letters`. Broken off, some may be there twice."""
        count = 0
        while letters := await self.dead_letters(limit=1000):
            await self.store(list(groups_of(letters)))
            async with self._translated() as connections:
                await connections.client.xdel(self._rejected, *(key_of(letter) for letter in letters))
            count += len(letters)
        return count

    async def purge(self, *, events: bool, dead_letters: bool) -> int:
        """Delete what is asked for; see `InspectableOutbox.purge`."""
        purged = 0
        if events:
            purged = await self._purge_events()
        if dead_letters:
            async with self._translated() as connections, connections.client.pipeline(transaction=False) as pipeline:
                pipeline.xlen(self._rejected)
                pipeline.delete(self._rejected)
                purged += (await pipeline.execute())[0]
        return purged

    async def _purge_events(self) -> int:
        """Delete what nobody who lives holds; whether somebody does may show in some seconds only."""
        purged = 0
        give_up = time.monotonic() + _PURGE_PATIENCE_SECONDS
        while True:
            while groups := await self.claim(100_000, 16 * 1024 * 1024):
                purged += sum(group.count for group in groups)
                await self.settle(done=groups)
            if not self._consumer.watch.is_in_doubt or time.monotonic() > give_up:
                return purged
            await asyncio.sleep(_PURGE_LOOK_SECONDS)

    async def aclose(self) -> None:
        """Give back what was claimed, and disconnect; see `Outbox.aclose`."""
        beating, self._beating = self._beating, None
        connections, self._connections = self._connections, None
        if connections is None or not connections.are_here:
            return
        if beating is not None:
            beating.cancel()
            await asyncio.wait({beating})
        try:
            with contextlib.suppress(RedisError, OSError):  # what cannot be given back is taken, in time
                await self._consumer.give_all_back(connections)
                process = self._consumer.process
                await connections.client.hdel(self._marks, process, f"{process}:letters")
        finally:
            await connections.aclose()

    # --- storing ---------------------------------------------------------------------------------------------------

    def _keep_writing(self, _: object = None) -> None:
        """Begin with what waits, or again where the task was cancelled before its first step."""
        if self._calls and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write(), name="algolia_events.redis_outbox")
            self._writing.add_done_callback(self._keep_writing)

    async def _write(self) -> None:
        """Do what waits, and what comes to wait in the meantime: one script at a time, in order."""
        while self._calls:
            calls = [self._calls.popleft() for _ in range(len(self._calls))]
            calls = [call for call in calls if call.result.is_awaited]
            if not calls:
                continue
            exchange = merged(calls)
            self._exchange_number += 1
            try:
                try:
                    claimed = await self._exchange(exchange)
                except asyncio.CancelledError:  # the loop ends: those who wait cannot do without the outcome
                    if not any(call.result.is_awaited for call in calls):
                        raise
                    claimed = await self._exchange(exchange)
            except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001 - it belongs to those who wait
                for call in calls:
                    call.result.resolve(None, exc)
            else:
                for call, share in shared_out(calls, claimed):
                    call.result.resolve(share)

    async def _exchange(self, exchange: Exchange) -> list[ClaimedGroup]:
        """Do one step under the present number, which has Redis pass over what it has done already."""
        consumer = self._consumer
        takes = exchange.max_events > 0  # if not, somebody may be claiming beside it, and lose an answer of his own
        async with self._translated() as connections, consumer.one_at_a_time if takes else contextlib.nullcontext():
            if takes and consumer.lost_an_answer:
                await consumer.change_name(connections)  # what is ours unknowingly is claimed like any other's
            done = consumer.those_known(exchange.done)
            lost_before = consumer.lost_an_answer
            consumer.lost_an_answer = lost_before or takes
            terms = terms_of(
                exchange,
                done=((key_of(group), *consumer.known[key_of(group)]) for group in done),
                group=self._group,
                me=consumer.name,
                process=consumer.process,
                number=self._exchange_number,
                now=_now(),
                bound=str(self._max_bytes),
            )
            bodies = (group.body for group in exchange.groups)
            answer = await connections.for_exchanges.call(*self._step, terms, *bodies, *consumer.dead())
            if takes and answer != _DONE_BEFORE:
                consumer.lost_an_answer = lost_before
            if answer == _NO_ROOM:
                raise OutboxFullError(self._max_bytes)
            consumer.forget(done)
            rows = [] if answer == _DONE_BEFORE else answer
            claimed = [exchanged_group_of(row, exchange.groups) for row in rows]
            consumer.note(claimed)
            if claimed:
                self._keep_beating()
        return claimed

    # --- connection ------------------------------------------------------------------------------------------------

    def _connected(self) -> Connections:
        """Find the connections of the running loop; those of another are of no use in this one."""
        if self._connections is None or not self._connections.are_here:
            self._connections = Connections(self._url, timeout=_TIMEOUT, retries=_RETRIES)
            self._beating, self._writing = None, None
            self._consumer.begin_in_a_loop()
            self._calls.clear()  # whoever made them has ended with his loop
        return self._connections

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[Connections]:
        """Give the connections, and turn what goes wrong with them into our own error, without the address."""
        cancels_before = cancel_requests()
        try:
            yield self._connected()
        except (RedisError, OSError) as exc:
            if cancel_requests() > cancels_before:
                raise asyncio.CancelledError from exc  # redis-py may take one for a lost connection
            if lacks_group(exc):
                with contextlib.suppress(RedisError, OSError):
                    await make_group(self._connected(), self._stream, self._group)
            raise OutboxError(f"the outbox in Redis fails: {describe(exc)}") from exc
        if cancel_requests() > cancels_before:  # redis-py swallowed one, and gave the command again
            cancel_again()

    # --- signs of life ---------------------------------------------------------------------------------------------

    def _keep_beating(self) -> None:
        """Show that we live, if something is ours."""
        if self._consumer.known and (self._beating is None or self._beating.done()):
            self._beating = asyncio.create_task(self._beat_on(), name="algolia_events.redis_outbox.alive")

    async def _beat_on(self) -> None:
        while self._consumer.known:
            await asyncio.sleep(_BEAT_SECONDS)
            with contextlib.suppress(OutboxError):  # the next claim or settlement says so
                async with self._translated() as connections:
                    await self._consumer.beat(connections)


def _now() -> int:
    """Say what time it is, in seconds: for those who tidy up days later."""
    return int(time.time())
