"""The Recommend API: ``POST /1/indexes/*/recommendations``."""

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlencode

import attrs
import orjson

from algolia_events.sandbox._answers import Answer, RefusedError, json_answer, refusal_answer
from algolia_events.sandbox._attribution import QueryIds
from algolia_events.sandbox._catalogue import Catalogue, Scored, built_in_catalogue, matches_facet_filters
from algolia_events.sandbox._credentials import Doorkeeper
from algolia_events.sandbox._insights import Call
from algolia_events.sandbox._ledger import Ledger
from algolia_events.sandbox._recommend_rules import DEFAULT_RECOMMENDATIONS, Query, parse_queries

RECOMMENDATIONS_PATH: Final = "/1/indexes/*/recommendations"

_MODELS: Final[Mapping[str, Callable[[Catalogue, Query], list[Scored]]]] = {
    "related-products": lambda catalogue, query: catalogue.related(query["objectID"]),
    "bought-together": lambda catalogue, query: catalogue.bought_together(query["objectID"]),
    "looking-similar": lambda catalogue, query: catalogue.looking_similar(query["objectID"]),
    "trending-items": lambda catalogue, query: catalogue.trending(query.get("facetName"), query.get("facetValue")),
}


@attrs.frozen(kw_only=True)
class RecommendApi:
    """Answers what is sent to the Recommend API, and gives out query IDs to those who ask for them.

    The checks in their order: path (404), method (405), credentials (403), size (413), the rules of
    ``_recommend_rules`` (400), whether the model is enabled (402) and the index there (404). One bad request of several
    refuses them all.
    """

    ledger: Ledger
    query_ids: QueryIds
    senders: Doorkeeper
    catalogues: Mapping[str, Catalogue]
    missing_indices: frozenset[str]
    models: frozenset[str] | None
    _default: Catalogue = attrs.field(factory=built_in_catalogue, init=False)

    def answer(self, call: Call) -> Answer:
        """Handle a request; an error's answer carries a ``Correlation-ID``."""
        try:
            queries = self._checked(call)
        except RefusedError as refused:
            self.ledger.rejected(call.number, refused)
            answer = refusal_answer(refused)
            return attrs.evolve(answer, headers={**answer.headers, "Correlation-ID": secrets.token_hex(8)})
        return json_answer(200, {"results": [self._result(query) for query in queries]})

    def count_events(self, call: Call) -> int:  # noqa: ARG002 - the other API's question
        """Count the events of a request: there are none."""
        return 0

    def _checked(self, call: Call) -> list[Query]:
        if unquote(call.path) != RECOMMENDATIONS_PATH:
            raise RefusedError(404, "Path not supported by the Recommend API of the sandbox")
        if call.method != "POST":
            raise RefusedError(405, "Method Not Allowed", headers={"allow": "POST"})
        if not self.senders.admits(call.credentials):
            raise RefusedError(403, "Invalid Application-ID or API key")
        if call.body is None:
            raise RefusedError(413, "Request Entity Too Large")
        queries = parse_queries(call.body)
        for query in queries:
            if self.models is not None and query["model"] not in self.models:
                raise RefusedError(402, f"{query['model']} is not enabled for this application")
            if query["indexName"] in self.missing_indices:
                raise RefusedError(404, f"Index {query['indexName']} does not exist")
        return queries

    def _result(self, query: Query) -> dict[str, Any]:
        """Answer one request, in the shape of a search response."""
        catalogue = self.catalogues.get(query["indexName"], self._default)
        wanted = query.get("maxRecommendations", DEFAULT_RECOMMENDATIONS)
        if query["model"] == "trending-facets":
            hits = _facet_hits(catalogue, query)[:wanted]
        else:
            hits = _hits(catalogue, query, wanted)
        parameters = query.get("queryParameters", {})
        result = {
            "hits": hits,
            "nbHits": len(hits),
            "nbPages": 1,
            "page": 0,
            "hitsPerPage": wanted,
            "index": query["indexName"],
            "query": parameters.get("query", ""),
            "params": _as_params(parameters),
            "exhaustive": {"nbHits": True, "typo": True},
            "exhaustiveNbHits": True,
            "exhaustiveTypo": True,
            "renderingContent": {},
            "processingTimeMS": 1,
        }
        if parameters.get("clickAnalytics", False):
            result["queryID"] = self.query_ids.give(
                index=query["indexName"],
                model=query["model"],
                user_token=parameters.get("userToken"),
                object_ids=[hit["objectID"] for hit in hits],
                first_position=1,
                now=time.time(),
            )
        return result


def _hits(catalogue: Catalogue, query: Query, wanted: int) -> list[dict[str, Any]]:
    """Give the records above the threshold, and popular ones in place of those that are missing, if asked for."""
    scored = _MODELS[query["model"]](catalogue, query)
    hits = [{**record, "_score": score} for score, record in scored if score >= query["threshold"]][:wanted]
    fallback = query.get("fallbackParameters")
    if fallback is None or len(hits) == wanted:
        return hits
    there = {query.get("objectID"), *(hit["objectID"] for hit in hits)}
    filters = fallback.get("facetFilters", [])
    spare = (
        dict(record)
        for _, record in catalogue.trending()
        if record["objectID"] not in there and matches_facet_filters(record, filters)
    )
    return [*hits, *spare][:wanted]


def _facet_hits(catalogue: Catalogue, query: Query) -> list[dict[str, Any]]:
    name = query["facetName"]
    return [
        {"facetName": name, "facetValue": value, "_score": score}
        for score, value in catalogue.trending_facets(name)
        if score >= query["threshold"]
    ]


def _as_params(parameters: Mapping[str, Any]) -> str:
    """Write search parameters as the servers repeat them: URL-encoded, lists and flags as JSON."""
    return urlencode(
        {name: value if isinstance(value, str) else orjson.dumps(value).decode() for name, value in parameters.items()}
    )
