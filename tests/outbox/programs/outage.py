"""Track events for an hour in which the server fails, then let it work again; print what that took, as JSON.

`argv[1]` is the address of the outbox, `argv[2]` how many events; the hour is one of a clock that is moved by hand.
"""

import asyncio
import gc
import json
import os
import re
import sys

from support.clock import HandClock

from algolia_events import ClickedObjectIDs
from algolia_events._durable import DurableQueue
from algolia_events._retry import Accepted, Failed, Outcome
from algolia_events.outbox import open_outbox

MINUTES = 60
WARM_MINUTES = 3
"""After these, everything has been made once that is made once."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
NUMBER = re.compile(rb'"objectIDs":\["(\d+)"\]')


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - nothing between us and the number
        return int(statm.read().split()[1]) * PAGE_BYTES


class Server:
    """Fails until it works; checks that what it accepts comes in order, and keeps nothing of it."""

    def __init__(self) -> None:
        self.works = False
        self.attempts = 0
        self.accepted = 0
        self.in_order = True
        self.bytes = 0
        self.peak = 0

    async def deliver(self, body: bytes) -> Outcome:
        self.attempts += 1
        if not self.works:
            return Failed(reason="503", ambiguous=False)
        for number in NUMBER.findall(body):
            self.in_order = self.in_order and int(number) == self.accepted
            self.accepted += 1
        self.bytes += len(body)
        self.peak = max(self.peak, resident_bytes())
        return Accepted()


async def outage(queue: DurableQueue, clock: HandClock, events: int) -> tuple[int, int]:
    """Track evenly over an hour; return the memory in use when it had warmed up, and the most after that."""
    tracked = peak = warm = 0
    for minute in range(1, MINUTES + 1):
        while tracked < events * minute // MINUTES:
            event = ClickedObjectIDs(event_name="Clicked", index="products", object_ids=[str(tracked)], user_token="u")
            tracked += 1
            if tracked % 1000:
                assert queue.track(event)
            else:  # no faster than it is stored
                await queue.put(event)
        clock.advance(60.0)
        await asyncio.sleep(0)
        if minute == WARM_MINUTES:
            gc.collect()
            warm = resident_bytes()
        peak = max(peak, resident_bytes())
    return warm, peak


async def main(url: str, events: int) -> None:
    clock, server = HandClock(), Server()
    queue = DurableQueue(server.deliver, open_outbox(url), clock=clock)
    await queue.start()
    warm, peak = await outage(queue, clock, events)
    attempts_in_outage, in_outage = server.attempts, queue.stats()
    server.works = True
    clock.advance(60.0)
    report = await queue.flush()
    await queue.aclose()
    account = {
        "grown_in_outage": peak - warm,
        "grown_afterwards": server.peak - warm,
        "attempts_in_outage": attempts_in_outage,
        "pending_in_outage": in_outage.pending,
        "stored_in_outage": in_outage.stored,
        "accepted": server.accepted,
        "accepted_bytes": server.bytes,
        "in_order": server.in_order,
        "delivered": report.delivered,
        "dropped": report.dropped,
    }
    sys.stdout.write(json.dumps(account) + "\n")


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
