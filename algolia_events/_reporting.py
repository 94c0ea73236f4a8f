"""Tells people and hooks what the queue does, without ever standing in its way."""

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from algolia_events._batching import Settlement
from algolia_events._cancelling import ENDS
from algolia_events._clock import Clock
from algolia_events.abc import Hook
from algolia_events.errors import ConfigurationError
from algolia_events.reports import DropReason, Health, HealthState, QueueStats

_log: Final = logging.getLogger("algolia_events")
_SECONDS_BETWEEN_WARNINGS: Final = 30.0
_calling: Final = threading.local()
"""Whether this thread is calling hooks just now; for all reporters, since a queue may have several."""
_METHODS: Final = tuple(name for name in vars(Hook) if not name.startswith("_"))


class Reporter:
    """Logs, at most one line a reason every 30 s, and calls the hooks.

    Raises:
        ConfigurationError: what is given as a hook is none.
    """

    def __init__(self, hooks: Iterable[Hook], clock: Clock) -> None:
        self._clock = clock
        self._hooks = checked_hooks(hooks)
        self._quiet_until: dict[str, float] = {}
        self._suppressed: dict[str, tuple[str, int, dict[str, Any]]] = {}
        """For each key of a warning, the event, how often it was not logged, and what the line would say."""
        self._has_warned_of_age = False
        self._failed_hooks: set[tuple[int, str]] = set()
        self.hook_errors: int = 0
        """How often a hook has raised."""
        self.hears_tracked: bool = any(_listens(hook, "tracked") for hook in self._hooks)
        """Whether some hook wants to know of each event; most do not, and then it costs nothing."""

    def _tell(self, name: str, *what: object) -> None:
        """Call one method of every hook; one that raises is counted, logged once, and does not stop the rest.

        What hooks cause themselves, none of them hears of: it might have no end.
        """
        if getattr(_calling, "now", False):
            return
        _calling.now = True
        try:
            for hook in self._hooks:
                try:
                    getattr(hook, name, _ignore)(*what)
                except ENDS:
                    raise
                except BaseException:  # noqa: BLE001 - whatever else a hook does, the sender goes on
                    self._hook_failed(hook, name)
        finally:
            _calling.now = False

    def _hook_failed(self, hook: Hook, name: str) -> None:
        self.hook_errors += 1
        key = (id(hook), name)
        if key not in self._failed_hooks:
            self._failed_hooks.add(key)
            _log.exception("algolia_events.hook_failed", extra={"hook": type(hook).__name__, "method": name})

    def attached(self, stats: Callable[[], QueueStats], max_events: int) -> None:
        """Introduce the queue to the hooks."""
        self._tell("attached", stats, max_events)

    def background(self) -> None:
        """Let the hooks prepare the context of the background task."""
        self._tell("background")

    def tracked(self, event: object) -> None:
        """Report an event that was taken in."""
        self._tell("tracked", event)

    def dropped(self, reason: DropReason, count: int = 1) -> None:
        """Report events that were given up."""
        if self._hooks:
            self._tell("dropped", reason, count)
        self._warn("algolia_events.dropped", str(reason), count, reason=str(reason))

    def settled(self, settlement: Settlement) -> None:
        """Report what a verdict made final."""
        if settlement.dropped is not None:
            self.dropped(settlement.dropped, settlement.dropped_count)
        rejection = settlement.rejection
        if rejection is None:
            return
        if self._hooks:
            for event in rejection.events:
                self._tell("rejected", event, rejection.status, rejection.message)
        self._warn(
            "algolia_events.rejected",
            f"rejected {rejection.status}",
            len(rejection.events),
            status=rejection.status,
            server_message=rejection.message,
        )

    def sent(self, events: int, body_bytes: int) -> None:
        """Report a request that leaves."""
        if self._hooks:
            self._tell("batch_sent", events, body_bytes)

    def answered(self, events: int, result: str, seconds: float) -> None:
        """Report the end of an attempt."""
        if self._hooks:
            self._tell("batch_settled", events, result, seconds)

    def retrying(self, events: int, reason: str, delay: float) -> None:
        """Report a batch that goes back into the line."""
        if self._hooks:
            self._tell("retrying", events, reason, delay)

    def state_changed(self, health: Health) -> None:
        """Report that the sending goes better or worse; one line each time, and loud when somebody has to act."""
        level = {HealthState.OK: logging.INFO, HealthState.BLOCKED: logging.ERROR}.get(health.state, logging.WARNING)
        _log.log(level, "algolia_events.state", extra={"state": str(health.state), "reason": health.reason})
        self._tell("state_changed", health)

    def old_events(self) -> None:
        """Report, once, that events are older than servers of the older contract take."""
        if not self._has_warned_of_age:
            self._has_warned_of_age = True
            _log.warning("algolia_events.old_events", extra={"older_than_days": 4})

    def crashed(self, exc: BaseException) -> None:
        """Report the death of the background task; it is always a mistake of ours."""
        _log.critical("algolia_events.failed", exc_info=exc)

    def _warn(self, event: str, key: str, count: int, **extra: Any) -> None:
        now = self._clock.monotonic()
        count += self._suppressed.pop(key, (event, 0, extra))[1]
        if now < self._quiet_until.get(key, float("-inf")):
            self._suppressed[key] = (event, count, extra)
            return
        self._quiet_until[key] = now + _SECONDS_BETWEEN_WARNINGS
        _log.warning(event, extra={"count": count, **extra})

    def log_suppressed(self) -> None:
        """Log what was counted and not logged yet, since nothing more will come.

        Only a handler of these lines may track again, and have that refused; to log that too would have no end.
        """
        suppressed, self._suppressed = self._suppressed, {}
        for event, count, extra in suppressed.values():
            _log.warning(event, extra={"count": count, **extra})


def checked_hooks(hooks: Iterable[Hook]) -> tuple[Hook, ...]:
    """Gather hooks, once each is known to be one.

    Raises:
        ConfigurationError: what is given as a hook is none.
    """
    if not isinstance(hooks, Iterable):
        raise ConfigurationError(f"hooks must be a list of hooks, not a {type(hooks).__name__}")
    gathered = tuple(hooks)
    for number, hook in enumerate(gathered):
        if isinstance(hook, type) or not any(hasattr(hook, name) for name in _METHODS):
            raise ConfigurationError(f"hooks[{number}] must be an instance of a Hook, not a {type(hook).__name__}")
    return gathered


def _listens(hook: Hook, name: str) -> bool:
    """Say whether a hook has something to do where it is told this."""
    method = getattr(hook, name, None)
    return method is not None and getattr(method, "__func__", None) is not getattr(Hook, name)


def _ignore(*_: object) -> None:
    """Hear what a hook has no method for."""
