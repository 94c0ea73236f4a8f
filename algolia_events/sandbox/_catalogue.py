"""The records that the sandbox recommends from, and a plain, repeatable notion of what goes with what.

A catalogue of one's own works as well: records need an ``objectID``; ``category``, ``activity``, ``brand``, ``color``,
``price`` and ``popularity`` count where they are there.
"""

import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

Record = Mapping[str, Any]
Scored = tuple[float, Record]


def _by_id(records: Iterable[Record]) -> dict[str, Record]:
    return {record["objectID"]: record for record in records}


@attrs.frozen
class Catalogue:
    """Records by object ID; every list it gives is sorted by score, best first, scores from 0 to 100."""

    _records: Mapping[str, Record] = attrs.field(converter=_by_id)

    def related(self, object_id: str) -> list[Scored]:
        """Find alternatives: the same kind of thing, from a similar shelf, at a similar price."""
        return self._compared(object_id, _relatedness)

    def looking_similar(self, object_id: str) -> list[Scored]:
        """Find what looks alike: the same kind of thing in the same colour."""
        return self._compared(object_id, _likeness)

    def bought_together(self, object_id: str) -> list[Scored]:
        """Find what completes a purchase: other kinds of things for the same activity."""
        return self._compared(object_id, _companionship)

    def trending(self, facet_name: str | None = None, facet_value: str | None = None) -> list[Scored]:
        """List by popularity, all or those with a facet value."""
        chosen = (r for r in self._records.values() if facet_name is None or _has(r, facet_name, facet_value))
        return _sorted((_popularity(record), record) for record in chosen)

    def trending_facets(self, facet_name: str) -> list[tuple[float, str]]:
        """List a facet's values by the popularity of their records, best first."""
        totals: dict[str, float] = {}
        for record in self._records.values():
            for value in _values(record, facet_name):
                totals[value] = totals.get(value, 0.0) + _popularity(record)
        best = max(totals.values(), default=0.0) or 1.0
        scored = ((round(100 * total / best, 2), value) for value, total in totals.items())
        return sorted(scored, key=lambda pair: (-pair[0], pair[1]))

    def _compared(self, object_id: str, score: Any) -> list[Scored]:
        record = self._records.get(object_id)
        if record is None:
            return []
        others = (other for other in self._records.values() if other is not record)
        return _sorted((score(record, other), other) for other in others)


def matches_facet_filters(record: Record, filters: Any) -> bool:
    """Apply ``facetFilters``: ``attribute:value`` or ``attribute:-value``; a list means and, one inside it means or."""
    if isinstance(filters, str):
        return _matches(record, filters)
    return all(
        any(_matches(record, one) for one in part) if isinstance(part, list) else _matches(record, part)
        for part in filters
    )


def _matches(record: Record, one: str) -> bool:
    name, _, value = one.partition(":")
    if value.startswith("-"):
        return not _has(record, name, value[1:])
    return _has(record, name, value)


def _values(record: Record, name: str) -> list[str]:
    value = record.get(name)
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]


def _has(record: Record, name: str, value: str | None) -> bool:
    return value is None or value in _values(record, name)


def _sorted(scored: Iterable[Scored]) -> list[Scored]:
    positive = ((round(score, 2), record) for score, record in scored if score > 0)
    return sorted(positive, key=lambda pair: (-pair[0], pair[1]["objectID"]))


def _popularity(record: Record) -> float:
    return min(100.0, max(0.0, float(record.get("popularity", 0))))


def _same(name: str, one: Record, other: Record) -> bool:
    return one.get(name) is not None and one.get(name) == other.get(name)


def _price_closeness(one: Record, other: Record) -> float:
    """Give 1 for equal prices, less for others, 0 where one is unknown."""
    low, high = sorted((float(one.get("price", 0)), float(other.get("price", 0))))
    return low / high if low > 0 else 0.0


def _relatedness(one: Record, other: Record) -> float:
    shelf = 40 * _same("category", one, other) + 25 * _same("activity", one, other) + 10 * _same("brand", one, other)
    return shelf + 25 * _price_closeness(one, other) if shelf else 0.0


def _likeness(one: Record, other: Record) -> float:
    if not _same("category", one, other):
        return 0.0
    return 50 + 40 * _same("color", one, other) + 10 * _price_closeness(one, other)


def _companionship(one: Record, other: Record) -> float:
    if _same("category", one, other):
        return 0.0
    # what people happen to buy along: arbitrary, but the same for a pair in either direction and in every run
    pair = " ".join(sorted((one["objectID"], other["objectID"])))
    habit = zlib.crc32(pair.encode()) % 31
    return 50 * _same("activity", one, other) + 20 * _same("brand", one, other) + habit


_SHOP: Final = (
    # name, brand, category, activity, color, price, popularity
    ("Dawn Trail Runner", "Fellweg", "Shoes", "Running", "blue", 129.0, 96),
    ("Tempo Road Racer", "Kestrel", "Shoes", "Running", "red", 149.0, 88),
    ("Easy Mile Trainer", "Nordlys", "Shoes", "Running", "grey", 99.0, 71),
    ("Windbreak Jacket", "Fellweg", "Clothing", "Running", "yellow", 89.0, 64),
    ("Split Shorts", "Kestrel", "Clothing", "Running", "black", 39.0, 58),
    ("Cushion Socks, 3 pairs", "Nordlys", "Clothing", "Running", "grey", 18.5, 83),
    ("Soft Flask 500 ml", "Fellweg", "Accessories", "Running", "blue", 16.0, 47),
    ("Pace Watch", "Orbita", "Electronics", "Running", "black", 229.0, 79),
    ("Alpine Hiking Boots", "Fellweg", "Shoes", "Hiking", "brown", 189.0, 91),
    ("Valley Hiking Shoes", "Tarn", "Shoes", "Hiking", "green", 119.0, 62),
    ("Ridge Rain Shell", "Tarn", "Clothing", "Hiking", "blue", 169.0, 74),
    ("Merino Base Layer", "Nordlys", "Clothing", "Hiking", "grey", 69.0, 69),
    ("Daypack 22 l", "Tarn", "Bags", "Hiking", "green", 95.0, 86),
    ("Trekking Backpack 55 l", "Fellweg", "Bags", "Hiking", "blue", 219.0, 55),
    ("Folding Trekking Poles", "Tarn", "Equipment", "Hiking", "black", 79.0, 52),
    ("Head Torch 400", "Orbita", "Electronics", "Hiking", "red", 45.0, 66),
    ("Gravel Cycling Shoes", "Kestrel", "Shoes", "Cycling", "black", 159.0, 49),
    ("Bib Shorts", "Velaro", "Clothing", "Cycling", "black", 109.0, 60),
    ("Summer Jersey", "Velaro", "Clothing", "Cycling", "red", 74.0, 57),
    ("Gloves with Gel Pads", "Kestrel", "Accessories", "Cycling", "black", 32.0, 41),
    ("City Helmet", "Velaro", "Equipment", "Cycling", "grey", 84.0, 77),
    ("Frame Bag 3 l", "Tarn", "Bags", "Cycling", "black", 49.0, 38),
    ("Insulated Bottle 750 ml", "Velaro", "Accessories", "Cycling", "blue", 24.0, 68),
    ("Bike Computer", "Orbita", "Electronics", "Cycling", "black", 199.0, 72),
    ("Training Goggles", "Marlin", "Equipment", "Swimming", "blue", 27.0, 81),
    ("Race Goggles", "Marlin", "Equipment", "Swimming", "black", 44.0, 53),
    ("Silicone Cap", "Marlin", "Accessories", "Swimming", "red", 12.0, 59),
    ("Endurance Swimsuit", "Nordlys", "Clothing", "Swimming", "blue", 59.0, 63),
    ("Swim Jammer", "Marlin", "Clothing", "Swimming", "black", 46.0, 45),
    ("Poolside Sandals", "Nordlys", "Shoes", "Swimming", "blue", 29.0, 50),
    ("Dry Bag 20 l", "Tarn", "Bags", "Swimming", "yellow", 34.0, 43),
    ("Lap Counter", "Orbita", "Electronics", "Swimming", "grey", 65.0, 28),
    ("Cork Yoga Mat", "Stilla", "Equipment", "Yoga", "brown", 69.0, 85),
    ("Travel Yoga Mat", "Stilla", "Equipment", "Yoga", "green", 49.0, 56),
    ("Cork Block, pair", "Stilla", "Accessories", "Yoga", "brown", 26.0, 54),
    ("Cotton Strap", "Stilla", "Accessories", "Yoga", "grey", 14.0, 37),
    ("High Waist Leggings", "Nordlys", "Clothing", "Yoga", "black", 64.0, 78),
    ("Loose Tank Top", "Stilla", "Clothing", "Yoga", "green", 36.0, 48),
    ("Mat Bag", "Tarn", "Bags", "Yoga", "grey", 39.0, 40),
    ("Grip Socks", "Stilla", "Shoes", "Yoga", "grey", 17.0, 46),
)


def built_in_catalogue() -> Catalogue:
    """Give a small sports shop: 40 products, ``sku-1`` to ``sku-40``, all of which go with something."""
    fields = ("name", "brand", "category", "activity", "color", "price", "popularity")
    return Catalogue(
        {"objectID": f"sku-{number}", **dict(zip(fields, row, strict=True))} for number, row in enumerate(_SHOP, 1)
    )
