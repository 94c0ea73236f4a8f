"""Tells which of the consumers that hold entries are dead, from what one process has seen, by its own clock."""

import math
from collections.abc import Iterable
from typing import Final

import attrs

_SILENCE: Final = 5.0
"""In seconds: whoever has shown no new sign of life for so long is taken for dead."""
_GAP: Final = 2.0
"""In seconds, from one question that Redis answered to the next answer. If it takes longer, perhaps nobody was able to
show that he lives, and the silence begins anew: no clock but the watcher's, and no time when Redis was away, counts."""


@attrs.frozen
class _Sight:
    """A sign of life, since when it has not changed, and whether any has ever changed."""

    sign: bytes
    since: float
    has_changed: bool = False


class Watch:
    """Sees signs of life, and tells who has fallen silent. Times are seconds of any clock that never goes back."""

    def __init__(self, *, silence: float = _SILENCE, gap: float = _GAP) -> None:
        self._silence = silence
        self._gap = gap
        self._sights: dict[bytes, _Sight] = {}
        self._asked = -math.inf

    def see(self, signs: Iterable[tuple[bytes, bytes]], *, asked: float, answered: float) -> None:
        """Take in the signs of all who hold something, by their names, from an answer of Redis."""
        before = self._sights
        if answered - self._asked > self._gap:
            before = {name: attrs.evolve(sight, since=answered) for name, sight in before.items()}
        self._asked = max(self._asked, asked)
        self._sights = {}
        for name, sign in signs:
            sight = before.get(name)
            if sight is None or sight.sign != sign:
                sight = _Sight(sign, answered, has_changed=sight is not None)
            self._sights[name] = sight

    def silent(self, now: float) -> list[tuple[bytes, bytes]]:
        """List the dead, each with the sign that has not changed."""
        if now - self._asked > self._gap:
            return []
        return [(name, sight.sign) for name, sight in self._sights.items() if now - sight.since >= self._silence]

    @property
    def is_in_doubt(self) -> bool:
        """Whether there are some who have shown no sign of life, and have not been silent for long enough."""
        return not all(sight.has_changed for sight in self._sights.values())
