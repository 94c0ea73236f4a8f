"""Programs that a test runs in a process of their own."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]
LONG_S = 60.0
"""What nothing here takes, however busy the machine is."""


@attrs.frozen
class Ended:
    """How a program ended, and what it wrote."""

    code: int
    output: str
    errors: str
    at: float
    """By the monotonic clock, which all processes of the machine share."""


@asynccontextmanager
async def started(*arguments: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program beside the test; it does not outlive it."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def run(*arguments: str, **environment: str) -> Ended:
    """Run a program to its end."""
    async with started(*arguments, **environment) as process:
        return await ending(process)


async def ending(process: asyncio.subprocess.Process) -> Ended:
    """Wait for the end of a program."""
    async with asyncio.timeout(LONG_S):
        output, errors = await process.communicate()
    at = time.monotonic()
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(), errors.decode(), at)


def forked(work: Callable[[], int]) -> int:
    """Fork, work in the child, and return what it exits with."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)
