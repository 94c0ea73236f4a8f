"""An outbox in Redis Streams, shared by the processes of many machines."""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import redis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from algolia_events._fork import watch_forks
from algolia_events._groups import ClaimedGroup, DeadLetter, EventGroup, OutboxSizes
from algolia_events.errors import ConfigurationError, OutboxError, OutboxFullError
from algolia_events.outbox import _redis_scripts as scripts
from algolia_events.outbox._letters import groups_of
from algolia_events.outbox._worker import cancel_again, outlast

_DEFAULT_MAX_BYTES: Final = 256 * 1024 * 1024
_TIMEOUT: Final = 2.0
"""In seconds, for each answer: a Redis that hangs must not hold up what memory can take over."""
_ALIVE_MS: Final = 5000
"""How long after its last sign of life a process is taken for dead."""
_BEAT_SECONDS: Final = 1.0
_Store = tuple[Sequence[EventGroup], "asyncio.Future[None]"]


class RedisOutbox:
    """Keeps groups as entries of a Redis stream; a consumer group hands each to one process at a time.

    Redis 6.2 or later. What a process had claimed is taken over some 5 s after its last sign of life; one that was
    suspended for longer may send what another has sent as well. An entry is deleted when it is settled and never
    trimmed before. How durable it is, is up to Redis: see `docs/delivery.md` for `appendonly` and `maxmemory-policy`.

    Args:
        url: `redis://[user:password@]host[:port][/db]`, `rediss://…` for TLS, `unix://path`; as in redis-py.
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
            _client(url)
        except (ValueError, TypeError):
            raise ConfigurationError("the address of a Redis outbox is redis://, rediss:// or unix://") from None
        self.notice: str | None = None
        self._start_afresh()
        watch_forks(self)

    def _start_afresh(self) -> None:
        self._me = secrets.token_hex(8)
        self._redis: Redis | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._beating: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._stores: deque[_Store] = deque()
        self._claimed: dict[bytes, tuple[int, int]] = {}  # bytes and events as they are in the stream
        self._number = 0
        self._claiming = asyncio.Lock()  # one at a time, so that it is known which answer was lost
        self._lost_an_answer = False

    def after_fork(self) -> None:
        """Begin anew in a forked child: connection and claims are the parent's."""
        if self._redis is not None:
            _leaked.append(self._redis)  # to close it would end the parent's connections
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
        """Keep groups; see `Outbox.store`. What is stored at the same time goes out together."""
        if not groups:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connected()
        self._stores.append((groups, future))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="algolia_events.redis_outbox")
        await outlast(future)

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
            claimed = [_group(row) for row in answer]
            self._claimed.update((_key(group), (len(group.body), group.count)) for group in claimed)
        self._keep_beating()
        return claimed

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
            [group for group in done if _key(group) in self._claimed],
            [group for group in left if _key(group) in self._claimed],
        )
        arguments.append(len(rejected))
        for letter in rejected:
            arguments += [letter.rejected_ms, letter.status, letter.message, letter.event]
        async with self._translated() as client:
            keys = (self._stream, self._sizes, self._rejected)
            await client.eval(scripts.SETTLE, 3, *keys, self._group, self._me, *arguments)
        for group in (*done, *left):
            self._claimed.pop(_key(group), None)

    def _settlement(self, done: Sequence[ClaimedGroup], left: Sequence[ClaimedGroup]) -> list[Any]:
        """List what the script settles: each part with its length before it."""
        whole = [group for group in left if group.count == self._claimed[_key(group)][1]]
        parts = [group for group in left if group.count != self._claimed[_key(group)][1]]
        arguments: list[Any] = [len(done)]
        for group in done:
            arguments += [_key(group), *self._claimed[_key(group)]]
        arguments += [len(whole), *(_key(group) for group in whole), len(parts)]
        for group in parts:
            arguments += [_key(group), *self._claimed[_key(group)], *_fields(group)]
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
            rows: Any = await client.xrange(self._stream, min=_from(after), count=limit)
        return [_group((key, row[b"n"], row[b"t"], row[b"o"], row[b"b"])) for key, row in rows]

    async def dead_letters(self, after: object = None, limit: int = 100) -> Sequence[DeadLetter]:
        """Read dead letters; see `InspectableOutbox.dead_letters`."""
        async with self._translated() as client:
            rows: Any = await client.xrange(self._rejected, min=_from(after), count=limit)
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
                await client.xdel(self._rejected, *(_key(letter) for letter in letters))
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
        client, self._redis = self._redis, None
        if beating is not None and self._is_here():
            beating.cancel()
            await asyncio.wait({beating})
        if client is None or not self._is_here():
            return
        with contextlib.suppress(RedisError, OSError, TimeoutError):  # what cannot be given back is taken, in time
            if self._claimed:
                await client.eval(scripts.RELEASE, 1, self._stream, self._group, self._me)
            await client.delete(self._alive + self._me)
        self._claimed.clear()
        await client.aclose()

    # --- storing ---------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        """Store what waits, and what comes to wait in the meantime: one script at a time, in order."""
        while self._stores:
            batch = [self._stores.popleft() for _ in range(len(self._stores))]
            self._number += 1
            try:
                try:
                    await self._store([group for groups, _ in batch for group in groups])
                except asyncio.CancelledError:  # the loop ends: those who wait cannot do without the outcome
                    await self._store([group for groups, _ in batch for group in groups])
            except (OutboxError, asyncio.CancelledError) as exc:
                for _, future in batch:
                    _answer(future, exc)
            else:
                for _, future in batch:
                    _answer(future, None)

    async def _store(self, groups: Sequence[EventGroup]) -> None:
        """Store groups under the present number, which has Redis pass over those that it has already."""
        keys = (self._stream, self._sizes, f"{self._alive}{self._me}:stored")
        size, events = sum(len(group.body) for group in groups), sum(group.count for group in groups)
        arguments = [field for group in groups for field in _fields(group)]
        async with self._translated() as client:
            head = (self._number, self._max_bytes, size, events)
            stored: Any = await client.eval(scripts.STORE, 3, *keys, *head, *arguments)
        if not stored:
            raise OutboxFullError(self._max_bytes)

    # --- connection ------------------------------------------------------------------------------------------------

    def _is_here(self) -> bool:
        return self._loop is asyncio.get_running_loop()

    def _connected(self) -> Redis:
        """Find the client of the running loop; connections of another loop are of no use in this one."""
        if self._redis is None or not self._is_here():
            self._loop = asyncio.get_running_loop()
            self._redis, self._beating, self._writing = _client(self._url), None, None
            self._claiming = asyncio.Lock()
        return self._redis

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[Redis]:
        """Give the client, and turn what goes wrong with it into our own error; nothing in it holds the address."""
        cancels = _cancels()
        try:
            yield self._connected()
        except (RedisError, OSError, TimeoutError) as exc:
            if _cancels() > cancels:
                raise asyncio.CancelledError from exc  # redis-py may take one for a lost connection
            if _lacks_group(exc):
                with contextlib.suppress(RedisError, OSError, TimeoutError):
                    await self._make_group(self._connected())
            raise OutboxError(f"the outbox in Redis fails: {_words(exc)}") from exc
        if _cancels() > cancels:  # it was swallowed, and the command tried again: the next wait has to notice
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


def _client(url: str) -> Redis:
    options: dict[str, Any] = {
        "socket_timeout": _TIMEOUT,
        "socket_connect_timeout": _TIMEOUT,
        "decode_responses": False,
        # Once more, at once: a connection from the pool may have been closed since. Each script may be run twice.
        "retry": Retry(NoBackoff(), 1),
    }
    with contextlib.suppress(ImportError):  # before redis-py 7; later ones look on the disk, in the event loop
        from redis.driver_info import DriverInfo  # noqa: PLC0415

        options["driver_info"] = DriverInfo(lib_version=redis.__version__)
    return Redis.from_url(url, **options)


def _lacks_group(exc: Exception) -> bool:
    """Say whether the stream is missing: nobody has opened it yet, or everything was deleted."""
    return isinstance(exc, ResponseError) and "NOGROUP" in str(exc)


def _cancels() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _group(row: Sequence[Any]) -> ClaimedGroup:
    key, count, oldest_ms, origin, body = row
    return ClaimedGroup(key=key, count=int(count), oldest_ms=int(oldest_ms), origin=origin.decode(), body=body)


def _fields(group: EventGroup) -> tuple[int, int, str, bytes]:
    return group.count, group.oldest_ms, group.origin, group.body


def _key(item: ClaimedGroup | DeadLetter) -> bytes:
    if not isinstance(item.key, bytes):
        raise TypeError("this comes from another outbox")
    return item.key


def _from(after: object) -> str:
    """Say where a range begins: behind a key, or at the first."""
    return f"({after.decode()}" if isinstance(after, bytes) else "-"


def _answer(future: "asyncio.Future[None]", error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    elif isinstance(error, asyncio.CancelledError):
        future.cancel()
    else:
        future.set_exception(error)


def _words(exc: BaseException) -> str:
    """Say what went wrong; a timeout of asyncio's has no words of its own."""
    return str(exc) or type(exc).__name__
