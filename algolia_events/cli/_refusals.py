"""What was not accepted, and why: in a file for later, and in a few words for whoever watches."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import orjson

from algolia_events._codec import to_mapping
from algolia_events.cli._console import UsageError, note
from algolia_events.cli._records import Record
from algolia_events.cli._sources import as_text

_SHOWN: Final = 10


class Refusals:
    """Takes in refused records.

    Args:
        names: the inputs.
        path: where to keep each with its reason, one JSON object a line; None: nowhere.
        append: whether to keep what the file holds already.
        tell: writes a line for whoever watches.
    """

    def __init__(
        self, names: Sequence[str], path: Path | None, *, append: bool = False, tell: Callable[[str], None] = note
    ) -> None:
        self._names = names
        self._path = path
        self._tell = tell
        self._count = 0
        self._file: BinaryIO | None = None
        if path is not None:
            try:
                self._file = path.open("ab" if append else "wb")
            except OSError as exc:
                raise UsageError(f"{path}: {exc.strerror}") from exc

    def add(self, record: Record, reason: str) -> None:
        """Take in one."""
        self._count += 1
        place = record.position
        name = self._names[place.file]
        if self._count <= _SHOWN:
            self._tell(f"{name}:{place.line}: {reason}")
        if self._file is not None:
            entry = {"line": place.line, "file": as_text(name), "reason": reason, **_content(record)}
            self._file.write(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))

    def flush(self) -> None:
        """Hand what was taken in to the operating system; from any thread."""
        if self._file is not None:
            self._file.flush()

    def summarise(self) -> None:
        """Tell how many there were beyond those shown."""
        if self._count > _SHOWN:
            where = "--rejected FILE keeps them all" if self._path is None else f"all are in {self._path}"
            self._tell(f"… and {self._count - _SHOWN} more; {where}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is None:
            return
        try:
            self._file.close()
        except OSError as problem:  # of what was still to be written
            self._tell(f"{self._path}: {problem.strerror}: not all that was refused is in it")


def reason_of(record: Record) -> str:
    """Put what is wrong with a record into one line."""
    return "; ".join(f"{field}: {text}" for field, text in record.problems)


def _content(record: Record) -> dict[str, Any]:
    """Give the event as an object where there is one, else its line as text."""
    if record.event is not None:
        return {"event": to_mapping(record.event)}
    if isinstance(record.content, bytes):
        return {"event": None, "text": record.content.decode(errors="replace")}
    return {"event": record.content}
