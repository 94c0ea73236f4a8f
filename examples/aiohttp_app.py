"""A shop's back end in aiohttp: recommendations, and clicks and purchases that Algolia attributes to them.

Run it: ALGOLIA_APP_ID=… ALGOLIA_API_KEY=… SHOP_SECRET=… python examples/aiohttp_app.py
"""

import asyncio
import os

from aiohttp import web

from algolia_events import AlgoliaEvents
from algolia_events.errors import TokenError
from algolia_events.integrations.aiohttp import algolia_ctx, get_algolia, get_user, setup_user_tokens

routes = web.RouteTableDef()


def make_algolia() -> AlgoliaEvents:
    """Make the client; the secret signs what browsers bring back."""
    return AlgoliaEvents.from_env(attribution_keys=[os.environ["SHOP_SECRET"]])


@routes.get("/related/{object_id}")
async def related(request: web.Request) -> web.Response:
    """Recommend, and give each hit a token for its link."""
    recs = await get_user(request).related_products("products", object_id=request.match_info["object_id"], threshold=0)
    sign = get_algolia(request).attribution.sign
    hits = [{"objectID": hit.object_id, "name": hit["name"], "token": sign(hit)} for hit in recs.hits]
    return web.json_response(hits)


@routes.post("/click")
async def click(request: web.Request) -> web.Response:
    """Track a click on a recommendation: the token knows which."""
    algolia = get_algolia(request)
    try:
        hit = algolia.attribution.resolve(request.query.get("token", ""))
    except TokenError as exc:  # expired, forged or missing: whoever calls may send anything
        raise web.HTTPBadRequest(text=str(exc)) from None
    algolia.events.track(hit.clicked("Product Clicked"))
    return web.Response(status=204)


@routes.post("/purchase/{object_id}")
async def purchase(request: web.Request) -> web.Response:
    """Track a purchase from a thread, where an application's blocking calls belong."""
    user, object_ids = get_user(request), [request.match_info["object_id"]]
    await asyncio.to_thread(user.purchased_object_ids, "Product Purchased", "products", object_ids)
    return web.Response(status=204)


def make_app() -> web.Application:
    """Put the application together."""
    app = web.Application()
    app.cleanup_ctx.append(algolia_ctx(make_algolia))
    setup_user_tokens(app)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
