"""FastAPI: the parts of `algolia_events.integrations.starlette`, and two types to depend on.

In short:

    app = FastAPI(lifespan=algolia_lifespan(AlgoliaEvents.from_env))
    app.add_middleware(UserTokenMiddleware)

    @app.post("/click/{object_id}")
    async def click(object_id: str, user: AlgoliaUser) -> None:
        user.clicked_object_ids("Product Clicked", "products", [object_id])
"""

from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection

from algolia_events import AlgoliaEvents, User
from algolia_events.integrations.starlette import (
    UserTokenMiddleware,
    algolia_lifespan,
    get_algolia,
    get_user,
    get_user_token,
)

__all__ = [
    "Algolia",
    "AlgoliaUser",
    "UserTokenMiddleware",
    "algolia_lifespan",
    "get_algolia",
    "get_user",
    "get_user_token",
]


async def _client(connection: HTTPConnection) -> AlgoliaEvents:
    return get_algolia(connection)


async def _visitor(connection: HTTPConnection) -> User:
    return get_user(connection)


Algolia = Annotated[AlgoliaEvents, Depends(_client)]
"""A parameter of this type is the application's client."""
AlgoliaUser = Annotated[User, Depends(_visitor)]
"""A parameter of this type is the visitor, by his anonymous token; for one who has logged in, write a dependency of
your own around `get_user(connection, authenticated_user_token)`."""
