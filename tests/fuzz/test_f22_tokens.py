"""F22: a token that was forged, cut or never one is refused as such; a genuine one comes back as it was."""

import time
from typing import Any

import pytest
from event_strategies import TEXTS, TOKENS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.hostile import CYCLE, DEEP, HOSTILE_VALUES, HUGE

from algolia_events import RecommendHit
from algolia_events.attribution import TokenSigner
from algolia_events.errors import TokenError, TokenForgedError
from algolia_events.recommendations import Origin

SIGNER = TokenSigner(["a key of the tests, long enough"])
HITS = st.builds(
    RecommendHit,
    st.builds(
        Origin,
        index=TEXTS,
        query_id=st.none() | st.text("0123456789abcdef", min_size=32, max_size=32),
        model=st.none() | st.sampled_from(["related-products", "trending-items"]),
        user_token=st.none() | TOKENS,
    ),
    TEXTS,
    st.integers(1, 10**6),
    st.just({}),
)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."


@settings(max_examples=400)
@given(HOSTILE_VALUES | st.text(ALPHABET, max_size=200))
@example("." * 8000)
@example("a.b.c")
@example("..")
@example("\ud800.a.b")
def test_what_is_no_token_is_refused(given_value: Any) -> None:
    with pytest.raises(TokenForgedError):
        SIGNER.resolve(given_value)


@pytest.mark.parametrize(
    "wrong",
    [HUGE, DEEP, CYCLE, "." * 8192, "A" * 8192, "A.A." * 2048],
    ids=["huge", "deep", "cycle", "dots", "a", "as"],
)
def test_what_is_far_from_a_token_is_refused_in_no_time(wrong: Any) -> None:
    began = time.process_time()

    with pytest.raises(TokenForgedError):
        SIGNER.resolve(wrong)

    assert time.process_time() - began < 0.5


@settings(max_examples=400)
@given(HITS, st.data())
def test_a_token_that_was_changed_anywhere_is_refused(hit: RecommendHit, data: st.DataObject) -> None:
    token = SIGNER.sign(hit)
    place = data.draw(st.integers(0, len(token) - 1))
    changed = data.draw(
        st.one_of(
            st.just(token[:place]),
            st.just(token[:place] + token[place + 1 :]),
            st.sampled_from(ALPHABET + "\x00\ud800é=").map(lambda c: token[:place] + c + token[place + 1 :]),
            st.sampled_from(ALPHABET + "\n =").map(lambda c: token[:place] + c + token[place:]),
            st.just(token + token),
        )
    )

    if changed == token:
        assert SIGNER.resolve(changed) == hit
    else:
        with pytest.raises(TokenError):
            SIGNER.resolve(changed)


@settings(max_examples=200)
@given(HITS)
def test_a_genuine_token_comes_back_as_it_was(hit: RecommendHit) -> None:
    found = SIGNER.resolve(SIGNER.sign(hit))

    assert found == hit
    with pytest.raises(TokenForgedError):
        TokenSigner(["another key of the tests, long enough"]).resolve(SIGNER.sign(hit))
