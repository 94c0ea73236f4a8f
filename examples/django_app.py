"""A shop's back end in Django, all in one file: recommendations, and clicks and purchases attributed to them.

Run it: ALGOLIA_APP_ID=… ALGOLIA_API_KEY=… SHOP_SECRET=… uvicorn examples.django_app:application
"""

import os

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from algolia_events import AlgoliaEvents
from algolia_events.errors import TokenError
from algolia_events.integrations.django import AlgoliaASGI, get_algolia, get_user

settings.configure(ROOT_URLCONF=__name__, SECRET_KEY=os.environ["SHOP_SECRET"], ALLOWED_HOSTS=["127.0.0.1"])


def make_algolia() -> AlgoliaEvents:
    """Make the client; the secret signs what browsers bring back."""
    return AlgoliaEvents.from_env(attribution_keys=[os.environ["SHOP_SECRET"]])


async def related(request: HttpRequest, object_id: str) -> JsonResponse:
    """Recommend, and give each hit a token for its link."""
    recs = await get_user(request).related_products("products", object_id=object_id, threshold=0)
    sign = get_algolia(request).attribution.sign
    hits = [{"objectID": hit.object_id, "name": hit["name"], "token": sign(hit)} for hit in recs.hits]
    return JsonResponse(hits, safe=False)


async def click(request: HttpRequest) -> HttpResponse:
    """Track a click on a recommendation: the token knows which."""
    algolia = get_algolia(request)
    try:
        hit = algolia.attribution.resolve(request.GET.get("token", ""))
    except TokenError as exc:  # expired, forged or missing: whoever calls may send anything
        return HttpResponse(str(exc), status=400)
    algolia.events.track(hit.clicked("Product Clicked"))
    return HttpResponse(status=204)


def purchase(request: HttpRequest, object_id: str) -> HttpResponse:
    """Track a purchase from a thread: Django runs plain views in one."""
    get_user(request).purchased_object_ids("Product Purchased", "products", [object_id])
    return HttpResponse(status=204)


urlpatterns = [
    path("related/<str:object_id>", related),
    path("click", click),
    path("purchase/<str:object_id>", purchase),
]

application = AlgoliaASGI(get_asgi_application(), make_algolia)
