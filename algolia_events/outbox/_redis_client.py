"""Connections to Redis: how they are made, and what is said when one breaks."""

import asyncio
import contextlib
import os
import socket
import ssl
from typing import Any, Final

import redis
from redis.asyncio import Redis
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

_TIMEOUT: Final = 2.0
"""In seconds, for each answer: a Redis that hangs must not hold up what memory can take over."""


def make_client(url: str) -> Redis:
    """Make a client; it connects when it is used first.

    Raises:
        ValueError, TypeError: the address is none; the words may hold it.
    """
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
    client = Redis.from_url(url, **options)
    pool = client.connection_pool
    if issubclass(pool.connection_class, SSLConnection):
        pool.connection_class = _TLSConnection
    return client


class _TLSConnection(SSLConnection):
    """Reads certificates in a thread: to read the system's takes tens of milliseconds, for each connection."""

    async def connect(self) -> None:
        try:
            await asyncio.to_thread(self.ssl_context.get)  # which keeps what it has made
        except OSError as exc:
            raise RedisError("the certificates that the address names cannot be read") from exc
        await super().connect()  # type: ignore[no-untyped-call]


def words(exc: BaseException) -> str:
    """Say what went wrong, without the address, which redis-py and asyncio put into their words."""
    if isinstance(exc, TimeoutError | RedisTimeoutError):
        return "no answer in time"
    cause = exc.__context__ if isinstance(exc, RedisConnectionError) else exc
    return _os_words(cause) if isinstance(cause, OSError) else str(exc) or type(exc).__name__


def _os_words(exc: OSError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        # Where the name is wrong, the sentence goes on with it.
        return f"the certificate does not verify: {exc.verify_message.partition(',')[0]}"
    if isinstance(exc, ssl.SSLError):
        return f"TLS fails: {exc.reason}"
    if isinstance(exc, socket.gaierror):
        return "the name does not resolve"
    # Without a number there were several addresses, and a reason for each.
    return "no connection" if exc.errno is None else os.strerror(exc.errno)
