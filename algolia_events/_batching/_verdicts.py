"""What became of claimed groups, until their outbox knows."""

from typing import Self

import attrs

from algolia_events._batching._claim import Claim
from algolia_events._groups import ClaimedGroup, DeadLetter


@attrs.define(eq=False)
class Verdicts:
    """Groups to settle, and how many claims (requests, that is) they stand for."""

    done: list[ClaimedGroup] = attrs.field(factory=list)
    left: list[ClaimedGroup] = attrs.field(factory=list)
    rejected: list[DeadLetter] = attrs.field(factory=list)
    claims: int = 0

    def __bool__(self) -> bool:
        return bool(self.done or self.left or self.rejected)

    def add(self, claim: Claim) -> None:
        """Note the verdict on a claim that is settled."""
        done, left = claim.verdict()
        self.done += done
        self.left += left
        self.rejected += claim.rejected
        self.claims += 1

    def put_back(self, earlier: Self) -> None:
        """Bring back what could not be written."""
        self.done[:0] = earlier.done
        self.left[:0] = earlier.left
        self.rejected[:0] = earlier.rejected
        self.claims += earlier.claims
