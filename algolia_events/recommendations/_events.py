"""Events built from hits: index, positions, query IDs and users come from the answers that the hits were in.

Hits of several answers may be given together: they are grouped so that each event speaks of one index, one user and,
where its kind has one query ID, of one answer. Each event holds at most 20 objects.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import attrs

from algolia_events.errors import InvalidEventError, MissingQueryIDError
from algolia_events.events import (
    AddedToCartObjectIDs,
    AddedToCartObjectIDsAfterSearch,
    Amount,
    ClickedObjectIDs,
    ClickedObjectIDsAfterSearch,
    ConvertedObjectIDs,
    ConvertedObjectIDsAfterSearch,
    ObjectData,
    PurchasedObjectIDs,
    PurchasedObjectIDsAfterSearch,
    ViewedObjectIDs,
)

if TYPE_CHECKING:
    from algolia_events.recommendations._hits import RecommendHit

Item: TypeAlias = ObjectData | Mapping[str, Any]
"""What an event says of one object: price, quantity, discount."""
Value: TypeAlias = Amount | Decimal | None
"""The whole amount of an event, in units of its currency."""

Hits: TypeAlias = "Iterable[RecommendHit] | RecommendHit"
"""Several hits, of any answers, or a single one."""

_Plain = TypeVar(
    "_Plain", ViewedObjectIDs, ClickedObjectIDs, ConvertedObjectIDs, AddedToCartObjectIDs, PurchasedObjectIDs
)
_Group: TypeAlias = list[tuple["RecommendHit", Item | None]]


def viewed(event_name: str, hits: Hits) -> tuple[ViewedObjectIDs, ...]:
    """Build the events that say that hits were shown; these carry no query ID (Insights spec)."""
    return plain(ViewedObjectIDs, event_name, hits)


def clicked(event_name: str, hits: Hits) -> tuple[ClickedObjectIDsAfterSearch, ...]:
    """Build click events, one an answer, with the hits' positions.

    Raises:
        MissingQueryIDError: a hit's answer has no query ID.
        InvalidEventError: the event name breaks a rule, or a hit knows no user.
    """
    return tuple(
        event
        for group in _groups(hits, None, _by_answer)
        for event in ClickedObjectIDsAfterSearch.split(
            event_name=event_name,
            positions=[hit.position for hit, _ in group],
            query_id=_query_id(group[0][0], "clicked()"),
            **_common(group),
        )
    )


def converted(event_name: str, hits: Hits) -> tuple[ConvertedObjectIDsAfterSearch, ...]:
    """Build conversion events, one an answer. Raises as `clicked()`."""
    return tuple(
        event
        for group in _groups(hits, None, _by_answer)
        for event in ConvertedObjectIDsAfterSearch.split(
            event_name=event_name, query_id=_query_id(group[0][0], "converted()"), **_common(group)
        )
    )


def added_to_cart(
    event_name: str,
    hits: Hits,
    object_data: Sequence[Item] | None = None,
    currency: str | None = None,
    value: Value = None,
) -> tuple[AddedToCartObjectIDsAfterSearch, ...]:
    """Build add-to-cart events, one an answer; `object_data` has an item for each hit. Raises as `clicked()`."""
    return tuple(
        event
        for group in _groups(hits, object_data, _by_answer, value)
        for event in AddedToCartObjectIDsAfterSearch.split(
            event_name=event_name,
            query_id=_query_id(group[0][0], "added_to_cart()"),
            object_data=_data(group),
            currency=currency,
            value=value,
            **_common(group),
        )
    )


def purchased(
    event_name: str,
    hits: Hits,
    object_data: Sequence[Item] | None = None,
    currency: str | None = None,
    value: Value = None,
) -> tuple[PurchasedObjectIDsAfterSearch, ...]:
    """Build purchase events; hits of different answers go together, each item with its own query ID.

    `object_data` has an item for each hit; a query ID in it stands. Raises as `clicked()`.
    """
    return tuple(
        event
        for group in _groups(hits, object_data, _by_user, value)
        for event in PurchasedObjectIDsAfterSearch.split(
            event_name=event_name,
            object_data=[_with_query_id(hit, item) for hit, item in group],
            currency=currency,
            value=value,
            **_common(group),
        )
    )


def plain(
    kind: type[_Plain],
    event_name: str,
    hits: Hits,
    object_data: Sequence[Item] | None = None,
    **amounts: Any,
) -> tuple[_Plain, ...]:
    """Build events of a kind without query ID."""
    events: list[_Plain] = []
    for group in _groups(hits, object_data, _by_user, amounts.get("value")):
        fields = _common(group) | amounts
        if object_data is not None:
            fields["object_data"] = _data(group)
        events += kind.split(event_name=event_name, **fields)
    return tuple(events)


def _by_user(hit: "RecommendHit") -> Hashable:
    return (hit.origin.index, hit.origin.user_token, hit.origin.authenticated_user_token)


def _by_answer(hit: "RecommendHit") -> Hashable:
    return (hit.origin.query_id, _by_user(hit))


def _groups(
    hits: Hits,
    object_data: Sequence[Item] | None,
    key: "Callable[[RecommendHit], Hashable]",
    value: Value = None,
) -> Iterable[_Group]:
    hits = _checked(hits)
    items: Sequence[Item | None] = [None] * len(hits) if object_data is None else object_data
    if len(items) != len(hits):
        raise InvalidEventError("event", [("object_data", f"holds {len(items)} items for {len(hits)} hits")])
    groups: dict[Hashable, _Group] = {}
    for hit, item in zip(hits, items, strict=True):
        groups.setdefault(key(hit), []).append((hit, item))
    if value is not None and len(groups) > 1:
        way_out = f"cannot be shared out among {len(groups)} events; leave it out, or build them one by one"
        raise InvalidEventError("event", [("value", way_out)])
    return groups.values()


def _checked(hits: Hits) -> "tuple[RecommendHit, ...]":
    from algolia_events.recommendations._hits import (  # noqa: PLC0415 - hits build events by this module
        RecommendHit,
        TrendingFacetHit,
    )

    if isinstance(hits, RecommendHit):
        return (hits,)
    given: object = hits
    # Records and texts can be walked through as well, but hold no hits: the error should name them, not their parts.
    single = (str, bytes, Mapping, TrendingFacetHit)
    several = tuple(given) if isinstance(given, Iterable) and not isinstance(given, single) else (given,)
    for hit in several:
        if not isinstance(hit, RecommendHit):
            raise TypeError(f"hits are RecommendHits of an answer, one or several, not {type(hit).__name__}")
    return several


def _query_id(hit: "RecommendHit", wanted: str) -> str:
    if hit.query_id is None:
        raise MissingQueryIDError(wanted)
    return hit.query_id


def _with_query_id(hit: "RecommendHit", item: Item | None) -> Item:
    if isinstance(item, Mapping):
        return item if "queryID" in item or "query_id" in item else {**item, "query_id": _query_id(hit, "purchased()")}
    if item is None:
        return ObjectData(query_id=_query_id(hit, "purchased()"))
    return item if item.query_id is not None else attrs.evolve(item, query_id=_query_id(hit, "purchased()"))


def _common(group: _Group) -> dict[str, Any]:
    origin = group[0][0].origin
    if origin.user_token is None:
        way_out = "the answer was asked for without one: ask with user_token=… or call for_user() first"
        raise InvalidEventError("event", [("user_token", way_out)])
    return {
        "index": origin.index,
        "object_ids": [hit.object_id for hit, _ in group],
        "user_token": origin.user_token,
        "authenticated_user_token": origin.authenticated_user_token,
    }


def _data(group: _Group) -> list[Item] | None:
    items = [item for _, item in group if item is not None]
    return items or None
