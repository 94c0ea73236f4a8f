"""Groups of made-up events, to put into outboxes."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from algolia_events.abc import ExchangingOutbox, InspectableOutbox
from algolia_events.outbox import EventGroup


class OwnOutbox(ExchangingOutbox, InspectableOutbox, Protocol):
    """What each of our own outboxes can do."""


MakeOutbox = Callable[..., Awaitable[OwnOutbox]]


def group(*names: str, origin: str = "here", padding: int = 0, oldest_ms: int = 1_750_000_000_000) -> EventGroup:
    """A group of made-up events, one a name."""
    events = [b'{"name":"%s%s"}' % (name.encode(), b"." * padding) for name in names]
    return EventGroup(body=b",\n".join(events), count=len(events), oldest_ms=oldest_ms, origin=origin)


def bodies(groups: Sequence[EventGroup]) -> list[bytes]:
    """List what the groups hold."""
    return [each.body for each in groups]


def events_in(groups: Sequence[EventGroup]) -> list[bytes]:
    """List the events that the groups hold."""
    return [event for each in groups for event in each.body.split(b",\n")]
