"""Values that nobody sends in good faith."""

import datetime as dt
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

HUGE = "x" * 10_000_000
"""One string of it, since each use of a literal would be another 10 MB."""

FIELDS = (
    "eventType",
    "eventSubtype",
    "eventName",
    "index",
    "indexName",
    "userToken",
    "authenticatedUserToken",
    "timestamp",
    "objectIDs",
    "positions",
    "queryID",
    "filters",
    "objectData",
    "currency",
    "value",
    "agentID",
    "price",
    "quantity",
    "discount",
)


class LiarError(Exception):
    """What a mapping that is no mapping raises."""


class Liar(Mapping[str, Any]):
    """A mapping that raises where others answer."""

    def __getitem__(self, key: str) -> Any:
        raise LiarError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(("eventName", "eventType"))

    def __len__(self) -> int:
        return 2


class Text(str):
    """A string of another class."""

    __slots__ = ()


def deep(levels: int) -> Any:
    """Nest mappings and lists."""
    value: Any = "bottom"
    for level in range(levels):
        value = {"a": value} if level % 2 else [value]
    return value


DEEP = deep(100_000)
CYCLE: dict[str, Any] = {}
CYCLE["self"] = CYCLE


def _by_name(name: str) -> Any:
    """Give what Hypothesis had better not show in full; it cannot show `DEEP` and `CYCLE` at all."""
    return HUGE if name == "huge" else deep(60)


HOSTILE_TEXTS = st.one_of(
    st.text(st.characters(), max_size=30),
    st.text(st.characters(categories=["Cs", "Cc", "Cf", "Zl", "Zp"]), min_size=1, max_size=30),
    st.sampled_from(
        ["", " ", "\x00", "\ud800", "a\udfff", "\u2028", "\x7f", "a\nb", "a\r\nb", '"', "\\", "\\u0000", "null", "NaN"]
    ),
    st.sampled_from(
        [Text("click"), "٣", "\uff11", "\uff41", "e\u0301", "\U0010ffff", "../..", "%00", "<script>", "a" * 129]
    ),
)
HOSTILE_NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.decimals(),
    st.sampled_from([10**400, -(10**400), 2**63, 2**64, -(2**63) - 1, 1e308, 5e-324, -0.0, True, False]),
    st.sampled_from([Decimal("1E+999999999"), Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"), 1 + 2j]),
)
HOSTILE_LEAVES = st.one_of(
    HOSTILE_TEXTS,
    HOSTILE_NUMBERS,
    st.none(),
    st.binary(max_size=20),
    st.datetimes(),
    st.datetimes(timezones=st.just(dt.UTC)),
    st.sampled_from([object(), type, len, Liar(), bytearray(b"x"), range(3), frozenset("a")]),
    st.sampled_from(["huge", "nested"]).map(_by_name),
)
HOSTILE_VALUES = st.recursive(
    HOSTILE_LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=25),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.sampled_from(FIELDS) | HOSTILE_TEXTS, inner, max_size=4),
        st.dictionaries(st.integers() | st.none(), inner, max_size=2),
        st.dictionaries(HOSTILE_TEXTS, inner, max_size=2).map(OrderedDict),
    ),
    max_leaves=12,
)
