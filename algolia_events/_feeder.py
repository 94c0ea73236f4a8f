"""The task between an outbox and the line to Algolia: claims what there is room for, settles what was sent."""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Final

from algolia_events._batching import Batch, Claim, Settlement, pack
from algolia_events._clock import Clock
from algolia_events._groups import ClaimedGroup, DeadLetter
from algolia_events._line import Line
from algolia_events._waiting import time_limit
from algolia_events.abc import Outbox
from algolia_events.config import QueueOptions
from algolia_events.errors import AlgoliaEventsError

_log: Final = logging.getLogger("algolia_events")
_POLL_SECONDS: Final = 0.5
"""How often the outbox is asked for what other processes have stored or left: half of what a take-over may last."""
_RETRY_SECONDS: Final = 1.0
_NS_PER_MS: Final = 1_000_000
Booked = Callable[[str, "dict[str, int]"], None]


class Feeder:
    """One background task; belongs to the loop that starts it.

    Args:
        outbox: what to send from.
        line: what sends it.
        options: how large requests are, and how long few events wait for company.
        clock: the monotonic clock for polls, the wall for dead letters.
        booked: is told what became of claimed events: a kind, and counts by origin.
    """

    def __init__(self, outbox: Outbox, line: Line, *, options: QueueOptions, clock: Clock, booked: Booked) -> None:
        self._outbox = outbox
        self._line = line
        self._options = options
        self._clock = clock
        self._booked = booked
        self._awake = asyncio.Event()
        self._claim_at = -math.inf
        self._settle_at = -math.inf
        self._stored = 0
        self._done: list[ClaimedGroup] = []
        self._left: list[ClaimedGroup] = []
        self._rejected: list[DeadLetter] = []
        self._claims = 0
        self._unwritten_claims = 0
        self._looks = 0
        self._empty_look = -1
        self._stopped = False
        self._closing = False
        self._dead = False
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self.problem: str | None = None
        """Why the outbox could not be read or written, the last time it was."""
        self.loop = asyncio.get_running_loop()
        line.on_claim, line.on_turn = self._settled, self._awake.set
        line.hold_slots(0)  # what another feeder left behind in a dead loop is nobody's to write
        self.task = asyncio.create_task(self._main(), name="algolia_events.feeder")

    def stored(self, events: int) -> None:
        """Note that there is something to claim: at once when it fills a request, else when it has lingered."""
        self._stored += events
        full = self._stored >= self._options.batch_events
        at = self._clock.monotonic() + (0.0 if full else self._options.linger)
        if at < self._claim_at:
            self._claim_at = at
            self._awake.set()

    async def drain(self, enough: Callable[[], bool], *, deadline: float | None, while_it_works: bool) -> bool:
        """Send what can be found without lingering, until `enough()`, or there is no more; False if time ran out.

        `while_it_works` gives up as soon as the server or the outbox fails.
        """
        look = self._looks
        self._claim_at = -math.inf
        self._awake.set()

        def is_over() -> bool:
            idle = self._empty_look >= look and not self._claims
            hopeless = while_it_works and (not self._line.works or self.problem is not None)
            return (not self._unwritten and (enough() or idle)) or hopeless or self._dead

        try:
            async with time_limit(self._clock, deadline):
                await self._until(is_over)
        except TimeoutError:
            return False
        return True

    async def _until(self, is_over: Callable[[], bool]) -> None:
        """Wait until something is so, as far as this task can tell."""
        if is_over():
            return
        entry = (is_over, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        try:
            await entry[1]
        finally:
            self._waiting.remove(entry)

    def _tell(self) -> None:
        for is_over, waiter in self._waiting:
            if not waiter.done() and is_over():
                waiter.set_result(None)

    def stop(self) -> None:
        """Claim no more; what is claimed is sent and settled all the same."""
        self._stopped = True

    async def close(self) -> None:
        """Claim no more, and settle what has been sent; the line has to be closed by then."""
        self._stopped = self._closing = True
        self._awake.set()
        await asyncio.wait({self.task})

    @property
    def _unwritten(self) -> int:
        return len(self._done) + len(self._left) + len(self._rejected)

    async def _main(self) -> None:
        try:
            await self._work()
        except Exception as exc:  # noqa: BLE001 - a mistake of ours must not leave anybody waiting for ever
            _log.critical("algolia_events.failed", exc_info=exc)
            self.problem = "the task that reads the outbox died; the log has the cause"
        finally:
            self._dead = True
            self._tell()

    async def _work(self) -> None:
        while True:
            self._awake.clear()
            self._line.ease(keep_probe=not self._stopped)
            now = self._clock.monotonic()
            if self._unwritten and (now >= self._settle_at or self._closing):
                await self._settle()
            if self._closing:
                return
            room = 0 if self._stopped else self._line.room_for_claims()
            if room and self._clock.monotonic() >= self._claim_at:
                await self._claim(room)
            self._tell()
            await self._sleep()

    async def _sleep(self) -> None:
        until = self._settle_at if self._unwritten else math.inf
        if not self._stopped and self._line.room_for_claims():
            until = min(until, self._claim_at)
        timer = self._clock.call_at(until, self._awake.set) if until < math.inf else None
        try:
            await self._awake.wait()
        finally:
            if timer is not None:
                timer.cancel()

    async def _claim(self, room: int) -> None:
        """Claim for so many requests."""
        options, look = self._options, self._looks
        self._looks += 1
        self._stored = 0
        self._claim_at = self._clock.monotonic() + _POLL_SECONDS
        events, size = room * options.batch_events, room * options.batch_bytes
        try:
            groups = await self._outbox.claim(events, size)
        except Exception as exc:  # noqa: BLE001 - an outbox of somebody else's may raise anything
            self._failed(exc)
            return
        self.problem = None
        if sum(group.count for group in groups) < events and sum(len(group.body) for group in groups) < size:
            self._empty_look = look  # that was all there is
        if self._stopped:
            self._left += groups
            return
        claims = pack(groups, max_events=options.batch_events, max_body=options.batch_bytes)
        self._claims += len(claims)
        if claims:
            self._line.admit(claims)
        if self._empty_look < look:
            self._claim_at = -math.inf  # there may be more, as soon as there is room

    def _settled(self, claim: Claim, settlement: Settlement, batch: Batch) -> None:
        """Book what became of a batch of a claim; keep it for the outbox once the whole claim is through."""
        fate = claim.book(settlement, batch, wall_ms=self._clock.time_ns() // _NS_PER_MS)
        self._booked(fate.kind, dict(fate.by_origin))
        if claim.is_settled:
            done, left = claim.verdict()
            self._done += done
            self._left += left
            self._rejected += claim.rejected
            self._claims -= 1
            self._unwritten_claims += 1
            self._line.hold_slots(self._unwritten_claims)
            self._awake.set()

    async def _settle(self) -> None:
        done, left, rejected = self._done, self._left, self._rejected
        self._done, self._left, self._rejected = [], [], []
        claims = self._unwritten_claims
        try:
            await self._outbox.settle(done=done, rejected=rejected, left=left)
        except BaseException as exc:
            self._done, self._left, self._rejected = done + self._done, left + self._left, rejected + self._rejected
            self._settle_at = self._clock.monotonic() + _RETRY_SECONDS
            if not isinstance(exc, Exception):
                raise
            self._failed(exc)
            self._line.hold_slots(0)  # what goes past a failing outbox needs them
        else:
            self._unwritten_claims -= claims
            self._line.hold_slots(self._unwritten_claims)

    def _failed(self, exc: Exception) -> None:
        words = str(exc) if isinstance(exc, AlgoliaEventsError) else f"the outbox raised {type(exc).__name__}"
        if self.problem is None:
            _log.warning("algolia_events.outbox_failed", extra={"reason": words})
        self.problem = words
