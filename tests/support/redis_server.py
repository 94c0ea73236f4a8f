"""A real Redis server on a free port, with TLS where that is wanted."""

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs
import pytest
import trustme
from blockbuster import BlockBusterFunction

from support.binaries import require_binary


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


@attrs.frozen
class SecureRedis:
    """A server with TLS, a password, and a user of the name "shop"."""

    port: int
    authority: Path

    def url(self, *, login: str = ":secret", authority: Path | None = None) -> str:
        query = "" if authority is None else f"?ssl_ca_certs={authority}"
        return f"rediss://{login}@127.0.0.1:{self.port}/0{query}"


def _knows_tls(program: str) -> bool:
    """Say whether a server was built with TLS: one without does not know the option, whatever its value."""
    words = subprocess.run([program, "--tls-port", "none"], capture_output=True, text=True, timeout=30, check=False)
    return "Bad directive" not in words.stdout + words.stderr


@contextmanager
def secure_redis(directory: Path, *, name: str) -> Iterator[SecureRedis]:
    """Run a server whose certificate is for this name."""
    authority = trustme.CA()
    certificate = authority.issue_cert(name)
    files = {part: directory / f"{part}.pem" for part in ("authority", "certificate", "key")}
    authority.cert_pem.write_to_path(files["authority"])
    certificate.cert_chain_pems[0].write_to_path(files["certificate"])
    certificate.private_key_pem.write_to_path(files["key"])
    port = free_port()
    options = ["--tls-port", str(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", str(files["authority"])]
    options += ["--tls-cert-file", str(files["certificate"]), "--tls-key-file", str(files["key"])]
    options += ["--user", "shop", "on", ">of-the-shop", "~*", "+@all"]
    program = require_binary("redis-server")
    if "REDIS_SERVER" in os.environ and not _knows_tls(program):
        pytest.skip(f"{program} was built without TLS")
    with RedisServer(program, directory, *options):
        yield SecureRedis(port, files["authority"])


@contextmanager
def certificates_only_in_threads() -> Iterator[None]:
    """To read the system's certificates takes tens of milliseconds, of which blockbuster does not know by itself."""
    watched = BlockBusterFunction(ssl.SSLContext, "load_default_certs", scanned_modules=["algolia_events"])
    watched.activate()
    try:
        yield
    finally:
        watched.deactivate()
