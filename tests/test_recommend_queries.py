"""A query is checked when it is made, with every problem named by its field."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algolia_events.errors import InvalidQueryError
from algolia_events.recommendations import (
    BoughtTogether,
    LookingSimilar,
    RelatedProducts,
    TrendingItems,
    parse_query,
)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("index", "", "must not be empty"),
        ("index", 7, "expected a string"),
        ("object_id", "", "must not be empty"),
        ("object_id", None, "expected a string"),
        ("threshold", -0.1, "between 0 and 100"),
        ("threshold", 100.5, "between 0 and 100"),
        ("threshold", math.nan, "between 0 and 100"),
        ("threshold", True, "expected a number"),
        ("threshold", "0", "expected a number"),
        ("max_recommendations", 0, "between 1 and 30"),
        ("max_recommendations", 31, "between 1 and 30"),
        ("max_recommendations", 2.0, "whole number"),
        ("max_recommendations", True, "whole number"),
        ("query_parameters", ["a"], "mapping"),
        ("query_parameters", {1: "a"}, "must be strings"),
        ("fallback_parameters", "a", "mapping"),
    ],
)
@pytest.mark.parametrize("cls", [RelatedProducts, BoughtTogether, LookingSimilar])
def test_a_query_that_breaks_a_rule_is_refused_by_field(cls: Any, field: str, value: Any, words: str) -> None:
    fields = {"index": "products", "object_id": "sku-1", "threshold": 0} | {field: value}

    with pytest.raises(InvalidQueryError, match=words) as caught:
        cls(**fields)

    assert [name for name, _ in caught.value.problems] == [field]


def test_a_query_lists_every_problem_at_once() -> None:
    with pytest.raises(InvalidQueryError) as caught:
        RelatedProducts(index="", object_id="", threshold=101, max_recommendations=31)

    assert [name for name, _ in caught.value.problems] == ["index", "object_id", "threshold", "max_recommendations"]


@given(st.floats(0, 100), st.integers(1, 30))
def test_everything_within_the_bounds_is_accepted(threshold: float, count: int) -> None:
    query = RelatedProducts(index="i", object_id="o", threshold=threshold, max_recommendations=count)

    assert (query.threshold, query.max_recommendations) == (threshold, count)


@pytest.mark.parametrize("given_one", ["facet_name", "facet_value"])
def test_trending_items_take_a_facet_whole_or_not_at_all(given_one: str) -> None:
    facet: dict[str, Any] = {given_one: "x"}

    with pytest.raises(InvalidQueryError, match=f"is needed with {given_one}"):
        TrendingItems(index="products", threshold=0, **facet)


def test_a_mapping_of_the_wire_becomes_a_query() -> None:
    mapping = {"model": "trending-items", "indexName": "products", "threshold": 0, "maxRecommendations": 5}

    assert parse_query(mapping) == TrendingItems(index="products", threshold=0, max_recommendations=5)


@pytest.mark.parametrize(
    ("mapping", "fields"),
    [
        ({"model": "no-such-model"}, ["model"]),
        ({}, ["model"]),
        ({"model": ["related-products"]}, ["model"]),
        ({"model": "related-products"}, ["indexName", "objectID", "threshold"]),
        ({"model": "trending-facets", "indexName": "i", "threshold": 0, "facetName": ""}, ["facetName"]),
        (
            {"model": "trending-facets", "indexName": "i", "threshold": 0, "facetName": "f", "queryParameters": {}},
            ["queryParameters"],
        ),
        (
            {"model": "related-products", "indexName": "i", "threshold": 0, "objectID": "o", "object_id": "o"},
            ["object_id"],
        ),
    ],
)
def test_a_mapping_that_breaks_a_rule_is_refused_by_the_wire_s_names(mapping: Any, fields: list[str]) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        parse_query(mapping)

    assert [name for name, _ in caught.value.problems] == fields


def test_what_is_no_mapping_is_no_query() -> None:
    wrong: Any = "related-products"

    with pytest.raises(TypeError, match="not str"):
        parse_query(wrong)
