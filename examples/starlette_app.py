"""A shop's back end in Starlette: recommendations, and clicks and purchases that Algolia attributes to them.

Run it: ALGOLIA_APP_ID=… ALGOLIA_API_KEY=… SHOP_SECRET=… uvicorn examples.starlette_app:app
"""

import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from algolia_events import AlgoliaEvents
from algolia_events.errors import TokenError
from algolia_events.integrations.starlette import UserTokenMiddleware, algolia_lifespan, get_algolia, get_user


def make_algolia() -> AlgoliaEvents:
    """Make the client; the secret signs what browsers bring back."""
    return AlgoliaEvents.from_env(attribution_keys=[os.environ["SHOP_SECRET"]])


async def related(request: Request) -> JSONResponse:
    """Recommend, and give each hit a token for its link."""
    recs = await get_user(request).related_products("products", object_id=request.path_params["object_id"], threshold=0)
    sign = get_algolia(request).attribution.sign
    return JSONResponse([{"objectID": hit.object_id, "name": hit["name"], "token": sign(hit)} for hit in recs.hits])


async def click(request: Request) -> Response:
    """Track a click on a recommendation: the token knows which."""
    algolia = get_algolia(request)
    try:
        hit = algolia.attribution.resolve(request.query_params.get("token", ""))
    except TokenError as exc:  # expired, forged or missing: whoever calls may send anything
        return Response(str(exc), status_code=400)
    algolia.events.track(hit.clicked("Product Clicked"))
    return Response(status_code=204)


def purchase(request: Request) -> Response:
    """Track a purchase from a thread: Starlette runs plain functions in its thread pool."""
    get_user(request).purchased_object_ids("Product Purchased", "products", [request.path_params["object_id"]])
    return Response(status_code=204)


app = Starlette(
    routes=[
        Route("/related/{object_id}", related),
        Route("/click", click, methods=["POST"]),
        Route("/purchase/{object_id}", purchase, methods=["POST"]),
    ],
    lifespan=algolia_lifespan(make_algolia),
    middleware=[Middleware(UserTokenMiddleware)],
)
