"""A shop's back end in Litestar: recommendations, and clicks and purchases that Algolia attributes to them.

Run it: ALGOLIA_APP_ID=… ALGOLIA_API_KEY=… SHOP_SECRET=… uvicorn examples.litestar_app:app
"""

import os
from typing import Any

from litestar import Litestar, get, post
from litestar.di import NamedDependency
from litestar.exceptions import ClientException
from litestar.params import FromPath, FromQuery

from algolia_events import AlgoliaEvents, User
from algolia_events.errors import TokenError
from algolia_events.integrations.litestar import AlgoliaPlugin


def make_algolia() -> AlgoliaEvents:
    """Make the client; the secret signs what browsers bring back."""
    return AlgoliaEvents.from_env(attribution_keys=[os.environ["SHOP_SECRET"]])


@get("/related/{object_id:str}")
async def related(
    object_id: FromPath[str], algolia: NamedDependency[AlgoliaEvents], algolia_user: NamedDependency[User]
) -> list[dict[str, Any]]:
    """Recommend, and give each hit a token for its link."""
    recs = await algolia_user.related_products("products", object_id=object_id, threshold=0)
    sign = algolia.attribution.sign
    return [{"objectID": hit.object_id, "name": hit["name"], "token": sign(hit)} for hit in recs.hits]


@post("/click", status_code=204)
async def click(token: FromQuery[str], algolia: NamedDependency[AlgoliaEvents]) -> None:
    """Track a click on a recommendation: the token knows which."""
    try:
        hit = algolia.attribution.resolve(token)
    except TokenError as exc:  # expired or forged: whoever calls may send anything
        raise ClientException(str(exc)) from None
    algolia.events.track(hit.clicked("Product Clicked"))


@post("/purchase/{object_id:str}", status_code=204, sync_to_thread=True)
def purchase(object_id: FromPath[str], algolia_user: NamedDependency[User]) -> None:
    """Track a purchase from a thread."""
    algolia_user.purchased_object_ids("Product Purchased", "products", [object_id])


app = Litestar([related, click, purchase], plugins=[AlgoliaPlugin(make_algolia)])
