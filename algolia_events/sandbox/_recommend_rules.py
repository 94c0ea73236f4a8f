"""What ``POST /1/indexes/*/recommendations`` demands of a request body, judged on the JSON as it arrived.

The servers document no messages for these errors (400), so the words are the sandbox's own: they name the request by
its place and the field.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from algolia_events.sandbox._answers import RefusedError

Query = Mapping[str, Any]

DEFAULT_RECOMMENDATIONS: Final = 30
MAX_RECOMMENDATIONS: Final = 30
MAX_THRESHOLD: Final = 100

_COMMON: Final = frozenset({"model", "indexName", "threshold", "maxRecommendations"})
_WITH_OBJECT: Final = _COMMON | {"objectID", "queryParameters", "fallbackParameters"}
FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "related-products": _WITH_OBJECT,
    "bought-together": _WITH_OBJECT,
    "looking-similar": _WITH_OBJECT,
    "trending-items": _COMMON | {"facetName", "facetValue", "queryParameters", "fallbackParameters"},
    "trending-facets": _COMMON | {"facetName"},
}
_USER_TOKEN = re.compile(r"[a-zA-Z0-9_=/+-]{1,128}").fullmatch

# Search parameters by the JSON types that each may have; from the OpenAPI description of the Recommend API.
_STRINGS: Final = """
    aroundLatLng attributeForDistinct exactOnSingleWordQuery filters highlightPostTag highlightPreTag
    keepDiacriticsOnCharacters query queryType removeWordsIfNoResults separatorsToIndex similarQuery
    snippetEllipsisText sortFacetValuesBy userToken
"""
_FLAGS: Final = """
    advancedSyntax allowCompressionOfIntegerArray allowTyposOnNumericTokens analytics aroundLatLngViaIP
    attributeCriteriaComputedByMinProximity clickAnalytics decompoundQuery enablePersonalization enableReRanking
    enableRules facetingAfterDistinct getRankingInfo percentileComputation replaceSynonymsInHighlight
    restrictHighlightAndSnippetArrays sumOrFiltersScores synonyms
"""
_INTEGERS: Final = """
    maxFacetHits maxValuesPerFacet minProximity minWordSizefor1Typo minWordSizefor2Typos minimumAroundRadius
    paginationLimitedTo personalizationImpact relevancyStrictness
"""
_LISTS: Final = """
    advancedSyntaxFeatures alternativesAsExact analyticsTags attributesForFaceting attributesToHighlight
    attributesToRetrieve attributesToSnippet attributesToTransliterate camelCaseAttributes customRanking
    disableExactOnAttributes disablePrefixOnAttributes disableTypoToleranceOnAttributes disableTypoToleranceOnWords
    facets indexLanguages insidePolygon naturalLanguages numericAttributesForFiltering queryLanguages replicas
    responseFields restrictSearchableAttributes ruleContexts searchableAttributes unretrievableAttributes
"""
_OBJECTS: Final = "customNormalization decompoundedAttributes renderingContent"
_PARAMETERS: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(_STRINGS.split(), (str,)),
    **dict.fromkeys(_FLAGS.split(), (bool,)),
    **dict.fromkeys(_INTEGERS.split(), (int,)),
    **dict.fromkeys(_LISTS.split(), (list,)),
    **dict.fromkeys(_OBJECTS.split(), (dict,)),
    **dict.fromkeys(("numericFilters", "optionalFilters", "tagFilters", "facetFilters"), (list, str)),
    **dict.fromkeys(("insideBoundingBox", "optionalWords", "reRankingApplyFilter"), (list, str, type(None))),
    "aroundPrecision": (list, int),
    "aroundRadius": (int, str),
    "distinct": (bool, int),
    "ignorePlurals": (bool, list, str),
    "removeStopWords": (bool, list),
    "typoTolerance": (bool, str),
    "userData": (bool, dict, float, int, list, str, type(None)),
}
_ONLY_IN: Final = {"enableRules": "queryParameters", "facetFilters": "fallbackParameters"}
_STRING_LISTS: Final = ("analyticsTags", "attributesToRetrieve", "ruleContexts")


def parse_queries(body: bytes) -> list[Query]:
    """Give the requests of a request body, each checked.

    Raises:
        RefusedError: 400, with what is wrong and where.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RefusedError(400, "Invalid JSON") from None
    if type(document) is not dict or document.keys() != {"requests"}:
        raise RefusedError(400, "the body is an object with `requests`, and nothing else")
    queries = document["requests"]
    if type(queries) is not list:
        raise RefusedError(400, "requests: expected a list")
    for place, query in enumerate(queries):
        try:
            check_query(query)
        except RefusedError as refused:
            raise RefusedError(400, f"requests[{place}].{refused.message}") from None
    return queries


def check_query(query: Any) -> None:
    """Check one request.

    Raises:
        RefusedError: naming the field.
    """
    if type(query) is not dict:
        raise RefusedError(400, "model: expected an object with a model")
    model = query.get("model")
    fields = FIELDS.get(model) if type(model) is str else None
    if fields is None:
        raise RefusedError(400, f"model: expected one of {', '.join(FIELDS)}")
    for name in query:
        if name not in fields:
            raise RefusedError(400, f"{name}: not a parameter of {model}")
    _check_text(query, "indexName")
    _check_number(query)
    if "objectID" in fields:
        _check_text(query, "objectID")
    if model == "trending-facets" or "facetName" in query or "facetValue" in query:
        _check_text(query, "facetName")
    if model == "trending-items" and "facetName" in query:
        _check_text(query, "facetValue")
    for place in ("queryParameters", "fallbackParameters"):
        if place in query:
            _check_parameters(query[place], place)


def _check_text(query: Query, name: str) -> None:
    value = query.get(name)
    if type(value) is not str or not value:
        raise RefusedError(400, f"{name}: expected a string that is not empty")


def _check_number(query: Query) -> None:
    threshold = query.get("threshold")
    if type(threshold) not in {int, float} or not 0 <= threshold <= MAX_THRESHOLD:  # type: ignore[operator] # the type check comes first
        raise RefusedError(400, "threshold: expected a number from 0 to 100")
    wanted = query.get("maxRecommendations", DEFAULT_RECOMMENDATIONS)
    if type(wanted) is not int or not 1 <= wanted <= MAX_RECOMMENDATIONS:
        raise RefusedError(400, "maxRecommendations: expected an integer from 1 to 30")


def _check_parameters(parameters: Any, place: str) -> None:
    """Check search parameters: their names, their JSON types, and those that matter to analytics more closely."""
    if type(parameters) is not dict:
        raise RefusedError(400, f"{place}: expected an object")
    for name, value in parameters.items():
        types = _PARAMETERS.get(name)
        if types is None or _ONLY_IN.get(name, place) != place:
            raise RefusedError(400, f"{place}.{name}: unknown parameter")
        if type(value) not in types:
            raise RefusedError(400, f"{place}.{name}: wrong type")
    for name in _STRING_LISTS:
        if not _are_strings(parameters.get(name, ())):
            raise RefusedError(400, f"{place}.{name}: expected strings")
    token = parameters.get("userToken")
    if token is not None and _USER_TOKEN(token) is None:
        raise RefusedError(400, f"{place}.userToken: expected 1 to 128 of letters, digits and _=/+-")
    if not _is_facet_filters(parameters.get("facetFilters", "")):
        raise RefusedError(400, f"{place}.facetFilters: expected strings in at most two levels of lists")


def _is_facet_filters(filters: Any) -> bool:
    if isinstance(filters, str):
        return True
    return all(isinstance(part, str) or (isinstance(part, list) and _are_strings(part)) for part in filters)


def _are_strings(values: Sequence[Any]) -> bool:
    return all(type(value) is str for value in values)
