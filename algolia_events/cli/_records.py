"""Lines to records: an event, or what is wrong with it, and where it stands."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import attrs
import orjson

from algolia_events._codec import parse_event
from algolia_events.cli._csv import CsvOptions, RowReader
from algolia_events.cli._lines import MAX_LINE_BYTES, Line, join_rows, split_lines
from algolia_events.cli._sources import STDIN, Extent, Source, SourceError
from algolia_events.errors import InvalidEventError
from algolia_events.events import Event

Problems = Sequence[tuple[str, str]]
Content = tuple[Any, Problems]

_CHUNK_RECORDS: Final = 500
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_CSV_SUFFIXES: Final = (".csv", ".csv.gz")


class Position(NamedTuple):
    """The place of a record, and a checksum to know the input by. A tuple, since one is made for each event."""

    number: int
    """Among all records of all inputs, from 0."""
    file: int
    line: int
    start: int
    """Its first byte, in the unpacked input."""
    checksum: int
    """Of its input up to its end."""


@attrs.define(eq=False)
class Record:
    """One event of an input: `event`, or `problems` where there can be none."""

    position: Position
    event: Event | None
    problems: Problems = ()
    content: Any = None
    """Of an event with problems: its members, or its `bytes` where not even those can be told."""


class RecordReader:
    """Reads inputs one after the other, in constant memory.

    Args:
        names: files, or `-`.
        csv: how to read CSV.
        all_csv: whether all inputs are CSV, and not only those with such a name.
        after: the last record that is of no interest any more.
        before: what the inputs before the one of `after` came to, each of which must be the same still.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        csv: CsvOptions | None = None,
        all_csv: bool = False,
        after: Position | None = None,
        before: Sequence[Extent] = (),
    ) -> None:
        self.names = names
        self.extents = list(before)
        """What each input that has been read to its end came to."""
        self.consumed = 0
        """Bytes read so far as they are stored, compressed ones where they are: what a progress bar shows."""
        self.on_unused_columns: Callable[[str, list[str]], None] = lambda _name, _columns: None
        """Is told which columns of a CSV file go unread."""
        self._csv = csv or CsvOptions()
        self._all_csv = all_csv
        self._after = after
        self._number = 0

    def chunks(self) -> Iterator[list[Record]]:
        """Yield records, some at a time; none is held back while more have to be waited for.

        Raises:
            SourceError: an input cannot be read on, or is not the one that `after` or `before` belongs to.
            UsageError: the columns of a CSV file do not fit.
        """
        self._check_extents()
        for file in range(len(self.extents), len(self.names)):
            chunk: list[Record] = []
            with Source(self.names[file]) as source:
                before = self.consumed
                for record in self._records(source, file):
                    self.consumed = before + source.consumed
                    if record is not None:
                        chunk.append(record)
                    if chunk and (record is None or len(chunk) >= _CHUNK_RECORDS):
                        yield chunk
                        chunk = []
            self.extents.append(source.extent)  # first of all: what is yielded below may be settled at once
            if chunk:
                yield chunk

    def _check_extents(self) -> None:
        """Read the inputs that are done with once more: to pass over what is new in one would lose it silently."""
        for name, extent in zip(self.names, self.extents, strict=False):
            if name == STDIN:
                continue  # it was read, and cannot be again
            with Source(name) as source:
                for _ in source.blocks():
                    pass
                self.consumed += source.consumed
            if source.extent != extent:
                raise SourceError(
                    f"{name}: is not what it was when it was sent, and other inputs came after it;"
                    " put what is new into a file of its own and name that last"
                )

    def _records(self, source: Source, file: int) -> Iterator[Record | None]:
        """Yield the records of one input; None where the next may have to be waited for."""
        lines = split_lines(source.blocks())
        parse: Callable[[bytes], Content] = _parse_json
        if self._all_csv or source.name.lower().endswith(_CSV_SUFFIXES):
            lines = join_rows(lines)
            parse = self._csv_parser(source.name, lines)
        if self._after is not None and self._after.file == file:
            self._skip_to(self._after, source.name, lines)
        for line in lines:
            if line is None:
                yield None
            elif line.text is None or (line.text and not line.text.isspace()):
                position = Position(
                    number=self._number,
                    file=file,
                    line=line.number,
                    start=line.start,
                    checksum=line.checksum,
                )
                self._number += 1
                yield _record(position, line.text, parse)

    def _skip_to(self, after: Position, name: str, lines: Iterator[Line | None]) -> None:
        """Leave out everything up to a record, all of which must be the same as it was then."""
        for line in lines:
            if line is not None and line.start >= after.start:
                if line.start != after.start or line.checksum != after.checksum:
                    raise SourceError(
                        f"{name}: line {after.line}, or one before it, is another one than when it was sent"
                    )
                self._number = after.number + 1
                return
        raise SourceError(f"{name}: is shorter than when line {after.line} of it was sent")

    def _csv_parser(self, name: str, lines: Iterator[Line | None]) -> Callable[[bytes], Content]:
        header = next((line for line in lines if line is not None and line.text), None)
        rows = RowReader(name, _text(header.text if header and header.text else b""), self._csv)
        if rows.unused:
            self.on_unused_columns(name, rows.unused)

        def parse(row: bytes) -> Content:
            values, problems = rows.read(_text(row))
            return (row if values is None else values), problems

        return parse


def _text(row: bytes) -> str:
    return row.removeprefix(_BYTE_ORDER_MARK).decode(errors="replace")


def _parse_json(line: bytes) -> Content:
    try:
        return orjson.loads(line.removeprefix(_BYTE_ORDER_MARK)), ()
    except orjson.JSONDecodeError as exc:
        return line, (("line", f"is not JSON: {exc.msg} at column {exc.colno}"),)


def _record(position: Position, text: bytes | None, parse: Callable[[bytes], Content]) -> Record:
    if text is None:
        return Record(position, None, (("line", f"is longer than {MAX_LINE_BYTES} bytes"),))
    content, problems = parse(text)
    if isinstance(content, bytes):
        return Record(position, None, problems, content)
    try:
        event = parse_event(content)
    except InvalidEventError as exc:
        known = {field for field, _ in problems}
        more = [problem for problem in exc.problems if problem[0] not in known]
        return Record(position, None, (*problems, *more), content)
    return Record(position, None, problems, content) if problems else Record(position, event)
