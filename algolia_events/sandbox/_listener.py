"""The listening socket: accepts connections, or refuses or resets them when a test wants that.

An accept loop of its own rather than ``loop.create_server``: a connection can be reset before TLS begins, and the port
can be left and taken again.
"""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Callable
from typing import Final

import attrs

from algolia_events.sandbox._sabotage import reset_socket

_BACKLOG: Final = 512
_RETRY_ACCEPT_S: Final = 0.05

Factory = Callable[[], asyncio.BaseProtocol]


def check_host(host: str, *, allow_remote: bool) -> None:
    """Refuse to listen where others than this machine can connect.

    Raises:
        ValueError: the host is not a loopback address and ``allow_remote`` was not given.
    """
    if not allow_remote and not _is_loopback(host):
        raise ValueError(f"host {host!r} is not a loopback address; pass allow_remote=True if others may connect")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@attrs.define(kw_only=True, eq=False)
class Listener:
    """Owns the listening socket and the tasks that take connections from it."""

    host: str
    port: int
    factory: Factory
    ssl_context: ssl.SSLContext | None
    should_reset: Callable[[], bool]
    _socket: socket.socket | None = attrs.field(default=None, init=False)
    _accepting: asyncio.Task[None] | None = attrs.field(default=None, init=False)
    _greeting: set[asyncio.Task[None]] = attrs.field(factory=set, init=False)

    async def open(self) -> None:
        """Listen; port 0 takes a free one and keeps it from then on."""
        if self._socket is not None:
            return
        loop = asyncio.get_running_loop()
        family, kind, protocol, _, address = (
            await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setblocking(False)  # noqa: FBT003 - the socket module has no keyword for it
            listening.bind(address)
            listening.listen(_BACKLOG)
        except OSError:
            listening.close()
            raise
        self.port = listening.getsockname()[1]
        self._socket = listening
        self._accepting = asyncio.create_task(self._accept(listening), name="sandbox accepts")

    async def close(self) -> None:
        """Stop listening: from now on connections are refused. Those that are open stay open."""
        listening, self._socket = self._socket, None
        accepting, self._accepting = self._accepting, None
        tasks = [*self._greeting, *([accepting] if accepting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if listening is not None:
            listening.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:
                # such as a connection that is gone again, or no file descriptor left: neither lasts
                await asyncio.sleep(_RETRY_ACCEPT_S)
                continue
            if self.should_reset():
                reset_socket(connection)
                continue
            greeting = asyncio.create_task(self._greet(connection), name="sandbox greets")
            self._greeting.add(greeting)
            greeting.add_done_callback(self._greeting.discard)

    async def _greet(self, connection: socket.socket) -> None:
        """Hand a connection to the HTTP server, after the TLS handshake if there is to be one."""
        loop = asyncio.get_running_loop()
        try:
            connection.setblocking(False)  # noqa: FBT003 - as above
            # a client that breaks the handshake off, or trusts nobody: its own affair
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(self.factory, connection, ssl=self.ssl_context)
        except BaseException:
            connection.close()
            raise
