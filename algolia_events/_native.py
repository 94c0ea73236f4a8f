"""The part of the library that is written in C, where it could be built.

Nothing but speed depends on it: what it builds and writes, the code in Python would build and write alike.
`ALGOLIA_EVENTS_NO_EXTENSIONS` in the environment leaves it out.
"""

import os
from types import ModuleType
from typing import Final

_INTERFACE: Final = 1
"""Of what this code calls; a build of other times, left over in a checkout, is none."""


def _found() -> ModuleType | None:
    if os.environ.get("ALGOLIA_EVENTS_NO_EXTENSIONS"):
        return None
    try:
        from algolia_events import _speedups  # noqa: PLC0415 - it may be missing
    except ImportError:
        return None
    return _speedups if getattr(_speedups, "INTERFACE", 0) == _INTERFACE else None


speedups: Final = _found()
