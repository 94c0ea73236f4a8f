"""Events of every kind, as a shop would have them, for the demonstration."""

from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import Any, Final

from algolia_events.events import (
    AddedToCartObjectIDs,
    AddedToCartObjectIDsAfterSearch,
    ClickedFilters,
    ClickedObjectIDs,
    ClickedObjectIDsAfterSearch,
    ConvertedFilters,
    ConvertedObjectIDs,
    ConvertedObjectIDsAfterSearch,
    Event,
    InstantSearchTelemetry,
    ObjectData,
    PurchasedObjectIDs,
    PurchasedObjectIDsAfterSearch,
    ViewedFilters,
    ViewedObjectIDs,
    filter_,
)

INDEX: Final = "products"
_QUERY_ID: Final = "0123456789abcdef0123456789abcdef"
_Build = Callable[[dict[str, Any], dict[str, Any]], Event]

_SEARCH: Final[dict[str, Any]] = {"query_id": _QUERY_ID}
_ITEM: Final[dict[str, Any]] = {"object_data": [ObjectData(price="19.90", quantity=1)], "currency": "EUR"}
_FOUND_ITEM: Final[dict[str, Any]] = {
    "object_data": [ObjectData(price="19.90", quantity=1, query_id=_QUERY_ID)],
    "currency": "EUR",
}
_FILTERS: Final[dict[str, Any]] = {"index": INDEX, "filters": [filter_("brand", "Café & Söhne")]}

_KINDS: Final[tuple[_Build, ...]] = (
    lambda who, what: ClickedObjectIDs(event_name="Product Clicked", **who, **what),
    lambda who, what: ClickedObjectIDsAfterSearch(event_name="Hit Clicked", **who, **what, **_SEARCH, positions=[3]),
    lambda who, _: ClickedFilters(event_name="Brand Chosen", **who, **_FILTERS),
    lambda who, what: ConvertedObjectIDs(event_name="Product Liked", **who, **what),
    lambda who, what: ConvertedObjectIDsAfterSearch(event_name="Hit Liked", **who, **what, **_SEARCH),
    lambda who, _: ConvertedFilters(event_name="Brand Followed", **who, **_FILTERS),
    lambda who, what: AddedToCartObjectIDs(event_name="Into Cart", **who, **what, **_ITEM),
    lambda who, what: AddedToCartObjectIDsAfterSearch(event_name="Hit Into Cart", **who, **what, **_SEARCH, **_ITEM),
    lambda who, what: PurchasedObjectIDs(event_name="Bought", **who, **what, **_ITEM),
    lambda who, what: PurchasedObjectIDsAfterSearch(event_name="Hit Bought", **who, **what, **_FOUND_ITEM),
    lambda who, what: ViewedObjectIDs(event_name="Product Seen", **who, **what),
    lambda who, _: ViewedFilters(event_name="Brand Seen", **who, **_FILTERS),
    lambda who, _: InstantSearchTelemetry(event_name="Widgets Drawn", **who),
)


def events_of_every_kind(count: int) -> Iterator[Event]:
    """Build so many events, kind after kind, of many users."""
    for number, build in enumerate(islice(cycle(_KINDS), count)):
        who = {"user_token": f"visitor-{number}"}
        yield build(who, {"index": INDEX, "object_ids": [f"sku-{number}"]})


def click(name: str, number: int) -> ClickedObjectIDs:
    """Build one click with a name of its own."""
    return ClickedObjectIDs(event_name=name, index=INDEX, object_ids=[f"sku-{number}"], user_token=f"visitor-{number}")
