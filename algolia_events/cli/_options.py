"""Options that several commands have."""

import os
from typing import Annotated, Any, Literal

from cyclopts import Parameter

Files = Annotated[
    list[str],
    # "-" has a leading hyphen; what else has one and is no option is refused where files are looked for.
    Parameter(allow_leading_hyphen=True, help="Files, globs (in quotes), or - for the standard input."),
]
Region = Annotated[Literal["us", "de"] | None, Parameter(help="Analytics region; ALGOLIA_REGION, else the nearest.")]
InsightsUrl = Annotated[
    str | None, Parameter(help="Another address for events, such as a sandbox's; else ALGOLIA_INSIGHTS_URL.")
]
AllCsv = Annotated[bool, Parameter(name="--csv", help="Read all inputs as CSV, whatever their names.")]
Map = Annotated[
    list[str] | None,
    Parameter(
        name="--map",
        help="FIELD=COLUMN: the CSV column of a field, where it has another name; repeatable.",
    ),
]
Set = Annotated[
    list[str] | None,
    Parameter(name="--set", help="FIELD=VALUE: what a field is in CSV rows that do not say; repeatable."),
]
Delimiter = Annotated[str, Parameter(help="Between two CSV cells.")]
ListSeparator = Annotated[str, Parameter(help="Between the items of a list in one CSV cell.")]


def environment_without_outbox() -> dict[str, str]:
    """Copy the environment; a file that is imported is durable itself, and another process's outbox is not for it."""
    return {name: value for name, value in os.environ.items() if name != "ALGOLIA_OUTBOX"}


def given(**options: Any) -> dict[str, Any]:
    """Keep the options that were given."""
    return {name: value for name, value in options.items() if value is not None}
