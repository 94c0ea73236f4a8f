"""The command `algolia-events`: send, validate and inspect from a terminal. Needs the extra `cli`."""

import sys
from collections.abc import Sequence
from typing import Final, NoReturn

_PACKAGES: Final = frozenset({"cyclopts", "rich"})


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command with these arguments, the process's own by default, and exit with its code.

    0: all is well; 1: something was refused or left undone; 2: the command was called or configured wrongly.
    """
    try:
        from algolia_events.cli._app import run  # noqa: PLC0415 - the packages it needs may not be installed
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] not in _PACKAGES:
            raise
        sys.stderr.write("algolia-events: the command needs more packages: pip install 'algolia-events[cli]'\n")
        sys.exit(2)
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))
