"""A shop's back end in Quart: recommendations, and clicks and purchases that Algolia attributes to them.

Run it: ALGOLIA_APP_ID=… ALGOLIA_API_KEY=… SHOP_SECRET=… hypercorn examples.quart_app:app
"""

import os
from typing import Any

from quart import Quart, request

from algolia_events import AlgoliaEvents
from algolia_events.errors import TokenError
from algolia_events.integrations.quart import Algolia, get_algolia, get_user


def make_algolia() -> AlgoliaEvents:
    """Make the client; the secret signs what browsers bring back."""
    return AlgoliaEvents.from_env(attribution_keys=[os.environ["SHOP_SECRET"]])


app = Quart(__name__)
Algolia(app, make_algolia)


@app.get("/related/<object_id>")
async def related(object_id: str) -> list[dict[str, Any]]:
    """Recommend, and give each hit a token for its link."""
    recs = await get_user().related_products("products", object_id=object_id, threshold=0)
    sign = get_algolia().attribution.sign
    return [{"objectID": hit.object_id, "name": hit["name"], "token": sign(hit)} for hit in recs.hits]


@app.post("/click")
async def click() -> tuple[str, int]:
    """Track a click on a recommendation: the token knows which."""
    algolia = get_algolia()
    try:
        hit = algolia.attribution.resolve(request.args.get("token", ""))
    except TokenError as exc:  # expired, forged or missing: whoever calls may send anything
        return str(exc), 400
    algolia.events.track(hit.clicked("Product Clicked"))
    return "", 204


@app.post("/purchase/<object_id>")
def purchase(object_id: str) -> tuple[str, int]:
    """Track a purchase from a thread: Quart runs plain functions in one."""
    get_user().purchased_object_ids("Product Purchased", "products", [object_id])
    return "", 204
