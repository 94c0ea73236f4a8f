"""The counters that must add up at every moment."""

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
    dropped: dict[DropReason, int] = attrs.field(factory=lambda: dict.fromkeys(DropReason, 0))
    """By reason, all of which are there: a Counter would make a call for one that is missing, behind which a signal
    handler can change the number."""

    def refuse(self, reason: DropReason) -> DropReason:
        """Book an event that never came in; return the reason."""
        self.tracked += 1
        self.dropped[reason] += 1
        return reason

    def dropped_so_far(self) -> dict[DropReason, int]:
        """Copy the reasons that have occurred."""
        return {reason: count for reason, count in self.dropped.items() if count}
