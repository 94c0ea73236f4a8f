"""The heart of the queue: what is held, what leaves together, and what a verdict does to it.

No I/O, no clock, no randomness, no locks: `now` comes in as an argument, decisions come out as values.

The queue's lock keeps other threads out. It cannot keep out a signal handler, which runs in the thread that holds the
lock, in the middle of any method here, and may track an event, read the counters, or raise. CPython runs one only where
a function begins, behind a call of something that is written in C, and where a loop goes round: not within a run of
plain statements. So whatever changes what is held does it in one such run, marked "No call from here on"; a call may be
its last statement. What the run needs is computed before it; where a handler may have made that out of date, the run
begins by asking whether one did, and if so, everything is computed anew. This is why it says `batches -= {batch}` where
`batches.remove(batch)` would be expected, and `del line[0]` for `line.popleft()`.
"""

from algolia_events._batching._batch import ENVELOPE_BYTES, SEPARATOR, Batch, join_body
from algolia_events._batching._batcher import Batcher
from algolia_events._batching._claim import Claim, FateKind, Gathering, pack
from algolia_events._batching._intake import COMMIT_LINGER, IntakeBatcher
from algolia_events._batching._ledger import Ledger
from algolia_events._batching._open import Entry
from algolia_events._batching._sender import SenderBatcher
from algolia_events._batching._settlement import Rejection, Settlement
from algolia_events._batching._verdicts import Verdicts

__all__ = [
    "COMMIT_LINGER",
    "ENVELOPE_BYTES",
    "SEPARATOR",
    "Batch",
    "Batcher",
    "Claim",
    "Entry",
    "FateKind",
    "Gathering",
    "IntakeBatcher",
    "Ledger",
    "Rejection",
    "SenderBatcher",
    "Settlement",
    "Verdicts",
    "join_body",
    "pack",
]
