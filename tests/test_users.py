"""User tokens are legal whatever they are made from, tell nothing of a user's ID, and survive the cookie."""

import http.cookies
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algolia_events.errors import ConfigurationError, InvalidEventError
from algolia_events.events import ViewedObjectIDs
from algolia_events.users import (
    anonymous_user_token,
    check_user_token,
    is_user_token,
    pseudonymous_user_token,
    user_token_cookie,
    user_token_from_cookie,
)

KEY = "0123456789abcdef"
TOKENS = st.text("ABCXYZabcxyz019_=/+-", min_size=1, max_size=128)


def test_anonymous_tokens_are_legal_and_never_the_same() -> None:
    tokens = {anonymous_user_token() for _ in range(100)}

    assert len(tokens) == 100
    assert all(is_user_token(token) and token.startswith("anonymous-") for token in tokens)


@given(st.text(min_size=1) | st.integers(-(10**30), 10**30))
def test_pseudonymous_tokens_are_legal_and_lasting(user_id: str | int) -> None:
    token = pseudonymous_user_token(user_id, key=KEY)

    assert is_user_token(token)
    assert len(token) == 43
    assert token == pseudonymous_user_token(user_id, key=KEY.encode())
    assert token != pseudonymous_user_token(user_id, key=KEY + "x")


def test_pseudonymous_tokens_are_the_hmac_that_others_can_compute() -> None:
    # echo -n jane@example.com | openssl dgst -sha256 -hmac 0123456789abcdef -binary | basenc --base64url
    expected = "p6VGYcdbzpBnF8pVP9_xueLFeNjHZMjn0j_zm3tQlrE"

    assert pseudonymous_user_token("jane@example.com", key=KEY) == expected


@pytest.mark.parametrize("key", ["", "short", b"0123456789abcde"])
def test_a_short_key_is_refused_without_being_shown(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="at least 16 bytes") as caught:
        pseudonymous_user_token("jane", key=key)

    assert "short" not in str(caught.value)


@pytest.mark.parametrize("user_id", ["", True, None, 1.5, b"jane"])
def test_other_ids_are_refused(user_id: Any) -> None:
    with pytest.raises(ValueError, match="user_id"):
        pseudonymous_user_token(user_id, key=KEY)


@given(st.text(max_size=140) | TOKENS | st.none() | st.integers() | st.binary())
def test_a_token_is_legal_where_an_event_takes_it(value: Any) -> None:
    try:
        ViewedObjectIDs(event_name="Seen", index="i", object_ids=["a"], user_token=value)
    except InvalidEventError:
        legal = False
    else:
        legal = True

    assert is_user_token(value) is legal


def test_checking_names_the_field_and_hides_the_value() -> None:
    assert check_user_token("user-1") == "user-1"
    with pytest.raises(InvalidEventError) as caught:
        check_user_token("jane@example.com", name="authenticated_user_token")
    assert caught.value.problems[0][0] == "authenticated_user_token"
    assert "jane" not in str(caught.value)


@given(TOKENS)
def test_a_token_survives_the_cookie(token: str) -> None:
    cookie = user_token_cookie(token)

    assert user_token_from_cookie(cookie.partition(";")[0]) == token
    parsed: http.cookies.SimpleCookie = http.cookies.SimpleCookie(cookie)
    assert user_token_from_cookie({name: morsel.value for name, morsel in parsed.items()}) == token


def test_the_cookie_says_what_it_was_told() -> None:
    cookie = user_token_cookie(
        "u", max_age=timedelta(days=1), domain="shop.example", path="/a", http_only=True, same_site="Strict"
    )

    assert set(cookie.split("; ")) == {
        "_ALGOLIA=u",
        "Max-Age=86400",
        "Domain=shop.example",
        "Path=/a",
        "HttpOnly",
        "SameSite=Strict",
        "Secure",
    }
    assert set(user_token_cookie("u", secure=False, max_age=5).split("; ")) == {
        "_ALGOLIA=u",
        "Max-Age=5",
        "Path=/",
        "SameSite=Lax",
    }


@pytest.mark.parametrize(
    "option", [{"domain": "a; HttpOnly"}, {"path": "/\r\nSet-Cookie: a=b"}, {"same_site": "Lax; a"}]
)
def test_options_cannot_smuggle_headers(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        user_token_cookie("u", **option)


def test_an_illegal_token_gets_no_cookie() -> None:
    with pytest.raises(InvalidEventError):
        user_token_cookie("a; b")


@pytest.mark.parametrize(
    ("cookies", "token"),
    [
        ("_ALGOLIA=anonymous-1", "anonymous-1"),
        ('a=1; _ALGOLIA="a=/+"; b=2', "a=/+"),
        ('a={"json":1}; _ALGOLIA=u; =;;', "u"),
        ("_ALGOLIA=first; _ALGOLIA=second", "first"),
        ("anonymous-1", "anonymous-1"),
        (MappingProxyType({"_ALGOLIA": "u="}), "u="),
        (None, None),
        ("", None),
        ({}, None),
        ("session=abc", None),
        ("x_ALGOLIA=u", None),
        ("_ALGOLIA=", None),
        ("_ALGOLIA=a b", None),
        ("_ALGOLIA=é", None),
        ("_ALGOLIA=" + "x" * 129, None),
        ("_ALGOLIA=<script>", None),
        ({"_ALGOLIA": 5}, None),
        (";" * 1_000_000, None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_cookie_gives_a_legal_token_or_none(cookies: Any, token: str | None) -> None:
    assert user_token_from_cookie(cookies) == token


@given(st.text())
def test_no_cookie_header_raises(header: str) -> None:
    token = user_token_from_cookie(header)

    assert token is None or is_user_token(token)
