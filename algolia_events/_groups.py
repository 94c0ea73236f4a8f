"""What an outbox stores and hands out: runs of encoded events, with what a sender has to know of them."""

import attrs


@attrs.frozen(kw_only=True)
class EventGroup:
    r"""Encoded events that are stored, claimed and settled together.

    It never holds more than one request may: 1000 events, 2 MB.
    """

    body: bytes = attrs.field(repr=False)
    r"""The events' JSON, joined by `,\n`: no event holds a line feed, so the run can be cut without being parsed."""
    count: int
    """Events in it."""
    oldest_ms: int
    """The earliest timestamp in it, or in what was stored with it, in epoch milliseconds."""
    origin: str
    """Names the queue that stored it."""


@attrs.frozen(kw_only=True)
class ClaimedGroup(EventGroup):
    """A group that is this process's to send, until it is settled."""

    key: object
    """What its outbox knows it by; nobody else looks inside."""


@attrs.frozen(kw_only=True)
class DeadLetter:
    """An event that the server refused for good, kept for somebody to look at."""

    event: bytes = attrs.field(repr=False)
    """Its JSON as it was sent."""
    status: int
    """The HTTP status of the refusal."""
    message: str
    """The server's words."""
    rejected_ms: int
    """When it was refused, in epoch milliseconds."""
    key: object = None
    """What its outbox knows it by, once it is kept."""


@attrs.frozen(kw_only=True)
class OutboxSizes:
    """How much an outbox holds, whoever stored it; what is claimed is included until it is settled."""

    events: int
    groups: int
    bytes: int
    """Of the events themselves."""
    rejected: int
    """Dead letters."""
    oldest_ms: int | None
    """The earliest timestamp in the group stored first, in epoch milliseconds; None when there is none."""
