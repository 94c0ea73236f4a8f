"""What may be asked of the Recommend API and what it answers, as values; events built from its hits."""

from algolia_events.recommendations._builders import PlainHits
from algolia_events.recommendations._events import added_to_cart, clicked, converted, purchased, viewed
from algolia_events.recommendations._hits import Origin, PlainHit, RecommendHit, TrendingFacetHit
from algolia_events.recommendations._queries import (
    WIRE_NAMES,
    BoughtTogether,
    LookingSimilar,
    Queries,
    Query,
    RelatedProducts,
    TrendingFacets,
    TrendingItems,
    parse_queries,
    parse_query,
)
from algolia_events.recommendations._results import (
    FacetRecommendations,
    Recommendations,
    RecommendResponse,
    Result,
    read_facet_recommendations,
    read_recommendations,
)

__all__ = [
    "WIRE_NAMES",
    "BoughtTogether",
    "FacetRecommendations",
    "LookingSimilar",
    "Origin",
    "PlainHit",
    "PlainHits",
    "Queries",
    "Query",
    "RecommendHit",
    "RecommendResponse",
    "Recommendations",
    "RelatedProducts",
    "Result",
    "TrendingFacetHit",
    "TrendingFacets",
    "TrendingItems",
    "added_to_cart",
    "clicked",
    "converted",
    "parse_queries",
    "parse_query",
    "purchased",
    "read_facet_recommendations",
    "read_recommendations",
    "viewed",
]
