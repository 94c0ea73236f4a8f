"""Sends what an outbox hands out, and what cannot wait for one."""

from collections.abc import Callable, Iterable
from typing import Any

from algolia_events._batching import Batch, Claim, SenderBatcher, Settlement
from algolia_events._queue import EventQueue
from algolia_events._retry import Gate
from algolia_events.reports import SendingStats

ClaimListener = Callable[[Claim, Settlement, Batch], None]


class Sender(EventQueue):
    """An `EventQueue` that also sends claims, and says what becomes of them.

    Args as `EventQueue`; `on_claim` is told of each settlement that concerns a claim, `on_turn` whenever there may be
    room for more claims, `on_room` for more of ours. All are called in the event loop.
    """

    _batcher: SenderBatcher

    def __init__(self, *args: Any, **options: Any) -> None:
        self.on_claim: ClaimListener = _ignore
        self.on_turn: Callable[[], None] = _ignore
        self.on_room: Callable[[], None] = _ignore
        super().__init__(*args, **options)

    def _make_batcher(self, gate: Gate) -> SenderBatcher:
        return SenderBatcher(self._options, gate)

    def room_for_claims(self) -> int:
        """Say how many more requests' worth of claims is wanted: a slot's for each, one ahead, one in an outage."""
        if self._closed_for is not None:
            return 0
        with self._lock:
            wanted = self._options.in_flight + 1 if self._batcher.gate.is_open else 1
            return max(0, wanted - self._batcher.batches)

    def admit(self, claims: Iterable[Claim]) -> None:
        """Send claims; when the background task has ended, they wait for the one of the next event loop."""
        with self._lock:
            for claim in claims:
                self._batcher.admit_claim(claim)
        if self._runner is not None:
            self._runner.start_now()

    def hold_slots(self, unwritten: int) -> None:
        """Keep this many slots for claims that are answered, until the outbox knows."""
        with self._lock:
            freed = unwritten < self._batcher.unwritten
            self._batcher.unwritten = unwritten
        if freed and self._runner is not None:
            self._runner.look_again()

    @property
    def has_slot(self) -> bool:
        """Whether one more request could be under way."""
        with self._lock:
            return self._batcher.has_slot

    def has_room_for(self, batch: Batch) -> bool:
        """Say whether a batch that could not be stored can be taken over.

        No more of those is held than of claims: the rest waits where the bounds and the overflow policy are seen to.
        """
        with self._lock:
            return self.room_for_claims() > 0 and self._batcher.has_room_for(batch)

    def take_over(self, batch: Batch) -> None:
        """Send a batch that could not be stored."""
        with self._lock:
            self._batcher.take_over(batch)
        self._ensure_runner().look_again()

    def held(self) -> tuple[int, int]:
        """Count the events of this process that are held, and their bytes."""
        with self._lock:
            return self._batcher.pending, self._batcher.pending_bytes

    def ensure_started(self) -> None:
        """Start the background task in the running loop, unless it runs; errors as `start()`."""
        self._ensure_runner()

    def give_back(self) -> None:
        """Let go of the claims that wait."""
        with self._lock:
            given_back = self._batcher.give_back()
        self._after_turn(given_back)

    def give_back_in_outage(self, *, keep_probe: bool) -> None:
        """In an outage, let go of what need not be held, except for one more probe."""
        with self._lock:
            given_back = self._batcher.give_back_in_outage(keep_probe=keep_probe)
        if given_back:
            self._after_turn(given_back)

    @property
    def works(self) -> bool:
        """Whether the last that was heard of the server was good, and more can be sent."""
        return self._batcher.gate.is_open and self._closed_for is None

    @property
    def is_over(self) -> bool:
        """Whether nothing will be sent any more: it was closed, or its background task has died."""
        return self._final_report is not None

    def sending_stats(self) -> SendingStats:
        """Take the counters of what was claimed, all at one moment; from any thread."""
        with self._lock:
            return self._batcher.sending_stats()

    @property
    def hook_errors(self) -> int:
        """How often a hook has raised that was told of what is sent."""
        return self._reporter.hook_errors

    @property
    def requests(self) -> int:
        """Requests begun so far, for whatever they carried."""
        return self._batcher.ledger.requests + self._batcher.sending.requests

    @property
    def possible_duplicates(self) -> int:
        """Events sent again although the first request may have arrived, whosever they were."""
        return self._batcher.ledger.possible_duplicates + self._batcher.sending.possible_duplicates

    def _after_turn(self, settlements: Iterable[Settlement]) -> None:
        settlements = list(settlements)
        for settlement in settlements:
            if settlement.batch is not None and settlement.batch.claim is not None:
                self.on_claim(settlement.batch.claim, settlement, settlement.batch)
        super()._after_turn(settlements)
        self.on_turn()
        self.on_room()


def _ignore(*_: object) -> None:
    """Nobody listens."""
