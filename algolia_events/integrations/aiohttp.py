"""aiohttp.web: a cleanup context that holds the client, and cookies that tell each visitor's user token.

In short:

    app = web.Application()
    app.cleanup_ctx.append(algolia_ctx(AlgoliaEvents.from_env))
    setup_user_tokens(app)

    async def click(request):
        get_user(request).clicked_object_ids("Product Clicked", "products", [request.match_info["object_id"]])
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Unpack

from aiohttp import web

from algolia_events import AlgoliaEvents, User, anonymous_user_token, user_token_cookie, user_token_from_cookie
from algolia_events.integrations._cookies import CookieOptions

__all__ = ["ALGOLIA", "algolia_ctx", "get_algolia", "get_user", "get_user_token", "setup_user_tokens"]

ALGOLIA: Final = web.AppKey("algolia", AlgoliaEvents)
"""Where in the application the client is: `request.app[ALGOLIA]`."""
# aiohttp 3.14 has typed keys, and warns of others
_REQUEST_KEY: Final[Any] = web.RequestKey("user_token", str) if hasattr(web, "RequestKey") else "algolia_events.user"


def algolia_ctx(make_client: Callable[[], AlgoliaEvents]) -> Callable[[web.Application], AsyncIterator[None]]:
    """Make a cleanup context that starts a client, and closes it when all requests are answered."""

    async def algolia(app: web.Application) -> AsyncIterator[None]:
        async with make_client() as client:
            app[ALGOLIA] = client
            yield

    return algolia


def _always(_: web.Request) -> bool:
    return True


def setup_user_tokens(
    app: web.Application, *, may_issue: Callable[[web.Request], bool] = _always, **cookie_options: Unpack[CookieOptions]
) -> None:
    """Read each visitor's `_ALGOLIA` cookie, and issue one with a new anonymous token to who has none.

    Args:
        app: the application; its nested applications are included.
        may_issue: whether the cookie may be set (where a visitor's consent is needed, look for it there); without
            the cookie, the token is good for one request.
        cookie_options: `max_age`, `domain`, `path`, `secure`, `http_only` and `same_site` of `user_token_cookie()`.
    """
    user_token_cookie("checked", **cookie_options)  # a wrong option shows when the application is made

    async def issue(request: web.Request, response: web.StreamResponse) -> None:
        if user_token_from_cookie(request.cookies) is None and may_issue(request):
            response.headers.add("Set-Cookie", user_token_cookie(get_user_token(request), **cookie_options))

    # Not a middleware: a response that streams has sent its headers before any middleware sees it again.
    app.on_response_prepare.append(issue)


def get_algolia(request: web.Request) -> AlgoliaEvents:
    """Give the application's client, also in a nested application.

    Raises:
        RuntimeError: no application around the request has an `algolia_ctx()`.
    """
    client = request.config_dict.get(ALGOLIA)
    if client is None:
        raise RuntimeError("no client: app.cleanup_ctx.append(algolia_ctx(…))")
    return client


def get_user_token(request: web.Request) -> str:
    """Give the visitor's user token: that of his cookie, or else a new one, the same for all of the request."""
    token: str | None = request.get(_REQUEST_KEY)
    if token is None:
        token = request[_REQUEST_KEY] = user_token_from_cookie(request.cookies) or anonymous_user_token()
    return token


def get_user(request: web.Request, authenticated_user_token: str | None = None) -> User:
    """Give the visitor, to track what he does and to ask for recommendations; from any thread.

    Raises:
        RuntimeError: the cleanup context is missing.
        InvalidEventError: the token of the authenticated user is not a legal one.
    """
    return get_algolia(request).user(get_user_token(request), authenticated_user_token)
