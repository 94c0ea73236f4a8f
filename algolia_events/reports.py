"""What the queue says of itself: counters, reports, reasons, health."""

import enum
from collections.abc import Mapping
from typing import Self

import attrs


class DropReason(enum.StrEnum):
    """Why an event was given up. A member equals its value: `stats().dropped["queue_full"]` works."""

    QUEUE_FULL = "queue_full"
    """No room, in events or in bytes."""
    TOO_LARGE = "too_large"
    """The event alone is larger than a request may be."""
    INVALID = "invalid"
    """A mapping that breaks a rule, with `strict=False`."""
    EXPIRED = "expired"
    """Older than `max_event_age` when its turn came."""
    CLOSED = "closed"
    """Tracked after `aclose()`."""
    SHUTDOWN = "shutdown"
    """Neither sent nor stored when the time given to `aclose()` was over."""
    AMBIGUOUS = "ambiguous"
    """Its request was broken off when bytes may have left, and it was not sent again; or the queue closed before the
    outbox had said whether it keeps it. It may have arrived, or may yet."""
    FILTERED = "filtered"
    """`before_send` said so."""
    SAMPLED = "sampled"
    """Sampling left it out."""
    OPTED_OUT = "opted_out"
    """Its user has opted out."""
    FAILED = "failed"
    """The background task died of an error of ours; the log has it."""


class HealthState(enum.StrEnum):
    """How the sending goes."""

    OK = "ok"
    """Nothing stands in the way."""
    RETRYING = "retrying"
    """The server or the network fails; events wait and a probe goes out from time to time."""
    PAUSED = "paused"
    """The server asked for a pause."""
    BLOCKED = "blocked"
    """Credentials, an address or a certificate are wrong: somebody has to act; a probe a minute goes out."""
    DEGRADED = "degraded"
    """The durable outbox fails; memory has taken over."""
    FAILED = "failed"
    """The background task died."""
    CLOSED = "closed"
    """`aclose()` was called."""


@attrs.frozen(kw_only=True)
class Health:
    """A state, and the reason for it in a sentence (None while all is well)."""

    state: HealthState
    reason: str | None = None
    next_attempt_in: float | None = None
    """Seconds until the next request may leave, where one is waited for."""

    @property
    def ok(self) -> bool:
        """Whether nothing stands in the way of sending."""
        return self.state is HealthState.OK


@attrs.frozen(kw_only=True)
class SendingStats:
    """Counters of what this process claimed from the outbox, whoever stored it.

    At every moment `claimed == accepted + rejected + sum(dropped.values()) + given_back + in_flight`.
    """

    claimed: int
    accepted: int
    """Taken by the server."""
    rejected: int
    """Refused by the server, for good; kept as dead letters."""
    dropped: Mapping[DropReason, int]
    """Given up, by reason: expired, opted out, or ambiguous."""
    given_back: int
    """Left to others, or to a later start, when this process closed."""
    in_flight: int
    """Claimed, and none of these yet."""

    @property
    def expired(self) -> int:
        """Older than `max_event_age` when their turn came."""
        return self.dropped.get(DropReason.EXPIRED, 0)


@attrs.frozen(kw_only=True)
class QueueStats:
    """Counters of events since the queue was made, taken at one moment.

    At every moment `tracked == delivered + rejected + sum(dropped.values()) + pending + stored`.
    """

    tracked: int
    """Handed to `track`, `put` or `deliver`, refused ones included."""
    delivered: int
    """Accepted by the server."""
    rejected: int
    """Refused by the server, for good: alone or, where dozens of a request were bad, with a few others."""
    dropped: Mapping[DropReason, int]
    """Given up, by reason; reasons that never occurred are absent."""
    pending: int
    """Waiting or in flight in this process."""
    stored: int
    """Known to be safe in the durable outbox, and not sent by this process; another may have."""
    possible_duplicates: int
    """Sent again by this process although the first request may have arrived, or sent from memory although the outbox
    had kept them and said that it failed."""
    pending_bytes: int
    """What the pending events take on the wire."""
    in_flight: int
    """Requests waiting for their answer."""
    requests: int
    """Requests begun so far."""
    sending: SendingStats | None = None
    """The second ledger, of events claimed from a durable outbox; None without one."""
    callback_errors: int = 0
    """How often a hook, `before_send` or `opted_out` has raised."""


@attrs.frozen(kw_only=True)
class DeliveryReport:
    """What has become of the events tracked so far, when `flush()` or `aclose()` returned.

    Counts run from the making of the queue, as in `QueueStats`, so that reports can be compared; `dropped` is the
    sum over all reasons.
    """

    delivered: int
    rejected: int
    dropped: int
    pending: int
    stored: int
    possible_duplicates: int
    timed_out: bool
    """Whether the deadline came before the work was done."""

    @classmethod
    def of(cls, stats: QueueStats, *, timed_out: bool) -> Self:
        """Make a report of counters."""
        return cls(
            delivered=stats.delivered,
            rejected=stats.rejected,
            dropped=sum(stats.dropped.values()),
            pending=stats.pending,
            stored=stats.stored,
            possible_duplicates=stats.possible_duplicates,
            timed_out=timed_out,
        )
