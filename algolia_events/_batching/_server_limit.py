"""What the server takes in one body, as far as its answers have taught us."""

import math
from typing import Final

from algolia_events import _limits
from algolia_events._batching._batch import ENVELOPE_BYTES

LARGEST_BODY: Final = _limits.MAX_REQUEST_BYTES - 1
_SECONDS: Final = 60.0
"""How long a limit learnt from a 413 holds before it is doubled."""


class ServerLimit:
    """Falls with each 413 and grows back in time: the proxy that refused may be gone tomorrow."""

    def __init__(self) -> None:
        self.body_bytes = LARGEST_BODY
        """The largest body to send, the envelope included."""
        self._since = -math.inf

    def learn(self, refused_body: int, *, now: float) -> None:
        """Note that a body of this size was too large."""
        self.body_bytes = min(self.body_bytes, refused_body // 2 + ENVELOPE_BYTES)
        self._since = now

    def grow(self, *, now: float) -> None:
        """Double the limit if it is old."""
        if self.body_bytes < LARGEST_BODY and now >= self._since + _SECONDS:
            self.body_bytes = min(LARGEST_BODY, self.body_bytes * 2)
            self._since = now
