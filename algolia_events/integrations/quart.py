"""Quart: an extension that holds the client while the application serves, and knows each visitor's user token.

In short:

    app = Quart(__name__)
    Algolia(app, AlgoliaEvents.from_env)

    @app.post("/click/<object_id>")
    async def click(object_id):
        get_user().clicked_object_ids("Product Clicked", "products", [object_id])
        return "", 204
"""

from collections.abc import AsyncGenerator, Callable
from typing import Final, Unpack

from quart import Quart, current_app, request

from algolia_events import AlgoliaEvents, User
from algolia_events.integrations._asgi import MayIssue, UserTokenMiddleware, always, user_token_of
from algolia_events.integrations._cookies import CookieOptions

__all__ = ["Algolia", "get_algolia", "get_user", "get_user_token"]

_NAME: Final = "algolia"


class Algolia:
    """The extension; give it the application at once, or later with `init_app()`.

    Args:
        app: the application.
        make_client: makes the client.
        may_issue: whether the `_ALGOLIA` cookie may be set; see `UserTokenMiddleware`.
        cookie_options: `max_age`, `domain`, `path`, `secure`, `http_only` and `same_site` of `user_token_cookie()`.
    """

    def __init__(
        self,
        app: Quart | None = None,
        make_client: Callable[[], AlgoliaEvents] = AlgoliaEvents.from_env,
        *,
        may_issue: MayIssue = always,
        **cookie_options: Unpack[CookieOptions],
    ) -> None:
        self._make_client = make_client
        self._may_issue = may_issue
        self._cookie_options = cookie_options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Quart) -> None:
        """Start a client when the application begins to serve, and close it when it ends; know its visitors."""

        async def algolia() -> AsyncGenerator[None, None]:
            async with self._make_client() as client:
                app.extensions[_NAME] = client
                yield

        app.while_serving(algolia)
        middleware = UserTokenMiddleware(app.asgi_app, may_issue=self._may_issue, **self._cookie_options)
        app.asgi_app = middleware  # type: ignore[method-assign]  # as Quart's manual has it


def get_algolia() -> AlgoliaEvents:
    """Give the current application's client.

    Raises:
        RuntimeError: there is no application, it has no `Algolia` extension, or does not serve.
    """
    algolia: AlgoliaEvents | None = current_app.extensions.get(_NAME)
    if algolia is None:
        raise RuntimeError("no client: Algolia(app, …), and have the application serve")
    return algolia


def get_user_token() -> str:
    """Give the current visitor's user token.

    Raises:
        RuntimeError: there is no request, or the application has no `Algolia` extension.
    """
    return user_token_of(request.scope)


def get_user(authenticated_user_token: str | None = None) -> User:
    """Give the current visitor, to track what he does and to ask for recommendations; from any thread.

    Raises:
        RuntimeError: there is no request, or the application has no `Algolia` extension.
        InvalidEventError: the token of the authenticated user is not a legal one.
    """
    return get_algolia().user(get_user_token(), authenticated_user_token)
