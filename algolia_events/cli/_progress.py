"""A progress bar on a terminal; nothing anywhere else."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

from algolia_events.cli._console import note, readable


@attrs.frozen(kw_only=True)
class Display:
    """What somebody who watches gets to see."""

    note: Callable[[str], None]
    """Writes a line."""
    update: Callable[[int, str], None]
    """Moves the bar to so many bytes and puts words beside it."""
    is_live: bool
    """Whether `update` does anything."""


@contextmanager
def progress_display(total: int | None) -> Iterator[Display]:
    """Show a bar on the standard error while the context is open, if that is a terminal.

    `total` is the number of bytes to come, None where that is unknown.
    """
    if not sys.stderr.isatty():
        yield Display(note=note, update=lambda _done, _words: None, is_live=False)
        return
    from rich.console import Console  # noqa: PLC0415 - a tenth of a second that a script need not wait
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    console = Console(stderr=True)
    bar = Progress(BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True)
    with bar:
        task = bar.add_task("", total=total)
        yield Display(
            note=lambda line: console.print(readable(line), markup=False, highlight=False, soft_wrap=True),
            update=lambda done, words: bar.update(task, completed=done, description=words),
            is_live=True,
        )
