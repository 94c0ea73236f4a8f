"""Events: what can be sent to the Insights API, as values that are valid once they exist."""

from algolia_events.events._amounts import Amount
from algolia_events.events._compiled import find_problems
from algolia_events.events._filters import filter_
from algolia_events.events._kinds import (
    KINDS,
    AddedToCartObjectIDs,
    AddedToCartObjectIDsAfterSearch,
    CartEvent,
    ClickedFilters,
    ClickedObjectIDs,
    ClickedObjectIDsAfterSearch,
    ConvertedFilters,
    ConvertedObjectIDs,
    ConvertedObjectIDsAfterSearch,
    Event,
    FiltersEvent,
    IndexedEvent,
    InstantSearchTelemetry,
    ObjectsEvent,
    PurchasedObjectIDs,
    PurchasedObjectIDsAfterSearch,
    TypedEvent,
    ViewedFilters,
    ViewedObjectIDs,
)
from algolia_events.events._object_data import ObjectData
from algolia_events.events._raw import RawEvent
from algolia_events.events._rules import kind_of, shown, user_token_problems

__all__ = [
    "KINDS",
    "AddedToCartObjectIDs",
    "AddedToCartObjectIDsAfterSearch",
    "Amount",
    "CartEvent",
    "ClickedFilters",
    "ClickedObjectIDs",
    "ClickedObjectIDsAfterSearch",
    "ConvertedFilters",
    "ConvertedObjectIDs",
    "ConvertedObjectIDsAfterSearch",
    "Event",
    "FiltersEvent",
    "IndexedEvent",
    "InstantSearchTelemetry",
    "ObjectData",
    "ObjectsEvent",
    "PurchasedObjectIDs",
    "PurchasedObjectIDsAfterSearch",
    "RawEvent",
    "TypedEvent",
    "ViewedFilters",
    "ViewedObjectIDs",
    "filter_",
    "find_problems",
    "kind_of",
    "shown",
    "user_token_problems",
]
