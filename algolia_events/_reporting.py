"""Tells people and hooks what the queue does, without ever standing in its way."""

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from algolia_events._batching import Settlement
from algolia_events._clock import Clock
from algolia_events.abc import Hook
from algolia_events.reports import DropReason, Health, HealthState, QueueStats

_log: Final = logging.getLogger("algolia_events")
_SECONDS_BETWEEN_WARNINGS: Final = 30.0


class Reporter:
    """Logs, at most one line a reason every 30 s, and calls the hooks."""

    def __init__(self, hooks: Iterable[Hook], clock: Clock) -> None:
        self._clock = clock
        self._hooks = tuple(hooks)
        self._quiet_until: dict[str, float] = {}
        self._unsaid: dict[str, tuple[str, int, dict[str, Any]]] = {}
        self._failed_hooks: set[tuple[int, str]] = set()
        self.hook_errors: int = 0
        """How often a hook has raised."""
        self.hears_tracked: bool = any(type(hook).tracked is not Hook.tracked for hook in self._hooks)
        """Whether some hook wants to know of each event; most do not, and then it costs nothing."""

    def tell(self, call: Callable[[Hook], object], name: str) -> None:
        """Call one method of every hook; one that raises is counted, logged once, and does not stop the rest."""
        for hook in self._hooks:
            try:
                call(hook)
            except Exception:  # noqa: BLE001 - whatever a hook does, the sender goes on
                self.hook_errors += 1
                key = (id(hook), name)
                if key not in self._failed_hooks:
                    self._failed_hooks.add(key)
                    _log.exception("algolia_events.hook_failed", extra={"hook": type(hook).__name__, "method": name})

    def attached(self, stats: Callable[[], QueueStats], max_events: int) -> None:
        """Introduce the queue to the hooks."""
        self.tell(lambda hook: hook.attached(stats, max_events), "attached")

    def background(self) -> None:
        """Let the hooks prepare the context of the background task."""
        self.tell(lambda hook: hook.background(), "background")

    def tracked(self, event: object) -> None:
        """Report an event that was taken in."""
        self.tell(lambda hook: hook.tracked(event), "tracked")

    def dropped(self, reason: DropReason, count: int = 1) -> None:
        """Report events that were given up."""
        if self._hooks:
            self.tell(lambda hook: hook.dropped(reason, count), "dropped")
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
                self.tell(lambda hook, e=event: hook.rejected(e, rejection.status, rejection.message), "rejected")  # type: ignore[misc]
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
            self.tell(lambda hook: hook.batch_sent(events, body_bytes), "batch_sent")

    def answered(self, events: int, result: str, seconds: float) -> None:
        """Report the end of an attempt."""
        if self._hooks:
            self.tell(lambda hook: hook.batch_settled(events, result, seconds), "batch_settled")

    def retrying(self, events: int, reason: str, delay: float) -> None:
        """Report a batch that goes back into the line."""
        if self._hooks:
            self.tell(lambda hook: hook.retrying(events, reason, delay), "retrying")

    def state_changed(self, health: Health) -> None:
        """Report that the sending goes better or worse; one line each time, and loud when somebody has to act."""
        level = {HealthState.OK: logging.INFO, HealthState.BLOCKED: logging.ERROR}.get(health.state, logging.WARNING)
        _log.log(level, "algolia_events.state", extra={"state": str(health.state), "reason": health.reason})
        self.tell(lambda hook: hook.state_changed(health), "state_changed")

    def old_events(self) -> None:
        """Report, once, that events are older than servers of the older contract take."""
        if "old_events" not in self._quiet_until:
            self._quiet_until["old_events"] = float("inf")
            _log.warning("algolia_events.old_events", extra={"older_than_days": 4})

    def crashed(self, exc: BaseException) -> None:
        """Report the death of the background task; it is always a mistake of ours."""
        _log.critical("algolia_events.failed", exc_info=exc)

    def _warn(self, event: str, key: str, count: int, **extra: Any) -> None:
        now = self._clock.monotonic()
        count += self._unsaid.pop(key, (event, 0, extra))[1]
        if now < self._quiet_until.get(key, float("-inf")):
            self._unsaid[key] = (event, count, extra)
            return
        self._quiet_until[key] = now + _SECONDS_BETWEEN_WARNINGS
        _log.warning(event, extra={"count": count, **extra})

    def say_the_rest(self) -> None:
        """Log what was counted and not said yet, since nothing more will come."""
        while self._unsaid:
            _, (event, count, extra) = self._unsaid.popitem()
            _log.warning(event, extra={"count": count, **extra})
