"""A process that stores two groups in a file, claims them in the same step, says so, and does no more."""

import asyncio
import sys

from algolia_events.outbox import EventGroup, SQLiteOutbox


async def main(path: str) -> None:
    outbox = SQLiteOutbox(path)
    groups = [EventGroup(body=b'{"name":"%s"}' % name, count=1, oldest_ms=0, origin="there") for name in (b"a", b"b")]
    claimed = await outbox.exchange(groups, max_events=10, max_bytes=1000)
    sys.stdout.write(f"{len(claimed)}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
