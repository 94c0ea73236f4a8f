"""Processes that share an outbox, run, killed and waited for."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "outbox" / "programs" / "application.py"


class Application:
    """One process of `programs/application.py`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []
        self.errors = ""
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())
        self._reading.add_done_callback(lambda _: self._news.set())

    @classmethod
    async def start(cls, **todo: Any) -> "Application":
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-W",
            "always::ResourceWarning",
            str(PROGRAM),
            json.dumps(todo),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        return cls(process)

    async def _read(self) -> None:
        out, err = self._process.stdout, self._process.stderr
        assert out is not None
        assert err is not None
        errors = asyncio.create_task(err.read())
        async for line in out:
            if line.endswith(b"\n"):  # a line that a kill has cut says nothing
                self.lines.append(line.decode().strip())
                self._news.set()
        self.errors = (await errors).decode()

    async def has_written(self, lines: int) -> None:
        """Wait for so many lines."""
        async with asyncio.timeout(60):
            while len(self.lines) < lines:
                assert not self._reading.done(), self.errors
                self._news.clear()
                await self._news.wait()

    async def kill(self) -> None:
        """End it as `kill -9` does."""
        self._process.kill()
        await self.ended()

    async def terminate(self) -> int:
        self._process.terminate()
        return await self.ended()

    async def ended(self) -> int:
        """Wait for its end; return its exit code."""
        async with asyncio.timeout(90):
            await self._reading
            return await self._process.wait()
