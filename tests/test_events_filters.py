"""`filter_` percent-encodes both parts separately, once, and keeps the colon between them."""

from decimal import Decimal
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algolia_events.errors import InvalidEventError
from algolia_events.events import ClickedFilters, filter_

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@pytest.mark.parametrize(
    ("attribute", "value", "expected"),
    [
        ("brand", "apple", "brand:apple"),
        ("discount", "10%", "discount:10%25"),
        ("discount", "10%25", "discount:10%2525"),
        ("a:b", "c:d/e", "a%3Ab:c%3Ad%2Fe"),
        ("name", "é b", "name:%C3%A9%20b"),
        ("in_stock", True, "in_stock:true"),
        ("in_stock", False, "in_stock:false"),
        ("price", 10, "price:10"),
        ("price", -1.5, "price:-1.5"),
        ("price", Decimal("9.90"), "price:9.90"),
    ],
)
def test_parts_are_encoded(attribute: str, value: Any, expected: str) -> None:
    assert filter_(attribute, value) == expected


@given(TEXTS, TEXTS)
def test_parts_can_be_told_again_and_make_a_legal_event(attribute: str, value: str) -> None:
    text = filter_(attribute, value)

    assert [unquote(part) for part in text.split(":")] == [attribute, value]
    assert ClickedFilters(event_name="C", index="i", filters=[text], user_token="u").filters == (text,)


@pytest.mark.parametrize(
    ("attribute", "value", "fields"),
    [("", "a", ["attribute"]), ("a", "", ["value"]), (5, None, ["attribute", "value"]), ("a", "\ud800", ["value"])],
)
def test_other_parts_are_refused(attribute: Any, value: Any, fields: list[str]) -> None:
    with pytest.raises(InvalidEventError) as caught:
        filter_(attribute, value)

    assert [field for field, _ in caught.value.problems] == fields
