"""What may be asked: one class a model, each checked on construction against the Recommend spec."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final, TypeAlias

import attrs

from algolia_events._limits import MAX_RECOMMENDATIONS, MAX_THRESHOLD, MIN_THRESHOLD
from algolia_events.errors import InvalidQueryError

_Check: TypeAlias = Callable[[object], str | None]


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return f"expected a string, got {type(value).__name__}"
    return None if value else "must not be empty"


def _threshold(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"expected a number, got {type(value).__name__}"
    if math.isnan(value) or not MIN_THRESHOLD <= value <= MAX_THRESHOLD:
        return f"must be between {MIN_THRESHOLD} and {MAX_THRESHOLD}, got {value}"
    return None


def _count(value: object) -> str | None:
    if value is None:
        return None
    if type(value) is not int:
        return f"expected a whole number, got {type(value).__name__}"
    if not 1 <= value <= MAX_RECOMMENDATIONS:
        return f"must be between 1 and {MAX_RECOMMENDATIONS}, got {value}"
    return None


def _parameters(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        return f"expected a mapping of search parameters, got {type(value).__name__}"
    return None if all(isinstance(name, str) for name in value) else "names of search parameters must be strings"


_CHECKS: Final[Mapping[str, _Check]] = {
    "index": _text,
    "object_id": _text,
    "threshold": _threshold,
    "max_recommendations": _count,
    "query_parameters": _parameters,
    "fallback_parameters": _parameters,
    "facet_name": _text,
    "facet_value": _text,
}

WIRE_NAMES: Final[Mapping[str, str]] = {
    "index": "indexName",
    "object_id": "objectID",
    "threshold": "threshold",
    "max_recommendations": "maxRecommendations",
    "query_parameters": "queryParameters",
    "fallback_parameters": "fallbackParameters",
    "facet_name": "facetName",
    "facet_value": "facetValue",
}
"""Each field's name in the API."""


class _Query:
    """What all queries share: the check of every field when one is made."""

    __slots__ = ()

    model: ClassVar[str]
    """The model's name in the API."""
    counts_clicks: ClassVar[bool] = True
    """Whether the model takes `clickAnalytics`, and with it answers with a query ID."""
    __attrs_attrs__: ClassVar[tuple["attrs.Attribute[Any]", ...]]

    def __attrs_post_init__(self) -> None:
        problems = []
        for field in self.__attrs_attrs__:
            problem = self._check(field.name)
            if problem:
                problems.append((field.name, problem))
        if problems:
            raise InvalidQueryError(type(self).__name__, problems)

    def _check(self, name: str) -> str | None:
        return _CHECKS[name](getattr(self, name))


@attrs.frozen(kw_only=True)
class _ObjectQuery(_Query):
    """A question about one object.

    `query_parameters` and `fallback_parameters` are search parameters by their names in the API.

    Raises:
        InvalidQueryError: a field breaks a rule; lists each problem by field.
    """

    index: str
    object_id: str
    threshold: float
    """The least score, 0 to 100."""
    max_recommendations: int | None = None
    """1 to 30; None leaves it to the server, which gives 30."""
    query_parameters: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    fallback_parameters: Mapping[str, Any] | None = attrs.field(default=None, hash=False)


@attrs.frozen(kw_only=True)
class RelatedProducts(_ObjectQuery):
    """Ask for what is related to an object, by content and by what users did."""

    model: ClassVar[str] = "related-products"


@attrs.frozen(kw_only=True)
class BoughtTogether(_ObjectQuery):
    """Ask for what is often bought together with an object."""

    model: ClassVar[str] = "bought-together"


@attrs.frozen(kw_only=True)
class LookingSimilar(_ObjectQuery):
    """Ask for what looks like an object, by its image."""

    model: ClassVar[str] = "looking-similar"


@attrs.frozen(kw_only=True)
class TrendingItems(_Query):
    """Ask for what is converted most at present, in all or with one value of a facet.

    Raises:
        InvalidQueryError: a field breaks a rule; lists each problem by field.
    """

    model: ClassVar[str] = "trending-items"

    index: str
    threshold: float
    """The least score, 0 to 100."""
    facet_name: str | None = None
    facet_value: str | None = None
    """Given together with `facet_name`, or not at all."""
    max_recommendations: int | None = None
    """1 to 30; None leaves it to the server, which gives 30."""
    query_parameters: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    fallback_parameters: Mapping[str, Any] | None = attrs.field(default=None, hash=False)

    def _check(self, name: str) -> str | None:
        if name not in {"facet_name", "facet_value"}:
            return super()._check(name)
        if getattr(self, name) is not None:
            return super()._check(name)
        if name == "facet_name" and self.facet_value is not None:
            return "is needed with facet_value"
        if name == "facet_value" and self.facet_name is not None:
            return "is needed with facet_name"
        return None


@attrs.frozen(kw_only=True)
class TrendingFacets(_Query):
    """Ask for the values of a facet that are converted most at present.

    This model takes no search parameters and gives no query ID (Recommend spec).

    Raises:
        InvalidQueryError: a field breaks a rule; lists each problem by field.
    """

    model: ClassVar[str] = "trending-facets"
    counts_clicks: ClassVar[bool] = False

    index: str
    facet_name: str
    threshold: float
    """The least score, 0 to 100."""
    max_recommendations: int | None = None
    """1 to 30; None leaves it to the server, which gives 30."""


Query: TypeAlias = RelatedProducts | BoughtTogether | LookingSimilar | TrendingItems | TrendingFacets

Queries: TypeAlias = Iterable[Query | Mapping[str, Any]] | Mapping[str, Any]
"""Several queries, each an object or a mapping in the API's own shape; or the API's whole body, `{"requests": […]}`."""

_CLASSES: Final[Mapping[str, type[Query]]] = {
    cls.model: cls for cls in (RelatedProducts, BoughtTogether, LookingSimilar, TrendingItems, TrendingFacets)
}


def parse_query(mapping: Mapping[str, Any]) -> Query:
    """Build a query from the API's own shape, `{"model": "related-products", "indexName": …}`.

    Raises:
        InvalidQueryError: the model is unknown, a field is missing, unknown to the model or breaks a rule; each
            problem is listed by the API's name of the field.
        TypeError: not a mapping.
    """
    if not isinstance(mapping, Mapping):
        raise TypeError(f"a query is one of the query classes or a mapping, not {type(mapping).__name__}")
    model = mapping.get("model")
    cls = _CLASSES.get(model) if isinstance(model, str) else None
    if cls is None:
        raise InvalidQueryError("query", [("model", "must be one of " + ", ".join(_CLASSES))])
    fields = {WIRE_NAMES[field.name]: field for field in attrs.fields(cls)}
    given = {name: value for name, value in mapping.items() if name != "model"}
    problems = [(str(name), f"{cls.model} takes no such field") for name in given if name not in fields]
    problems += [
        (name, "is missing") for name, field in fields.items() if field.default is attrs.NOTHING and name not in given
    ]
    if problems:
        raise InvalidQueryError(cls.model, problems)
    try:
        return cls(**{fields[name].name: value for name, value in given.items()})
    except InvalidQueryError as exc:
        raise InvalidQueryError(cls.model, [(WIRE_NAMES[name], text) for name, text in exc.problems]) from None


def parse_queries(queries: Queries) -> list[Query]:
    """Build the queries of a call.

    Raises:
        InvalidQueryError: as `parse_query()`.
        TypeError: no list of queries, or one of them is neither a query nor a mapping.
    """
    given: object = queries
    if isinstance(given, Mapping) and given.keys() == {"requests"}:
        given = given["requests"]
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        wanted = 'get_recommendations() takes a list of queries, or {"requests": [a list of queries]}'
        raise TypeError(f"{wanted}, not {type(given).__name__}")
    return [query if isinstance(query, Query) else parse_query(query) for query in given]
