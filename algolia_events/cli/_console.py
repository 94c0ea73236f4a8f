"""What every command shares: where words go, and the codes to exit with."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import Any, Final, TextIO

OK: Final = 0
NOT_ALL_WELL: Final = 1
USAGE: Final = 2


class UsageError(Exception):
    """The command was called with something that it cannot work with; the message says what to do."""


class OutputError(Exception):
    """The standard output takes nothing any more; the message says why."""


def say(line: str) -> None:
    """Write a result, one line, to the standard output; where nobody reads it any more (`| head`), that is all right.

    Raises:
        OutputError: it cannot be written.
    """
    with suppress(BrokenPipeError), _translated():
        sys.stdout.write(f"{readable(line)}\n")
        sys.stdout.flush()


def say_json(result: Any) -> None:
    """Write a result as one line of JSON, in UTF-8 whatever the locale; otherwise like `say`."""
    line = json.dumps(result, ensure_ascii=False, separators=(",", ":"))
    with suppress(BrokenPipeError):
        say_bytes(line.encode(errors="backslashreplace") + b"\n")  # which is how JSON writes half a character, too
        say_the_rest()


def say_bytes(lines: bytes) -> None:
    """Write results as they are to the standard output, sooner or later.

    Raises:
        BrokenPipeError: nobody reads it any more.
        OutputError: it cannot be written.
    """
    with _translated():
        sys.stdout.buffer.write(lines)


def say_the_rest() -> None:
    """Write what is still held back; errors as in `say_bytes`."""
    with _translated():
        sys.stdout.buffer.flush()


def note(line: str) -> None:
    """Write what is for people, one line, to the standard error; where that fails, there is nobody to tell."""
    with suppress(OSError):
        if sys.stderr is not None:
            sys.stderr.write(f"{readable(line)}\n")
            sys.stderr.flush()


def readable(line: str) -> str:
    """Spell out what is not to be shown: control characters, of which a terminal makes commands, and broken text."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def spell_out_what_the_locale_lacks() -> None:
    """Write characters that the standard output's encoding does not have as escapes, as the standard error does."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def give_up_the_rest() -> None:
    """Drop what could not be written: the interpreter would try once more at its end, and fail with many words."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            _drop(stream)


@contextmanager
def _translated() -> Iterator[None]:
    if sys.stdout is None:
        raise OutputError("the standard output is closed")
    try:
        yield
    except BrokenPipeError:
        _drop(sys.stdout)
        raise
    except OSError as exc:
        raise OutputError(f"the standard output cannot be written: {exc.strerror}") from exc


def _drop(stream: TextIO) -> None:
    """Let go where nobody sees it what a stream still holds, and whatever comes."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
