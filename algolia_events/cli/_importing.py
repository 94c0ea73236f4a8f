"""The import itself: records into the queue, verdicts out of it, and an end in every case."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Final

import anyio

from algolia_events._batching import Settlement
from algolia_events._client import AlgoliaEvents
from algolia_events.abc import Hook
from algolia_events.cli._console import UsageError
from algolia_events.cli._figures import End, Figures, Result
from algolia_events.cli._progress import Display
from algolia_events.cli._records import Record
from algolia_events.cli._refusals import Refusals, reason_of
from algolia_events.cli._sources import Extent, SourceError
from algolia_events.cli._state import State, StateFile, Window
from algolia_events.errors import ClientClosedError, EventDroppedError
from algolia_events.reports import DropReason, Health, HealthState

_LEFT_OVER: Final = frozenset({DropReason.SHUTDOWN, DropReason.AMBIGUOUS, DropReason.FAILED, DropReason.CLOSED})
"""Reasons that say nothing against an event: the import ended before its turn, and a next run may send it."""
_WHY_DROPPED: Final = {
    DropReason.EXPIRED: "older than --max-age-days allows",
    DropReason.TOO_LARGE: "larger than a request may be",
}
_REFRESH_SECONDS: Final = 0.1


class Watcher(Hook):
    """Hears how the sending goes, and passes it on."""

    def __init__(self) -> None:
        self.on_change: Callable[[Health], None] = lambda _: None

    def state_changed(self, health: Health) -> None:
        """Pass it on."""
        self.on_change(health)


class Import:
    """One run. Make it in the event loop, and `run()` it once.

    Args:
        chunks: the records, in order.
        skip: where the run before had come to.
        extents: what each input read to its end came to; it grows as they are read.
        watcher: a hook of the client.
        refusals: takes in what is not accepted.
        state_file: where to note how far it has come; None: nowhere.
        display: for whoever watches.
        consumed: tells the bytes read.
        timeout: seconds without any verdict after which it gives up.
        grace: seconds for what has been read when it is interrupted.
    """

    def __init__(
        self,
        chunks: AsyncIterator[list[Record]],
        *,
        skip: State,
        extents: Sequence[Extent],
        watcher: Watcher,
        refusals: Refusals,
        state_file: StateFile | None,
        display: Display,
        consumed: Callable[[], int],
        timeout: float,
        grace: float,
    ) -> None:
        self._chunks = chunks
        self._skip = skip
        self._window = Window(skip, extents)
        self._refusals = refusals
        self._state_file = state_file
        self._display = display
        self._consumed = consumed
        self._timeout = timeout
        self._grace = grace
        self._counts: Counter[str] = Counter()
        self._waiting = 0
        self._last_verdict = time.monotonic()
        self._began = self._last_verdict
        self._news = asyncio.Event()
        self._work = anyio.CancelScope()
        self._hurry = anyio.Event()
        self._is_read = False
        self._is_over = False
        self._end = End.FINISHED
        self._detail = ""
        watcher.on_change = self._health_changed

    def stop(self, end: End, detail: str = "") -> None:
        """Read no more; the first reason is the one that counts. To interrupt it twice cuts the grace short."""
        if self._end is not End.FINISHED and end is End.INTERRUPTED:
            self._hurry.set()
        if self._end is End.FINISHED and not self._is_over:
            self._end, self._detail = end, detail
        self._work.cancel()

    async def run(self, client: AlgoliaEvents) -> Result:
        """Send everything there is, or as much as can be sent; `client` is closed afterwards."""
        async with anyio.create_task_group() as helpers:
            for helper in (self._watch_the_clock, self._save_progress, self._keep_display_fresh):
                helpers.start_soon(helper)
            with self._work:
                await self._feed(client)
                await client.events.flush()
                self._is_over = True
            await self._close(client)
            helpers.cancel_scope.cancel()
        stats = client.stats()
        await self._save()
        figures = self._figures(stats.requests)
        is_complete = self._is_read and not figures.pending
        return Result(
            # Interrupted when there was nothing left to leave out: it has finished all the same.
            end=End.FINISHED if is_complete and self._end is End.INTERRUPTED else self._end,
            detail=self._detail,
            figures=figures,
            state=self._window.state(),
            possible_duplicates=stats.possible_duplicates,
            without_answer=stats.dropped.get(DropReason.AMBIGUOUS, 0),
            is_complete=is_complete,
        )

    # --- the way in ----------------------------------------------------------------------------------------------

    async def _feed(self, client: AlgoliaEvents) -> None:
        try:
            async for chunk in self._chunks:
                for record in chunk:
                    if not self._skip.is_settled(record.position.number):
                        await self._take(client, record)
                await asyncio.sleep(0)  # a chunk that was waiting already would not let anybody else have a turn
            self._is_read = True
        except (SourceError, UsageError) as exc:  # what was read before is sent all the same
            self._end = End.MISCALLED if isinstance(exc, UsageError) else End.UNREADABLE
            self._detail = str(exc)
        except ClientClosedError:
            self.stop(End.FAILED, "the sending has failed")

    async def _take(self, client: AlgoliaEvents, record: Record) -> None:
        if record.event is None:
            self._read(record)
            self._settle(record, "invalid", reason_of(record))
            return
        try:
            verdict = await client.events.submit(record.event)
        except EventDroppedError as exc:
            self._read(record)
            self._settle(record, "dropped", _WHY_DROPPED.get(DropReason(exc.reason), exc.reason))
            return
        self._read(record)
        if not self._waiting:
            self._last_verdict = time.monotonic()  # the server cannot have been slow with nothing to do
        self._waiting += 1
        verdict.add_done_callback(partial(self._verdict, record))

    def _read(self, record: Record) -> None:
        self._counts["read"] += 1
        self._window.add(record.position)

    # --- the way out ---------------------------------------------------------------------------------------------

    def _verdict(self, record: Record, verdict: "asyncio.Future[Settlement]") -> None:
        self._waiting -= 1
        settlement = verdict.result()
        if settlement.dropped in _LEFT_OVER:
            return
        self._last_verdict = time.monotonic()
        if settlement.rejection is not None:
            rejection = settlement.rejection
            self._settle(record, "rejected", f"the server refused it with {rejection.status}: {rejection.message}")
        elif settlement.dropped is not None:
            self._settle(record, "dropped", _WHY_DROPPED.get(settlement.dropped, str(settlement.dropped)))
        else:
            self._settle(record, "accepted")

    def _settle(self, record: Record, outcome: str, reason: str | None = None) -> None:
        if reason is not None:
            try:
                self._refusals.add(record, reason)
            except OSError as exc:
                self.stop(End.FAILED, f"the file of refused lines cannot be written: {exc.strerror}")
                return
        self._counts[outcome] += 1
        self._window.settle(record.position.number, accepted=reason is None)
        self._news.set()

    async def _close(self, client: AlgoliaEvents) -> None:
        """End the sending; an interrupted import still delivers what it has read, as far as time allows."""
        async with anyio.create_task_group() as closing:
            closing.start_soon(self._hurry_up, client)
            await client.aclose(self._grace if self._end is End.INTERRUPTED else 0.0)
            closing.cancel_scope.cancel()

    # --- helpers -------------------------------------------------------------------------------------------------

    async def _hurry_up(self, client: AlgoliaEvents) -> None:
        await self._hurry.wait()
        await client.aclose(0.0)

    async def _watch_the_clock(self) -> None:
        """Give up when the server has given no verdict for too long."""
        while True:
            now = time.monotonic()
            if not self._waiting:
                self._last_verdict = now
            left = self._last_verdict + self._timeout - now
            if left <= 0:
                self.stop(End.STALLED, f"no answer to count on for {self._timeout:g} seconds")
                return
            await anyio.sleep(left)

    async def _save_progress(self) -> None:
        """Note how far it has come, again and again, as quickly as the disk allows."""
        while self._state_file is not None:
            await self._news.wait()
            await self._save()

    async def _save(self) -> None:
        self._news.clear()
        if self._state_file is None:
            return
        state = self._window.state()
        try:
            await anyio.to_thread.run_sync(self._write, self._state_file, state)
        except OSError as exc:
            self.stop(End.FAILED, f"how far it has come cannot be noted: {exc.strerror}")

    def _write(self, state_file: StateFile, state: State) -> None:
        # In this order: a refusal that is on disk twice is better than one that is on disk never.
        self._refusals.flush()
        state_file.save(state)

    async def _keep_display_fresh(self) -> None:
        while self._display.is_live:
            counts = self._counts
            words = ", ".join(f"{counts[name]:,} {name}" for name in ("accepted", "rejected", "invalid", "dropped"))
            self._display.update(self._consumed(), words)
            await anyio.sleep(_REFRESH_SECONDS)

    def _figures(self, requests: int) -> Figures:
        counts = self._counts
        settled = sum(counts[name] for name in ("accepted", "rejected", "invalid", "dropped"))
        return Figures(
            read=counts["read"],
            accepted=counts["accepted"],
            rejected=counts["rejected"],
            invalid=counts["invalid"],
            dropped=counts["dropped"],
            pending=counts["read"] - settled,
            requests=requests,
            seconds=time.monotonic() - self._began,
        )

    def _health_changed(self, health: Health) -> None:
        """Tell whoever watches, and give up where only a person can help."""
        if health.state is HealthState.BLOCKED:
            self.stop(End.BLOCKED, f"{health.reason}")
        elif health.state in {HealthState.RETRYING, HealthState.PAUSED}:
            self._display.note(f"the server cannot be reached or fails ({health.reason}); trying again")
