"""A token gives its hit back to who has the key, until it is too old; anything else is refused with its reason."""

import re
import subprocess
import sys
import time
import uuid
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import TimestampSigner
from itsdangerous.encoding import base64_encode

from algolia_events._limits import USER_TOKEN_ALPHABET
from algolia_events.attribution import TokenSigner
from algolia_events.attribution._packing import unpack
from algolia_events.errors import AttributionError, ConfigurationError, TokenExpiredError, TokenForgedError
from algolia_events.recommendations import Origin, RecommendHit, TrendingFacetHit
from algolia_events.users import pseudonymous_user_token

KEY = "a key of thirty-two letters, more"
QUERY_ID = "0123456789abcdef" * 2
DAY = 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def hit_of(
    *,
    object_id: str = "sku-1",
    index: str = "products",
    position: int = 3,
    query_id: str | None = QUERY_ID,
    user_token: str | None = "user-123456",
    authenticated_user_token: str | None = None,
    model: str | None = "related-products",
) -> RecommendHit:
    origin = Origin(
        index=index,
        query_id=query_id,
        model=model,
        user_token=user_token,
        authenticated_user_token=authenticated_user_token,
    )
    return RecommendHit(origin, object_id, position, {"objectID": object_id, "name": "Name"})


def test_a_resolved_hit_builds_the_same_events() -> None:
    signer = TokenSigner([KEY])
    hit = hit_of(authenticated_user_token="user-9")

    resolved = signer.resolve(signer.sign(hit))

    assert resolved == hit
    assert resolved.clicked("C") == hit.clicked("C")
    assert dict(resolved) == {"objectID": "sku-1"}


user_tokens = (
    st.none()
    | st.text(USER_TOKEN_ALPHABET, min_size=1, max_size=128)
    | st.uuids().map(str)
    | st.uuids().map(lambda value: f"anonymous-{value}")
    | st.uuids().map(lambda value: f"customers-{value}")
    | st.text().filter(bool).map(lambda user_id: pseudonymous_user_token(user_id, key=KEY))
    | st.text("ABab09-_", min_size=1, max_size=60)
)
ids = (
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
    | st.uuids().map(str)
    | st.text("0123456789abcdef", min_size=1, max_size=40)
)
hits = st.builds(
    hit_of,
    object_id=ids,
    index=ids,
    position=st.integers(1, 2**40),
    query_id=st.none() | st.text("0123456789abcdef", min_size=32, max_size=32) | st.just("message_abc"),
    user_token=user_tokens,
    authenticated_user_token=user_tokens,
    model=st.sampled_from([None, "related-products", "bought-together", "looking-similar", "trending-items"]),
)


@given(hits)
def test_every_legal_hit_makes_the_round_trip(hit: RecommendHit) -> None:
    signer = TokenSigner([KEY])

    token = signer.sign(hit)

    assert re.fullmatch(r"[A-Za-z0-9_.-]+", token)
    assert signer.resolve(token) == hit


@pytest.mark.parametrize(
    "hit",
    [
        hit_of(),
        hit_of(
            object_id="B0CX23V2ZK", index="prod_products_en", user_token="user-123456", authenticated_user_token="u-9"
        ),
        hit_of(
            object_id=str(uuid.UUID(int=7)),
            index="production_products",
            position=1000,
            user_token=f"anonymous-{uuid.UUID(int=8)}",
            authenticated_user_token=str(uuid.UUID(int=9)),
        ),
        hit_of(object_id="a-readable-object-id-of-35-letters-x", user_token="f" * 64),
        hit_of(
            user_token=pseudonymous_user_token("anna", key=KEY),
            authenticated_user_token=pseudonymous_user_token("bert", key=KEY),
        ),
    ],
)
def test_a_token_of_usual_ids_has_at_most_two_hundred_characters(hit: RecommendHit) -> None:
    assert len(TokenSigner([KEY]).sign(hit)) <= 200


def test_a_token_shows_nothing_of_the_user_nor_of_the_answer_even_decoded() -> None:
    hit = hit_of(user_token="user-123456", object_id="an-object-id")
    signer = TokenSigner([KEY])

    one, other = signer.sign(hit), signer.sign(hit)

    assert one.partition(".")[0] != other.partition(".")[0]
    for token in (one, other):
        decoded = bytes(TimestampSigner("x").get_signature("")) + token.encode()
        assert b"user-123456" not in decoded
        assert b"object" not in decoded
        assert bytes.fromhex(QUERY_ID) not in decoded


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \né"


def test_every_change_of_every_character_is_refused() -> None:
    signer = TokenSigner([KEY])
    token = signer.sign(hit_of(object_id="a", index="b", user_token="c"))

    for place, letter in enumerate(token):
        for other in ALPHABET:
            if other != letter:
                with pytest.raises(TokenForgedError):
                    signer.resolve(token[:place] + other + token[place + 1 :])


def test_every_cut_every_addition_and_every_swap_is_refused() -> None:
    signer = TokenSigner([KEY])
    token = signer.sign(hit_of())
    other = signer.sign(hit_of(object_id="sku-2"))
    changed = [token[:end] for end in range(len(token))]
    changed += [token[start:] for start in range(1, len(token))]
    changed += [token + letter for letter in ALPHABET] + [letter + token for letter in ALPHABET]
    changed += [token.partition(".")[0] + "." + other.partition(".")[2], token + "." + token, token * 200]

    for text in changed:
        with pytest.raises(TokenForgedError):
            signer.resolve(text)


@given(st.text() | st.binary() | st.none() | st.integers())
def test_what_is_no_token_is_refused(token: object) -> None:
    with pytest.raises(TokenForgedError):
        TokenSigner([KEY]).resolve(token)


def test_a_token_of_another_signer_with_the_same_secret_is_refused() -> None:
    foreign = TimestampSigner(KEY).sign("content").decode()

    with pytest.raises(TokenForgedError):
        TokenSigner([KEY]).resolve(foreign)


@given(st.binary(max_size=80))
def test_content_that_we_signed_but_never_packed_is_refused_or_a_hit(content: bytes) -> None:
    signer = TokenSigner([KEY])
    token = signer._keys[0].signer.sign(base64_encode(content)).decode()

    try:
        hit = signer.resolve(token)
    except TokenForgedError:
        return
    assert isinstance(hit, RecommendHit)


@given(st.binary(max_size=80))
def test_bytes_that_are_no_packed_hit_are_a_value_error(packed: bytes) -> None:
    try:
        hit = unpack(packed)
    except ValueError:
        return
    assert isinstance(hit, RecommendHit)


@pytest.mark.parametrize(
    "packed",
    [
        b"\x01\x01\x00\x07a\x07o\x00",  # ends too early
        b"\x01\x01\x00\x07a\x07o\x00\x00\x00",  # goes on too long
        b"\x09\x01\x00\x07a\x07o\x00\x00",  # a model that there is not
        b"\x01\x01\x00\x00\x07o\x00\x00",  # no index
        b"\x01\x01\x00\x07a\x00\x00\x00",  # no object
        b"\x01\x01\x00\x07a\x09o\x00\x00",  # a UUID of one byte
    ],
)
def test_a_packed_hit_with_one_thing_wrong_is_a_value_error(packed: bytes) -> None:
    assert unpack(b"\x01\x01\x00\x07a\x07o\x00\x00").object_id == "o"

    with pytest.raises(ValueError, match=r"."):
        unpack(packed)


def test_a_token_expires() -> None:
    clock = Clock()
    signer = TokenSigner([KEY], max_age=timedelta(days=2), clock=clock)
    token = signer.sign(hit_of())

    clock.now += 2 * DAY
    fresh = signer.resolve(token)
    clock.now += 1

    assert fresh == hit_of()
    with pytest.raises(TokenExpiredError, match="172800 seconds"):
        signer.resolve(token)


def test_a_token_of_a_machine_whose_clock_is_ahead_is_good() -> None:
    here, ahead = Clock(), Clock()
    ahead.now += 90.0

    token = TokenSigner([KEY], clock=ahead).sign(hit_of())

    assert TokenSigner([KEY], clock=here).resolve(token) == hit_of()


def test_keys_rotate_the_first_signs_and_all_are_accepted() -> None:
    old, new = TokenSigner(["old"]), TokenSigner(["new"])
    both = TokenSigner(["new", "old"])

    assert both.resolve(old.sign(hit_of())) == hit_of()
    assert new.resolve(both.sign(hit_of())) == hit_of()
    with pytest.raises(TokenForgedError, match="none of the keys"):
        old.resolve(both.sign(hit_of()))


def test_a_token_resolves_in_another_process_that_has_only_the_key() -> None:
    token = TokenSigner([KEY]).sign(hit_of(object_id="schuh-größe-42", authenticated_user_token="user-9"))
    program = (
        "import sys; from algolia_events.attribution import TokenSigner;"
        "hit = TokenSigner([sys.argv[1]]).resolve(sys.argv[2]);"
        "event = hit.clicked('Product Clicked');"
        "print(ascii((event.object_ids, event.positions, event.query_id, event.user_token)))"
    )

    done = subprocess.run([sys.executable, "-c", program, KEY, token], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ascii((("schuh-größe-42",), (3,), QUERY_ID, "user-123456"))


@pytest.mark.parametrize("keys", ["one key", b"one key", [""], [b""], [7], [None]])
def test_keys_that_cannot_be_meant_are_refused(keys: object) -> None:
    with pytest.raises(ConfigurationError, match="attribution_keys"):
        TokenSigner(keys)  # type: ignore[arg-type]


def test_without_keys_the_way_out_is_said() -> None:
    signer = TokenSigner([])

    with pytest.raises(ConfigurationError, match="attribution_keys"):
        signer.sign(hit_of())
    with pytest.raises(ConfigurationError, match="attribution_keys"):
        signer.resolve("token")


def test_ids_that_are_no_text_are_refused() -> None:
    with pytest.raises(AttributionError, match="Unicode"):
        TokenSigner([KEY]).sign(hit_of(object_id="\ud800"))


@pytest.mark.parametrize("hit", [TrendingFacetHit("brand", "Acme", 1, {}), None, {"objectID": "sku-1"}])
def test_what_is_no_hit_of_an_object_cannot_be_signed(hit: object) -> None:
    with pytest.raises(TypeError, match=f"not {type(hit).__name__}"):
        TokenSigner([KEY]).sign(hit)  # type: ignore[arg-type]


@pytest.mark.parametrize("max_age", [0, -1.0, float("nan"), timedelta(0), "1", None, True])
def test_an_age_limit_that_cannot_be_meant_is_refused(max_age: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_age"):
        TokenSigner([KEY], max_age=max_age)


def test_the_time_is_looked_up_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = TokenSigner([KEY], max_age=DAY)
    token = signer.sign(hit_of())

    later = time.time() + 2 * DAY
    monkeypatch.setattr(time, "time", lambda: later)

    with pytest.raises(TokenExpiredError):
        signer.resolve(token)


def test_no_error_shows_the_token_or_a_key() -> None:
    signer = TokenSigner([KEY])
    token = signer.sign(hit_of())

    with pytest.raises(TokenForgedError) as caught:
        signer.resolve(token[:-1])

    assert token[:-1] not in str(caught.value)
    assert KEY not in repr(signer._keys)
