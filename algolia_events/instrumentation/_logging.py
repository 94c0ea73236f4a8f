"""A hook that logs each request, for the time when somebody wants to watch."""

import logging
from typing import Final

from algolia_events.abc import Hook

_NAME: Final = "algolia_events.requests"


class LoggingHook(Hook):
    """Logs what leaves and what becomes of it: constant event names, figures in `extra`, no content of events.

    Args:
        logger: where to; the logger `algolia_events.requests` by default.
        level: of the lines about requests.
    """

    def __init__(self, logger: logging.Logger | None = None, level: int = logging.DEBUG) -> None:
        self._logger = logger or logging.getLogger(_NAME)
        self._level = level

    def batch_sent(self, events: int, body_bytes: int) -> None:
        """Log a request that leaves."""
        self._logger.log(self._level, "algolia_events.batch_sent", extra={"events": events, "body_bytes": body_bytes})

    def batch_settled(self, events: int, result: str, seconds: float) -> None:
        """Log the end of an attempt."""
        extra = {"events": events, "result": result, "seconds": seconds}
        self._logger.log(self._level, "algolia_events.batch_settled", extra=extra)

    def retrying(self, events: int, reason: str, delay: float) -> None:
        """Log that a batch waits for another attempt."""
        extra = {"events": events, "reason": reason, "delay": delay}
        self._logger.log(self._level, "algolia_events.retrying", extra=extra)
