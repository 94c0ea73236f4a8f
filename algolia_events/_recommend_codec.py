"""Queries to the JSON of a request, and an answer's JSON to results. The only JSON of the Recommend API."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import orjson

from algolia_events._wire import Response
from algolia_events.errors import AnswerError, InvalidQueryError
from algolia_events.recommendations import (
    WIRE_NAMES,
    FacetRecommendations,
    Origin,
    Query,
    Recommendations,
    Result,
    read_facet_recommendations,
    read_recommendations,
)


@attrs.frozen(kw_only=True)
class Analytics:
    """What is added to each query of a call, where the caller has not set it in the query himself."""

    user_token: str | None = attrs.field(default=None, repr=False)
    authenticated_user_token: str | None = attrs.field(default=None, repr=False)
    """Goes into events only: the Recommend API takes no such parameter."""
    tags: tuple[str, ...] = ()

    def parameters(self) -> dict[str, Any]:
        """List the search parameters by their names in the API."""
        parameters: dict[str, Any] = {"clickAnalytics": True}
        if self.user_token is not None:
            parameters["userToken"] = self.user_token
        if self.tags:
            parameters["analyticsTags"] = list(self.tags)
        return parameters


@attrs.frozen(kw_only=True)
class Question:
    """A query as it goes out, and what its answer's hits need to know of it."""

    body: bytes
    origin: Origin
    counts_clicks: bool


def merge_tags(*groups: Iterable[str]) -> tuple[str, ...]:
    """Join tags in order, each once."""
    return tuple(dict.fromkeys(tag for group in groups for tag in group))


def encode_query(query: Query, analytics: Analytics) -> Question:
    """Encode a query with its analytics parameters.

    Raises:
        InvalidQueryError: a search parameter is nothing that JSON can say.
    """
    fields: dict[str, Any] = {"model": query.model}
    for attribute in attrs.fields(type(query)):
        value = getattr(query, attribute.name)
        if value is not None:
            fields[WIRE_NAMES[attribute.name]] = value
    user_token = analytics.user_token
    if query.counts_clicks:
        added = analytics.parameters()
        fields["queryParameters"] = {**added, **fields.get("queryParameters", {})}
        if "fallbackParameters" in fields:
            fields["fallbackParameters"] = {**added, **fields["fallbackParameters"]}
        user_token = fields["queryParameters"].get("userToken")
    return Question(
        body=_dumps(fields),
        origin=Origin(
            index=query.index,
            model=query.model,
            user_token=user_token if isinstance(user_token, str) else None,
            authenticated_user_token=analytics.authenticated_user_token,
        ),
        counts_clicks=query.counts_clicks,
    )


def _dumps(fields: Mapping[str, Any]) -> bytes:
    try:
        body = orjson.dumps(fields)
    except TypeError as exc:
        raise InvalidQueryError(str(fields["model"]), [("query", f"holds what JSON cannot say: {exc}")]) from exc
    # orjson writes null for what is no number, which the API would take for a parameter that was not given.
    if b"null" in body:
        lost = [(name, "holds a number that is not finite") for name, value in fields.items() if _is_lost(value)]
        if lost:
            raise InvalidQueryError(str(fields["model"]), lost)
    return body


def _is_lost(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(map(_is_lost, value.values()))
    return isinstance(value, list | tuple) and any(map(_is_lost, value))


def join(questions: Sequence[Question]) -> bytes:
    """Build a request's body."""
    return b'{"requests":[%b]}' % b",".join([question.body for question in questions])


def decode_answer(response: Response, questions: Sequence[Question]) -> list[Result]:
    """Read the results of an answer of success, in the order asked.

    Raises:
        AnswerError: too long, no JSON, or not a result for each question.
    """
    if not response.complete:
        raise AnswerError(f"the answer is longer than {len(response.body)} bytes and was cut there")
    try:
        content = orjson.loads(response.body)
    except orjson.JSONDecodeError as exc:
        raise AnswerError("the answer is no JSON") from exc
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, list) or len(results) != len(questions):
        raise AnswerError(f"the answer holds no list of {len(questions)} results")
    return [_result(raw, question) for raw, question in zip(results, questions, strict=True)]


def _result(raw: Any, question: Question) -> Recommendations | FacetRecommendations:
    read = read_recommendations if question.counts_clicks else read_facet_recommendations
    return read(raw, question.origin)
