"""The heart of the queue: what is held, what leaves together, and what a verdict does to it.

No I/O, no clock, no randomness, no locks: `now` comes in as an argument, decisions come out as values.
"""

from algolia_events._batching._batch import ENVELOPE_BYTES, SEPARATOR, Batch, join_body
from algolia_events._batching._batcher import Batcher
from algolia_events._batching._claim import Claim, Gathering, pack
from algolia_events._batching._intake import IntakeBatcher
from algolia_events._batching._ledger import Ledger
from algolia_events._batching._line import LineBatcher
from algolia_events._batching._open import SMALL_EVENT
from algolia_events._batching._settlement import Rejection, Settlement
from algolia_events._batching._verdicts import Verdicts

__all__ = [
    "ENVELOPE_BYTES",
    "SEPARATOR",
    "SMALL_EVENT",
    "Batch",
    "Batcher",
    "Claim",
    "Gathering",
    "IntakeBatcher",
    "Ledger",
    "LineBatcher",
    "Rejection",
    "Settlement",
    "Verdicts",
    "join_body",
    "pack",
]
