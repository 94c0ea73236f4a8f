"""The user-token cookie for any ASGI framework: read where there is one, issued where there is none."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Unpack

from algolia_events import anonymous_user_token, user_token_cookie, user_token_from_cookie
from algolia_events.integrations._cookies import CookieOptions

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
# Each framework has names of its own for the same dictionaries, so that an application is whatever takes some.
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]
MayIssue = Callable[[Scope], bool]

_SCOPE_KEY: Final = "algolia_events.user"
"""Where in the scope of a connection the token stands."""


def always(_: object) -> bool:
    """Allow it to everybody."""
    return True


class UserTokenMiddleware:
    """ASGI middleware that knows each visitor's user token, by the `_ALGOLIA` cookie of Algolia's own libraries.

    A visitor without one is given a new anonymous token, and the cookie with it where `may_issue(scope)` says so
    (where a visitor's consent is needed, look for it there). Without the cookie, the token is good for one request.

    Args:
        app: the application.
        may_issue: whether the cookie may be set; always by default.
        cookie_options: `max_age`, `domain`, `path`, `secure`, `http_only` and `same_site` of `user_token_cookie()`.
    """

    def __init__(self, app: ASGIApp, *, may_issue: MayIssue = always, **cookie_options: Unpack[CookieOptions]) -> None:
        self.app = app
        self._may_issue = may_issue
        self._cookie_options = cookie_options
        user_token_cookie("checked", **cookie_options)  # a wrong option shows when the application is made

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a connection; called by the server."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        known = _token_of(scope)
        token = scope[_SCOPE_KEY] = known or anonymous_user_token()
        if known is not None or not self._may_issue(scope):
            await self.app(scope, receive, send)
            return
        cookie = user_token_cookie(token, **self._cookie_options).encode("ascii")

        async def send_with_cookie(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.accept"}:
                message["headers"] = [*message.get("headers", ()), (b"set-cookie", cookie)]
            await send(message)

        await self.app(scope, receive, send_with_cookie)


def user_token_of(scope: Any) -> str:
    """Give the user token of a connection.

    Raises:
        RuntimeError: the middleware is not installed.
    """
    try:
        token: str = scope[_SCOPE_KEY]
    except KeyError:
        raise RuntimeError("no user token: add UserTokenMiddleware to the application") from None
    return token


def _token_of(scope: Scope) -> str | None:
    """Read the cookie; HTTP/2 clients may send several headers of it, which are one list (RFC 9113, 8.2.3)."""
    headers = [value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie"]
    return user_token_from_cookie("; ".join(headers) + ";") if headers else None
