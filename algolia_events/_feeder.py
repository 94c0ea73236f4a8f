"""Between an outbox and the sender to Algolia: stores, claims what there is room for, settles what was sent."""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from algolia_events._batching import COMMIT_LINGER, Batch, Claim, FateKind, Gathering, Settlement, Verdicts
from algolia_events._clock import Alarm, Clock
from algolia_events._groups import ClaimedGroup, EventGroup
from algolia_events._guarded import GuardedOutbox, UnansweredError, describe
from algolia_events._sender import Sender
from algolia_events._waiting import Conditions, time_limit
from algolia_events.config import QueueOptions
from algolia_events.errors import AlgoliaEventsError

_log: Final = logging.getLogger("algolia_events")
_POLL_SECONDS: Final = 0.5
"""How often the outbox is asked for what other processes have stored or left, where no store does that as well: half of
what a take-over may last."""
_RETRY_SECONDS: Final = 1.0
_SETTLE_LINGER: Final = COMMIT_LINGER + 0.01
"""In seconds: how long what has been sent waits to be settled with the next store, which comes before that if any."""
_NS_PER_MS: Final = 1_000_000


def _ignore(*_: object) -> None:
    """Nobody listens."""


class Feeder:
    """One background task; belongs to the loop that starts it.

    Args:
        outbox: what to send from.
        sender: what sends it.
        options: how large requests are, and how long few events wait for company.
        clock: the monotonic clock for polls, the wall for dead letters.
        on_booked: is told what became of claimed events, and how many of each origin.
        on_problem: is told when `problem` comes or goes.
        predecessor: the one whose task has ended, or its event loop; this one takes over its unfinished work.
    """

    def __init__(
        self,
        outbox: GuardedOutbox,
        sender: Sender,
        *,
        options: QueueOptions,
        clock: Clock,
        on_booked: Callable[[FateKind, Mapping[str, int]], None] = _ignore,
        on_problem: Callable[[], None] = _ignore,
        predecessor: "Feeder | None" = None,
    ) -> None:
        self._outbox = outbox
        self._exchange = outbox.exchange if outbox.exchanges else None
        self._sender = sender
        self._options = options
        self._clock = clock
        self._on_booked = on_booked
        self._on_problem = on_problem
        self._awake = asyncio.Event()
        self._claim_at = -math.inf
        self._settle_at = -math.inf
        self._retry_at = -math.inf
        self._stored_unclaimed = 0
        """Events that this process has stored, and not claimed at once, since it last asked for any."""
        self._stored_at = -math.inf
        self._gathering = Gathering(
            max_events=options.batch_events, max_body=options.batch_bytes, linger=options.linger
        )
        self._verdicts = Verdicts()
        self._claims_under_way = 0
        """Those that the sender has, waiting or in flight."""
        self._claiming = 0
        """Requests' worth of room that calls of the outbox under way may fill."""
        self._unwritten_claims = 0
        """Those that have been answered, and are not settled in the outbox yet."""
        self._can_write = True
        self._gives_back = False
        """Whether groups are being given back, or may have been: to claim one then, and give it back once more for want
        of an answer, would have two send it."""
        self._claim_calls = 0
        self._exhaustive_call = -1
        """The number of the last call that left nothing behind in the outbox, counted as in `_claim_calls`."""
        self._alarm = Alarm(clock, self._awake.set)
        self._stopped = False
        self._closing = False
        self._drains = Conditions()
        self.problem: str | None = None
        """Why the outbox could not be read or written, the last time it was."""
        self.loop = asyncio.get_running_loop()
        sender.on_claim, sender.on_turn = self._settled, self._reconsider
        if predecessor is not None:
            self._claims_under_way, self._verdicts = predecessor.hand_over()
            self._unwritten_claims = self._verdicts.claims
            self._gives_back = bool(self._verdicts.left)
        sender.hold_slots(self._unwritten_claims)
        self.task = asyncio.create_task(self._main(), name="algolia_events.feeder")
        self.task.add_done_callback(self._task_ended)  # not in the task: one cancelled before it begins does nothing

    # --- storing -------------------------------------------------------------------------------------------------

    async def store(self, groups: Sequence[EventGroup]) -> None:
        """Store groups; where the outbox can, settle and claim in the same step, so that nothing is read back.

        Raises:
            OutboxError: nothing was stored, unless it is an `UnansweredError`.
        """
        events = sum(group.count for group in groups)
        self._stored_at = self._clock.monotonic()
        if self._exchange is None or self._stopped or self._is_dead:
            await self._outbox.store(groups)
            self._wait_for(events)
            self._reconsider()
            return
        requests = min(len(groups), max(0, self._room()))
        max_events, max_bytes = requests * self._options.batch_events, requests * self._options.batch_bytes
        if requests == len(groups):  # one event more than is stored: if no more comes, nothing else waits
            max_events = max(max_events, events + 1)
            max_bytes = max(max_bytes, sum(len(group.body) for group in groups) + 1)
        verdicts = self._take_done()
        claim_at = self._claim_at
        self._claiming += requests
        try:
            claimed = await self._exchange(groups, done=verdicts.done, max_events=max_events, max_bytes=max_bytes)
        except BaseException:
            self._verdicts.put_back(verdicts)
            self._settle_at = -math.inf  # without waiting for a store: it may make the room that was missing
            self._awake.set()
            raise
        finally:
            self._claiming -= requests
        self._note_written(verdicts)
        self._gather(claimed)
        if requests and not _is_all(claimed, max_events, max_bytes):
            self._claim_at = -math.inf
        elif (waiting := events - sum(group.count for group in claimed)) > 0:
            self._wait_for(waiting)
        elif self._claim_at == claim_at and claimed[-1].body == groups[-1].body:  # else there is reason left to look
            self._looked()
        self._reconsider()

    def _take_done(self) -> Verdicts:
        """Take the verdicts that go with a store: all, where they say nothing but that groups are done."""
        if self._verdicts.left or self._verdicts.rejected:
            return Verdicts()
        return self._take_verdicts()

    def hand_over(self) -> tuple[int, Verdicts]:
        """Give what a successor has to see to the end: how many claims the sender has, and verdicts to write."""
        self._give_back_gathered()
        return self._claims_under_way, self._take_verdicts()

    def _take_verdicts(self) -> Verdicts:
        verdicts, self._verdicts = self._verdicts, Verdicts()
        return verdicts

    def _wait_for(self, events: int) -> None:
        """Note that there is something to claim: at once when it fills a request, else when it has lingered."""
        self._stored_unclaimed += events
        full = self._stored_unclaimed >= self._options.batch_events
        self._claim_at = min(self._claim_at, self._clock.monotonic() + (0.0 if full else self._options.linger))

    def _looked(self) -> None:
        """Note that the outbox is being asked, or was, for all that it has; look again in a while."""
        self._stored_unclaimed = 0
        self._claim_at = self._clock.monotonic() + _POLL_SECONDS

    def _gather(self, groups: Sequence[ClaimedGroup]) -> None:
        """Take in what was claimed; it leaves when there is enough of it for a request, or when it has lingered."""
        if self._stopped or self._is_dead:  # a successor claims it
            self._verdicts.left += groups
        else:
            self._gathering.add(groups, now=self._clock.monotonic())
            self._send()

    # --- waiting and ending --------------------------------------------------------------------------------------

    async def drain(self, enough: Callable[[], bool], *, deadline: float | None, while_it_works: bool) -> bool:
        """Send what can be found without lingering, until `enough()`, or there is no more; False if time ran out.

        `while_it_works` gives up as soon as the server or the outbox fails.
        """
        if deadline is not None and self._clock.monotonic() >= deadline:
            return enough()  # what began now would be broken off at once, and might have arrived all the same

        def is_over() -> bool:
            hopeless = while_it_works and (not self._sender.works or self.problem is not None)
            return (enough() and not self._is_unwritten) or hopeless or self._is_dead or self._sender.is_over

        def is_all_sent() -> bool:
            return self._exhaustive_call >= next_call and not self._is_sending and not self._is_unwritten

        try:
            async with time_limit(self._clock, deadline):
                if self._is_sending and not self._stored_unclaimed:  # it may be all that there is to wait for
                    self._awake.set()
                    await self._drains.until(lambda: is_over() or not self._is_sending)
                    if is_over():
                        return True
                next_call = self._claim_calls
                self._claim_at = -math.inf
                self._awake.set()
                await self._drains.until(lambda: is_over() or is_all_sent())
        except TimeoutError:
            return False
        return True

    def stop(self) -> None:
        """Claim no more; what is on its way is sent and settled all the same."""
        self._stopped = True
        self._give_back_gathered()

    async def close(self) -> None:
        """Claim no more, and settle what has been sent; the sender has to be closed by then."""
        self._stopped = self._closing = True
        self._awake.set()
        await asyncio.wait({self.task})
        if self._verdicts:  # the task was cancelled before
            await self._settle()

    @property
    def _is_sending(self) -> bool:
        """Whether anything that was claimed waits for an answer, or to be sent."""
        return bool(self._claims_under_way or self._gathering)

    @property
    def _is_unwritten(self) -> bool:
        return bool(self._verdicts or self._unwritten_claims)

    # --- the task ------------------------------------------------------------------------------------------------

    async def _main(self) -> None:
        try:
            await self._work()
        except Exception as exc:  # noqa: BLE001 - a mistake of ours must not leave anybody waiting for ever
            _log.critical("algolia_events.failed", exc_info=exc)
            self.problem = "the task that reads the outbox died; the log has the cause"

    def _task_ended(self, _: "asyncio.Task[None]") -> None:
        self._alarm.stop()
        self._drains.check()

    @property
    def _is_dead(self) -> bool:
        return self.task.done()

    async def _work(self) -> None:
        while True:
            self._awake.clear()
            self._sender.give_back_in_outage(keep_probe=not self._stopped)
            if not self._sender.works and not self._sender.room_for_claims():
                self._give_back_gathered()  # others may do better
            if self._verdicts and self._clock.monotonic() >= self._settle_due():
                await self._settle()
            if self._closing:
                return
            self._send()
            if self._room() > 0 and self._clock.monotonic() >= self._claim_at:
                await self._claim(self._room())
            self._drains.check()
            self._look_when_due()
            await self._awake.wait()

    def _reconsider(self) -> None:
        """Wake the task where what happened may give it something to do; most that happens only moves its alarm."""
        if self._drains or not self._sender.works:
            self._awake.set()
        else:
            self._look_when_due()

    def _look_when_due(self) -> None:
        """Wake the task when there is something to do, as far as is known by now."""
        due = min(self._gathering.due, self._settle_due() if self._verdicts else math.inf)
        if self._claim_at < due and self._room() > 0:
            due = self._claim_at
        if due <= self._clock.monotonic():
            self._awake.set()
        elif not self._is_dead:
            self._alarm.set(due)

    def _room(self) -> int:
        """Say how many more requests' worth may be claimed."""
        if self._stopped or self._gives_back:
            return 0
        return self._sender.room_for_claims() - self._claiming - bool(self._gathering)

    def _send(self, *, at_once: bool = False) -> None:
        """Send what has been gathered, if it fills a request, has lingered, or may not linger."""
        claims = self._gathering.take(now=math.inf if at_once or self._drains else self._clock.monotonic())
        if claims:
            self._claims_under_way += len(claims)
            self._sender.admit(claims)

    def _give_back_gathered(self) -> None:
        """Give back what has been gathered."""
        self._verdicts.left += self._gathering.give_back()

    async def _claim(self, room: int) -> None:
        """Claim for so many requests."""
        options, call = self._options, self._claim_calls
        self._claim_calls += 1
        self._looked()
        events, size = room * options.batch_events, room * options.batch_bytes
        self._claiming += room
        try:
            groups = await self._outbox.claim(events, size)
        except AlgoliaEventsError as exc:
            if isinstance(exc, UnansweredError):  # time is up: what began now would be broken off at once
                self.stop()
            self.note_failure(exc)
            return
        finally:
            self._claiming -= room
        self._note_success()
        if _is_all(groups, events, size):
            self._exhaustive_call = call
        self._gather(groups)
        if groups:  # these have waited already, and what has been gathered keeps them company
            self._send(at_once=True)
        if self._exhaustive_call < call:
            self._claim_at = -math.inf  # there may be more, as soon as there is room

    def _settled(self, claim: Claim, settlement: Settlement, batch: Batch) -> None:
        """Book what became of a batch of a claim; keep it for the outbox once the whole claim is through."""
        fate = claim.book(settlement, batch, wall_ms=self._clock.time_ns() // _NS_PER_MS)
        self._on_booked(fate.kind, fate.by_origin)
        if claim.is_settled:
            now = self._clock.monotonic()
            if not self._verdicts and now < self._stored_at + _SETTLE_LINGER:
                self._settle_at = now + _SETTLE_LINGER
            self._verdicts.add(claim)
            self._claims_under_way -= 1
            self._unwritten_claims += 1
            self._sender.hold_slots(self._unwritten_claims)

    def _settle_due(self) -> float:
        """Say when to settle at the latest: with the next store, where nobody waits for the slots or for the end."""
        if self._closing:
            return -math.inf
        if self._verdicts.left and self._claiming:  # a store that is under way could claim what is given back
            return math.inf
        hurried = self._drains or not self._sender.has_slot
        return self._retry_at if hurried else max(self._retry_at, self._settle_at)

    async def _settle(self) -> None:
        verdicts = self._take_verdicts()
        self._gives_back = bool(verdicts.left)
        try:
            await self._outbox.settle(done=verdicts.done, rejected=verdicts.rejected, left=verdicts.left)
        except BaseException as exc:
            self._verdicts.put_back(verdicts)
            self._retry_at = self._clock.monotonic() + _RETRY_SECONDS
            self._can_write = False
            if not isinstance(exc, Exception):
                raise
            self.note_failure(exc)
            self._sender.hold_slots(0)  # what goes past a failing outbox needs them
        else:
            self._gives_back = False
            self._note_written(verdicts)
            if verdicts.left:  # it is in the outbox again, and whoever drains waits for that as well
                self._exhaustive_call = -1
                self._claim_at = -math.inf if self._drains else self._claim_at

    def _note_written(self, verdicts: Verdicts) -> None:
        self._unwritten_claims -= verdicts.claims
        self._sender.hold_slots(self._unwritten_claims)
        self._can_write = True
        self._note_success()

    def _note_success(self) -> None:
        if self.problem is not None and self._can_write:  # a full disk can still be read
            self.problem = None
            self._on_problem()

    def note_failure(self, exc: Exception) -> None:
        """Note that the outbox fails, until it works."""
        news, self.problem = self.problem is None, describe(exc)
        if news:
            _log.warning("algolia_events.outbox_failed", extra={"reason": self.problem})
            self._on_problem()


def _is_all(groups: Sequence[EventGroup], max_events: int, max_bytes: int) -> bool:
    """Say whether a claim that brought these has left nothing behind."""
    return sum(group.count for group in groups) < max_events and sum(len(group.body) for group in groups) < max_bytes
