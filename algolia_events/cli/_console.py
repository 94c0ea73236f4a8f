"""What every command shares: where words go, and the codes to exit with."""

import contextlib
import os
import sys
from typing import Final, TextIO

OK: Final = 0
NOT_ALL_WELL: Final = 1
USAGE: Final = 2


class UsageError(Exception):
    """The command was called with something that it cannot work with; the message says what to do."""


def say(line: str) -> None:
    """Write a result, one line, to the standard output."""
    _write(sys.stdout, line)


def note(line: str) -> None:
    """Write what is for people, one line, to the standard error."""
    _write(sys.stderr, line)


def _write(stream: TextIO, line: str) -> None:
    try:
        stream.write(f"{line}\n")
        stream.flush()
    except BrokenPipeError:
        # Whoever read it went away (`| head`); what is left in the buffer must not fail again at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
