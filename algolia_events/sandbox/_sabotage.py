"""Carrying out the faults: what is written to a connection, and how it ends."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
from aiohttp import web

from algolia_events.sandbox._answers import Answer
from algolia_events.sandbox._faults import CloseWithoutAnswer, Delay, Drip, EndlessBody, Fault, Hang, ResetInAnswer

_LINGER_NOT: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s: closing sends RST instead of FIN
_TICK_S: Final = 0.05
_ENDLESS_CHUNK: Final = b" " * 16_384

Pause = Callable[[float], Awaitable[bool]]
"""Wait so many seconds; True when the sandbox closes before that."""


def reset_socket(sock: socket.socket) -> None:
    """Reset a connection that nothing else owns."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    sock.close()


def reset(request: web.BaseRequest) -> None:
    """Reset the connection of a request; the peer sees ECONNRESET."""
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    transport.abort()


def severed() -> web.StreamResponse:
    """Give what a handler returns after it has ended the connection itself: the server finds it closed."""
    return web.Response()


@attrs.frozen
class Delivery:
    """Delivers an answer to a request, in the way that a fault has it."""

    request: web.Request
    pause: Pause

    def status_line(self, answer: Answer, fault: Fault | None) -> int | None:
        """Say which status the client will be shown, None for none."""
        match fault:
            case Hang() | CloseWithoutAnswer():
                return None
            case EndlessBody(status=status):
                return status
            case _:
                return answer.status

    async def send(self, answer: Answer, fault: Fault | None) -> web.StreamResponse:
        """Send the answer, or what the fault leaves of it."""
        match fault:
            case Delay(seconds=seconds):
                await self.pause(seconds)
            case Hang():
                return await self._hang()
            case CloseWithoutAnswer():
                return self._close()
            case ResetInAnswer():
                return await self._reset_halfway(answer)
            case Drip(bytes_per_second=rate):
                return await self._drip(answer, rate)
            case EndlessBody(status=status):
                return await self._go_on_forever(status)
            case _:
                pass
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    @property
    def _is_gone(self) -> bool:
        transport = self.request.transport
        return transport is None or transport.is_closing()

    async def _hang(self) -> web.StreamResponse:
        while not self._is_gone and not await self.pause(1):
            pass
        reset(self.request)
        return severed()

    def _close(self) -> web.StreamResponse:
        if self.request.transport is not None:
            self.request.transport.close()
        return severed()

    async def _reset_halfway(self, answer: Answer) -> web.StreamResponse:
        raw = answer.raw()
        transport = self.request.transport
        if transport is not None:
            transport.write(raw[: len(raw) - (len(answer.body) + 1) // 2])
        # one turn of the loop lets TLS write what it has encrypted
        await asyncio.sleep(0)
        reset(self.request)
        return severed()

    async def _drip(self, answer: Answer, bytes_per_second: float) -> web.StreamResponse:
        raw = answer.raw()
        step = max(1, int(bytes_per_second * _TICK_S))
        for start in range(0, len(raw), step):
            transport = self.request.transport
            if transport is None or transport.is_closing():
                break
            transport.write(raw[start : start + step])
            if await self.pause(step / bytes_per_second):
                break
        return self._close()

    async def _go_on_forever(self, status: int) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"content-type": "application/json"})
        try:
            await response.prepare(self.request)
            while not await self.pause(0):
                await response.write(_ENDLESS_CHUNK)
        except ConnectionError:
            return response
        reset(self.request)
        return response
