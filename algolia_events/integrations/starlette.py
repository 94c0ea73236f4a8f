"""Starlette: a client for as long as the application runs, and each visitor's user.

In short:

    app = Starlette(
        routes=[…],
        lifespan=algolia_lifespan(AlgoliaEvents.from_env),
        middleware=[Middleware(UserTokenMiddleware)],
    )

    async def click(request):
        get_user(request).clicked_object_ids("Product Clicked", "products", [request.path_params["object_id"]])
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.requests import HTTPConnection

from algolia_events import AlgoliaEvents, User
from algolia_events.integrations._asgi import UserTokenMiddleware, user_token_of

__all__ = ["UserTokenMiddleware", "algolia_lifespan", "get_algolia", "get_user", "get_user_token"]

Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]


@asynccontextmanager
async def _no_lifespan(_: object) -> AsyncIterator[None]:
    yield


def algolia_lifespan(
    make_client: Callable[[], AlgoliaEvents], wrapped: Lifespan = _no_lifespan
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """Make a lifespan that starts a client, and closes it when the application stops and all requests are answered.

    A lifespan of your own goes into `wrapped`: it runs while the client does, and its state is kept.
    """

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            algolia = await stack.enter_async_context(make_client())
            state = await stack.enter_async_context(wrapped(app))
            yield {**(state or {}), "algolia": algolia}

    return lifespan


def get_algolia(connection: HTTPConnection) -> AlgoliaEvents:
    """Give the application's client, for a request or a websocket.

    Raises:
        RuntimeError: the application has no `algolia_lifespan()`, or its server or test client does not run it.
    """
    algolia: AlgoliaEvents | None = getattr(connection.state, "algolia", None)
    if algolia is None:
        raise RuntimeError("no client: give the application lifespan=algolia_lifespan(…), and have it run")
    return algolia


def get_user_token(connection: HTTPConnection) -> str:
    """Give the visitor's user token.

    Raises:
        RuntimeError: `UserTokenMiddleware` is not installed.
    """
    return user_token_of(connection.scope)


def get_user(connection: HTTPConnection, authenticated_user_token: str | None = None) -> User:
    """Give the visitor, to track what he does and to ask for recommendations; from any thread.

    Raises:
        RuntimeError: the lifespan or the middleware is missing.
        InvalidEventError: the token of the authenticated user is not a legal one.
    """
    return get_algolia(connection).user(get_user_token(connection), authenticated_user_token)
