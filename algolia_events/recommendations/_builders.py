"""Builders of events of several hits, shared by all that holds hits."""

from collections.abc import Sequence
from typing import Protocol

import attrs

from algolia_events.events import (
    AddedToCartObjectIDs,
    AddedToCartObjectIDsAfterSearch,
    ClickedObjectIDs,
    ClickedObjectIDsAfterSearch,
    ConvertedObjectIDs,
    ConvertedObjectIDsAfterSearch,
    PurchasedObjectIDs,
    PurchasedObjectIDsAfterSearch,
    ViewedObjectIDs,
)
from algolia_events.recommendations import _events
from algolia_events.recommendations._events import Hits, Item, Value
from algolia_events.recommendations._hits import RecommendHit


class _HasHits(Protocol):
    @property
    def hits(self) -> tuple[RecommendHit, ...]: ...


class HitEvents:
    """Builders of events of several hits, or of a single one; `hits=None` means all."""

    __slots__ = ()

    @property
    def plain(self: _HasHits) -> "PlainHits":
        """The builders of events without a query ID: they work for any hits, and attribute nothing."""
        return PlainHits(self.hits)

    def viewed(self: _HasHits, event_name: str, hits: "Hits | None" = None) -> tuple[ViewedObjectIDs, ...]:
        """Build the events that say that the hits were shown, 20 in each at most; needs no query ID."""
        return _events.viewed(event_name, self.hits if hits is None else hits)

    def clicked(self: _HasHits, event_name: str, hits: "Hits | None" = None) -> tuple[ClickedObjectIDsAfterSearch, ...]:
        """Build the clicks on hits, 20 in an event at most, each with its position.

        Raises:
            MissingQueryIDError: a hit's answer has no query ID; the builders of `plain` need none.
            InvalidEventError: the event name breaks a rule, or a hit knows no user (see `for_user()`).
        """
        return _events.clicked(event_name, self.hits if hits is None else hits)

    def converted(
        self: _HasHits, event_name: str, hits: "Hits | None" = None
    ) -> tuple[ConvertedObjectIDsAfterSearch, ...]:
        """Build the conversions of hits. Raises as `clicked()`."""
        return _events.converted(event_name, self.hits if hits is None else hits)

    def added_to_cart(
        self: _HasHits,
        event_name: str,
        hits: "Hits | None" = None,
        object_data: Sequence[Item] | None = None,
        currency: str | None = None,
        value: Value = None,
    ) -> tuple[AddedToCartObjectIDsAfterSearch, ...]:
        """Build the events that say that hits were put into a cart. Raises as `clicked()`.

        `object_data` has an item for each hit; amounts need a currency.
        """
        return _events.added_to_cart(event_name, self.hits if hits is None else hits, object_data, currency, value)

    def purchased(
        self: _HasHits,
        event_name: str,
        hits: "Hits | None" = None,
        object_data: Sequence[Item] | None = None,
        currency: str | None = None,
        value: Value = None,
    ) -> tuple[PurchasedObjectIDsAfterSearch, ...]:
        """Build the purchases of hits, each item with its own query ID. Raises as `clicked()`.

        `object_data` has an item for each hit; amounts need a currency.
        """
        return _events.purchased(event_name, self.hits if hits is None else hits, object_data, currency, value)


@attrs.frozen
class PlainHits:
    """Builds events of several hits without query IDs; each method's `hits=None` means all."""

    _hits: tuple[RecommendHit, ...]

    def clicked(self, event_name: str, hits: "Hits | None" = None) -> tuple[ClickedObjectIDs, ...]:
        """Build the clicks, without positions and query IDs."""
        return _events.plain(ClickedObjectIDs, event_name, self._hits if hits is None else hits)

    def converted(self, event_name: str, hits: "Hits | None" = None) -> tuple[ConvertedObjectIDs, ...]:
        """Build the conversions."""
        return _events.plain(ConvertedObjectIDs, event_name, self._hits if hits is None else hits)

    def added_to_cart(
        self,
        event_name: str,
        hits: "Hits | None" = None,
        object_data: Sequence[Item] | None = None,
        currency: str | None = None,
        value: Value = None,
    ) -> tuple[AddedToCartObjectIDs, ...]:
        """Build the events that say that hits were put into a cart."""
        chosen = self._hits if hits is None else hits
        return _events.plain(AddedToCartObjectIDs, event_name, chosen, object_data, currency=currency, value=value)

    def purchased(
        self,
        event_name: str,
        hits: "Hits | None" = None,
        object_data: Sequence[Item] | None = None,
        currency: str | None = None,
        value: Value = None,
    ) -> tuple[PurchasedObjectIDs, ...]:
        """Build the purchases."""
        chosen = self._hits if hits is None else hits
        return _events.plain(PurchasedObjectIDs, event_name, chosen, object_data, currency=currency, value=value)
