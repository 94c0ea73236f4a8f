"""Rows of a CSV file to mappings in the wire's names."""

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import attrs
import orjson

from algolia_events.cli._console import UsageError

Problems = list[tuple[str, str]]

_ITEM: Final = "objectData."
_INTEGER: Final = re.compile("-?[0-9]{1,18}")


@attrs.frozen(kw_only=True)
class CsvOptions:
    """How to read CSV."""

    columns: Mapping[str, str] = attrs.field(factory=dict)
    """The column for a field, where the column has another name."""
    constants: Mapping[str, str] = attrs.field(factory=dict)
    """The value of a field for the rows that have none."""
    delimiter: str = ","
    list_separator: str = "|"


class _CellError(Exception):
    """A cell does not hold what its field needs."""


def _text(cell: str, _: str) -> str:
    return cell


def _texts(cell: str, separator: str) -> Any:
    return _json(cell, separator) if cell.startswith("[") else [part.strip() for part in cell.split(separator)]


def _integer(cell: str, _: str = "") -> int:
    if not _INTEGER.fullmatch(cell):
        raise _CellError("expected a whole number")
    return int(cell)


def _integers(cell: str, separator: str) -> Any:
    return (
        _json(cell, separator) if cell.startswith("[") else [_integer(part.strip()) for part in cell.split(separator)]
    )


def _timestamp(cell: str, _: str) -> int | datetime:
    if _INTEGER.fullmatch(cell):
        return int(cell)
    try:
        return datetime.fromisoformat(cell)
    except ValueError:
        raise _CellError("expected milliseconds since 1970, or a time as in 2026-01-31T12:00:00Z") from None


def _json(cell: str, _: str) -> Any:
    try:
        return orjson.loads(cell)
    except orjson.JSONDecodeError:
        raise _CellError("expected a JSON array") from None


_READERS: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "eventName": _text,
    "eventType": _text,
    "eventSubtype": _text,
    "index": _text,
    "indexName": _text,
    "userToken": _text,
    "authenticatedUserToken": _text,
    "timestamp": _timestamp,
    "queryID": _text,
    "objectIDs": _texts,
    "positions": _integers,
    "filters": _texts,
    "currency": _text,
    "value": _text,
    "agentID": _text,
    "objectData": _json,
    "objectData.price": _texts,
    "objectData.quantity": _integers,
    "objectData.discount": _texts,
    "objectData.queryID": _texts,
}
"""How the cell of each field is read; amounts stay text, which keeps them exact."""
_SHORT_NAMES: Final = {
    "price": "objectData.price",
    "quantity": "objectData.quantity",
    "discount": "objectData.discount",
}


def csv_options(
    columns: Iterable[str] | None, constants: Iterable[str] | None, *, delimiter: str, list_separator: str
) -> CsvOptions:
    """Put together what the command line says.

    Raises:
        UsageError: something of it makes no sense.
    """
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise UsageError("--delimiter takes one character, such as ; (and $'\\t' in the shell for a tabulator)")
    if not list_separator or list_separator == delimiter:
        raise UsageError("--list-separator must be something else than the delimiter")
    return CsvOptions(
        columns=_parse_pairs("--map", columns or ()),
        constants=_parse_pairs("--set", constants or ()),
        delimiter=delimiter,
        list_separator=list_separator,
    )


def _parse_pairs(option: str, pairs: Iterable[str]) -> dict[str, str]:
    """Read the `FIELD=TEXT` arguments of an option."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        field = _SHORT_NAMES.get(name, name)
        if not equals or not text:
            raise UsageError(f"{option} takes FIELD=…, as in eventName=name, and not {pair!r}")
        if field not in _READERS:
            raise UsageError(f"{option}: there is no field {name!r}; there are {', '.join(_READERS)}")
        found[field] = text
    return found


class RowReader:
    """Reads the rows below one header.

    Raises:
        UsageError: a column that the options name is not in the header, or no column is of use.
    """

    def __init__(self, name: str, header: str, options: CsvOptions) -> None:
        self._options = options
        try:
            cells = [cell.strip() for cell in _cells(header, options.delimiter)]
        except csv.Error as exc:
            raise UsageError(f"{name}: the header cannot be read: {exc}") from None
        absent = sorted(set(options.columns.values()) - set(cells))
        if absent:
            raise UsageError(f"{name}: no column {', '.join(map(repr, absent))}; there are {', '.join(cells)}")
        by_column: dict[str, list[str]] = {}
        for field, column in options.columns.items():
            by_column.setdefault(column, []).append(field)
        self._width = len(cells)
        self._fields: list[tuple[int, str]] = []
        for place, column in enumerate(cells):
            own = _SHORT_NAMES.get(column, column)
            fields = by_column.get(column, [own] if own in _READERS and own not in options.columns else [])
            self._fields += [(place, field) for field in fields]
        self.unused = [c for p, c in enumerate(cells) if p not in {place for place, _ in self._fields}]
        """Columns that no field is read from."""
        if not self._fields:
            raise UsageError(f"{name}: no column has the name of a field; --map FIELD=COLUMN says which is which")

    def read(self, row: str) -> tuple[dict[str, Any] | None, Problems]:
        """Read one row; an empty cell is a field that is absent. Without values when the row does not fit."""
        try:
            cells = _cells(row, self._options.delimiter)
        except csv.Error as exc:
            return None, [("row", f"cannot be read: {exc}")]
        if len(cells) > self._width:
            return None, [("row", f"has {len(cells)} cells, the header {self._width}")]
        found = {field: cells[place].strip() for place, field in self._fields if place < len(cells)}
        given = {**self._options.constants, **{field: cell for field, cell in found.items() if cell}}
        values: dict[str, Any] = {}
        problems: Problems = []
        for field, cell in given.items():
            try:
                values[field] = _READERS[field](cell, self._options.list_separator)
            except _CellError as exc:
                problems.append((field, str(exc)))
        _join_items(values, problems)
        return values, problems


def _cells(row: str, delimiter: str) -> list[str]:
    return next(csv.reader([row], delimiter=delimiter), [])


def _join_items(values: dict[str, Any], problems: Problems) -> None:
    """Turn the columns of `objectData` into its items, one for each object."""
    columns: dict[str, Sequence[Any]] = {
        field.removeprefix(_ITEM): values.pop(field) for field in list(values) if field.startswith(_ITEM)
    }
    if not columns:
        return
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        problems.append(
            ("objectData", f"its columns hold {', '.join(map(str, sorted(lengths)))} values; give equally many")
        )
        return
    values["objectData"] = [
        {name: column[place] for name, column in columns.items() if column[place] != ""}
        for place in range(lengths.pop())
    ]
