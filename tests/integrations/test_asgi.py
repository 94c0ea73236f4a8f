"""Every visitor has a user token: that of his cookie, or a new one and the cookie with it, where that is allowed."""

from typing import Any

import pytest
from support.asgi import call

from algolia_events import ConfigurationError, is_user_token
from algolia_events.integrations._asgi import UserTokenMiddleware, user_token_of


async def show_token(scope: Any, _: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"set-cookie", b"theirs=1")]})
    await send({"type": "http.response.body", "body": user_token_of(scope).encode()})


async def test_a_new_visitor_is_given_a_token_and_the_cookie() -> None:
    answer = await call(UserTokenMiddleware(show_token, max_age=60, domain="shop.test"))

    token = answer.body.decode()
    assert token.startswith("anonymous-")
    assert answer.cookies[0] == "theirs=1"
    assert answer.cookies[1].startswith(f"_ALGOLIA={token}; ")
    assert "Domain=shop.test" in answer.cookies[1]
    assert "Max-Age=60" in answer.cookies[1]


@pytest.mark.parametrize("header", ["_ALGOLIA=anonymous-1", 'a=b; _ALGOLIA="anonymous-1"; c'])
async def test_a_known_visitor_keeps_his_token(header: str) -> None:
    answer = await call(UserTokenMiddleware(show_token), headers={"cookie": header})

    assert answer.body == b"anonymous-1"
    assert answer.cookies == ["theirs=1"]


@pytest.mark.parametrize("header", ["_ALGOLIA=", "_ALGOLIA=no token", "_ALGOLIA=<script>", "other=1", "token"])
async def test_what_is_no_legal_token_is_replaced(header: str) -> None:
    answer = await call(UserTokenMiddleware(show_token), headers={"cookie": header})

    assert is_user_token(answer.body.decode())
    assert answer.body.startswith(b"anonymous-")
    assert len(answer.cookies) == 2


async def test_without_leave_no_cookie_is_set() -> None:
    def has_agreed(scope: Any) -> bool:
        return (b"cookie", b"consent=yes") in scope["headers"]

    app = UserTokenMiddleware(show_token, may_issue=has_agreed)

    refused = await call(app)
    agreed = await call(app, headers={"cookie": "consent=yes"})

    assert refused.cookies == ["theirs=1"]
    assert is_user_token(refused.body.decode())
    assert len(agreed.cookies) == 2


async def test_a_lifespan_passes_untouched() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    await UserTokenMiddleware(app)({"type": "lifespan"}, None, None)

    assert seen == [({"type": "lifespan"}, None, None)]


async def test_the_handshake_of_a_websocket_brings_the_cookie() -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    async def send(message: Any) -> None:
        sent.append(message)

    await UserTokenMiddleware(app)({"type": "websocket", "headers": []}, None, send)

    assert sent[0]["headers"][0][1].startswith(b"_ALGOLIA=anonymous-")


def test_a_wrong_option_shows_at_once() -> None:
    with pytest.raises(ConfigurationError, match="domain"):
        UserTokenMiddleware(show_token, domain="a; b")


def test_without_the_middleware_an_error_says_so() -> None:
    with pytest.raises(RuntimeError, match="UserTokenMiddleware"):
        user_token_of({})
