"""`algolia-events validate`: every problem of every event in files, without any network."""

import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Final

import attrs
from cyclopts import Parameter, validators

from algolia_events import _limits
from algolia_events._codec import encode
from algolia_events.cli import _options
from algolia_events.cli._console import NOT_ALL_WELL, OK, USAGE, UsageError, note, say, say_json
from algolia_events.cli._csv import csv_options
from algolia_events.cli._records import Record, RecordReader
from algolia_events.cli._sources import SourceError, as_text, expand
from algolia_events.events import Event

_ENVELOPE_BYTES: Final = len('{"events":[]}')
_MS_PER_DAY: Final = 86_400_000


@attrs.define
class _Tally:
    read: int = 0
    invalid: int = 0
    problems: int = 0

    @property
    def line(self) -> str:
        valid = self.read - self.invalid
        return f"read {self.read}, valid {valid}, invalid {self.invalid}, problems {self.problems}"


def validate(  # noqa: D417 - `_options` describes what several commands have
    files: _options.Files,
    /,
    *,
    json: bool = False,
    max_age_days: Annotated[float, Parameter(validator=validators.Number(gt=0))] = 30.0,
    all_csv: _options.AllCsv = False,
    columns: _options.Map = None,
    constants: _options.Set = None,
    delimiter: _options.Delimiter = ",",
    list_separator: _options.ListSeparator = "|",
) -> int:
    """Check events in files, without any network.

    Writes each problem as `file:line: field: what is wrong`. The exit code is 0 only if there are none. Reads the
    same formats as `send`, and needs no credentials.

    ```
    algolia-events validate events.ndjson 'logs/*.ndjson.gz'
    algolia-events validate --json events.ndjson | jq -r .field | sort | uniq -c
    ```

    Args:
        json: Write each problem as a JSON object with file, line, field and problem; the figures go to stderr.
        max_age_days: How old a timestamp may be.
    """
    csv = csv_options(columns, constants, delimiter=delimiter, list_separator=list_separator)
    reader = RecordReader(expand(files), csv=csv, all_csv=all_csv)
    reader.on_unused_columns = lambda name, unused: note(f"{name}: columns not used: {', '.join(unused)}")
    tally, code = _Tally(), OK
    try:
        for record, problems in _check(reader, max_age_days):
            tally.read += 1
            tally.invalid += bool(problems)
            tally.problems += len(problems)
            _write(reader.names[record.position.file], record.position.line, problems, json=json)
    except (SourceError, UsageError) as exc:
        note(f"algolia-events: {exc}")
        code = USAGE if isinstance(exc, UsageError) else NOT_ALL_WELL
    (note if json else say)(tally.line)
    return code or (NOT_ALL_WELL if tally.invalid else OK)


def _check(reader: RecordReader, max_age_days: float) -> Iterator[tuple[Record, Sequence[tuple[str, str]]]]:
    now_ms = int(time.time() * 1000)
    oldest_ms = now_ms - max_age_days * _MS_PER_DAY
    for chunk in reader.chunks():
        for record in chunk:
            event = record.event
            yield record, record.problems if event is None else list(_late_problems(event, now_ms, oldest_ms))


def _late_problems(event: Event, now_ms: int, oldest_ms: float) -> Iterator[tuple[str, str]]:
    """Find what does not keep an event from being built, and yet keeps it from being sent."""
    if event.timestamp is not None and event.timestamp < oldest_ms:
        yield "timestamp", f"is {(now_ms - event.timestamp) / _MS_PER_DAY:.0f} days back, too far to be accepted"
    size = len(encode(event, now_ms))
    if size + _ENVELOPE_BYTES >= _limits.MAX_REQUEST_BYTES:
        yield "event", f"takes {size} bytes, more than a request may hold"


def _write(name: str, line: int, problems: Sequence[tuple[str, str]], *, json: bool) -> None:
    for field, problem in problems:
        if json:
            say_json({"file": as_text(name), "line": line, "field": field, "problem": problem})
        else:
            say(f"{name}:{line}: {field}: {problem}")
