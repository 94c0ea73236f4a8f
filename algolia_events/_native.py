"""The part of the library that is written in C, where it could be built.

Nothing but speed depends on it: what it builds and writes, the code in Python would build and write alike.
`ALGOLIA_EVENTS_NO_EXTENSIONS` in the environment leaves it out.
"""

import importlib
import os
from types import ModuleType
from typing import Final


def _found() -> ModuleType | None:
    if os.environ.get("ALGOLIA_EVENTS_NO_EXTENSIONS"):
        return None
    try:
        return importlib.import_module("algolia_events._speedups")
    except ImportError:
        return None


speedups: Final = _found()
