"""Uses an outbox on a disk that becomes full, then read-only; writes down what was seen. Needs a namespace of mounts.

A log that was left by a killed process is part of each: with its index, and without.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from algolia_events.errors import OutboxError
from algolia_events.outbox import DeadLetter, EventGroup, SQLiteOutbox

DISK = Path(sys.argv[1])
CLOSED, LOGGED, LOG_ONLY, HELD = (DISK / name / "events.db" for name in ("closed", "logged", "log-only", "held"))


def mount(*options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(DISK)], check=True)


def fill() -> None:
    with (DISK / "filling").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def group(number: int) -> EventGroup:
    return EventGroup(body=b'{"n":%d}' % number + b" " * 10_000, count=1, oldest_ms=0, origin="here")


async def prepare() -> None:
    for path in (CLOSED, LOGGED, LOG_ONLY, HELD):
        path.parent.mkdir()
    outbox = SQLiteOutbox(CLOSED)
    await outbox.store([group(number) for number in range(30)])
    claimed = await outbox.claim(1, 1)
    await outbox.settle(done=claimed, rejected=[DeadLetter(event=b"{}", status=422, message="no", rejected_ms=0)])
    await outbox.aclose()
    shutil.copy(CLOSED, LOGGED)
    shutil.copy(CLOSED, HELD)


async def leave_a_log() -> None:
    """Store as a process that is killed then."""
    outbox = SQLiteOutbox(LOGGED)  # kept: it would close the file
    await outbox.store([group(100)])
    for path in (LOGGED, Path(f"{LOGGED}-wal")):
        shutil.copy(path, LOG_ONLY.parent)
    os._exit(0)


async def seen(path: Path) -> list[object]:
    outbox = SQLiteOutbox(path)
    try:
        sizes = await outbox.sizes()
        groups, letters = await outbox.groups(), await outbox.dead_letters()
        await outbox.aclose()
    except OutboxError as exc:
        return [str(exc)]
    return [sizes.events, len(groups), len(letters), outbox.notice is not None]


async def purged(path: Path) -> list[object]:
    outbox = SQLiteOutbox(path)
    free = os.statvfs(DISK).f_bavail
    try:
        count = await outbox.purge(events=True, dead_letters=False)
    except OutboxError as exc:
        return [str(exc)]
    has_room = os.statvfs(DISK).f_bavail > free  # after which something can be stored again
    await outbox.store([group(0)])
    sizes = await outbox.sizes()
    await outbox.aclose()
    return [count, has_room, sizes.events, sizes.rejected]


async def main() -> None:
    holder = SQLiteOutbox(HELD)
    await holder.open()
    fill()
    found: dict[str, list[Any]] = {"full": [await seen(path) for path in (CLOSED, LOGGED, LOG_ONLY)]}
    reader = SQLiteOutbox(LOG_ONLY)
    await reader.sizes()
    held = await purged(HELD)
    await holder.aclose()
    found["purged"] = [held, await purged(HELD), await purged(CLOSED)]
    said = reader.notice
    await reader.claim(1, 1)
    found["without log"] = [said, reader.notice]
    await reader.aclose()
    mount("remount", "ro")
    found["read-only"] = [await seen(path) for path in (CLOSED, LOGGED, LOG_ONLY)]
    print(json.dumps(found))  # noqa: T201


mount("size=3m")
asyncio.run(prepare())
if (child := os.fork()) == 0:
    asyncio.run(leave_a_log())
os.waitpid(child, 0)
asyncio.run(main())
