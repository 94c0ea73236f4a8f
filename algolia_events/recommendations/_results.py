"""Answers: the hits of a query, and the answers to several."""

from collections.abc import Iterator, Mapping
from typing import Any, Self, TypeAlias

import attrs

from algolia_events.errors import AnswerError
from algolia_events.recommendations._builders import HitEvents
from algolia_events.recommendations._hits import Origin, RecommendHit, TrendingFacetHit


@attrs.frozen(kw_only=True)
class Recommendations(HitEvents):
    """The answer to one query: objects, best first."""

    origin: Origin
    hits: tuple[RecommendHit, ...]
    raw: Mapping[str, Any] = attrs.field(eq=False, repr=False)
    """The result as the server gave it, fields unknown to this library included."""

    @property
    def index(self) -> str:
        """The index asked for."""
        return self.origin.index

    @property
    def model(self) -> str | None:
        """The model's name in the API; None where the answer was none of the Recommend API's."""
        return self.origin.model

    @property
    def query_id(self) -> str | None:
        """What later events name to be attributed; None when asked for without `clickAnalytics`."""
        return self.origin.query_id

    def for_user(self, user_token: str, authenticated_user_token: str | None = None) -> Self:
        """Copy with another user, for an answer that was asked for without one."""
        origin = self.origin.for_user(user_token, authenticated_user_token)
        return attrs.evolve(self, origin=origin, hits=tuple(attrs.evolve(hit, origin=origin) for hit in self.hits))


@attrs.frozen(kw_only=True)
class FacetRecommendations:
    """The answer to one query for trending facets: values, best first. It has no query ID, and no events."""

    origin: Origin
    hits: tuple[TrendingFacetHit, ...]
    raw: Mapping[str, Any] = attrs.field(eq=False, repr=False)
    """The result as the server gave it, fields unknown to this library included."""

    @property
    def index(self) -> str:
        """The index asked for."""
        return self.origin.index

    @property
    def model(self) -> str | None:
        """The model's name in the API."""
        return self.origin.model

    @property
    def query_id(self) -> None:
        """None: this model takes no `clickAnalytics` (Recommend spec)."""
        return


Result: TypeAlias = Recommendations | FacetRecommendations


@attrs.frozen(kw_only=True)
class RecommendResponse(HitEvents):
    """The answers to several queries, in the order asked. `response[0]` is `response.results[0]`."""

    results: tuple[Result, ...]

    @property
    def hits(self) -> tuple[RecommendHit, ...]:
        """The objects of all results, in order; each keeps its own query ID and position."""
        return tuple(hit for result in self.results if isinstance(result, Recommendations) for hit in result.hits)

    @property
    def query_id(self) -> str | None:
        """The query ID of the only result; None where there are several, as each has its own."""
        return self.results[0].query_id if len(self.results) == 1 else None

    def __getitem__(self, place: int) -> Result:
        return self.results[place]

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)


def read_recommendations(raw: Any, origin: Origin) -> Recommendations:
    """Build an answer from the API's own shape; `origin` without a query ID takes the answer's.

    Positions are counted over pages (`page` times `hitsPerPage`), or from `offset` where the answer has one.

    Raises:
        AnswerError: no list of objects with IDs.
    """
    query_id = _field(raw, "queryID", str) if origin.query_id is None else origin.query_id
    origin = attrs.evolve(origin, query_id=query_id or None)
    first = _first_position(raw)
    try:
        hits = tuple(
            [RecommendHit(origin, hit["objectID"], position, hit) for position, hit in enumerate(raw["hits"], first)]
        )
    except (KeyError, TypeError, IndexError) as exc:
        raise AnswerError("the answer's hits are no list of objects with objectID") from exc
    if {type(hit.object_id) for hit in hits} - {str}:
        raise AnswerError("the answer has a hit whose objectID is no string")
    return Recommendations(origin=origin, hits=hits, raw=raw)


def read_facet_recommendations(raw: Any, origin: Origin) -> FacetRecommendations:
    """Build an answer to a query for trending facets from the API's own shape.

    Raises:
        AnswerError: no list of facet values.
    """
    try:
        hits = tuple(
            TrendingFacetHit(hit["facetName"], hit["facetValue"], position, hit)
            for position, hit in enumerate(raw["hits"], 1)
        )
    except (KeyError, TypeError, IndexError) as exc:
        raise AnswerError("the answer's hits are no list of facet values") from exc
    return FacetRecommendations(origin=origin, hits=hits, raw=raw)


def _first_position(raw: Any) -> int:
    offset: int | None = _field(raw, "offset", int)
    if offset is None:
        offset = (_field(raw, "page", int) or 0) * (_field(raw, "hitsPerPage", int) or 0)
    return max(offset, 0) + 1


def _field(raw: Any, name: str, kind: type[Any]) -> Any:
    value = raw.get(name) if isinstance(raw, Mapping) else None
    return value if type(value) is kind else None
