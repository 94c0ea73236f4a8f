"""Decides which events go in at all: the application's own filter, sampling, and users who have opted out."""

import inspect
import logging
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from algolia_events._cancelling import ENDS
from algolia_events._codec import parse_event
from algolia_events.errors import ConfigurationError
from algolia_events.events import Event
from algolia_events.reports import DropReason

_log: Final = logging.getLogger("algolia_events")
_CRC_RANGE: Final = 1 << 32

BeforeSend = Callable[[Event], Event | Mapping[str, Any] | None]
OptedOut = Callable[[str], bool]


class Screen:
    """Three questions, asked of each event in this order.

    Has its user opted out? Is it part of the sample? What does `before_send` make of it? A callback that raises costs
    the event, which is counted: to send what a filter for personal data choked on would be worse.
    """

    def __init__(
        self, *, before_send: BeforeSend | None = None, sample_rate: object = 1.0, opted_out: OptedOut | None = None
    ) -> None:
        if isinstance(sample_rate, bool) or not isinstance(sample_rate, int | float) or not 0 <= sample_rate <= 1:
            raise ConfigurationError(f"sample_rate must be a number from 0 to 1, not {sample_rate!r}")
        callbacks: dict[str, object] = {"before_send": before_send, "opted_out": opted_out}
        for name, callback in callbacks.items():
            if callback is not None and (not callable(callback) or _is_async(callback)):
                raise ConfigurationError(f"{name} must be a function that is not async: it is called within track()")
        self._before_send = before_send
        self._sample_rate = sample_rate
        self._opted_out = opted_out
        self.callback_errors: int = 0
        """How often a callback has raised."""
        self._failed_callbacks: set[str] = set()

    @property
    def is_open(self) -> bool:
        """Whether every event passes as it is."""
        return self._before_send is None and self._opted_out is None and self._sample_rate == 1

    @property
    def asks_for_users(self) -> bool:
        """Whether a user may opt out after an event of his was taken in."""
        return self._opted_out is not None

    def judge(self, event: Event) -> Event | DropReason:
        """Return the event to take in, which may be another one, or the reason to leave it out.

        Raises:
            InvalidEventError: `before_send` returned a mapping that breaks a rule.
        """
        if self.has_opted_out(event.user_token, getattr(event, "authenticated_user_token", None)):
            return DropReason.OPTED_OUT
        if not self._is_sampled(event.user_token):
            return DropReason.SAMPLED
        if self._before_send is None:
            return event
        try:
            result = self._before_send(event)
        except ENDS:
            raise
        except BaseException:  # noqa: BLE001 - it is the application's code, and the request goes on
            self._failed("before_send")
            return DropReason.FILTERED
        if result is None:
            return DropReason.FILTERED
        return result if isinstance(result, Event) else parse_event(result)

    def has_opted_out(self, *tokens: str | None) -> bool:
        """Say whether the user of an event, by any of his tokens, wants none sent."""
        if self._opted_out is None:
            return False
        try:
            return any(self._opted_out(token) for token in tokens if token is not None)
        except ENDS:
            raise
        except BaseException:  # noqa: BLE001 - as above
            self._failed("opted_out")
            return True

    def _is_sampled(self, user_token: str | None) -> bool:
        """Keep or leave out a user as a whole, in every process alike: half a journey is worth nothing."""
        if self._sample_rate == 1:
            return True
        return zlib.crc32((user_token or "").encode()) < self._sample_rate * _CRC_RANGE

    def _failed(self, name: str) -> None:
        self.callback_errors += 1
        if name not in self._failed_callbacks:
            self._failed_callbacks.add(name)
            _log.exception("algolia_events.callback_failed", extra={"callback": name})


def _is_async(callback: object) -> bool:
    return inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(type(callback).__call__)
