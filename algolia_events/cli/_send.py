"""`algolia-events send`: events from files or the standard input to Algolia, each accounted for."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final

import attrs
from cyclopts import Parameter, validators

from algolia_events._client import AlgoliaEvents
from algolia_events.cli import _options
from algolia_events.cli._background import Background
from algolia_events.cli._console import NOT_ALL_WELL, OK, USAGE, UsageError, note, say, say_json
from algolia_events.cli._csv import CsvOptions, csv_options
from algolia_events.cli._figures import End, Result
from algolia_events.cli._importing import Import, Watcher
from algolia_events.cli._progress import progress_display
from algolia_events.cli._records import RecordReader
from algolia_events.cli._refusals import Refusals
from algolia_events.cli._signals import on_stop_signal
from algolia_events.cli._sources import expand, identity_of, size_of
from algolia_events.cli._state import State, StateFile
from algolia_events.config import QueueOptions, RetryOptions

_WINDOW_EVENTS: Final = 20_000
"""Events read and not settled: enough to keep all slots busy, and the most that a file of any size takes of memory."""
_BACKOFF_CAP: Final = 15.0
"""Somebody watches, or a job waits: a server that is back should not be left waiting for a minute."""
_GRACE: Final = 5.0
_Seconds = Annotated[float, Parameter(validator=validators.Number(gt=0))]


@attrs.frozen(kw_only=True)
class Job:
    """What is to be sent, and how."""

    names: Sequence[str]
    csv: CsvOptions
    all_csv: bool
    rejected: Path | None
    state_file: StateFile | None
    timeout: float


def send(  # noqa: D417 - `_options` describes what several commands have
    files: _options.Files,
    /,
    *,
    rejected: Path | None = None,
    resume: Path | None = None,
    timeout: _Seconds = 60.0,
    max_age_days: _Seconds = 30.0,
    in_flight: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 4,
    region: _options.Region = None,
    insights_url: _options.InsightsUrl = None,
    all_csv: _options.AllCsv = False,
    columns: _options.Map = None,
    constants: _options.Set = None,
    delimiter: _options.Delimiter = ",",
    list_separator: _options.ListSeparator = "|",
    json: bool = False,
) -> int:
    """Send events from files or the standard input.

    One event in JSON a line, or a CSV file with one a row; gzip is recognised. Up to 1000 go out in a request; what
    fails is tried again, and one bad event never costs the others. The last line on the standard output has the
    figures; the exit code is 0 only if every event was accepted.

    ```
    algolia-events send events.ndjson
    algolia-events send 'logs/*.ndjson.gz' --rejected refused.ndjson --resume import.state
    algolia-events send views.csv --map objectIDs=sku --set eventType=view --set eventName='Seen' --set index=products
    zcat old.gz | algolia-events send - --insights-url http://127.0.0.1:8765
    ```

    Args:
        rejected: Keep each event that was refused, invalid or dropped, with file, line and reason, in this file.
        resume: Note in this file how far the import has come, and go on from there when it exists.
        timeout: Give up when the server has given no verdict for so many seconds.
        max_age_days: Events with an older timestamp are not sent; Algolia takes none of more than 30 days.
        in_flight: Requests under way at once.
        json: Write the figures as JSON.
    """
    names = expand(files)
    _refuse_to_overwrite(names, rejected=rejected, resume=resume)
    csv = csv_options(columns, constants, delimiter=delimiter, list_separator=list_separator)
    state_file = None if resume is None else StateFile(resume, names)
    watcher = Watcher()
    # The credentials are looked at first: an import without them must not touch the files that it writes.
    client = AlgoliaEvents.from_env(
        _options.environment_without_outbox(),
        queue=QueueOptions(max_events=_WINDOW_EVENTS, in_flight=in_flight, max_event_age=max_age_days * 86_400),
        retry=RetryOptions(backoff_cap=_BACKOFF_CAP),
        hooks=(watcher,),
        **_options.given(region=region, insights_url=insights_url),
    )
    job = Job(names=names, csv=csv, all_csv=all_csv, rejected=rejected, state_file=state_file, timeout=timeout)
    result = asyncio.run(_run(job, client, watcher))
    _explain(result, resumable=resume is not None)
    if json:
        say_json(attrs.asdict(result.figures))
    else:
        say(result.figures.line)
    return _exit_code(result)


def _refuse_to_overwrite(names: Sequence[str], *, rejected: Path | None, resume: Path | None) -> None:
    """Raise `UsageError` where a file that is written is read as well: it would be emptied before it is."""
    inputs = {identity_of(name) for name in names} - {None}
    written = []
    for option, path in (("--rejected", rejected), ("--resume", resume)):
        if path is not None:
            place = os.path.realpath(path)
            written.append(identity_of(place) or place)
            if written[-1] in inputs:
                raise UsageError(f"{option} {path}: is one of the files to be sent; name another one")
    if len(set(written)) < len(written):
        raise UsageError(f"--rejected and --resume both name {rejected}; they need a file each")


async def _run(job: Job, client: AlgoliaEvents, watcher: Watcher) -> Result:
    state = State() if job.state_file is None else job.state_file.load()
    if job.state_file is not None:
        job.state_file.check_writable()
    reader = RecordReader(job.names, csv=job.csv, all_csv=job.all_csv, after=state.after, before=state.extents)
    with ExitStack() as stack:
        display = stack.enter_context(progress_display(_total_size(job.names)))
        refusals = stack.enter_context(Refusals(job.names, job.rejected, append=not state.is_fresh, tell=display.note))
        if state.after is not None:
            display.note(f"going on after {job.names[state.after.file]}:{state.after.line}")
        reader.on_unused_columns = lambda name, columns: note(f"{name}: columns not used: {', '.join(columns)}")
        work = Import(
            Background(reader.chunks()),
            skip=state,
            extents=reader.extents,
            watcher=watcher,
            refusals=refusals,
            state_file=job.state_file,
            display=display,
            consumed=lambda: reader.consumed,
            timeout=job.timeout,
            grace=_GRACE,
        )
        with on_stop_signal(lambda: work.stop(End.INTERRUPTED)):
            result = await work.run(client)
        refusals.summarise()
    return result


def _total_size(names: Sequence[str]) -> int | None:
    sizes = [size_of(name) for name in names]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _explain(result: Result, *, resumable: bool) -> None:
    """Say what the figures cannot."""
    reasons = {
        End.INTERRUPTED: "interrupted",
        End.STALLED: f"gave up: {result.detail}; --timeout allows for longer",
        End.BLOCKED: f"gave up: the server wants none of it ({result.detail}); look at credentials and address",
        End.UNREADABLE: result.detail,
        End.MISCALLED: result.detail,
        End.FAILED: result.detail,
    }
    if result.end in reasons:
        note(f"algolia-events: {reasons[result.end]}")
    if result.possible_duplicates:
        note(f"{result.possible_duplicates} events may have been counted twice: a connection broke after they had left")
    if result.without_answer:
        note(f"{result.without_answer} of the pending events may have arrived: their requests were cut off")
    if not result.is_complete and result.end is not End.MISCALLED:
        way_on = "the same command goes on from here" if resumable else "with --resume FILE it could go on from here"
        note(f"not everything was sent; {way_on}")
    elif result.state.not_accepted > result.figures.read - result.figures.accepted:
        note(f"in all runs of this import {result.state.not_accepted} events were not accepted")


def _exit_code(result: Result) -> int:
    if result.end is End.MISCALLED:
        return USAGE
    figures = result.figures
    everything = result.end is End.FINISHED and figures.accepted == figures.read and not result.state.not_accepted
    return OK if everything else NOT_ALL_WELL
