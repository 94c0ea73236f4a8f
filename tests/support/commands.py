"""The command in processes of its own, forked from one that has imported it: each is real, and starts at once."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self

from algolia_events.cli import main

_FORKING = get_context("forkserver")
_FORKING.set_forkserver_preload([f"algolia_events.cli._{name}" for name in ("app", "send", "validate", "demo")])


_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class CommandProcess:
    """A running command, with the parts of `asyncio.subprocess.Process` that tests use.

    Its standard streams are sockets, or whatever file descriptors it was given instead.
    """

    def __init__(self, process: BaseProcess, streams: Mapping[str, _Stream]) -> None:
        self._process = process
        self._streams = streams
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(process.sentinel, self._notice_the_end)

    @classmethod
    async def start(
        cls, arguments: Sequence[str], *, folder: Path, environ: Mapping[str, str], ends: Mapping[str, int]
    ) -> Self:
        """Start it; `ends` are file descriptors for it to have as `stdin`, `stdout` or `stderr`."""
        streams: dict[str, _Stream] = {}
        theirs: list[Connection] = []
        for name in ("stdin", "stdout", "stderr"):
            if name in ends:
                theirs.append(Connection(os.dup(ends[name])))
            else:
                mine, yours = socket.socketpair()
                streams[name] = await asyncio.open_connection(sock=mine)
                theirs.append(Connection(yours.detach()))
        process = _FORKING.Process(target=_become, args=(list(arguments), folder, dict(environ), theirs))
        process.start()
        for end in theirs:
            end.close()
        return cls(process, streams)

    @property
    def stdin(self) -> asyncio.StreamWriter:
        """What it reads."""
        return self._streams["stdin"][1]

    @property
    def stdout(self) -> asyncio.StreamReader:
        """What it writes."""
        return self._streams["stdout"][0]

    @property
    def returncode(self) -> int | None:
        """What it ended with; minus the signal that killed it, and None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal; too late is no error."""
        with suppress(ProcessLookupError):
            os.kill(self._process.pid or 0, number)

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()

    async def wait(self) -> int | None:
        """Wait for its end."""
        await self._ended.wait()
        return self.returncode

    async def communicate(self, stdin: bytes | None = None) -> tuple[bytes, bytes]:
        """Give it the rest of its input, and wait for the rest of its output and its end."""
        if "stdin" in self._streams:
            with suppress(ConnectionError):  # it does not read what it is given, which is its right
                self.stdin.write(stdin or b"")
                self.stdin.write_eof()
                await self.stdin.drain()
        outputs = [self._streams[name][0] if name in self._streams else None for name in ("stdout", "stderr")]
        out, err = [await output.read() if output else b"" for output in outputs]
        await self.wait()
        return out, err

    async def aclose(self) -> None:
        """See to it that nothing of it is left."""
        self.kill()
        await self.wait()
        for _, writer in self._streams.values():
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def _notice_the_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._ended.set()


def _become(arguments: list[str], folder: Path, environ: dict[str, str], ends: list[Connection]) -> None:
    """Turn the forked process into the command, as if it had been started."""
    for place, end in enumerate(ends):
        os.dup2(end.fileno(), place)
        end.close()
    streams: list[Any] = [open(place, "r" if place == 0 else "w", closefd=False) for place in range(3)]  # noqa: SIM115
    sys.stdin, sys.stdout, sys.stderr = streams
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    main(arguments)
