"""A server in a process of its own that reads requests, answers 200 and judges nothing."""

import asyncio
import json
import subprocess
import sys
import urllib.request
from types import TracebackType
from typing import Final, Self

from benchmarks._cores import stay_on

_ANSWER: Final = b'{"status":200,"message":"OK"}'
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"


class _Connection(asyncio.Protocol):
    """One connection; reads bodies without keeping them, so that the server costs as little as it can."""

    received = 0
    """Bytes of bodies, over all connections."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._head = b""
        self._missing = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        while data:
            if not self._missing:
                head, end, data = (self._head + data).partition(_HEAD_END)
                if not end:
                    self._head = head
                    return
                self._head = b""
                self._missing = _content_length(head)
                if not self._missing:
                    self._write(b'{"bytes":%d}' % _Connection.received)
                    continue
            taken = min(len(data), self._missing)
            _Connection.received += taken
            self._missing -= taken
            data = data[taken:]
            if not self._missing:
                asyncio.get_running_loop().call_later(self._delay, self._write, _ANSWER)

    def _write(self, body: bytes) -> None:
        if self._transport is not None:
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
            )


def _content_length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next((int(line.removeprefix(_LENGTH)) for line in lines if line.startswith(_LENGTH)), 0)


async def _serve(delay: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(delay), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Sink:
    """The server, for as long as the context lasts; each answer comes `delay` seconds after its request."""

    def __init__(self, delay: float = 0) -> None:
        command = [sys.executable, "-m", "benchmarks._sink", str(delay)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if self._process.stdout is None:
            raise RuntimeError("the server has no output")
        self.url = f"http://127.0.0.1:{self._process.stdout.readline().strip()}"

    def received(self) -> int:
        """Ask how many bytes of bodies have come in so far."""
        with urllib.request.urlopen(self.url) as answer:  # noqa: S310 - its own address
            count: int = json.load(answer)["bytes"]
            return count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate()


if __name__ == "__main__":
    stay_on(-1)
    asyncio.run(_serve(float(sys.argv[1])))
