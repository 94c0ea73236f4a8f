"""Cut a long list into several events, and what belongs to its items alongside."""

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar, cast, overload

import attrs

from algolia_events import _limits
from algolia_events.errors import InvalidEventError
from algolia_events.events._amounts import Amount, exact
from algolia_events.events._object_data import ObjectData
from algolia_events.events._rules import kind_of

E = TypeVar("E")

_ALONGSIDE: Final = ("positions", "object_data")
_PLACE: Final = re.compile(r"\[([0-9]+)\]")


class Split:
    """The method `split`, of a class and of its instances.

    `ViewedObjectIDs.split(object_ids=fifty, ...)` takes what the constructor takes, the list as long as it may be,
    and returns a tuple of events that each hold as many items as the server allows. `event.split()` does so with an
    event that exists: one part unless the server's documentation is stricter than its description (filters).

    Positions and object data are cut alongside. A `value` is worked out anew for each part as the sum of price
    times quantity, a missing quantity counting as 1. Where an object has no price this cannot be done: then the
    first part keeps the value as it is and the others have none, so that nothing is counted twice.
    """

    def __init__(self, items: str, most: int) -> None:
        self._items = items
        self._most = most

    @overload
    def __get__(self, event: None, kind: type[E]) -> Callable[..., tuple[E, ...]]: ...

    @overload
    def __get__(self, event: E, kind: type[E]) -> Callable[[], tuple[E, ...]]: ...

    def __get__(self, event: E | None, kind: type[E]) -> Callable[..., tuple[E, ...]]:
        """Bind to a class, or to an event."""
        if event is None:
            return lambda **fields: self._parts(kind, fields)
        return lambda: self._parts(kind, attrs.asdict(event, recurse=False))  # type: ignore[arg-type]

    def _parts(self, kind: type[E], fields: dict[str, Any]) -> tuple[E, ...]:
        lists = {name: _listed(fields[name]) for name in (self._items, *_ALONGSIDE) if name in fields}
        items = lists.get(self._items)
        if not isinstance(items, tuple) or len(items) <= self._most:
            return (kind(**fields | lists),)  # or an error that says what is wrong
        count = len(items)
        _ask_same_lengths(kind, count, lists)
        common = {name: value for name, value in fields.items() if name != "value"}
        parts = []
        for start in range(0, count, self._most):
            cut = {name: value[start : start + self._most] for name, value in lists.items() if value is not None}
            # The value stays with the first part, where it is checked.
            parts.append(_part(kind, (fields if start == 0 else common) | cut, start))
        return tuple(_with_values(parts))


def _listed(value: Any) -> Any:
    return (
        tuple(value)
        if isinstance(value, Iterable) and not isinstance(value, str | bytes | bytearray | Mapping)
        else value
    )


def _ask_same_lengths(kind: type, count: int, lists: dict[str, Any]) -> None:
    problems = []
    for name, value in lists.items():
        if value is not None and not isinstance(value, tuple):
            problems.append((name, f"expected array, got {kind_of(value)}"))
        elif value is not None and len(value) != count:
            problems.append((name, f"holds {len(value)} items for {count} objects; give one for each object"))
    if problems:
        raise InvalidEventError(kind.__name__, problems)


def _part(kind: type[E], fields: dict[str, Any], start: int) -> E:
    try:
        return kind(**fields)
    except InvalidEventError as exc:
        raise InvalidEventError(
            exc.kind, [(_PLACE.sub(lambda m: f"[{int(m[1]) + start}]", path), what) for path, what in exc.problems]
        ) from None


def _with_values(parts: list[E]) -> list[E]:
    value = getattr(parts[0], "value", None)
    data: list[tuple[ObjectData, ...] | None] = [getattr(part, "object_data", None) for part in parts]
    if value is None or any(items is None or any(item.price is None for item in items) for items in data):
        return parts
    return [
        cast("Any", attrs.evolve)(part, value=_in_kind_of(value, _sum(items or ())))
        for part, items in zip(parts, data, strict=True)
    ]


def _sum(items: tuple[ObjectData, ...]) -> Decimal:
    return sum(
        (exact(item.price or 0) * (1 if item.quantity is None else item.quantity) for item in items), start=Decimal()
    )


def _in_kind_of(value: Amount, total: Decimal) -> Decimal | float:
    """Give a string's parts strings and a number's parts numbers; what no string may hold is rounded as a number."""
    fits = len(f"{total:f}") <= _limits.MAX_AMOUNT_LENGTH
    return total if isinstance(value, str) and fits else float(total)
