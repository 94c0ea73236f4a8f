"""F22: whatever a server answers, it is read without a crash, in bounded time, and nothing is made up from it."""

import math
import time
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from algolia_events._answers import asked_pause, error_message
from algolia_events._recommend_codec import Analytics, decode_answer, encode_query
from algolia_events._retry import Accepted, Blocked, Failed, Refused, TooLarge, classify_response
from algolia_events._wire import Response
from algolia_events.errors import AnswerError
from algolia_events.recommendations import FacetRecommendations, Recommendations, RelatedProducts, TrendingFacets

NOW = 1_750_000_000.0
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=20,
)
HIT_NAMES = st.sampled_from(["objectID", "_score", "facetName", "facetValue", "name", "queryID"])
RESULTS = st.one_of(
    JSON,
    st.fixed_dictionaries(
        {},
        optional={
            "hits": st.one_of(
                JSON, st.lists(st.one_of(JSON, st.dictionaries(HIT_NAMES, JSON, max_size=5)), max_size=4)
            ),
            "queryID": st.one_of(JSON, st.text("0123456789abcdef", min_size=30, max_size=34)),
            "index": JSON,
            "message": JSON,
        },
    ),
)
ANSWERS = st.one_of(
    st.binary(max_size=200),
    JSON.map(orjson.dumps),
    st.fixed_dictionaries({"results": st.one_of(JSON, st.lists(RESULTS, max_size=3))}).map(orjson.dumps),
    st.sampled_from([b"", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"NaN", b'{"results":null}', b"x" * 10**6]),
)
CUT = st.tuples(ANSWERS, st.integers(0, 300)).map(lambda drawn: drawn[0][: drawn[1]])
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "x-ratelimit-reset", "content-type", "correlation-id"]),
    st.one_of(
        st.text(max_size=40),
        st.integers().map(str),
        st.floats().map(str),
        st.sampled_from(
            ["1e400", "9" * 10_000, "Wed, 21 Oct 9999 07:28:00 GMT", "Mon, 00 Jan 0000 00:00:00 -9999", "٣٠"]
        ),
    ),
    max_size=3,
)


def response(body: bytes, status: int = 422, headers: dict[str, str] | None = None) -> Response:
    return Response(status=status, headers=headers or {}, body=body)


@settings(max_examples=500)
@given(ANSWERS | CUT, st.integers(0, 999))
@example(b'{"message":' + b'"' + b"\\ud800" + b'"}', 422)
def test_the_servers_words_are_one_short_line(body: bytes, status: int) -> None:
    words = error_message(response(body, status))

    assert 0 < len(words) <= 500
    assert words.isprintable()
    words.encode("utf-8", "strict")


@pytest.mark.parametrize(
    "text", [b"<", b"<script>", b"<style ", b"<style>x</script>", b"<a", b"[", b'{"', b"\xff", b"\n"]
)
def test_64_kib_of_anything_are_read_in_no_time(text: bytes) -> None:
    began = time.process_time()

    error_message(response(text * (65_536 // len(text)), 400))

    assert time.process_time() - began < 0.2, "the loop waits for it"


@settings(max_examples=500)
@given(HEADERS)
@example({"retry-after": "Fri, 31 Dec 9999 23:59:59 -2359"})
@example({"retry-after": "\ud800"})
def test_a_pause_is_a_finite_number_or_none(headers: dict[str, str]) -> None:
    pause = asked_pause(headers, wall=NOW)

    assert pause is None or (0 <= pause < math.inf)


@settings(max_examples=500)
@given(st.integers(100, 999), ANSWERS | CUT, HEADERS)
def test_every_answer_is_one_of_the_outcomes(status: int, body: bytes, headers: dict[str, str]) -> None:
    outcome = classify_response(response(body, status, headers), wall=NOW)

    assert isinstance(outcome, Accepted | Refused | TooLarge | Failed | Blocked)
    assert isinstance(outcome, Accepted) == (200 <= status < 300)


@settings(max_examples=800)
@given(ANSWERS | CUT, st.integers(1, 3))
@example(b'{"results":[{"hits":[{"objectID":"\\ud800"}]}]}', 1)
@example(b'{"results":[{"hits":[null]}]}', 1)
@example(b'{"results":[{"hits":{"objectID":"1"}}]}', 1)
@example(b'{"results":[[]]}', 1)
@example(b'{"results":[{"hits":[{"objectID":1}],"queryID":7}]}', 1)
def test_a_recommend_answer_is_read_or_refused_as_unreadable(body: bytes, count: int) -> None:
    queries: list[Any] = [
        RelatedProducts(index="products", object_id="sku", threshold=0),
        TrendingFacets(index="products", facet_name="brand", threshold=0),
        RelatedProducts(index="products", object_id="sku-2", threshold=0),
    ]
    questions = [encode_query(query, Analytics(user_token="user")) for query in queries[:count]]

    try:
        results = decode_answer(response(body, 200), questions)
    except AnswerError:
        return

    assert len(results) == count
    for result in results:
        assert isinstance(result, Recommendations | FacetRecommendations)
        assert (
            result.query_id is None or isinstance(result.query_id, str) if isinstance(result, Recommendations) else True
        )
        for hit in result.hits:
            repr(hit)
