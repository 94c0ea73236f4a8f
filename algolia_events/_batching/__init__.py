"""The heart of the queue: what is held, what leaves together, and what a verdict does to it.

No I/O, no clock, no randomness, no locks: `now` comes in as an argument, decisions come out as values.
"""

from algolia_events._batching._batch import ENVELOPE_BYTES, SEPARATOR, Batch, join_body
from algolia_events._batching._batcher import Batcher, Rejection, Resolution, Settlement
from algolia_events._batching._ledger import Ledger

__all__ = [
    "ENVELOPE_BYTES",
    "SEPARATOR",
    "Batch",
    "Batcher",
    "Ledger",
    "Rejection",
    "Resolution",
    "Settlement",
    "join_body",
]
