"""A shop's back end in FastAPI: recommendations, and clicks and purchases that Algolia attributes to them.

Run it: ALGOLIA_APP_ID=… ALGOLIA_API_KEY=… SHOP_SECRET=… uvicorn examples.fastapi_app:app
"""

import os
from typing import Any

from fastapi import FastAPI, HTTPException

from algolia_events import AlgoliaEvents
from algolia_events.errors import TokenError
from algolia_events.integrations.fastapi import Algolia, AlgoliaUser, UserTokenMiddleware, algolia_lifespan


def make_algolia() -> AlgoliaEvents:
    """Make the client; the secret signs what browsers bring back."""
    return AlgoliaEvents.from_env(attribution_keys=[os.environ["SHOP_SECRET"]])


app = FastAPI(lifespan=algolia_lifespan(make_algolia))
app.add_middleware(UserTokenMiddleware)


@app.get("/related/{object_id}")
async def related(object_id: str, algolia: Algolia, user: AlgoliaUser) -> list[dict[str, Any]]:
    """Recommend, and give each hit a token for its link."""
    recs = await user.related_products("products", object_id=object_id, threshold=0)
    sign = algolia.attribution.sign
    return [{"objectID": hit.object_id, "name": hit["name"], "token": sign(hit)} for hit in recs.hits]


@app.post("/click", status_code=204)
async def click(algolia: Algolia, token: str = "") -> None:
    """Track a click on a recommendation: the token knows which."""
    try:
        hit = algolia.attribution.resolve(token)
    except TokenError as exc:  # expired, forged or missing: whoever calls may send anything
        raise HTTPException(400, str(exc)) from None
    algolia.events.track(hit.clicked("Product Clicked"))


@app.post("/purchase/{object_id}", status_code=204)
def purchase(object_id: str, user: AlgoliaUser) -> None:
    """Track a purchase from a thread: FastAPI runs plain functions in its thread pool."""
    user.purchased_object_ids("Product Purchased", "products", [object_id])
