"""One measure in a process of its own, which prints its figures as a JSON object.

    python -m benchmarks._child NAME URL [EVENTS]

With EVENTS the name is that of a way to send, without that of a measure of the library alone.
"""

import asyncio
import gc
import inspect
import json
import sys
import time

from benchmarks._cores import stay_on
from benchmarks._library import MEASURES
from benchmarks._sample import values
from benchmarks._senders import SENDERS

_WARM_UP = 2000


async def end_to_end(name: str, url: str, count: int) -> dict[str, float]:
    """Send `count` events; CPU of the whole process (its threads included) and wall time, in µs an event."""
    sample = values(count)
    async with SENDERS[name].open(url) as send:
        await send(sample[: min(_WARM_UP, max(20, count // 50))])
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        await send(sample)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu": cpu / count * 1e6, "wall": wall / count * 1e6}


def main() -> None:
    stay_on(0)
    name, url, *counts = sys.argv[1:]
    figures = end_to_end(name, url, int(counts[0])) if counts else MEASURES[name](url)
    print(json.dumps(asyncio.run(figures) if inspect.iscoroutine(figures) else figures))


if __name__ == "__main__":
    main()
