"""What an add-to-cart or purchase event says of each of its objects."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast, final

import attrs

from algolia_events import _limits
from algolia_events.errors import InvalidEventError
from algolia_events.events._amounts import Amount, optional_amount
from algolia_events.events._compiled import Checked, checked
from algolia_events.events._rules import (
    BrokenRuleError,
    broken,
    each,
    kind_of,
    optional_quantity,
    optional_search_query_id,
    shown,
)

_NAMES: Final = {"price": "price", "quantity": "quantity", "discount": "discount", "query_id": "query_id"}
_WIRE_NAMES: Final = {**_NAMES, "queryID": "query_id"}


@final
@checked
@attrs.frozen(kw_only=True)
class ObjectData(Checked):
    """Price, quantity, discount and query ID of one object of an event.

    Raises:
        InvalidEventError: a value breaks a rule.
    """

    price: Amount | None = attrs.field(default=None, converter=optional_amount)
    """The final price of one piece, discount deducted, in units of the event's currency."""
    quantity: int | None = attrs.field(default=None, converter=optional_quantity)
    """How many pieces."""
    discount: Amount | None = attrs.field(default=None, converter=optional_amount)
    """What was deducted for one piece."""
    query_id: str | None = attrs.field(default=None, converter=optional_search_query_id)
    """The search or recommendation that led to this object; for the after-search kinds only."""

    @property
    def amount(self) -> Amount | None:
        """An amount that is given, the price first, or None."""
        return self.discount if self.price is None else self.price


@attrs.frozen
class BrokenObjectData:
    """What the rules between fields ask of an item that is wrong by itself: whether these were given."""

    amount: object
    query_id: object


def optional_object_data(
    value: Iterable[ObjectData | Mapping[str, Any]] | None,
) -> tuple[ObjectData, ...] | None:
    """Keep 1 to 20 items, mappings with the names of the fields or of the wire turned into `ObjectData`; or None."""
    return None if value is None else each(value, _item, most=_limits.MAX_OBJECT_IDS)


def _item(value: ObjectData | Mapping[str, Any]) -> ObjectData:
    if isinstance(value, ObjectData):
        return value
    if not isinstance(value, Mapping):
        raise broken(f"expected ObjectData or a mapping, got {kind_of(value)}")
    given: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    for name, field in value.items():
        known = _WIRE_NAMES.get(name) if isinstance(cast("Any", name), str) else None
        if known is None:
            problems.append((f".{shown(name)}", f"is no field of ObjectData; it has {', '.join(_NAMES)}"))
        elif known in given:
            problems.append((f".{known}", "is given twice, under both of its names"))
        else:
            given[known] = field
        if len(problems) == len(_NAMES):
            break
    try:
        data = ObjectData(**given)
    except InvalidEventError as exc:
        problems += [(f".{path}", what) for path, what in exc.problems]
    if problems:
        amount = given.get("discount") if given.get("price") is None else given["price"]
        raise BrokenRuleError(*problems, remains=BrokenObjectData(amount, given.get("query_id")))
    return data
