"""Decide what an answer means and when the next request may leave. No I/O, no clock, no randomness."""

from collections.abc import Callable
from typing import Any, Final

import attrs

from algolia_events._answers import asked_pause, error_message
from algolia_events._wire import Response
from algolia_events.config import RetryOptions
from algolia_events.errors import CertificateError, TransportError
from algolia_events.reports import Health, HealthState

_FIRST_SUCCESS: Final = 200
_FIRST_REDIRECT: Final = 300
_FIRST_SERVER_ERROR: Final = 500
_REFUSED: Final = frozenset({400, 422})
_TOO_LARGE: Final = 413
_COME_BACK_LATER: Final = frozenset({408, 425, 429})
_GATEWAY_TIMEOUT: Final = 504
_CLOSING_CAP: Final = 1.0
_MAX_DOUBLINGS: Final = 32


@attrs.frozen
class Accepted:
    """The server took the whole batch."""


@attrs.frozen
class Refused:
    """The server refuses the batch as it is: some event in it is bad, and the answer does not say which."""

    status: int
    message: str


@attrs.frozen
class TooLarge:
    """The body is more than the server takes."""

    status: int
    message: str


@attrs.frozen(kw_only=True)
class Failed:
    """No verdict on the batch: it has to be sent again."""

    reason: str
    ambiguous: bool
    """Whether the server may have taken it all the same."""
    pause: float | None = None
    """What the server asks us to wait, in seconds."""
    throttled: bool = False
    """Whether the server works, and only wants fewer requests."""


@attrs.frozen(kw_only=True)
class Blocked:
    """Nothing can be delivered until somebody acts: credentials, address or certificate are wrong."""

    reason: str


@attrs.frozen
class Stored:
    """The batch is safe in the outbox."""


@attrs.frozen
class Moved:
    """The batch goes on without the outbox, on the books of those who send it."""

    take_over: Callable[[Any], None]
    """Puts the batch on those books."""


Outcome = Accepted | Refused | TooLarge | Failed | Blocked | Stored | Moved


def classify_response(response: Response, *, wall: float) -> Outcome:
    """Decide what an answer to `POST /1/events` means for its batch; `wall` is the present in Unix seconds.

    A status that is neither documented nor known to be passing keeps the events and asks for somebody's attention:
    to drop them would lose what a corrected address or proxy still delivers.
    """
    status = response.status
    if _FIRST_SUCCESS <= status < _FIRST_REDIRECT:
        return Accepted()
    message = error_message(response)
    if status in _REFUSED:
        return Refused(status, message)
    if status == _TOO_LARGE:
        return TooLarge(status, message)
    if status in _COME_BACK_LATER or status >= _FIRST_SERVER_ERROR:
        return Failed(
            reason=f"{status}: {message}",
            # A gateway that gave up waiting does not know what became of the request behind it.
            ambiguous=status == _GATEWAY_TIMEOUT,
            pause=asked_pause(response.headers, wall=wall),
            throttled=status in _COME_BACK_LATER,
        )
    return Blocked(reason=f"{status}: {message}")


def classify_error(error: TransportError) -> Outcome:
    """Decide what the want of an answer means for a batch."""
    if isinstance(error, CertificateError):
        return Blocked(reason=error.reason)
    return Failed(reason=error.reason, ambiguous=error.ambiguous)


_WELL: Final = Health(state=HealthState.OK)


class Gate:
    """The one retry state that all slots share: an outage costs a probe an interval, not a probe a batch.

    Open, it lets `slots` requests be under way. After a failure it lets one out at a time, the next not before
    `opens_at`; the first success opens it again. A request carries the era it began in: what returns from before
    the last change of state is old news, and neither lengthens a pause nor ends one.
    """

    def __init__(self, slots: int, options: RetryOptions) -> None:
        self._slots = slots
        self._options = options
        self._health = _WELL
        self._failures = 0
        self._era = 0
        self._closing = False
        self._asked_until = 0.0
        self.opens_at = 0.0
        """The moment (monotonic seconds) before which no request may leave."""

    @property
    def is_open(self) -> bool:
        """Whether the last that was heard of the server was good."""
        return self._health is _WELL

    @property
    def era(self) -> int:
        """What a request has to carry from `admits()` to its verdict."""
        return self._era

    def admits(self, in_flight: int, *, now: float) -> bool:
        """Say whether one more request may leave while `in_flight` are under way."""
        return self.has_slot(in_flight) and now >= self.opens_at

    def has_slot(self, in_flight: int) -> bool:
        """Say whether one more request may be under way, pauses aside."""
        return in_flight < (self._slots if self.is_open else 1)

    def health(self, *, now: float) -> Health:
        """Describe the state."""
        if self.is_open:
            return self._health
        return attrs.evolve(self._health, next_attempt_in=max(0.0, self.opens_at - now))

    def answered(self, era: int) -> None:
        """Note that the server gave a verdict on a batch, which ends an outage."""
        if not self.is_open and era == self._era:
            self.reopen()

    def reopen(self) -> None:
        """Forget all failures: the server answered, or what was wrong has been put right."""
        self._health = _WELL
        self._failures = 0
        self._era += 1
        self.opens_at = self._asked_until = 0.0

    def failed(self, era: int, outcome: Failed, *, now: float, jitter: float) -> None:
        """Note a failure, with `jitter` drawn evenly from [0, 1).

        The pause is drawn between 0 and the backoff (full jitter), so that clients which failed together do not
        return together; what the server asked for is a floor under it, up to `max_retry_after`.
        """
        if outcome.pause is not None:
            asked = now + min(outcome.pause, self._options.max_retry_after)
            self._asked_until = max(self._asked_until, asked)
        if era == self._era or self.is_open:
            self._era += 1
            self._failures += 1
            self.opens_at = now + jitter * self._backoff()
            state = HealthState.PAUSED if outcome.throttled else HealthState.RETRYING
            self._health = Health(state=state, reason=outcome.reason)
        self.opens_at = max(self.opens_at, self._asked_until)

    def blocked(self, era: int, outcome: Blocked, *, now: float) -> None:
        """Note that somebody has to act, unless that has been done since: `reopen()` begins an era as well."""
        if era == self._era:
            self._health = Health(state=HealthState.BLOCKED, reason=outcome.reason)
            self._era += 1
            self.opens_at = now + self._options.probe_interval

    def hurry(self, *, now: float) -> None:
        """Cut short what we chose to wait, since the client closes; what the server asked for stands."""
        self._closing = True
        self.opens_at = max(min(self.opens_at, now), self._asked_until)

    def _backoff(self) -> float:
        doubled = self._options.backoff_base * 2.0 ** min(self._failures - 1, _MAX_DOUBLINGS)
        return min(doubled, self._options.backoff_cap, _CLOSING_CAP if self._closing else self._options.backoff_cap)
