"""Django under ASGI: wrap the application in `asgi.py`; views, also synchronous ones, find client and visitor there.

    application = AlgoliaASGI(get_asgi_application(), AlgoliaEvents.from_env)

    def click(request, object_id):
        get_user(request).clicked_object_ids("Product Clicked", "products", [object_id])
        return HttpResponse(status=204)

Django knows nothing of the server's lifespan, so the wrapper answers it: the client is started and closed with the
worker. A server that offers no lifespan gets a client with the first request, in the worker's loop, which is closed
when the loop ends in an orderly way (`asyncio.run()`); a server that ends it otherwise loses what waits, and Python
warns of it.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, Unpack

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest

from algolia_events import AlgoliaEvents, User
from algolia_events.integrations._asgi import ASGIApp, MayIssue, UserTokenMiddleware, always, user_token_of
from algolia_events.integrations._cookies import CookieOptions

__all__ = ["AlgoliaASGI", "get_algolia", "get_user", "get_user_token"]

_CLIENT: Final = "algolia_events.client"


class AlgoliaASGI:
    """An ASGI application around Django's, with a client and each visitor's user token.

    Args:
        application: what `get_asgi_application()` gives, or a router around it.
        make_client: makes the client.
        may_issue: whether the `_ALGOLIA` cookie may be set; see `UserTokenMiddleware`.
        cookie_options: `max_age`, `domain`, `path`, `secure`, `http_only` and `same_site` of `user_token_cookie()`.
    """

    def __init__(
        self,
        application: ASGIApp,
        make_client: Callable[[], AlgoliaEvents] = AlgoliaEvents.from_env,
        *,
        may_issue: MayIssue = always,
        **cookie_options: Unpack[CookieOptions],
    ) -> None:
        self._application = UserTokenMiddleware(application, may_issue=may_issue, **cookie_options)
        self._make_client = make_client
        self._holder: AsyncGenerator[AlgoliaEvents, None] | None = None
        self._client: AlgoliaEvents | None = None
        self._opening = asyncio.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a connection, or the lifespan; called by the server."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        scope[_CLIENT] = await self._open()
        await self._application(scope, receive, send)

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        try:
            await self._open()
        except Exception as exc:
            await send({"type": "lifespan.startup.failed", "message": str(exc)})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _open(self) -> AlgoliaEvents:
        async with self._opening:
            if self._client is None:
                # Held by a generator, since that is what a loop closes when it ends, though nobody asks for it.
                self._holder = _hold(self._make_client)
                self._client = await anext(self._holder)
            return self._client

    async def _close(self) -> None:
        self._client = None
        if self._holder is not None:
            await self._holder.aclose()


async def _hold(make_client: Callable[[], AlgoliaEvents]) -> AsyncGenerator[AlgoliaEvents, None]:
    async with make_client() as client:
        yield client


def get_algolia(request: HttpRequest) -> AlgoliaEvents:
    """Give the worker's client.

    Raises:
        RuntimeError: the application is not wrapped in `AlgoliaASGI`, or does not run under ASGI.
    """
    algolia: AlgoliaEvents | None = _scope_of(request).get(_CLIENT)
    if algolia is None:
        raise RuntimeError("no client: wrap the application of asgi.py in AlgoliaASGI(…), and serve that")
    return algolia


def get_user_token(request: HttpRequest) -> str:
    """Give the visitor's user token.

    Raises:
        RuntimeError: the application is not wrapped in `AlgoliaASGI`.
    """
    return user_token_of(_scope_of(request))


def get_user(request: HttpRequest, authenticated_user_token: str | None = None) -> User:
    """Give the visitor, to track what he does and to ask for recommendations; from any thread.

    Raises:
        RuntimeError: the application is not wrapped in `AlgoliaASGI`.
        InvalidEventError: the token of the authenticated user is not a legal one.
    """
    return get_algolia(request).user(get_user_token(request), authenticated_user_token)


def _scope_of(request: HttpRequest) -> Mapping[str, Any]:
    return request.scope if isinstance(request, ASGIRequest) else {}
