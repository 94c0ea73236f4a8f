"""Dead letters turned back into groups of events, to be sent again."""

from collections.abc import Iterable, Iterator
from typing import Final

from algolia_events import _limits
from algolia_events._batching import ENVELOPE_BYTES, SEPARATOR
from algolia_events._codec import event_timestamp
from algolia_events._groups import DeadLetter, EventGroup

RETRIED: Final = "retried"
"""The origin of events that come back from the dead letters: no queue counts them as its own."""


def groups_of(letters: Iterable[DeadLetter]) -> Iterator[EventGroup]:
    """Join the events of dead letters into groups that fit into requests."""
    run: list[bytes] = []
    size = ENVELOPE_BYTES
    for letter in letters:
        added = len(letter.event) + len(SEPARATOR)
        if run and (len(run) == _limits.MAX_EVENTS_PER_REQUEST or size + added >= _limits.MAX_REQUEST_BYTES):
            yield _group(run)
            run, size = [], ENVELOPE_BYTES
        run.append(letter.event)
        size += added
    if run:
        yield _group(run)


def _group(events: list[bytes]) -> EventGroup:
    # An event without a timestamp cannot be too old: the server stamps it when it comes.
    stamps = [stamp for stamp in map(event_timestamp, events) if stamp is not None]
    oldest = min(stamps, default=1 << 62)
    return EventGroup(body=SEPARATOR.join(events), count=len(events), oldest_ms=oldest, origin=RETRIED)
