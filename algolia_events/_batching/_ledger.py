"""The counters that must add up at every moment."""

from collections import Counter

import attrs

from algolia_events.reports import DropReason


@attrs.define
class Ledger:
    """What became of every event. Whoever changes the queue's contents books it here in the same breath."""

    tracked: int = 0
    delivered: int = 0
    rejected: int = 0
    stored: int = 0
    possible_duplicates: int = 0
    requests: int = 0
    dropped: Counter[DropReason] = attrs.field(factory=Counter)

    def refuse(self, reason: DropReason) -> DropReason:
        """Book an event that never came in; return the reason."""
        self.tracked += 1
        self.dropped[reason] += 1
        return reason
