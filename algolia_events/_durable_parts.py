"""The parts of a durable queue as its hooks meet them: one queue, not an intake and a sender."""

from collections.abc import Callable, Iterable

from algolia_events._clock import Clock
from algolia_events._reporting import Reporter
from algolia_events._sender import Sender
from algolia_events.abc import Hook
from algolia_events.reports import Health, QueueStats


class OwnSender(Sender):
    """The sender of a durable queue, which introduces itself to the hooks: they should meet one queue, not two."""

    def _make_reporter(self, hooks: Iterable[Hook], clock: Clock) -> Reporter:
        return _SenderReporter(hooks, clock)

    def __del__(self) -> None:
        """Leave the warning to the queue."""


class _SenderReporter(Reporter):
    def attached(self, stats: Callable[[], QueueStats], max_events: int) -> None:
        """The queue does that."""


class IntakeReporter(Reporter):
    """Passes on what the intake takes in and drops: what it does with its batches is no sending."""

    def sent(self, events: int, body_bytes: int) -> None:
        """Nothing has left."""

    def answered(self, events: int, result: str, seconds: float) -> None:
        """Nobody has answered."""

    def retrying(self, events: int, reason: str, delay: float) -> None:
        """Health tells of it."""

    def state_changed(self, health: Health) -> None:
        """The intake's gate is about the outbox; the queue tells of that itself."""

    def tell_state(self, health: Health) -> None:
        """Report that the outbox fails, or works again."""
        super().state_changed(health)
