"""A real Redis server on a free port."""

import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class RedisServer:
    """Runs `redis-server` with a password, as long as the context is open; can be stopped, killed and started again."""

    def __init__(self, binary: str, directory: Path, *options: str) -> None:
        self._binary = binary
        self._directory = directory
        self._options = options
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:secret@127.0.0.1:{self.port}/0"

    def new_stream(self, test: Path) -> str:
        """Name a stream that no other test uses."""
        return f"events:{test.name}"

    def start(self) -> None:
        """Start it, and wait until it answers; what it had written to its append-only file is there again."""
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", "secret", "--save", ""]
        arguments += ["--appendonly", "yes", "--appendfsync", "always", "--dir", str(self._directory), *self._options]
        self._process = subprocess.Popen([self._binary, *arguments], stdout=subprocess.DEVNULL)
        give_up = time.monotonic() + 10
        while not self._answers():
            if self._process.poll() is not None:
                raise RuntimeError("redis-server ended at once: it does not know an option, or the port is taken")
            if time.monotonic() > give_up:
                raise TimeoutError("redis-server did not start")
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"AUTH secret\r\nPING\r\n")
                return b"PONG" in connection.recv(1024)
        except OSError:
            return False

    def stop(self) -> None:
        """End it as `kill -9` does."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
