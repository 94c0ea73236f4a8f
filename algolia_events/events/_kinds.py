"""The thirteen kinds of events, frozen and valid once they exist.

    Event
    ├── RawEvent                                  a mapping sent as it is
    └── TypedEvent                                event_name, user_token, authenticated_user_token, timestamp
        ├── InstantSearchTelemetry                agent_id
        └── IndexedEvent                          index
            ├── FiltersEvent                      filters
            │   └── ClickedFilters, ConvertedFilters, ViewedFilters
            └── ObjectsEvent                      object_ids
                ├── ClickedObjectIDs, ConvertedObjectIDs, ViewedObjectIDs
                ├── ClickedObjectIDsAfterSearch   positions, query_id
                ├── ConvertedObjectIDsAfterSearch query_id
                └── CartEvent                     object_data, currency, value
                    ├── AddedToCartObjectIDs, PurchasedObjectIDs
                    └── AddedToCartObjectIDsAfterSearch, PurchasedObjectIDsAfterSearch   query_id

All fields are keyword-only. Whatever breaks a rule raises `InvalidEventError` with every problem by its field.
"""

from collections.abc import Iterator
from typing import Any, ClassVar, final

import attrs

from algolia_events import _limits
from algolia_events.events import _rules
from algolia_events.events._amounts import Amount, optional_amount
from algolia_events.events._compiled import Checked, checked
from algolia_events.events._object_data import BrokenObjectData, ObjectData, optional_object_data
from algolia_events.events._split import Split


class Event:
    """Anything that can be sent to the Insights API."""

    __slots__ = ("_is_small",)

    user_token: str | None
    """Whose event it is, where that is known."""
    timestamp: int | None
    """When it happened, in milliseconds since 1970; None: when it is tracked."""
    _timestamp: int | None
    """The same, read faster."""
    _is_small: bool
    """Whether it is known to take at most `SMALL_EVENT_BYTES` once it is encoded, and little time until then."""


@attrs.frozen(kw_only=True)
class TypedEvent(Event, Checked):
    """An event of one of the thirteen kinds: what all of them have."""

    event_type: ClassVar[str]
    """`click`, `conversion`, `view` or `instantsearch`, as the wire says it."""
    event_subtype: ClassVar[str | None] = None
    """`addToCart`, `purchase` or None."""

    event_name: str = attrs.field(converter=_rules.event_name)
    """1 to 64 visible ASCII characters and spaces."""
    user_token: str = attrs.field(converter=_rules.user_token)
    """The anonymous or pseudonymous user: 1 to 128 letters, digits and `_=/+-`."""
    authenticated_user_token: str | None = attrs.field(default=None, converter=_rules.optional_user_token)
    """The user's identifier once signed in, of the same form."""
    timestamp: int | None = attrs.field(default=None, converter=_rules.optional_timestamp)
    """Milliseconds since 1970, or an aware `datetime`, which becomes that. None: when the event is tracked."""


@attrs.frozen(kw_only=True)
class IndexedEvent(TypedEvent):
    """An event about one index."""

    index: str = attrs.field(converter=_rules.non_empty)
    """The index asked for, as the request named it."""

    small_rule: ClassVar[str] = f"size + len(index) <= {_limits.SMALL_EVENT_CHARACTERS}"


@attrs.frozen(kw_only=True)
class ObjectsEvent(IndexedEvent):
    """An event about objects of an index."""

    object_ids: tuple[str, ...] = attrs.field(converter=_rules.object_ids)
    """1 to 20 object IDs, from any iterable of strings but a string."""

    split: ClassVar[Split] = Split("object_ids", _limits.MAX_OBJECT_IDS)


@attrs.frozen(kw_only=True)
class FiltersEvent(IndexedEvent):
    """An event about facet filters."""

    filters: tuple[str, ...] = attrs.field(converter=_rules.filters)
    """1 to 20 pairs `attribute:value`, both parts percent-encoded; `filter_()` builds one."""

    split: ClassVar[Split] = Split("filters", _limits.MAX_FILTERS_DOCS)


@attrs.frozen(kw_only=True)
class CartEvent(ObjectsEvent):
    """An event about objects put into a cart or bought."""

    event_type: ClassVar[str] = "conversion"
    fast_rule: ClassVar[str] = (
        "(currency is not None or value is None) and (object_data is None or currency is not None"
        " and len(object_data) == len(object_ids)"
        " and all([type(item) is ObjectData and item.query_id is None for item in object_data]))"
    )

    small_rule: ClassVar[str] = f"{IndexedEvent.small_rule} and (object_data is None or len(object_data) == 1)"

    object_data: tuple[ObjectData, ...] | None = attrs.field(default=None, converter=optional_object_data)
    """One item for each object, as `ObjectData` or mappings."""
    currency: str | None = attrs.field(default=None, converter=_rules.optional_currency)
    """Three letters; required with any amount."""
    value: Amount | None = attrs.field(default=None, converter=optional_amount)
    """The amount of the whole event: the sum of price times quantity."""

    @classmethod
    def judge_together(cls, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """Ask for one item an object, and for a currency where there are amounts."""
        yield from _ask_same_length(values, "object_data")
        amounts = [f"object_data[{place}]" for place, item in _object_data(values) if item.amount is not None]
        if values.get("value") is not None:
            amounts.append("value")
        if amounts and values.get("currency", "") is None:
            yield "currency", f"is required as soon as an amount is given, as in {amounts[0]}"


def _object_data(values: dict[str, Any]) -> Iterator[tuple[int, ObjectData | BrokenObjectData]]:
    """Number the items, but for those of which nothing can be told."""
    data = values.get("object_data")
    if isinstance(data, tuple):
        yield from ((place, item) for place, item in enumerate(data) if item is not None)


def _refuse_query_ids(values: dict[str, Any], kind: str) -> Iterator[tuple[str, str]]:
    for place, item in _object_data(values):
        if item.query_id is not None:
            yield f"object_data[{place}].query_id", f"is for {kind}AfterSearch"


def _ask_same_length(values: dict[str, Any], name: str) -> Iterator[tuple[str, str]]:
    items, objects = values.get(name), values.get("object_ids")
    # An empty list is wrong by itself; more need not be said of it.
    if not (items and objects and isinstance(items, tuple) and isinstance(objects, tuple)):
        return
    if len(items) != len(objects):
        yield name, f"holds {len(items)} items for {len(objects)} objects; give one for each object"


@final
@checked
@attrs.frozen(kw_only=True)
class ClickedObjectIDs(ObjectsEvent):
    """A user clicked objects, outside any answer of Algolia's."""

    event_type: ClassVar[str] = "click"


@final
@checked
@attrs.frozen(kw_only=True)
class ClickedObjectIDsAfterSearch(ObjectsEvent):
    """A user clicked objects of an answer."""

    event_type: ClassVar[str] = "click"

    positions: tuple[int, ...] = attrs.field(converter=_rules.positions)
    """Each object's rank in the answer, from 1, over all pages."""
    query_id: str = attrs.field(converter=_rules.query_id)
    """The answer's query ID."""

    @classmethod
    def judge_together(cls, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """Ask for one position an object."""
        yield from _ask_same_length(values, "positions")


@final
@checked
@attrs.frozen(kw_only=True)
class ClickedFilters(FiltersEvent):
    """A user clicked facet filters."""

    event_type: ClassVar[str] = "click"


@final
@checked
@attrs.frozen(kw_only=True)
class ConvertedObjectIDs(ObjectsEvent):
    """A user converted on objects, outside any answer of Algolia's."""

    event_type: ClassVar[str] = "conversion"


@final
@checked
@attrs.frozen(kw_only=True)
class ConvertedObjectIDsAfterSearch(ObjectsEvent):
    """A user converted on objects of an answer."""

    event_type: ClassVar[str] = "conversion"

    query_id: str = attrs.field(converter=_rules.query_id)
    """The answer's query ID."""


@final
@checked
@attrs.frozen(kw_only=True)
class ConvertedFilters(FiltersEvent):
    """A user converted on a page of filtered objects."""

    event_type: ClassVar[str] = "conversion"


@final
@checked
@attrs.frozen(kw_only=True)
class AddedToCartObjectIDs(CartEvent):
    """A user put objects into the cart, outside any answer of Algolia's."""

    event_subtype: ClassVar[str | None] = "addToCart"

    @classmethod
    def judge_together(cls, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """Leave query IDs to the after-search kind, whose items alone have them on the wire."""
        yield from _refuse_query_ids(values, cls.__name__)
        yield from super().judge_together(values)


@final
@checked
@attrs.frozen(kw_only=True)
class AddedToCartObjectIDsAfterSearch(CartEvent):
    """A user put objects of an answer into the cart."""

    event_subtype: ClassVar[str | None] = "addToCart"
    fast_rule: ClassVar[str] = (
        "(currency is not None or value is None) and (object_data is None or currency is not None"
        " and len(object_data) == len(object_ids)"
        " and all([type(item) is ObjectData for item in object_data]))"
    )

    query_id: str = attrs.field(converter=_rules.query_id)
    """The answer's query ID."""


@final
@checked
@attrs.frozen(kw_only=True)
class PurchasedObjectIDs(CartEvent):
    """A user bought objects, outside any answer of Algolia's."""

    event_subtype: ClassVar[str | None] = "purchase"

    @classmethod
    def judge_together(cls, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """Leave query IDs to the after-search kind, whose items alone have them on the wire."""
        yield from _refuse_query_ids(values, cls.__name__)
        yield from super().judge_together(values)


@final
@checked
@attrs.frozen(kw_only=True)
class PurchasedObjectIDsAfterSearch(CartEvent):
    """A user bought objects of one answer or of several.

    On the wire each object has its own query ID, in `object_data`. A `query_id` of the event is copied into every
    item that lacks one, and into items made for it where there is no `object_data`.
    """

    event_subtype: ClassVar[str | None] = "purchase"
    fast_rule: ClassVar[str] = (
        "object_data is not None and currency is not None and len(object_data) == len(object_ids)"
        " and all([type(item) is ObjectData and item.query_id is not None for item in object_data])"
    )
    plain_will_do: ClassVar[bool] = False

    query_id: str | None = attrs.field(default=None, converter=_rules.optional_search_query_id)
    """The query ID of the answer that all objects without their own come from."""

    @classmethod
    def judge_together(cls, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """Ask for a query ID for every object."""
        if values.get("query_id") is None:
            yield from _ask_query_ids(values)
        yield from super().judge_together(values)

    @classmethod
    def complete(cls, values: dict[str, Any]) -> None:
        """Give every object a query ID of its own."""
        query_id, data = values["query_id"], values["object_data"]
        if query_id is not None:
            data = (ObjectData(),) * len(values["object_ids"]) if data is None else data
            values["object_data"] = tuple(
                attrs.evolve(item, query_id=query_id) if item.query_id is None else item for item in data
            )


def _ask_query_ids(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if values.get("object_data") is None:
        yield "object_data", "is required: one item with its query ID for each object, or a query ID for all of them"
    for place, item in _object_data(values):
        if item.query_id is None:
            yield f"object_data[{place}].query_id", "is required, or a query ID of the event for all objects"


@final
@checked
@attrs.frozen(kw_only=True)
class ViewedObjectIDs(ObjectsEvent):
    """A user saw objects."""

    event_type: ClassVar[str] = "view"


@final
@checked
@attrs.frozen(kw_only=True)
class ViewedFilters(FiltersEvent):
    """A user saw a page of filtered objects."""

    event_type: ClassVar[str] = "view"


@final
@checked
@attrs.frozen(kw_only=True)
class InstantSearchTelemetry(TypedEvent):
    """A report of an agent's session. It has no index."""

    event_type: ClassVar[str] = "instantsearch"
    small_rule: ClassVar[str] = (
        f"agent_id is None or len(agent_id) <= {_limits.SMALL_EVENT_CHARACTERS} and agent_id.isascii()"
    )

    agent_id: str | None = attrs.field(default=None, converter=_rules.optional_non_empty)
    """The session it belongs to."""


KINDS: tuple[type[TypedEvent], ...] = (
    ClickedObjectIDs,
    ClickedObjectIDsAfterSearch,
    ClickedFilters,
    ConvertedObjectIDs,
    ConvertedObjectIDsAfterSearch,
    ConvertedFilters,
    AddedToCartObjectIDs,
    AddedToCartObjectIDsAfterSearch,
    PurchasedObjectIDs,
    PurchasedObjectIDsAfterSearch,
    ViewedObjectIDs,
    ViewedFilters,
    InstantSearchTelemetry,
)
"""Every kind that the server knows."""
