"""The only aiohttp client of the library: one request out, one answer or one translated error back."""

import asyncio
import functools
import os
import ssl
from contextlib import suppress
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from algolia_events._cancelling import cancel_requests
from algolia_events._fork import watch_forks
from algolia_events._wire import Request, Response, Timeouts
from algolia_events.errors import CertificateError, ClientClosedError, TransportError, WrongLoopError

_SLICE_BYTES: Final = 256 * 1024
"""How much of a body is handed to the socket in one turn of the loop."""
_FIRST_SLICE_BYTES: Final = 4 * 1024
"""Less in the first: aiohttp joins it with the headers, and a large copy each request makes the heap grow and shrink,
which costs more than the copy."""
_KEPT_BYTES: Final = 4 * 1024 * 1024
"""How much memory may stay with the process between two requests, about what four of 1000 events take twice over."""
_STALE_TRIES: Final = 3
"""A pool may hold a few connections that the server has closed; each try uses one up, and none costs the server."""
_KEEPALIVE_SECONDS: Final = 30.0
_MAX_WORDS: Final = 200


class _TracedBody(aiohttp.BytesPayload):
    """A body that knows whether a connection was there to take it, and whether any of it has left."""

    def __init__(self, value: bytes) -> None:
        # A view passes by aiohttp's warning about large bytes: the slices below are what the warning asks for.
        aiohttp.Payload.__init__(self, value, content_type="application/json")
        self._size = len(value)
        self.reached = False
        self.left = False

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self.reached = True
        transport = getattr(writer, "transport", None)
        if transport is None or transport.is_closing():
            raise aiohttp.ClientConnectionResetError("the connection was closed before the request")
        self.left = True
        view = memoryview(self._value)[:content_length]
        await writer.write(view[:_FIRST_SLICE_BYTES])
        for start in range(_FIRST_SLICE_BYTES, len(view), _SLICE_BYTES):
            await writer.write(view[start : start + _SLICE_BYTES])


class _Pool(aiohttp.TCPConnector):
    """Connections that are left alone in a forked child: they are the parent's.

    To close one there would take it out of the epoll set that both processes share, and the parent would never hear
    of its answer.
    """

    def __init__(self) -> None:
        # The caller bounds what is under way; a second bound here could only make it wait unseen.
        super().__init__(limit=0, keepalive_timeout=_KEEPALIVE_SECONDS)
        self._process = os.getpid()

    def __del__(self, *modules: Any) -> None:
        if getattr(self, "_process", None) == os.getpid():
            super().__del__(*modules)


class AiohttpTransport:
    """A `Transport` over an `aiohttp.ClientSession`: its own, opened at the first request, or a borrowed one.

    A borrowed session is never closed, nor changed.
    """

    def __init__(
        self, session: aiohttp.ClientSession | None = None, *, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self._borrowed = session
        self._owned: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop of the session that is our own, or the one to stay in."""
        self._ssl: ssl.SSLContext | bool = True if ssl_context is None else ssl_context
        self._closed = False
        _keep_memory()
        watch_forks(self)

    async def send(self, request: Request) -> Response:
        """Send a request and return the answer, of whatever status; see `Transport.send`.

        After `aclose()` it raises `ClientClosedError`: a session opened then would never be closed. While the loop runs
        that its own session belongs to, or that it was told to stay in, it raises `WrongLoopError` in any other.

        A pooled connection that turns out closed before any byte left is replaced at once: that is no failure of the
        server's, and nobody has to wait for it.
        """
        if self._closed:
            raise ClientClosedError("the client is closed")
        for _ in range(_STALE_TRIES):
            body = _TracedBody(request.body)
            try:
                return await self._attempt(request, body)
            except (aiohttp.ClientError, OSError, asyncio.CancelledError) as exc:
                if isinstance(exc, asyncio.CancelledError) and cancel_requests():
                    raise
                error = _translate(exc, request, ambiguous=body.left)
                if body.left or not body.reached:
                    raise error from exc
        raise error

    def stay_here(self) -> None:
        """Send in the running loop, and in no other as long as it runs, although nothing has been sent yet."""
        if self._owned is None:
            self._loop = asyncio.get_running_loop()

    async def aclose(self) -> None:
        """Close the session, if it is our own; nothing is sent after that."""
        self._closed = True
        session, self._owned, loop, self._loop = self._owned, None, self._loop, None
        if session is not None and loop is not None and not loop.is_closed():
            await session.close()

    def after_fork(self) -> None:
        """Let go of connections that are the parent's."""
        self.forget()

    def forget(self) -> None:
        """Let go of the session without touching its sockets: they are the parent's, or their loop is gone."""
        session, self._owned, self._loop = self._owned, None, None
        if session is not None:
            session.detach()

    async def _attempt(self, request: Request, body: _TracedBody) -> Response:
        async with self._session().request(
            request.method,
            URL(request.url, encoded=True),
            headers=request.headers,
            data=body if request.body else None,
            timeout=_client_timeout(request.timeouts),
            allow_redirects=False,
            raise_for_status=False,
            ssl=self._ssl,
        ) as answer:
            content, complete = await _read(answer, request.max_answer_bytes)
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Response(status=answer.status, headers=headers, body=content, complete=complete)

    def _session(self) -> aiohttp.ClientSession:
        if self._loop not in (None, asyncio.get_running_loop()):
            if self._loop.is_running():
                raise WrongLoopError
            self.forget()  # its connections ended with the loop
        session = self._borrowed or self._owned
        if session is None:
            self._loop = asyncio.get_running_loop()
            session = self._owned = aiohttp.ClientSession(connector=_Pool(), cookie_jar=aiohttp.DummyCookieJar())
        if session.closed:
            raise aiohttp.ClientError("the aiohttp session is closed")
        return session


@functools.cache  # a second block of this size would come from the heap, and stay there
def _keep_memory() -> None:
    """Have the allocator keep what a request has freed for the next one.

    glibc gives memory at the end of its heap back as soon as there is more than twice the largest block that it ever
    mapped and freed (`M_TRIM_THRESHOLD` in mallopt(3)): some bodies' size, so that each request would fetch its own
    anew, page by page, which takes as long as sending it. To free a larger block, never touched, raises that limit.
    Other allocators are not impressed.
    """
    bytes(_KEPT_BYTES)


def _client_timeout(timeouts: Timeouts) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=timeouts.total,
        sock_connect=timeouts.connect,
        sock_read=timeouts.read,
        ceil_threshold=float("inf"),  # otherwise limits above 5 s are rounded up to whole seconds
    )


async def _read(answer: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """Read at most `limit` bytes; of an error, whatever comes: its status is what counts."""
    content = bytearray()
    try:
        while len(content) <= limit:
            piece = await answer.content.read(limit + 1 - len(content))
            if not piece:
                break
            content += piece
    except (aiohttp.ClientError, OSError):
        if answer.status < 400:  # noqa: PLR2004 - success that breaks off is no success; RFC 9110, 15.5
            raise
    complete = len(content) <= limit
    if not complete:
        answer.close()  # what else comes is not worth a connection
    return bytes(content[:limit]), complete


def _translate(exc: BaseException, request: Request, *, ambiguous: bool) -> TransportError:
    """Say in our own terms what went wrong; names the host, never the headers."""
    host = URL(request.url, encoded=True).host
    cause: Any = exc
    with suppress(AttributeError):
        cause = exc.certificate_error  # type: ignore[attr-defined]
    if isinstance(exc, aiohttp.ClientConnectorCertificateError | aiohttp.ServerFingerprintMismatch):
        return CertificateError(f"{host}: the certificate does not verify: {cause}", ambiguous=False)
    if isinstance(exc, TimeoutError):
        what = "no connection" if isinstance(exc, aiohttp.ConnectionTimeoutError) else "no complete answer"
        return TransportError(f"{host}: {what} in time", ambiguous=ambiguous)
    if isinstance(exc, aiohttp.ClientConnectorDNSError):
        return TransportError(f"{host}: the name does not resolve", ambiguous=False)
    if isinstance(exc, aiohttp.ClientConnectorError):
        return TransportError(f"{host}: no connection: {exc.os_error}", ambiguous=False)
    if isinstance(exc, asyncio.CancelledError):  # not ours: whoever lent the session closes it, for instance
        return TransportError(f"{host}: the request was broken off", ambiguous=ambiguous)
    words = str(exc)[:_MAX_WORDS]  # aiohttp quotes what it cannot read, whatever its length
    return TransportError(f"{host}: {type(exc).__name__}: {words}", ambiguous=ambiguous)
