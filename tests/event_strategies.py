"""Valid and almost valid fields of events, for the property tests."""

import datetime as dt
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from algolia_events import events
from algolia_events.events import TypedEvent

TOKENS = st.text("ABCXYZabcxyz019_=/+-", min_size=1, max_size=128)
EVENT_NAMES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=64)
SEARCH_QUERY_IDS = st.text("0123456789abcdef", min_size=32, max_size=32)
MESSAGE_QUERY_IDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=120).map(
    "message_{}".format
)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    st.sampled_from(['a"b', "back\\slash", "line\u2028break", "new\nline", "\x00", "\x7f", "\ufeff", "😀", "é" * 5]),
)
TIMESTAMPS = st.integers(10**11, 10**15 - 1)
AMOUNTS = st.one_of(
    st.integers(-(10**15) + 1, 10**15 - 1),
    st.floats(-1e14, 1e14, allow_nan=False),
    st.decimals("-99999", "99999", places=2),
    st.decimals("-99999", "99999", places=2).map(str),
)
_FIRST_DAY = dt.datetime(1980, 1, 1)  # noqa: DTZ001 - Hypothesis adds the time zone
CURRENCIES = st.text("ABCxyz", min_size=3, max_size=3)
FILTERS = st.builds(events.filter_, TEXTS, st.one_of(TEXTS, st.integers(), st.booleans()))


def _items(*, query_id: bool) -> st.SearchStrategy[dict[str, Any]]:
    optional: dict[str, st.SearchStrategy[Any]] = {
        "price": AMOUNTS,
        "discount": AMOUNTS,
        "quantity": st.integers(-(2**31) + 1, 2**31 - 1),
    }
    required = {"query_id": SEARCH_QUERY_IDS} if query_id else {}
    return st.fixed_dictionaries(required, optional=optional)


@st.composite
def valid_fields(draw: st.DrawFn, cls: type[TypedEvent]) -> dict[str, Any]:
    """Draw arguments that the constructor of `cls` accepts."""
    fields: dict[str, Any] = {"event_name": draw(EVENT_NAMES), "user_token": draw(TOKENS)}
    if draw(st.booleans()):
        fields["authenticated_user_token"] = draw(st.none() | TOKENS)
    if draw(st.booleans()):
        fields["timestamp"] = draw(st.none() | TIMESTAMPS | st.datetimes(_FIRST_DAY, timezones=st.just(dt.UTC)))
    if issubclass(cls, events.InstantSearchTelemetry):
        return fields | draw(st.fixed_dictionaries({}, optional={"agent_id": TEXTS}))
    fields["index"] = draw(TEXTS)
    if issubclass(cls, events.FiltersEvent):
        return fields | {"filters": draw(st.lists(FILTERS, min_size=1, max_size=20))}
    fields["object_ids"] = draw(st.lists(TEXTS, min_size=1, max_size=20))
    count = len(fields["object_ids"])
    if cls is events.ClickedObjectIDsAfterSearch:
        fields["positions"] = draw(st.lists(st.integers(1, 2**63 - 1), min_size=count, max_size=count))
    purchase = cls is events.PurchasedObjectIDsAfterSearch
    if cls.__name__.endswith("AfterSearch") and not purchase:
        fields["query_id"] = draw(SEARCH_QUERY_IDS | MESSAGE_QUERY_IDS)
    if issubclass(cls, events.CartEvent):
        fields["currency"] = draw(CURRENCIES)
        if draw(st.booleans()):
            fields["value"] = draw(AMOUNTS)
        if purchase or draw(st.booleans()):
            fields["object_data"] = draw(st.lists(_items(query_id=purchase), min_size=count, max_size=count))
    return fields


ODD_VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.text(st.characters(), max_size=4),
    st.binary(max_size=40),
    st.decimals(),
    st.datetimes(),
    st.lists(st.one_of(st.text(max_size=3), st.integers(), st.booleans(), st.none(), st.characters()), max_size=23),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
    st.sampled_from(
        [
            "\ud800",
            "A" * 32,
            "a" * 32,
            "1" * 32,
            "a" * 129,
            "EUR",
            "ÄÖÜ",
            "٣",
            "a:b",
            ":b",
            "a:",
            ["a:b"],
            [True],
            [0],
            [1.0],
        ]
    ),
    st.sampled_from([Decimal("NaN"), Decimal("1E+999999999"), 10**4000, -1, 10**11, 10**15, 1e16, object(), set()]),
)

KINDS = st.sampled_from(events.KINDS)


@st.composite
def kinds_and_fields(draw: st.DrawFn) -> tuple[type[TypedEvent], dict[str, Any]]:
    """Draw a class and arguments that it accepts."""
    cls = draw(KINDS)
    return cls, draw(valid_fields(cls))


VALID_EVENTS = kinds_and_fields().map(lambda drawn: drawn[0](**drawn[1]))
