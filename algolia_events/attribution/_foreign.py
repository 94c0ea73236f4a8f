"""Answers of other clients, taken over: the same hits and events whoever asked."""

from collections.abc import Mapping, Sequence
from typing import Any

from algolia_events.recommendations import (
    Origin,
    RecommendResponse,
    Result,
    read_facet_recommendations,
    read_recommendations,
)


def attributed(
    response: Any,
    *,
    index: str | Sequence[str] | None = None,
    user_token: str | None = None,
    authenticated_user_token: str | None = None,
) -> RecommendResponse:
    """Give the hits of a search or recommend response their positions, query IDs and users.

    Args:
        response: of Algolia's official Python client, as its models (anything with `to_dict()`) or as mappings in
            the API's own shape; one result, or several under `results`.
        index: the index asked for, or one for each result; None takes each result's `index`.
        user_token: as sent with the request: events of another user are not attributed.
        authenticated_user_token: goes into the events as well.

    Returns:
        The results. Of a response with one result, `.hits` and `.query_id` are that result's own; of several, `.hits`
        are all, each with its own query ID, without trending facets, which have no events. Positions are absolute:
        `page` times `hitsPerPage`, plus the rank.

    Raises:
        TypeError: neither a model nor a mapping.
        ValueError: an index is given neither here nor by the result, or there are not as many as results.
        AnswerError: a result's hits are no list of objects with objectID, nor of facet values.
    """
    content = _mapping(response)
    several = content.get("results")
    raws = [_mapping(result) for result in several] if isinstance(several, list | tuple) else [content]
    return RecommendResponse(
        results=tuple(
            _read(raw, name, user_token, authenticated_user_token)
            for raw, name in zip(raws, _indexes(raws, index), strict=True)
        )
    )


def _mapping(response: Any) -> Mapping[str, Any]:
    to_dict = getattr(response, "to_dict", None)
    content = to_dict() if callable(to_dict) else response
    if not isinstance(content, Mapping):
        raise TypeError(f"a response is a mapping or a model with to_dict(), not {type(response).__name__}")
    return content


def _indexes(raws: Sequence[Mapping[str, Any]], index: str | Sequence[str] | None) -> Sequence[str]:
    if isinstance(index, str):
        return [index] * len(raws)
    if index is not None:
        if len(index) != len(raws):
            raise ValueError(f"the response has {len(raws)} results, but {len(index)} indexes are given")
        return index
    names = [raw.get("index") for raw in raws]
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError("a result does not say its index: pass index=…")
    return [str(name) for name in names]


def _read(raw: Mapping[str, Any], index: str, user_token: str | None, authenticated_user_token: str | None) -> Result:
    origin = Origin(index=index, user_token=user_token, authenticated_user_token=authenticated_user_token)
    if raw.get("hits") is None:  # a search for facet values, in the middle of others
        raw = {**raw, "hits": []}
    # Hits are mappings already where the response was one of mappings; models inside a list are taken one by one.
    hits = [_mapping(hit) for hit in raw["hits"]] if isinstance(raw["hits"], list | tuple) else raw["hits"]
    read = read_facet_recommendations if _holds_facets(hits) else read_recommendations
    return read({**raw, "hits": hits}, origin)


def _holds_facets(hits: Any) -> bool:
    """Tell trending facets by their hits: results do not name their model."""
    return bool(hits) and isinstance(hits, list) and all("facetName" in hit and "objectID" not in hit for hit in hits)
