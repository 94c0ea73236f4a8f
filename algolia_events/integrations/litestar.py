"""Litestar: a plugin that holds the client and provides it, and each visitor, to handlers.

In short:

    app = Litestar([click], plugins=[AlgoliaPlugin(AlgoliaEvents.from_env)])

    @post("/click/{object_id:str}")
    async def click(object_id: FromPath[str], algolia_user: NamedDependency[User]) -> None:
        algolia_user.clicked_object_ids("Product Clicked", "products", [object_id])
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Unpack

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.connection import ASGIConnection, Request
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.plugins import InitPlugin

from algolia_events import AlgoliaEvents, User
from algolia_events.integrations._asgi import MayIssue, UserTokenMiddleware, always, user_token_of
from algolia_events.integrations._cookies import CookieOptions

__all__ = ["AlgoliaPlugin", "get_algolia", "get_user", "get_user_token"]

_Connection = ASGIConnection[Any, Any, Any, Any]
_STATE: Final = "algolia"


class AlgoliaPlugin(InitPlugin):
    """Starts a client with the application and closes it with it; knows each visitor's user token.

    Handlers receive the client as `algolia: AlgoliaEvents` and the visitor as `algolia_user: User`.

    Args:
        make_client: makes the client.
        may_issue: whether the `_ALGOLIA` cookie may be set; see `UserTokenMiddleware`.
        cookie_options: `max_age`, `domain`, `path`, `secure`, `http_only` and `same_site` of `user_token_cookie()`.
    """

    def __init__(
        self,
        make_client: Callable[[], AlgoliaEvents],
        *,
        may_issue: MayIssue = always,
        **cookie_options: Unpack[CookieOptions],
    ) -> None:
        self._make_client = make_client
        self._middleware = DefineMiddleware(UserTokenMiddleware, may_issue=may_issue, **cookie_options)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the lifespan, the middleware and the dependencies; called by Litestar."""
        app_config.lifespan.append(self._lifespan)
        app_config.middleware.append(self._middleware)
        app_config.dependencies["algolia"] = Provide(_provide_algolia)
        app_config.dependencies["algolia_user"] = Provide(_provide_user)
        return app_config

    @asynccontextmanager
    async def _lifespan(self, app: Litestar) -> AsyncIterator[None]:
        async with self._make_client() as algolia:
            app.state[_STATE] = algolia
            yield


def get_algolia(connection: _Connection) -> AlgoliaEvents:
    """Give the application's client.

    Raises:
        RuntimeError: the application has no `AlgoliaPlugin`, or its server or test client does not run its lifespan.
    """
    algolia: AlgoliaEvents | None = connection.app.state.get(_STATE)
    if algolia is None:
        raise RuntimeError("no client: give the application plugins=[AlgoliaPlugin(…)], and have its lifespan run")
    return algolia


def get_user_token(connection: _Connection) -> str:
    """Give the visitor's user token.

    Raises:
        RuntimeError: the application has no `AlgoliaPlugin`.
    """
    return user_token_of(connection.scope)


def get_user(connection: _Connection, authenticated_user_token: str | None = None) -> User:
    """Give the visitor, to track what he does and to ask for recommendations; from any thread.

    Raises:
        RuntimeError: the application has no `AlgoliaPlugin`.
        InvalidEventError: the token of the authenticated user is not a legal one.
    """
    return get_algolia(connection).user(get_user_token(connection), authenticated_user_token)


async def _provide_algolia(request: Request[Any, Any, Any]) -> AlgoliaEvents:
    return get_algolia(request)


async def _provide_user(request: Request[Any, Any, Any]) -> User:
    return get_user(request)
