"""Build facet filters."""

from decimal import Decimal
from typing import Any
from urllib.parse import quote

from algolia_events.errors import InvalidEventError
from algolia_events.events._rules import BrokenRuleError, non_empty


def filter_(attribute: str, value: str | float | Decimal | bool) -> str:  # noqa: FBT001 - a facet's value may be a boolean
    """Build the filter `attribute:value` from its raw parts, each percent-encoded by itself and once.

    A boolean becomes `true` or `false`. `filter_("discount", "10%")` gives `discount:10%25`; a part that is
    percent-encoded already would be encoded again, since `%` is a character like any other here.

    Raises:
        InvalidEventError: a part is empty or not of these types.
    """
    problems: list[tuple[str, str]] = []
    parts: list[str] = []
    raw: tuple[tuple[str, Any], ...] = (("attribute", attribute), ("value", _plain(value)))
    for name, part in raw:
        try:
            parts.append(quote(non_empty(part), safe=""))
        except BrokenRuleError as exc:
            problems += [(name, what) for _, what in exc.problems]
    if problems:
        raise InvalidEventError("filter_", problems)
    return ":".join(parts)


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float | Decimal) else value
