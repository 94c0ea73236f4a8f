"""An outbox in Redis Streams, shared by the processes of many machines."""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from algolia_events._cancelling import cancel_again, cancels
from algolia_events._fork import watch_forks
from algolia_events._groups import ClaimedGroup, DeadLetter, EventGroup, OutboxSizes
from algolia_events._redis_client import Connections, make_client, words
from algolia_events.errors import ConfigurationError, OutboxError, OutboxFullError
from algolia_events.outbox import _redis_scripts as scripts
from algolia_events.outbox._exchange import Call, Exchange, merged, shared_out
from algolia_events.outbox._letters import groups_of
from algolia_events.outbox._redis_entries import behind, fields_of, group_of, key_of, own_group_of, terms_of
from algolia_events.outbox._worker import Outcome

_TIMEOUT: Final = 2.0
"""In seconds, for each answer: a Redis that hangs must not hold up what memory can take over."""
_RETRIES: Final = 1
"""Once more, at once: a connection from the pool may have been closed since. Each script may be run twice."""
_DEFAULT_MAX_BYTES: Final = 256 * 1024 * 1024
_ALIVE_MS: Final = 5000
"""How long after its last sign of life a process is taken for dead."""
_BEAT_SECONDS: Final = 1.0
_NO_ROOM: Final = 0
_DONE_BEFORE: Final = 1
_OWN: Final = 2
"""What `EXCHANGE` answers in place of a list; and how long a row is that says which of our own groups it means."""


class RedisOutbox:
    """Keeps groups as entries of a Redis stream; a consumer group hands each to one process at a time.

    Redis 6.2 or later. What a process had claimed is taken over some 5 s after its last sign of life; one that was
    suspended for longer may send what another has sent as well. An entry is deleted when it is settled and never
    trimmed before. How durable it is, is up to Redis: see `docs/delivery.md` for `appendonly` and `maxmemory-policy`.

    Args:
        url: `redis://[user:password@]host[:port][/db]`, `rediss://…` for TLS, `unix://path`; as in redis-py, with its
            parameters: `?ssl_ca_certs=/etc/ssl/redis-ca.pem` is whom to trust instead of the system's authorities.
        stream: the key of the stream; other keys are `{stream}:…`.
        group: the consumer group of all who send.
        max_bytes: the bound on the events in the stream, whoever stores them.

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
        self._sizes, self._rejected, self._alive = (
            f"{{{stream}}}:{name}" for name in ("sizes", "rejected", f"{group}:alive:")
        )
        try:
            make_client(url, timeout=_TIMEOUT, retries=_RETRIES)
        except ValueError as exc:
            raise ConfigurationError(f"the address of a Redis outbox is wrong: {exc}") from None
        self.notice: str | None = None
        self._start_afresh()
        watch_forks(self)

    def _start_afresh(self) -> None:
        self._me = secrets.token_hex(8)
        self._keys = [key.encode() for key in (self._stream, self._sizes, f"{self._alive}{self._me}:stored")]
        self._connections: Connections | None = None
        self._beating: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._calls: deque[Call] = deque()
        self._claimed: dict[bytes, tuple[int, int]] = {}  # bytes and events as they are in the stream
        self._number = 0
        self._claiming = asyncio.Lock()  # one at a time, so that it is known which answer was lost
        self._lost_an_answer = False

    def after_fork(self) -> None:
        """Begin anew in a forked child: connection and claims are the parent's."""
        if self._connections is not None:
            _leaked.append(self._connections)  # to close them would end the parent's
        self._start_afresh()

    # --- what an outbox does ---------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, and make the stream and its consumer group where they are missing; see `Outbox.open`."""
        async with self._translated() as client:
            await self._make_group(client)
            memory: Any = await client.info("memory")
        if memory.get("maxmemory") and not str(memory.get("maxmemory_policy")).startswith(("noeviction", "volatile")):
            self.notice = f"Redis may evict the outbox: its maxmemory-policy is {memory['maxmemory_policy']}"

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
        exchange = Exchange(groups=groups, done=done, max_events=max_events, max_bytes=max_bytes)
        call = Call(exchange, Outcome())
        self._calls.append(call)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="algolia_events.redis_outbox")
        return await call.outcome.wait()

    async def claim(self, max_events: int, max_bytes: int) -> Sequence[ClaimedGroup]:
        """Take groups to send; see `Outbox.claim`."""
        async with self._translated() as client, self._claiming:
            if self._beating is None or self._beating.done():
                await self._beat(client)
            if self._lost_an_answer:  # groups may be ours of which we know nothing
                await client.eval(scripts.RELEASE, 1, self._stream, self._group, self._me, *self._claimed)
                self._lost_an_answer = False
            self._lost_an_answer = True
            answer = await self._eval_claim(client, max_events, max_bytes)
            self._lost_an_answer = False
            claimed = [group_of(row) for row in answer]
            self._note(claimed)
        return claimed

    def _note(self, claimed: Sequence[ClaimedGroup]) -> None:
        """Know what is ours, and show that we live."""
        self._claimed.update((key_of(group), (len(group.body), group.count)) for group in claimed)
        if claimed:
            self._keep_beating()

    async def _eval_claim(self, client: Redis, max_events: int, max_bytes: int) -> Any:
        arguments = (self._stream, self._group, self._me, self._alive, max_events, max_bytes)
        try:
            return await client.eval(scripts.CLAIM, 1, *arguments)
        except ResponseError as exc:
            if not _lacks_group(exc):
                raise
        await self._make_group(client)
        return await client.eval(scripts.CLAIM, 1, *arguments)

    async def settle(
        self,
        *,
        done: Sequence[ClaimedGroup] = (),
        rejected: Sequence[DeadLetter] = (),
        left: Sequence[ClaimedGroup] = (),
    ) -> None:
        """Book what became of claimed groups; see `Outbox.settle`."""
        arguments = self._settlement(
            [group for group in done if key_of(group) in self._claimed],
            [group for group in left if key_of(group) in self._claimed],
        )
        arguments.append(len(rejected))
        for letter in rejected:
            arguments += [letter.rejected_ms, letter.status, letter.message, letter.event]
        async with self._translated() as client:
            keys = (self._stream, self._sizes, self._rejected)
            await client.eval(scripts.SETTLE, 3, *keys, self._group, self._me, *arguments)
        for group in (*done, *left):
            self._claimed.pop(key_of(group), None)

    def _settlement(self, done: Sequence[ClaimedGroup], left: Sequence[ClaimedGroup]) -> list[Any]:
        """List what the script settles: each part with its length before it."""
        whole = [group for group in left if group.count == self._claimed[key_of(group)][1]]
        parts = [group for group in left if group.count != self._claimed[key_of(group)][1]]
        arguments: list[Any] = [len(done)]
        for group in done:
            arguments += [key_of(group), *self._claimed[key_of(group)]]
        arguments += [len(whole), *(key_of(group) for group in whole), len(parts)]
        for group in parts:
            arguments += [key_of(group), *self._claimed[key_of(group)], *fields_of(group)]
        return arguments

    async def sizes(self) -> OutboxSizes:
        """Count what is there; see `Outbox.sizes`."""
        async with self._translated() as client, client.pipeline(transaction=False) as pipeline:
            pipeline.hmget(self._sizes, "events", "bytes")
            pipeline.xlen(self._stream)
            pipeline.xlen(self._rejected)
            pipeline.xrange(self._stream, count=1)
            (events, size), groups, rejected, first = await pipeline.execute()
        oldest = int(first[0][1][b"t"]) if first else None
        return OutboxSizes(
            events=int(events or 0), groups=groups, bytes=int(size or 0), rejected=rejected, oldest_ms=oldest
        )

    async def groups(self, after: object = None, limit: int = 100) -> Sequence[ClaimedGroup]:
        """Read groups; see `InspectableOutbox.groups`."""
        async with self._translated() as client:
            rows: Any = await client.xrange(self._stream, min=behind(after), count=limit)
        return [group_of((key, row[b"n"], row[b"t"], row[b"o"], row[b"b"])) for key, row in rows]

    async def dead_letters(self, after: object = None, limit: int = 100) -> Sequence[DeadLetter]:
        """Read dead letters; see `InspectableOutbox.dead_letters`."""
        async with self._translated() as client:
            rows: Any = await client.xrange(self._rejected, min=behind(after), count=limit)
        return [
            DeadLetter(
                event=row[b"e"], status=int(row[b"s"]), message=row[b"m"].decode(), rejected_ms=int(row[b"t"]), key=key
            )
            for key, row in rows
        ]

    async def retry_dead_letters(self) -> int:
        """Send dead letters again; see `InspectableOutbox.retry_dead_letters`. Broken off, some may be there twice."""
        count = 0
        while letters := await self.dead_letters(limit=1000):
            await self.store(list(groups_of(letters)))
            async with self._translated() as client:
                await client.xdel(self._rejected, *(key_of(letter) for letter in letters))
            count += len(letters)
        return count

    async def purge(self, *, events: bool, dead_letters: bool) -> int:
        """Delete what is asked for; see `InspectableOutbox.purge`."""
        purged = 0
        if events:
            while groups := await self.claim(100_000, 16 * 1024 * 1024):
                purged += sum(group.count for group in groups)
                await self.settle(done=groups)
        if dead_letters:
            async with self._translated() as client, client.pipeline(transaction=False) as pipeline:
                pipeline.xlen(self._rejected)
                pipeline.delete(self._rejected)
                purged += (await pipeline.execute())[0]
        return purged

    async def aclose(self) -> None:
        """Give back what was claimed, and disconnect; see `Outbox.aclose`."""
        beating, self._beating = self._beating, None
        connections, self._connections = self._connections, None
        if connections is None or not connections.are_here:
            return
        if beating is not None:
            beating.cancel()
            await asyncio.wait({beating})
        client = connections.client
        with contextlib.suppress(RedisError, OSError, TimeoutError):  # what cannot be given back is taken, in time
            if self._claimed:
                await client.eval(scripts.RELEASE, 1, self._stream, self._group, self._me)
            await client.delete(self._alive + self._me)
        self._claimed.clear()
        await connections.aclose()

    # --- storing ---------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        """Do what waits, and what comes to wait in the meantime: one script at a time, in order."""
        while self._calls:
            calls = [self._calls.popleft() for _ in range(len(self._calls))]
            exchange = merged(calls)
            self._number += 1
            try:
                try:
                    claimed = await self._exchange(exchange)
                except asyncio.CancelledError:  # the loop ends: those who wait cannot do without the outcome
                    claimed = await self._exchange(exchange)
            except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001 - it belongs to those who wait
                for call in calls:
                    call.outcome.resolve(None, exc)
            else:
                for call, share in shared_out(calls, claimed):
                    call.outcome.resolve(share)

    async def _exchange(self, exchange: Exchange) -> list[ClaimedGroup]:
        """Do one step under the present number, which has Redis pass over what it has done already."""
        done = [group for group in exchange.done if key_of(group) in self._claimed]
        claims = exchange.max_events > 0  # if not, somebody may be claiming beside it, and lose an answer of his own
        async with self._translated(), self._claiming if claims else contextlib.nullcontext():
            lost_before = self._lost_an_answer
            self._lost_an_answer = lost_before or claims
            terms = terms_of(
                exchange,
                done=((key_of(group), *self._claimed[key_of(group)]) for group in done),
                group=self._group,
                me=self._me,
                alive=self._alive,
                alive_ms=_ALIVE_MS,
                number=self._number,
                bound=str(self._max_bytes),
            )
            bodies = (group.body for group in exchange.groups)
            answer = await self._connected().direct.call(
                b"EVAL", scripts.EXCHANGE, b"%d" % len(self._keys), *self._keys, terms, *bodies
            )
            if claims and answer != _DONE_BEFORE:
                self._lost_an_answer = lost_before
            if answer == _NO_ROOM:
                raise OutboxFullError(self._max_bytes)
            for group in done:
                self._claimed.pop(key_of(group), None)
            rows = [] if answer == _DONE_BEFORE else answer
            claimed = [own_group_of(row, exchange.groups) if len(row) == _OWN else group_of(row) for row in rows]
            self._note(claimed)
        return claimed

    # --- connection ------------------------------------------------------------------------------------------------

    def _connected(self) -> Connections:
        """Find the connections of the running loop; those of another are of no use in this one."""
        if self._connections is None or not self._connections.are_here:
            self._connections = Connections(self._url, timeout=_TIMEOUT, retries=_RETRIES)
            self._beating, self._writing = None, None
            self._claiming = asyncio.Lock()
            self._calls.clear()  # whoever made them has ended with his loop
        return self._connections

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[Redis]:
        """Give the client, and turn what goes wrong with it into our own error; nothing in it holds the address."""
        cancels_before = cancels()
        try:
            yield self._connected().client
        except (RedisError, OSError, TimeoutError) as exc:
            if cancels() > cancels_before:
                raise asyncio.CancelledError from exc  # redis-py may take one for a lost connection
            if _lacks_group(exc):
                with contextlib.suppress(RedisError, OSError, TimeoutError):
                    await self._make_group(self._connected().client)
            raise OutboxError(f"the outbox in Redis fails: {words(exc)}") from exc
        if cancels() > cancels_before:  # it was swallowed, and the command tried again: the next wait has to notice
            cancel_again()

    async def _make_group(self, client: Redis) -> None:
        try:
            await client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except ResponseError as exc:
            if "BUSYGROUP" not in str(exc):
                raise

    # --- signs of life ---------------------------------------------------------------------------------------------

    async def _beat(self, client: Redis) -> None:
        await client.eval(scripts.BEAT, 1, self._alive + self._me, _ALIVE_MS)

    def _keep_beating(self) -> None:
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._beat_on(), name="algolia_events.redis_outbox.alive")

    async def _beat_on(self) -> None:
        """Show that this process lives, for as long as it holds something."""
        while self._claimed:
            await asyncio.sleep(_BEAT_SECONDS)
            with contextlib.suppress(OutboxError):  # the next claim or settlement says so
                async with self._translated() as client:
                    await self._beat(client)


_leaked: Final[list[object]] = []
"""Clients that a fork left behind; see `RedisOutbox.after_fork`."""


def _lacks_group(exc: Exception) -> bool:
    """Say whether the stream is missing: nobody has opened it yet, or everything was deleted."""
    return isinstance(exc, ResponseError) and "NOGROUP" in str(exc)
