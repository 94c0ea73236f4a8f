"""Every error that this library raises on purpose.

    AlgoliaEventsError
    ├── ConfigurationError (ValueError)           an option or a variable of the environment is wrong
    ├── InvalidEventError (ValueError)            an event breaks a rule; lists each problem by field
    ├── InvalidQueryError (ValueError)            a Recommend query breaks a rule
    ├── QueueFullError                            `overflow="raise"` and no room
    ├── ClientClosedError                         used after `aclose()`
    ├── WrongLoopError (RuntimeError)             awaited in another event loop than the client's
    ├── EventRejectedError                        Algolia refused the event; carries its words
    ├── EventDroppedError                         the event was given up; carries the reason
    ├── TransportError                            no answer could be had
    │   ├── CertificateError                      the server's certificate does not verify
    │   └── UnreachableError                      no host of a list gave an answer
    ├── ApiError                                  an answer other than success
    │   ├── BadRequestError                       400, 413, 422
    │   ├── CredentialsError                      401, 403
    │   ├── FeatureNotEnabledError                402
    │   ├── NotFoundError                         404
    │   ├── RateLimitedError                      408, 425, 429
    │   └── ServerError                           5xx
    ├── AnswerError                               an answer of success that cannot be read
    ├── AttributionError
    │   ├── MissingQueryIDError (ValueError)      asked without `clickAnalytics`
    │   └── TokenError (ValueError)               a signed token is
    │       ├── TokenExpiredError                 too old
    │       └── TokenForgedError                  not ours, changed or cut
    └── OutboxError                               a durable store failed
        └── OutboxFullError

Messages name the thing, the value and the way out; they never hold a key, a user token or an event's content.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Self


class AlgoliaEventsError(Exception):
    """The base of every error here.

    `retriable` says whether the same call may succeed later without a change by the caller.
    """

    retriable: bool = False


class ConfigurationError(AlgoliaEventsError, ValueError):
    """An option, an argument of a constructor, a variable of the environment or a time limit is wrong."""


class _RulesBrokenError(AlgoliaEventsError, ValueError):
    """A value breaks rules of the wire, each named by its field."""

    def __init__(self, kind: str, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__(f"{kind}: " + "; ".join(f"{field}: {text}" for field, text in problems))
        self.kind = kind
        self.problems: tuple[tuple[str, str], ...] = tuple(problems)

    def __reduce__(self) -> tuple[type[Self], tuple[str, tuple[tuple[str, str], ...]]]:
        return type(self), (self.kind, self.problems)


class InvalidEventError(_RulesBrokenError):
    """An event breaks rules of the wire.

    `problems` holds (field, what is wrong and the way out) pairs, in the order of the fields. Fields are named as
    the caller named them: snake_case for the classes, camelCase for `parse_event()`.
    """


class InvalidQueryError(_RulesBrokenError):
    """A Recommend query breaks rules of the wire; `problems` as in `InvalidEventError`."""


class QueueFullError(AlgoliaEventsError):
    """The queue holds as much as it may, and `overflow="raise"` was chosen."""

    retriable = True

    def __init__(self, max_events: int, max_bytes: int) -> None:
        super().__init__(
            f"the queue is at its bound of {max_events} events or {max_bytes} bytes; await put() to wait for room"
        )
        self.max_events = max_events
        self.max_bytes = max_bytes

    def __reduce__(self) -> tuple[type[Self], tuple[int, int]]:
        return type(self), (self.max_events, self.max_bytes)


class ClientClosedError(AlgoliaEventsError):
    """The client was closed before, or while, this was waited for."""


class WrongLoopError(AlgoliaEventsError, RuntimeError):
    """A coroutine of the client was awaited in another event loop than the one it was started in."""

    def __init__(self) -> None:
        super().__init__(
            "this client runs in another event loop: await it there, or make one client a loop"
            " (track() and stats() work from anywhere)"
        )


class EventRejectedError(AlgoliaEventsError):
    """Algolia refused the event.

    `status` is the HTTP status, `message` the server's words.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the server refused the event with {status}: {message}")
        self.status = status
        self.message = message

    def __reduce__(self) -> tuple[type[Self], tuple[int, str]]:
        return type(self), (self.status, self.message)


class EventDroppedError(AlgoliaEventsError):
    """The event was given up before an answer to it was had; `reason` is a `DropReason`'s value."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the event was dropped: {reason}")
        self.reason = reason

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self.reason,)


class TransportError(AlgoliaEventsError):
    """No answer could be had: a name, a connection, a handshake or a time limit failed.

    `ambiguous` is True when bytes of the request's body had left: the server may have acted on them.
    """

    retriable = True

    def __init__(self, reason: str, *, ambiguous: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.ambiguous = ambiguous

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_transport_error, (type(self), self.reason, self.ambiguous)


def _rebuild_transport_error(cls: type[TransportError], reason: str, ambiguous: bool) -> TransportError:  # noqa: FBT001
    return cls(reason, ambiguous=ambiguous)


class CertificateError(TransportError):
    """The server's certificate does not verify. Nothing was sent, and nothing is sent unverified."""


class UnreachableError(TransportError):
    """Each host of a list was tried and none answered; `attempts` holds (host, what went wrong) pairs."""

    def __init__(self, attempts: Sequence[tuple[str, str]]) -> None:
        tried = "; ".join(f"{host}: {reason}" for host, reason in attempts)
        super().__init__(f"no host answered ({tried})", ambiguous=False)
        self.attempts: tuple[tuple[str, str], ...] = tuple(attempts)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.attempts,)


class ApiError(AlgoliaEventsError):
    """The server answered, and not with success.

    `status` is the HTTP status, `message` the server's words (or the standard phrase where the body gave none),
    `correlation_id` the server's name for the failure, `request_id` ours for the call, where there are any.
    `retry_after` is how many seconds the server asked to be left alone, counted from its answer; None where it did
    not, or where another try could not help.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        correlation_id: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        marks = [
            f"{name} {value}" for name, value in (("correlation", correlation_id), ("request", request_id)) if value
        ]
        pause = "" if retry_after is None else f"; the server asks for a pause of {math.ceil(retry_after)} s"
        super().__init__(f"{status}: {message}" + (f" ({', '.join(marks)})" if marks else "") + pause)
        self.status = status
        self.message = message
        self.correlation_id = correlation_id
        self.request_id = request_id
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[object, ...]:
        build = partial(
            type(self),
            correlation_id=self.correlation_id,
            request_id=self.request_id,
            retry_after=self.retry_after,
        )
        return build, (self.status, self.message)

    @staticmethod
    def from_status(
        status: int,
        message: str,
        *,
        correlation_id: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> "ApiError":
        """Build the class that fits a status; `retry_after` is kept by those that are retriable."""
        cls = _BY_STATUS.get(status, ServerError if status >= _FIRST_SERVER_ERROR else ApiError)
        pause = retry_after if cls.retriable else None
        return cls(status, message, correlation_id=correlation_id, request_id=request_id, retry_after=pause)


class BadRequestError(ApiError):
    """The server could not accept what was sent (400, 413, 422)."""


class CredentialsError(ApiError):
    """The application ID or the key is wrong, or the key lacks the right (401, 403)."""


class FeatureNotEnabledError(ApiError):
    """The application's plan does not include what was asked for (402)."""


class NotFoundError(ApiError):
    """The index, the model or the path does not exist (404)."""


class RateLimitedError(ApiError):
    """The server asks for a pause (408, 425, 429), of `retry_after` seconds where it says for how long."""

    retriable = True


class ServerError(ApiError):
    """The server failed (5xx)."""

    retriable = True


_FIRST_SERVER_ERROR = 500
_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequestError,
    401: CredentialsError,
    402: FeatureNotEnabledError,
    403: CredentialsError,
    404: NotFoundError,
    408: RateLimitedError,
    413: BadRequestError,
    422: BadRequestError,
    425: RateLimitedError,
    429: RateLimitedError,
}


class AnswerError(AlgoliaEventsError):
    """The server answered with success, but the body cannot be read."""


class AttributionError(AlgoliaEventsError):
    """An event cannot be tied to the answer that caused it."""


class MissingQueryIDError(AttributionError, ValueError):
    """The answer holds no query ID, so no after-search event can be built from it."""

    def __init__(self, wanted: str) -> None:
        super().__init__(
            f"{wanted} needs a query ID and this result has none: ask with clickAnalytics=true in queryParameters"
            " (this library does unless told otherwise; trending facets never have one)"
        )
        self.wanted = wanted

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self.wanted,)


class TokenError(AttributionError, ValueError):
    """A signed attribution token cannot be used."""


class TokenExpiredError(TokenError):
    """The token is genuine but older than the age limit."""


class TokenForgedError(TokenError):
    """The token was not signed with any of the keys, or was changed or cut."""


class OutboxError(AlgoliaEventsError):
    """A durable store could not do what was asked; the cause is chained."""

    retriable = True


class OutboxFullError(OutboxError):
    """The durable store is at its bound; `max_bytes` is that bound."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the outbox is at its bound of {max_bytes} bytes")
        self.max_bytes = max_bytes

    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        return type(self), (self.max_bytes,)
