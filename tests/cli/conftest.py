"""The command as a process of its own, a sandbox for it to talk to, and files to feed it."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from support.commands import CommandProcess

from algolia_events.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
SECRET = "secret-key-that-nobody-may-see"
Process = CommandProcess | asyncio.subprocess.Process


@attrs.frozen
class Finished:
    """What a run of the command left."""

    code: int
    out: str
    err: str

    @property
    def figures(self) -> dict[str, float]:
        """The final line, by name."""
        pairs = (part.rsplit(" ", 1) for part in self.out.splitlines()[-1].split(", "))
        return {name: float(value) for name, value in pairs}


class Command:
    """Runs `algolia-events` against a sandbox."""

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        self.started: list[CommandProcess] = []
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ALGOLIA_")},
            "ALGOLIA_APP_ID": "APP",
            "ALGOLIA_API_KEY": SECRET,
            "ALGOLIA_INSIGHTS_URL": url,
            "PYTHONPATH": str(ROOT),
        }

    async def start(self, *arguments: str, **ends: int) -> CommandProcess:
        """Start it in the folder of the test."""
        process = await CommandProcess.start(arguments, folder=self.folder, environ=self.environ, ends=ends)
        self.started.append(process)
        return process

    async def __call__(self, *arguments: str, stdin: bytes = b"", **ends: int) -> Finished:
        """Run it to its end; it must never show the key."""
        return await self.wait(await self.start(*arguments, **ends), stdin)

    async def python(self, *arguments: str) -> Finished:
        """Run Python itself with these arguments."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, cwd=self.folder, env=self.environ, stdin=pipe, stdout=pipe, stderr=pipe
        )
        return await self.wait(process, b"")

    async def wait(self, process: Process, stdin: bytes | None = None) -> Finished:
        """Wait for its end; it must never have shown the key."""
        out, err = await asyncio.wait_for(process.communicate(stdin), 60)
        assert SECRET.encode() not in out + err
        assert process.returncode is not None
        return Finished(process.returncode, out.decode(), err.decode())


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(app_id="APP", api_key=SECRET, delete_api_key="admin-" + SECRET) as sandbox:
        yield sandbox


@pytest.fixture
async def command(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[Command]:
    command = Command(sandbox.url, tmp_path)
    yield command
    for process in command.started:
        await process.aclose()


@pytest.fixture
def click() -> Callable[..., dict[str, Any]]:
    """Build a click as a file has it; a field given as None is left out."""

    def build(number: int = 0, **fields: Any) -> dict[str, Any]:
        event = {
            "eventName": "Product Clicked",
            "eventType": "click",
            "index": "products",
            "userToken": f"user-{number}",
            "objectIDs": [f"sku-{number}"],
            "timestamp": int(time.time() * 1000) - number,
            **fields,
        }
        return {name: value for name, value in event.items() if value is not None}

    return build


@pytest.fixture
def ndjson() -> Callable[[Iterable[Mapping[str, Any] | str]], bytes]:
    """Write events, or lines that are none, one a line."""
    return lambda lines: b"".join(
        (line if isinstance(line, str) else json.dumps(line)).encode() + b"\n" for line in lines
    )
