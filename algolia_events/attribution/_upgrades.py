"""Events without query IDs, turned into their after-search kinds by what was remembered."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias

import attrs

from algolia_events.attribution._sightings import Sighting
from algolia_events.errors import InvalidEventError
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
)

Upgradable: TypeAlias = ClickedObjectIDs | ConvertedObjectIDs | AddedToCartObjectIDs | PurchasedObjectIDs
Upgraded: TypeAlias = (
    ClickedObjectIDsAfterSearch
    | ConvertedObjectIDsAfterSearch
    | AddedToCartObjectIDsAfterSearch
    | PurchasedObjectIDsAfterSearch
)
UPGRADABLE: Final = (ClickedObjectIDs, ConvertedObjectIDs, AddedToCartObjectIDs, PurchasedObjectIDs)


def upgrade(event: Upgradable, found: Sequence[Sighting | None]) -> Upgradable | Upgraded:
    """Turn an event into its after-search kind where `found` has an answer for each of its objects.

    A click, a conversion and an add-to-cart have one query ID: they are left alone when their objects come from
    several answers. A purchase has one for each item. So is an event that could not carry what was found, as where
    the answer was none of Algolia's.
    """
    try:
        return _upgraded(event, _usable(event, found))
    except InvalidEventError:
        return event


def _upgraded(event: Upgradable, found: Sequence[Sighting | None]) -> Upgradable | Upgraded:
    known = [sighting for sighting in found if sighting is not None]
    if len(known) != len(found):
        return event
    if isinstance(event, PurchasedObjectIDs):
        return _purchase(event, known)
    if len({sighting.query_id for sighting in known}) != 1:
        return event
    fields = _fields(event) | {"query_id": known[0].query_id}
    if isinstance(event, ClickedObjectIDs):
        return ClickedObjectIDsAfterSearch(positions=[sighting.position for sighting in known], **fields)
    if isinstance(event, ConvertedObjectIDs):
        return ConvertedObjectIDsAfterSearch(**fields)
    return AddedToCartObjectIDsAfterSearch(**fields)


def upgrade_parts(event: Upgradable, found: Sequence[Sighting | None]) -> tuple[Upgradable | Upgraded, ...]:
    """Split an event by the answers that its objects come from, and turn each part into its after-search kind.

    Objects that no answer showed make a part that is left alone. An event whose `value` cannot be shared out, as not
    every object has a price, is not split.
    """
    found = _usable(event, found)
    groups: dict[object, list[int]] = {}
    for place, sighting in enumerate(found):
        groups.setdefault(_part_of(event, sighting), []).append(place)
    if len(groups) == 1 or not _can_be_split(event):
        return (upgrade(event, found),)
    return tuple(upgrade(_take(event, places), [found[place] for place in places]) for places in groups.values())


def _usable(event: Upgradable, found: Sequence[Sighting | None]) -> Sequence[Sighting | None]:
    """Leave out what a purchase has no room for: an agent's message, as its items take query IDs of searches only."""
    if not isinstance(event, PurchasedObjectIDs):
        return found
    return [sighting if sighting is not None and _is_of_a_search(sighting) else None for sighting in found]


def _is_of_a_search(sighting: Sighting) -> bool:
    try:
        ObjectData(query_id=sighting.query_id)
    except InvalidEventError:
        return False
    return True


def _part_of(event: Upgradable, sighting: Sighting | None) -> object:
    if sighting is None or isinstance(event, PurchasedObjectIDs):
        return sighting is not None
    return sighting.query_id


def _purchase(event: PurchasedObjectIDs, known: Sequence[Sighting]) -> PurchasedObjectIDsAfterSearch:
    data = event.object_data or (ObjectData(),) * len(known)
    own = [attrs.evolve(item, query_id=sighting.query_id) for item, sighting in zip(data, known, strict=True)]
    return PurchasedObjectIDsAfterSearch(**_fields(event) | {"object_data": own})


def _can_be_split(event: Upgradable) -> bool:
    if isinstance(event, ClickedObjectIDs | ConvertedObjectIDs) or event.value is None:
        return True
    return event.object_data is not None and all(item.price is not None for item in event.object_data)


def _take(event: Upgradable, places: Sequence[int]) -> Upgradable:
    object_ids = [event.object_ids[place] for place in places]
    if isinstance(event, ClickedObjectIDs | ConvertedObjectIDs) or event.object_data is None:
        return attrs.evolve(event, object_ids=object_ids)
    data = [event.object_data[place] for place in places]
    value = None if event.value is None else sum(_amount(item) for item in data)
    return attrs.evolve(event, object_ids=object_ids, object_data=data, value=value)


def _amount(item: ObjectData) -> Decimal:
    return Decimal(str(item.price)) * (1 if item.quantity is None else item.quantity)


def _fields(event: Upgradable) -> dict[str, Any]:
    return {field.name: getattr(event, field.name) for field in attrs.fields(type(event))}
