"""Connections to Redis: how they are made, and what is said when one breaks."""

import asyncio
import contextlib
import os
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Final

import redis
from redis.asyncio import Redis
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, SlaveNotFoundError
from redis.backoff import NoBackoff
from redis.exceptions import AskError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

_SCRIPT_NOTE: Final = re.compile(
    r"^(ERR )?Error running script \(call to \w+\): (@user_script: ?\d+: )+-?| script: \w+, on @user_script:\d+\.$"
)
"""Where in a script of ours a command was refused: Redis 6 says so in front of the reason, later ones behind it."""


def make_client(url: str, *, timeout: float, retries: int) -> Redis:
    """Make a client; it connects when it is used first.

    Args:
        url: `redis://`, `rediss://` or `unix://`, as in redis-py; what its parameters say counts for more.
        timeout: in seconds, to connect, and for each answer.
        retries: how often a command is given again, at once, when no answer came: each may be carried out that often
            and once more.

    Raises:
        ValueError: the address is none, or has parameters that redis-py does not know.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), retries),
        "retry_on_error": [RedisConnectionError, RedisTimeoutError],  # redis-py before 6 retries after no others
    }
    with contextlib.suppress(ImportError):  # before redis-py 7; later ones look on the disk, in the event loop
        from redis.driver_info import DriverInfo  # noqa: PLC0415

        options["driver_info"] = DriverInfo(lib_version=redis.__version__)
    if url.startswith("rediss:"):
        options["ssl_check_hostname"] = True  # redis-py before 6 has to be told
    try:
        client = Redis.from_url(url, **options)
        pool = client.connection_pool
        pool.connection_kwargs.update(decode_responses=False, encoding="utf-8")  # how we read and write is our affair
        if issubclass(pool.connection_class, SSLConnection):
            pool.connection_class = _TLSConnection
        pool.make_connection()  # type: ignore[no-untyped-call]  # only then does redis-py look at the parameters
    except (ValueError, TypeError, RedisError):  # their words may hold the address
        raise ValueError("it is redis://, rediss:// or unix://, with parameters that redis-py knows") from None
    return client


_LARGE_BYTES: Final = 64 * 1024
"""From here on to copy an argument costs more than a write of its own."""


class DirectConnection:
    """One connection, for one command after the other, that no pool hands out; of use in one loop only.

    What a pooled client does around a command costs more than the command itself: a task, timers and locks of its own.

    Args:
        client: whose address and options it has; its `socket_timeout` is here from giving a command to its answer.
    """

    def __init__(self, client: Redis) -> None:
        options = client.connection_pool.connection_kwargs
        self._timeout: float | None = options.get("socket_timeout")
        self._connection = client.connection_pool.connection_class(**{**options, "socket_timeout": None})
        self._one_at_a_time = asyncio.Lock()

    async def call(self, *command: bytes) -> Any:
        """Give a command, and once more, at once, when no answer came: it may be carried out twice.

        Raises:
            RedisError, OSError: no connection, or Redis refuses it.
            TimeoutError: no answer in time, whatever became of the command.
        """
        # The connection may have been closed long ago, which shows only now.
        with contextlib.suppress(RedisConnectionError, RedisTimeoutError, OSError):
            return await self.call_once(*command)
        return await self.call_once(*command)

    async def call_once(self, *command: bytes) -> Any:
        """Give a command, and not again: without an answer, it may have been carried out, or may be yet.

        Raises:
            RedisError, OSError, TimeoutError: as `call`.
        """
        connection = self._connection
        # Time that is up breaks a call off: redis-py disconnects then.
        async with asyncio.timeout(self._timeout), self._one_at_a_time:
            if not connection.is_connected:
                await connection.connect()  # type: ignore[no-untyped-call]
            try:
                await self._send(command)
            except BaseException:  # a signal handler's, for instance: what comes next must not be taken for the rest
                await connection.disconnect(nowait=True)
                raise
            return await connection.read_response()

    async def _send(self, command: tuple[bytes, ...]) -> None:
        first, *others = _packed(command)
        await self._connection.send_packed_command(first)
        for part in others:
            # Else redis-py would connect anew, and begin there with what is no command; or put a PING into this one.
            if not self._connection.is_connected:
                raise RedisConnectionError("closed in the middle of a command")
            await self._connection.send_packed_command(part, check_health=False)

    async def aclose(self) -> None:
        """Disconnect."""
        await self._connection.disconnect()


def _packed(command: tuple[bytes, ...]) -> Iterator[bytes]:
    """Write a command down as Redis's protocol (RESP) has it. redis-py takes several times as many steps.

    A large argument is a part of its own, which goes to the socket as it is: to join it with others is to copy it.
    """
    parts = [b"*%d\r\n" % len(command)]
    for argument in command:
        parts.append(b"$%d\r\n" % len(argument))
        if len(argument) >= _LARGE_BYTES:
            yield b"".join(parts)
            yield argument
            parts = [b"\r\n"]
        else:
            parts += (argument, b"\r\n")
    yield b"".join(parts)


class Connections:
    """A pooled client and direct connections, of use only in the loop that runs when they are made.

    Attributes:
        client: the pooled one.
        for_exchanges, for_claims, for_beats: the direct ones, each for one call at a time. Signs of life wait for
            nothing else.
    """

    def __init__(self, url: str, *, timeout: float, retries: int) -> None:
        self.client: Redis = make_client(url, timeout=timeout, retries=retries)
        self.for_exchanges: DirectConnection = DirectConnection(self.client)
        self.for_claims: DirectConnection = DirectConnection(self.client)
        self.for_beats: DirectConnection = DirectConnection(self.client)
        self._loop = asyncio.get_running_loop()

    @property
    def are_here(self) -> bool:
        """Whether their loop is the one that runs."""
        return self._loop is asyncio.get_running_loop()

    async def aclose(self) -> None:
        """Disconnect."""
        await self.for_exchanges.aclose()
        await self.for_claims.aclose()
        await self.for_beats.aclose()
        await self.client.aclose()


class _TLSConnection(SSLConnection):
    """Reads certificates in a thread: to read the system's takes tens of milliseconds, for each connection."""

    async def connect(self) -> None:
        try:
            await asyncio.to_thread(self.ssl_context.get)  # which keeps what it has made
        except (OSError, TypeError, ValueError) as exc:  # the latter where parameters do not go together
            raise RedisError("the certificates that the address names cannot be read") from exc
        await super().connect()  # type: ignore[no-untyped-call]


async def eviction_notice(client: Redis) -> str | None:
    """Say that Redis may delete keys that never expire; None where it does not, or where this user may not ask."""
    memory: Any = {}
    with contextlib.suppress(ResponseError):  # INFO counts as dangerous in Redis's ACL, and nothing depends on it
        memory = await client.info("memory")
    policy = str(memory.get("maxmemory_policy"))
    evicts = memory.get("maxmemory") and not policy.startswith(("noeviction", "volatile"))
    return f"Redis may evict the outbox: its maxmemory-policy is {policy}" if evicts else None


def describe(exc: BaseException) -> str:
    """Say what went wrong, without any address, which redis-py, Redis and asyncio put into their words."""
    if isinstance(exc, TimeoutError | RedisTimeoutError):
        return "no answer in time"
    if isinstance(exc, AskError) or str(exc).startswith(("MOVED ", "ASK ")):  # redis-py 5 has classes in clusters only
        return "it is a node of a cluster, and what was asked for belongs to another"
    if isinstance(exc, MasterNotFoundError | SlaveNotFoundError):
        return "no Sentinel knows a server"
    cause = exc.__context__ if isinstance(exc, RedisConnectionError) else exc
    if isinstance(cause, OSError):
        return _describe_os_error(cause)
    return _SCRIPT_NOTE.sub("", str(exc)).strip() or type(exc).__name__


def _describe_os_error(exc: OSError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        # Where the name is wrong, the sentence goes on with it.
        return f"the certificate does not verify: {exc.verify_message.partition(',')[0]}"
    if isinstance(exc, ssl.SSLError):
        return f"TLS fails: {exc.reason}"
    if isinstance(exc, socket.gaierror):
        return "the name does not resolve"
    # Without a number there were several addresses, and a reason for each.
    return "no connection" if exc.errno is None else os.strerror(exc.errno)
