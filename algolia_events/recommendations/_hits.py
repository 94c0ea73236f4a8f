"""Hits: what an answer holds, each of them knowing which answer that was."""

from collections.abc import Iterator, KeysView, Mapping, Sequence
from typing import Any, Self

import attrs

from algolia_events.events import (
    AddedToCartObjectIDs,
    AddedToCartObjectIDsAfterSearch,
    ClickedObjectIDs,
    ClickedObjectIDsAfterSearch,
    ConvertedObjectIDs,
    ConvertedObjectIDsAfterSearch,
    ObjectData,
    PurchasedObjectIDs,
    PurchasedObjectIDsAfterSearch,
    ViewedObjectIDs,
)
from algolia_events.recommendations import _events
from algolia_events.recommendations._events import Item, Value


@attrs.frozen(kw_only=True)
class Origin:
    """The answer that hits come from, and whom it was for.

    `model` is None where the answer was none of the Recommend API's.
    """

    index: str
    """As asked for, which is the name that events use."""
    query_id: str | None = None
    model: str | None = None
    user_token: str | None = attrs.field(default=None, repr=False)
    authenticated_user_token: str | None = attrs.field(default=None, repr=False)

    def for_user(self, user_token: str, authenticated_user_token: str | None = None) -> Self:
        """Copy with another user."""
        return attrs.evolve(self, user_token=user_token, authenticated_user_token=authenticated_user_token)


@attrs.frozen
class RecommendHit:
    """An object in an answer. `hit["name"]` is an attribute of its record.

    Two hits are equal when they are the same object at the same position of the same answer, whatever of the record
    came along: a hit resolved from a token equals the one that was signed.
    """

    origin: Origin
    object_id: str
    position: int
    """From 1, counted over all pages of the answer."""
    raw: Mapping[str, Any] = attrs.field(eq=False, repr=False)
    """The record as the server gave it."""

    @property
    def index(self) -> str:
        """The index asked for."""
        return self.origin.index

    @property
    def query_id(self) -> str | None:
        """The query ID of the hit's answer; None when it was asked for without `clickAnalytics`."""
        return self.origin.query_id

    @property
    def score(self) -> float | None:
        """How fit the server finds it, 0 to 100; None where the answer gives no score."""
        return self.raw.get("_score")

    @property
    def plain(self) -> "PlainHit":
        """The builders of events without a query ID: they work for any hit, and attribute nothing."""
        return PlainHit(self)

    def __getitem__(self, attribute: str) -> Any:
        return self.raw[attribute]

    def __contains__(self, attribute: object) -> bool:
        return attribute in self.raw

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def keys(self) -> KeysView[str]:
        """List the record's attributes, so that `dict(hit)` works."""
        return self.raw.keys()

    def get(self, attribute: str, default: Any = None) -> Any:
        """Get an attribute of the record, or the default where it has none."""
        return self.raw.get(attribute, default)

    def for_user(self, user_token: str, authenticated_user_token: str | None = None) -> Self:
        """Copy with another user, for a hit that was asked for without one."""
        return attrs.evolve(self, origin=self.origin.for_user(user_token, authenticated_user_token))

    def viewed(self, event_name: str) -> ViewedObjectIDs:
        """Build the event that says that the hit was shown."""
        return _events.viewed(event_name, (self,))[0]

    def clicked(self, event_name: str) -> ClickedObjectIDsAfterSearch:
        """Build the click on this hit.

        Raises:
            MissingQueryIDError: the answer has no query ID; `plain.clicked()` builds the event without one.
            InvalidEventError: the event name breaks a rule, or the hit knows no user (see `for_user()`).
        """
        return _events.clicked(event_name, (self,))[0]

    def converted(self, event_name: str) -> ConvertedObjectIDsAfterSearch:
        """Build the conversion of this hit. Raises as `clicked()`."""
        return _events.converted(event_name, (self,))[0]

    def added_to_cart(
        self,
        event_name: str,
        object_data: Item | Sequence[Item] | None = None,
        currency: str | None = None,
        value: Value = None,
    ) -> AddedToCartObjectIDsAfterSearch:
        """Build the event that says that this hit was put into a cart. Raises as `clicked()`.

        `object_data` is one item: price, quantity, discount; amounts need a currency.
        """
        return _events.added_to_cart(event_name, (self,), _items(object_data), currency, value)[0]

    def purchased(
        self,
        event_name: str,
        object_data: Item | Sequence[Item] | None = None,
        currency: str | None = None,
        value: Value = None,
    ) -> PurchasedObjectIDsAfterSearch:
        """Build the purchase of this hit. Raises and takes `object_data` as `added_to_cart()`.

        For a cart with hits of several answers see `purchased()` of this package.
        """
        return _events.purchased(event_name, (self,), _items(object_data), currency, value)[0]


@attrs.frozen
class PlainHit:
    """Builds events of one hit without a query ID."""

    _hit: RecommendHit

    def clicked(self, event_name: str) -> ClickedObjectIDs:
        """Build the click, without position and query ID."""
        return _events.plain(ClickedObjectIDs, event_name, (self._hit,))[0]

    def converted(self, event_name: str) -> ConvertedObjectIDs:
        """Build the conversion."""
        return _events.plain(ConvertedObjectIDs, event_name, (self._hit,))[0]

    def added_to_cart(
        self,
        event_name: str,
        object_data: Item | Sequence[Item] | None = None,
        currency: str | None = None,
        value: Value = None,
    ) -> AddedToCartObjectIDs:
        """Build the event that says that the hit was put into a cart."""
        return _events.plain(
            AddedToCartObjectIDs, event_name, (self._hit,), _items(object_data), currency=currency, value=value
        )[0]

    def purchased(
        self,
        event_name: str,
        object_data: Item | Sequence[Item] | None = None,
        currency: str | None = None,
        value: Value = None,
    ) -> PurchasedObjectIDs:
        """Build the purchase."""
        return _events.plain(
            PurchasedObjectIDs, event_name, (self._hit,), _items(object_data), currency=currency, value=value
        )[0]


@attrs.frozen
class TrendingFacetHit:
    """A value of a facet that trends."""

    facet_name: str
    facet_value: str
    position: int
    """From 1."""
    raw: Mapping[str, Any] = attrs.field(eq=False, repr=False)

    @property
    def score(self) -> float | None:
        """How strongly it trends, 0 to 100; None where the answer gives no score."""
        return self.raw.get("_score")

    def __getitem__(self, name: str) -> Any:
        return self.raw[name]

    def __contains__(self, name: object) -> bool:
        return name in self.raw

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def keys(self) -> KeysView[str]:
        """List what the server said of it, so that `dict(hit)` works."""
        return self.raw.keys()


def _items(object_data: Item | Sequence[Item] | None) -> Sequence[Item] | None:
    return (object_data,) if isinstance(object_data, ObjectData | Mapping) else object_data
