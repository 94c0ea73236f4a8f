"""The Recommend API bound to one user."""

from collections.abc import Iterable

from algolia_events._recommend import Parameters, RecommendClient
from algolia_events.recommendations import FacetRecommendations, Queries, Recommendations, RecommendResponse


class UserRecommend:
    """The Recommend API for one user: what is asked carries his token, and events built from hits carry both."""

    def __init__(
        self, recommend: RecommendClient, user_token: str, authenticated_user_token: str | None = None
    ) -> None:
        self._recommend = recommend
        self._users: dict[str, str | None] = {
            "user_token": user_token,
            "authenticated_user_token": authenticated_user_token,
        }

    async def get_recommendations(self, queries: Queries, *, analytics_tags: Iterable[str] = ()) -> RecommendResponse:
        """Ask several queries in one request; see `RecommendClient.get_recommendations()`."""
        return await self._recommend.get_recommendations(queries, analytics_tags=analytics_tags, **self._users)

    async def related_products(
        self,
        index: str,
        *,
        object_id: str,
        threshold: float,
        max_recommendations: int | None = None,
        analytics_tags: Iterable[str] = (),
        query_parameters: Parameters = None,
        fallback_parameters: Parameters = None,
    ) -> Recommendations:
        """Ask for what is related to an object."""
        return await self._recommend.related_products(
            index,
            object_id=object_id,
            threshold=threshold,
            max_recommendations=max_recommendations,
            analytics_tags=analytics_tags,
            query_parameters=query_parameters,
            fallback_parameters=fallback_parameters,
            **self._users,
        )

    async def bought_together(
        self,
        index: str,
        *,
        object_id: str,
        threshold: float,
        max_recommendations: int | None = None,
        analytics_tags: Iterable[str] = (),
        query_parameters: Parameters = None,
        fallback_parameters: Parameters = None,
    ) -> Recommendations:
        """Ask for what is often bought together with an object."""
        return await self._recommend.bought_together(
            index,
            object_id=object_id,
            threshold=threshold,
            max_recommendations=max_recommendations,
            analytics_tags=analytics_tags,
            query_parameters=query_parameters,
            fallback_parameters=fallback_parameters,
            **self._users,
        )

    async def looking_similar(
        self,
        index: str,
        *,
        object_id: str,
        threshold: float,
        max_recommendations: int | None = None,
        analytics_tags: Iterable[str] = (),
        query_parameters: Parameters = None,
        fallback_parameters: Parameters = None,
    ) -> Recommendations:
        """Ask for what looks like an object."""
        return await self._recommend.looking_similar(
            index,
            object_id=object_id,
            threshold=threshold,
            max_recommendations=max_recommendations,
            analytics_tags=analytics_tags,
            query_parameters=query_parameters,
            fallback_parameters=fallback_parameters,
            **self._users,
        )

    async def trending_items(
        self,
        index: str,
        *,
        threshold: float,
        facet_name: str | None = None,
        facet_value: str | None = None,
        max_recommendations: int | None = None,
        analytics_tags: Iterable[str] = (),
        query_parameters: Parameters = None,
        fallback_parameters: Parameters = None,
    ) -> Recommendations:
        """Ask for what trends, in all or with one value of a facet."""
        return await self._recommend.trending_items(
            index,
            threshold=threshold,
            facet_name=facet_name,
            facet_value=facet_value,
            max_recommendations=max_recommendations,
            analytics_tags=analytics_tags,
            query_parameters=query_parameters,
            fallback_parameters=fallback_parameters,
            **self._users,
        )

    async def trending_facets(
        self, index: str, *, facet_name: str, threshold: float, max_recommendations: int | None = None
    ) -> FacetRecommendations:
        """Ask for the values of a facet that trend."""
        return await self._recommend.trending_facets(
            index, facet_name=facet_name, threshold=threshold, max_recommendations=max_recommendations
        )
