"""The Recommend API: a method a model, and one for several queries at once."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from algolia_events._combining import Combiner
from algolia_events._failover import FailoverCaller, recommend_urls
from algolia_events._recommend_codec import Analytics, Question, decode_answer, encode_query, join, merge_tags
from algolia_events._wire import Timeouts
from algolia_events.abc import Transport
from algolia_events.config import RetryOptions
from algolia_events.errors import ClientClosedError
from algolia_events.recommendations import (
    BoughtTogether,
    FacetRecommendations,
    LookingSimilar,
    Queries,
    Query,
    Recommendations,
    RecommendResponse,
    RelatedProducts,
    Result,
    TrendingFacets,
    TrendingItems,
    parse_queries,
)
from algolia_events.users import check_user_token

OnAnswer = Callable[[Sequence[Recommendations]], Awaitable[None]]
Parameters = Mapping[str, Any] | None


class RecommendClient:
    """Asks the Recommend API, with the parameters that its analytics need.

    Each query gets `clickAnalytics`, and `userToken` and `analyticsTags` where there are any, unless the query's own
    `query_parameters` say otherwise; `fallback_parameters` get them where the query has some; trending facets get
    none. An answer belongs to its user and is never shared with another.

    All methods raise `InvalidQueryError` for what breaks a rule, `ApiError` in the class that fits (402
    `FeatureNotEnabledError`, 404 `NotFoundError`, …), `UnreachableError` when no host answers, `AnswerError` for an
    answer that cannot be read, `InvalidEventError` for a user token that is not legal, and `ClientClosedError` after
    `aclose()`.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        app_id: str,
        api_key: str,
        urls: Sequence[str] | None = None,
        analytics_tags: Iterable[str] = (),
        retry: RetryOptions | None = None,
        combine: bool = False,
        on_answer: OnAnswer | None = None,
    ) -> None:
        """Make a client over a transport, which stays the caller's to close.

        Args:
            transport: sends each attempt.
            app_id: the application.
            api_key: a key with the right to search.
            urls: base URLs in the order in which they are asked; None means the application's own hosts.
            analytics_tags: added to each query's tags.
            retry: gives the time limits of an attempt; each host is asked once a call.
            combine: whether calls of one user made in one turn of the loop go out as one request.
            on_answer: is awaited with the results of each call before the caller gets them; must not raise.
        """
        retry = retry or RetryOptions()
        self._caller = FailoverCaller(
            transport,
            app_id=app_id,
            api_key=api_key,
            urls=recommend_urls(app_id) if urls is None else urls,
            timeouts=Timeouts(total=retry.attempt_timeout, connect=retry.connect_timeout, read=retry.read_timeout),
        )
        self._tags = _tags(analytics_tags)
        self._combiner = Combiner(self._ask) if combine else None
        self._on_answer = on_answer
        self._closed = False

    async def get_recommendations(
        self,
        queries: Queries,
        *,
        user_token: str | None = None,
        authenticated_user_token: str | None = None,
        analytics_tags: Iterable[str] = (),
    ) -> RecommendResponse:
        """Ask several queries in one request: query objects, or mappings in the API's own shape.

        The API's whole body, `{"requests": […]}`, will do as well; anything else is a `TypeError`.

        `response.results` are in the order asked. Without `user_token` and tags, `clickAnalytics` is all that is
        added.
        """
        for name, token in (("user_token", user_token), ("authenticated_user_token", authenticated_user_token)):
            if token is not None:
                check_user_token(token, name=name)
        analytics = Analytics(
            user_token=user_token,
            authenticated_user_token=authenticated_user_token,
            tags=merge_tags(self._tags, _tags(analytics_tags)),
        )
        questions = [encode_query(query, analytics) for query in parse_queries(queries)]
        results = await self._answer(questions)
        if self._on_answer is not None:
            await self._on_answer([result for result in results if isinstance(result, Recommendations)])
        return RecommendResponse(results=tuple(results))

    async def related_products(
        self,
        index: str,
        *,
        object_id: str,
        threshold: float,
        max_recommendations: int | None = None,
        user_token: str | None = None,
        authenticated_user_token: str | None = None,
        analytics_tags: Iterable[str] = (),
        query_parameters: Parameters = None,
        fallback_parameters: Parameters = None,
    ) -> Recommendations:
        """Ask for what is related to an object."""
        query = RelatedProducts(
            index=index,
            object_id=object_id,
            threshold=threshold,
            max_recommendations=max_recommendations,
            query_parameters=query_parameters,
            fallback_parameters=fallback_parameters,
        )
        return await self._one(query, user_token, authenticated_user_token, analytics_tags)

    async def bought_together(
        self,
        index: str,
        *,
        object_id: str,
        threshold: float,
        max_recommendations: int | None = None,
        user_token: str | None = None,
        authenticated_user_token: str | None = None,
        analytics_tags: Iterable[str] = (),
        query_parameters: Parameters = None,
        fallback_parameters: Parameters = None,
    ) -> Recommendations:
        """Ask for what is often bought together with an object."""
        query = BoughtTogether(
            index=index,
            object_id=object_id,
            threshold=threshold,
            max_recommendations=max_recommendations,
            query_parameters=query_parameters,
            fallback_parameters=fallback_parameters,
        )
        return await self._one(query, user_token, authenticated_user_token, analytics_tags)

    async def looking_similar(
        self,
        index: str,
        *,
        object_id: str,
        threshold: float,
        max_recommendations: int | None = None,
        user_token: str | None = None,
        authenticated_user_token: str | None = None,
        analytics_tags: Iterable[str] = (),
        query_parameters: Parameters = None,
        fallback_parameters: Parameters = None,
    ) -> Recommendations:
        """Ask for what looks like an object."""
        query = LookingSimilar(
            index=index,
            object_id=object_id,
            threshold=threshold,
            max_recommendations=max_recommendations,
            query_parameters=query_parameters,
            fallback_parameters=fallback_parameters,
        )
        return await self._one(query, user_token, authenticated_user_token, analytics_tags)

    async def trending_items(
        self,
        index: str,
        *,
        threshold: float,
        facet_name: str | None = None,
        facet_value: str | None = None,
        max_recommendations: int | None = None,
        user_token: str | None = None,
        authenticated_user_token: str | None = None,
        analytics_tags: Iterable[str] = (),
        query_parameters: Parameters = None,
        fallback_parameters: Parameters = None,
    ) -> Recommendations:
        """Ask for what trends, in all or with one value of a facet."""
        query = TrendingItems(
            index=index,
            threshold=threshold,
            facet_name=facet_name,
            facet_value=facet_value,
            max_recommendations=max_recommendations,
            query_parameters=query_parameters,
            fallback_parameters=fallback_parameters,
        )
        return await self._one(query, user_token, authenticated_user_token, analytics_tags)

    async def trending_facets(
        self, index: str, *, facet_name: str, threshold: float, max_recommendations: int | None = None
    ) -> FacetRecommendations:
        """Ask for the values of a facet that trend. Nothing is added: the model takes no search parameters."""
        query = TrendingFacets(
            index=index, facet_name=facet_name, threshold=threshold, max_recommendations=max_recommendations
        )
        return cast("FacetRecommendations", (await self.get_recommendations([query])).results[0])

    def set_api_key(self, api_key: str) -> None:
        """Use another key from the next request on."""
        self._caller.set_api_key(api_key)

    async def aclose(self) -> None:
        """End the client: calls under way that were combined, and calls made later, get `ClientClosedError`."""
        self._closed = True
        if self._combiner is not None:
            self._combiner.close()

    async def _one(
        self,
        query: Query,
        user_token: str | None,
        authenticated_user_token: str | None,
        analytics_tags: Iterable[str],
    ) -> Recommendations:
        response = await self.get_recommendations(
            [query],
            user_token=user_token,
            authenticated_user_token=authenticated_user_token,
            analytics_tags=analytics_tags,
        )
        return cast("Recommendations", response.results[0])

    async def _answer(self, questions: list[Question]) -> list[Result]:
        if self._closed:
            raise ClientClosedError("the client is closed: it asks nothing any more")
        if not questions:
            return []
        users = {(question.origin.user_token, question.origin.authenticated_user_token) for question in questions}
        # Who is not named may be anybody: only calls that name the same one user are known to belong together.
        if self._combiner is None or len(users) > 1 or None in {token for token, _ in users}:
            return await self._ask(questions)
        return await self._combiner.ask(users.pop(), questions)

    async def _ask(self, questions: Sequence[Question]) -> list[Result]:
        return decode_answer(await self._caller.send(join(questions)), questions)


def _tags(tags: Iterable[str]) -> tuple[str, ...]:
    if isinstance(tags, str):
        raise TypeError("analytics_tags is a list of strings, not one string")
    return tuple(tags)
