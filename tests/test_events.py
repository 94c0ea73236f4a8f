"""Each field's rule, at its edges, through the classes: what is accepted, what is refused and in which words."""

import datetime as dt
import enum
import itertools
import time
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algolia_events.errors import InvalidEventError
from algolia_events.events import (
    AddedToCartObjectIDs,
    AddedToCartObjectIDsAfterSearch,
    ClickedFilters,
    ClickedObjectIDs,
    ClickedObjectIDsAfterSearch,
    ConvertedObjectIDsAfterSearch,
    InstantSearchTelemetry,
    ObjectData,
    PurchasedObjectIDs,
    PurchasedObjectIDsAfterSearch,
    TypedEvent,
)

QUERY_ID = "7dfe2ada7bca48bdd0629649df0bee07"
OTHER_QUERY_ID = "54ed4c9d94050a25e4e5ccf5d256ca42"


def click(**fields: Any) -> ClickedObjectIDsAfterSearch:
    defaults: dict[str, Any] = {
        "event_name": "Clicked",
        "index": "products",
        "object_ids": ["a", "b"],
        "positions": [1, 2],
        "query_id": QUERY_ID,
        "user_token": "u",
    }
    return ClickedObjectIDsAfterSearch(**defaults | fields)


def cart(cls: Any = AddedToCartObjectIDs, **fields: Any) -> Any:
    defaults = {"event_name": "Cart", "index": "products", "object_ids": ["a", "b"], "user_token": "u"}
    return cls(**defaults | fields)


def problems_of(build: Any, **fields: Any) -> dict[str, str]:
    with pytest.raises(InvalidEventError) as caught:
        build(**fields)
    return dict(caught.value.problems)


class Name(enum.StrEnum):
    CLICKED = "Clicked"


class OldName(str, enum.Enum):  # noqa: UP042 - whose f-string is "OldName.CLICKED"
    CLICKED = "Clicked"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event_name", "x"),
        ("event_name", "".join(map(chr, range(0x20, 0x60)))),
        ("event_name", " ~" * 32),
        ("index", "Ünïcode 😀"),
        ("user_token", "x" * 128),
        ("user_token", "azAZ09_=/+-"),
        ("authenticated_user_token", None),
        ("authenticated_user_token", "x" * 128),
        ("query_id", "0" * 32),
        ("query_id", "message_!"),
        ("query_id", "message_" + "~" * 120),
        ("timestamp", None),
        ("timestamp", 10**11),
        ("timestamp", 10**15 - 1),
        ("object_ids", ("a", "b")),
        ("object_ids", ("😀", "\x00")),
        ("positions", (1, 2**63 - 1)),
    ],
)
def test_what_the_rules_allow_is_kept(field: str, value: object) -> None:
    assert getattr(click(**{field: value}), field) == value


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("event_name", "", "is empty"),
        ("event_name", "x" * 65, "65 characters"),
        ("event_name", "tab\t", "position 3"),
        ("event_name", "newline\n", "position 7"),
        ("event_name", "é", "position 0"),
        ("event_name", 5, "expected string, got number"),
        ("event_name", None, "expected string, got null"),
        ("event_name", b"x", "expected string, got bytes"),
        ("index", "", "is empty"),
        ("index", True, "expected string, got boolean"),
        ("index", "\ud800", "surrogate at position 0"),
        ("user_token", "", "is empty"),
        ("user_token", "x" * 129, "129 characters"),
        ("user_token", "a@b.c", "pseudonymous_user_token"),
        ("user_token", "x\n", "position 1"),
        ("user_token", "é", "position 0"),
        ("user_token", 1.5, "expected string, got number"),
        ("authenticated_user_token", "", "is empty"),
        ("authenticated_user_token", "a b", "position 1"),
        ("authenticated_user_token", ["a"], "expected string, got array"),
        ("query_id", QUERY_ID.upper(), "upper case"),
        ("query_id", QUERY_ID[1:], "31 characters"),
        ("query_id", QUERY_ID + "\n", "33 characters"),
        ("query_id", "g" * 32, "other characters"),
        ("query_id", "message_", "8 characters"),
        ("query_id", "message_a b", "11 characters"),
        ("query_id", "message_" + "x" * 121, "at most 128"),
        ("query_id", 5, "expected string, got number"),
        ("query_id", None, "expected string, got null"),
        ("timestamp", 1_700_000_000, "seconds"),
        ("timestamp", -1, "seconds"),
        ("timestamp", 10**15, "microseconds"),
        ("timestamp", True, "got boolean"),
        ("timestamp", 1.7e12, "int("),
        ("timestamp", "1700000000000", "got string"),
        ("timestamp", dt.datetime(2024, 1, 1), "time zone"),  # noqa: DTZ001 - the point
        ("timestamp", dt.date(2024, 1, 1), "got date"),
        ("object_ids", "ab", "write [item]"),
        ("object_ids", b"ab", "got bytes"),
        ("object_ids", {"a": 1}, "got object"),
        ("object_ids", 5, "got number"),
        ("object_ids", [], "holds 0 items"),
        ("positions", "12", "got string"),
        ("positions", [1], "1 items for 2 objects"),
        ("positions", [], "holds 0 items"),
    ],
)
def test_what_they_do_not_allow_is_named_with_the_way_out(field: str, value: object, words: str) -> None:
    problems = problems_of(click, **{field: value})

    assert list(problems) == [field]
    assert words in problems[field]


def test_lists_that_are_too_long_are_led_to_split() -> None:
    problems = problems_of(click, object_ids=["a"] * 21, positions=[1] * 21)

    assert list(problems) == ["object_ids", "positions"]
    assert all("split()" in problem for problem in problems.values())


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("object_ids", ["a", ""], "object_ids[1]"),
        ("object_ids", ["\udfff", "b"], "object_ids[0]"),
        ("object_ids", ["a", 5], "object_ids[1]"),
        ("object_ids", ["a", None], "object_ids[1]"),
        ("positions", [1, 0], "positions[1]"),
        ("positions", [-1, 2], "positions[0]"),
        ("positions", [1, True], "positions[1]"),
        ("positions", [1, 2.0], "positions[1]"),
        ("positions", [1, "2"], "positions[1]"),
        ("positions", [1, 2**63], "positions[1]"),
    ],
)
def test_a_wrong_item_is_named_by_its_place(field: str, value: object, place: str) -> None:
    assert list(problems_of(click, **{field: value})) == [place]


def test_every_problem_is_named_at_once() -> None:
    problems = problems_of(click, event_name="", user_token="a b", timestamp=1, index=5, object_ids=[], query_id="x")

    assert list(problems) == ["event_name", "user_token", "timestamp", "index", "object_ids", "query_id"]


@pytest.mark.parametrize("positions", [[0, 1, 2], [1, 2, "3"], (place for place in (1, 2, 0))])
def test_a_wrong_item_does_not_hide_that_the_list_has_another_length(positions: Any) -> None:
    problems = problems_of(click, positions=positions)

    assert len(problems) == 2
    assert "3 items for 2 objects" in problems["positions"]


@given(st.text(min_size=3).filter(lambda text: text.strip("0123456789 ") != ""))
def test_a_message_never_shows_a_token(token: str) -> None:
    token = f"secret@{token}"

    with pytest.raises(InvalidEventError) as caught:
        click(user_token=token)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", [Name.CLICKED, OldName.CLICKED])
def test_enumerations_of_strings_are_kept_as_plain_strings(name: str) -> None:
    event = click(event_name=name)

    assert event.event_name == "Clicked"
    assert type(event.event_name) is str


def test_generators_and_other_iterables_are_taken() -> None:
    event = click(object_ids=(c for c in "ab"), positions=range(1, 3))

    assert event.object_ids == ("a", "b")
    assert event.positions == (1, 2)


def test_an_iterator_without_an_end_is_refused() -> None:
    with pytest.raises(InvalidEventError, match="holds more than 10000 items") as caught:
        click(object_ids=map(str, itertools.count()), positions=itertools.count(1))

    assert [field for field, _ in caught.value.problems] == ["object_ids", "positions"]


def test_an_aware_datetime_becomes_milliseconds() -> None:
    moment = dt.datetime(2024, 1, 1, 1, 0, 0, 999_999, tzinfo=dt.timezone(dt.timedelta(hours=1)))

    assert click(timestamp=moment).timestamp == 1_704_067_200_999
    assert click(timestamp=int(time.time() * 1000)).timestamp is not None


@pytest.mark.parametrize(
    ("amount", "kept"),
    [
        (0, 0),
        (10**16 - 1, 10**16 - 1),
        (-5, -5),
        (19.99, 19.99),
        (0.1 + 0.2, 0.3),
        (19.99 * 3, 59.97),
        (0.3 - 0.1 - 0.2, 0),
        (1e-05, "0.00001"),
        (1e14, 10**14),
        (1 / 3, 0.33333333333333),
        ("1000.00", "1000.00"),
        ("-0.5", "-0.5"),
        ("9" * 16, "9" * 16),
        (Decimal("9.90"), "9.90"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1E-3"), "0.001"),
        (Decimal("1234567890123.45"), "1234567890123.45"),
    ],
)
def test_amounts_are_kept_as_16_characters_can_show_them(amount: object, kept: object) -> None:
    event = cart(value=amount, currency="EUR")

    assert event.value == kept
    assert type(event.value) is type(kept) or kept == 0


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-9e14, max_value=9e14))
def test_any_float_within_bounds_fits_and_hardly_changes(amount: float) -> None:
    kept = ObjectData(price=amount).price

    assert kept is not None
    text = kept if isinstance(kept, str) else repr(kept)
    assert len(text) <= 16
    assert "e" not in text
    assert float(kept) == pytest.approx(amount, rel=1e-13, abs=1e-13)


@pytest.mark.parametrize(
    "amount",
    [
        True,
        float("nan"),
        float("inf"),
        1e15,
        10**16,
        -(10**15),
        "",
        "1e3",
        "€5",
        "5 EUR",
        "1,50",
        ".5",
        "5.",
        "+5",
        "٣",
        "1\n",
        "0" * 17,
        Decimal("NaN"),
        Decimal("-Infinity"),
        Decimal("1E+999999999"),
        Decimal("1E-999999999"),
        Decimal("0.1234567890123456"),
        Fraction(1, 2),
        [1],
    ],
)
def test_other_amounts_are_refused(amount: object) -> None:
    assert list(problems_of(cart, value=amount, currency="EUR")) == ["value"]
    assert list(problems_of(ObjectData, price=amount)) == ["price"]
    assert list(problems_of(ObjectData, discount=amount)) == ["discount"]


@pytest.mark.parametrize("currency", ["EUR", "usd"])
def test_a_currency_is_three_letters(currency: str) -> None:
    assert cart(currency=currency).currency == currency


@pytest.mark.parametrize("currency", ["", "EU", "EURO", "E1R", "ÄÖÜ", "EU\n", 978, True])
def test_anything_else_is_none(currency: object) -> None:
    assert list(problems_of(cart, currency=currency)) == ["currency"]


@pytest.mark.parametrize(
    "fields",
    [
        {"value": 0},
        {"object_data": [{"price": 1}, {}]},
        {"object_data": [{}, {"discount": "1"}]},
        {"object_data": [ObjectData(price=1), ObjectData()]},
    ],
)
def test_a_currency_is_required_with_any_amount(fields: dict[str, Any]) -> None:
    assert list(problems_of(cart, **fields)) == ["currency"]
    assert cart(**fields, currency="EUR").currency == "EUR"


def test_a_quantity_alone_needs_no_currency() -> None:
    assert cart(object_data=[{"quantity": 1}, {"quantity": 2}]).currency is None


@pytest.mark.parametrize("quantity", [True, 1.0, "1", 2**31])
def test_a_quantity_is_a_whole_number_of_32_bits(quantity: object) -> None:
    assert list(problems_of(ObjectData, quantity=quantity)) == ["quantity"]


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({"value": "x"}, ["value", "currency"]),
        ({"object_data": [{"price": "x"}, {}]}, ["object_data[0].price", "currency"]),
        ({"object_data": [{"discount": 1, "colour": 1}, {}]}, ["object_data[0].colour", "currency"]),
        ({"object_data": [{"price": 1}, 5]}, ["object_data[1]", "currency"]),
        ({"object_data": [{"quantity": "x"}, {}]}, ["object_data[0].quantity"]),
        ({"object_data": 5, "value": 1}, ["object_data", "currency"]),
        ({"value": 1, "currency": "euro"}, ["currency"]),
        (
            {"object_ids": ["a"], "object_data": [{"price": 1}, {"price": "x"}]},
            ["object_data[1].price", "object_data", "currency"],
        ),
    ],
)
@pytest.mark.parametrize("cls", [AddedToCartObjectIDs, PurchasedObjectIDs])
def test_a_wrong_field_does_not_hide_a_missing_currency(
    cls: type[TypedEvent], fields: dict[str, Any], paths: list[str]
) -> None:
    assert list(problems_of(cart, cls=cls, **fields)) == paths


def test_object_data_may_be_mappings_with_either_names() -> None:
    event = cart(
        AddedToCartObjectIDsAfterSearch,
        query_id=QUERY_ID,
        object_data=[{"price": 1, "queryID": OTHER_QUERY_ID}, {"query_id": OTHER_QUERY_ID}],
        currency="EUR",
    )

    assert event.object_data == (ObjectData(price=1, query_id=OTHER_QUERY_ID), ObjectData(query_id=OTHER_QUERY_ID))


def test_a_query_id_under_both_of_its_names_is_refused() -> None:
    twice = {"queryID": QUERY_ID, "query_id": OTHER_QUERY_ID}

    problems = problems_of(
        cart,
        cls=AddedToCartObjectIDsAfterSearch,
        object_ids=["a"],
        query_id=QUERY_ID,
        object_data=[twice],
        currency="EUR",
    )

    assert problems == {"object_data[0].query_id": "is given twice, under both of its names"}


def test_problems_of_object_data_are_named_by_place_and_field() -> None:
    problems = problems_of(
        cart,
        object_data=[{"price": "x", "colour": 1}, 5, {5: 1}, {"query_id": QUERY_ID, "queryID": QUERY_ID}],
        currency="EUR",
    )

    assert list(problems) == [
        "object_data[0].colour",
        "object_data[0].price",
        "object_data[1]",
        "object_data[2].number",
        "object_data[3].query_id",
        "object_data",
    ]


def test_object_data_has_one_item_an_object() -> None:
    assert "3 items for 2 objects" in problems_of(cart, object_data=[{}, {}, {}])["object_data"]


@pytest.mark.parametrize("cls", [AddedToCartObjectIDs, PurchasedObjectIDs])
def test_query_ids_of_items_are_for_the_after_search_kinds(cls: type[TypedEvent]) -> None:
    problems = problems_of(cart, cls=cls, object_data=[{}, {"query_id": QUERY_ID}])

    assert problems == {"object_data[1].query_id": f"is for {cls.__name__}AfterSearch"}


def test_a_purchases_query_id_is_copied_into_items_that_lack_one() -> None:
    event = cart(
        PurchasedObjectIDsAfterSearch,
        query_id=QUERY_ID,
        object_data=[{"quantity": 2}, {"query_id": OTHER_QUERY_ID}],
    )

    assert event.object_data == (ObjectData(quantity=2, query_id=QUERY_ID), ObjectData(query_id=OTHER_QUERY_ID))


def test_a_purchases_missing_items_are_made() -> None:
    event = cart(PurchasedObjectIDsAfterSearch, query_id=QUERY_ID)

    assert event.object_data == (ObjectData(query_id=QUERY_ID), ObjectData(query_id=QUERY_ID))


def test_a_purchase_needs_a_query_id_for_every_object() -> None:
    assert list(problems_of(cart, cls=PurchasedObjectIDsAfterSearch)) == ["object_data"]
    assert list(
        problems_of(cart, cls=PurchasedObjectIDsAfterSearch, object_data=[{"query_id": QUERY_ID}, {"quantity": 1}])
    ) == ["object_data[1].query_id"]
    assert list(problems_of(cart, cls=PurchasedObjectIDsAfterSearch, query_id="message_1")) == ["query_id"]


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({"object_ids": ["a", ""]}, ["object_ids[1]", "object_data"]),
        (
            {"object_data": [{"quantity": "x", "query_id": QUERY_ID}, {"quantity": 1}]},
            ["object_data[0].quantity", "object_data[1].query_id"],
        ),
        ({"object_data": [{"quantity": "x"}, {}], "query_id": QUERY_ID}, ["object_data[0].quantity"]),
        ({"object_data": [{"query_id": "x"}, {"query_id": QUERY_ID}]}, ["object_data[0].query_id"]),
    ],
)
def test_a_wrong_field_does_not_hide_a_missing_query_id(fields: dict[str, Any], paths: list[str]) -> None:
    assert list(problems_of(cart, cls=PurchasedObjectIDsAfterSearch, **fields)) == paths


def test_a_conversion_after_search_needs_its_query_id() -> None:
    assert list(problems_of(cart, cls=ConvertedObjectIDsAfterSearch, query_id=None)) == ["query_id"]


@pytest.mark.parametrize("filters", [["brand:apple"], ["a:b:c"], ["discount:10%25"] * 20, ["é:😀"]])
def test_filters_are_pairs(filters: list[str]) -> None:
    event = ClickedFilters(event_name="Clicked", index="products", filters=filters, user_token="u")

    assert event.filters == tuple(filters)


@pytest.mark.parametrize(
    ("filters", "place"),
    [
        (["brand"], "filters[0]"),
        (["a:b", ":b"], "filters[1]"),
        (["a:"], "filters[0]"),
        ([":"], "filters[0]"),
        ([""], "filters[0]"),
        ([5], "filters[0]"),
        (["a:\ud800"], "filters[0]"),
        ([], "filters"),
        (["a:b"] * 21, "filters"),
        ("a:b", "filters"),
    ],
)
def test_other_filters_are_refused(filters: Any, place: str) -> None:
    assert list(
        problems_of(ClickedFilters, event_name="Clicked", index="products", filters=filters, user_token="u")
    ) == [place]


def test_telemetry_has_no_index() -> None:
    event = InstantSearchTelemetry(event_name="Telemetry", user_token="u", agent_id="session")

    assert event.agent_id == "session"
    assert not hasattr(event, "index")
    assert list(problems_of(InstantSearchTelemetry, event_name="T", user_token="u", agent_id="")) == ["agent_id"]


def test_an_error_survives_pickling_with_its_problems() -> None:
    with pytest.raises(InvalidEventError) as caught:
        ClickedObjectIDs(event_name="", index="", object_ids=["a"], user_token="u")

    assert caught.value.kind == "ClickedObjectIDs"
    assert [field for field, _ in caught.value.problems] == ["event_name", "index"]
