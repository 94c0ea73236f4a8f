"""From a recommendation to a purchase, through the queue, to a server that judges what is attributed."""

import asyncio
import runpy
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from algolia_events import AlgoliaEvents, ClickedObjectIDs, PurchasedObjectIDs, attributed
from algolia_events._attribution import Attribution
from algolia_events._wire import Request, Response
from algolia_events.attribution_stores import MemoryAttributionStore
from algolia_events.errors import FeatureNotEnabledError, NotFoundError, TokenExpiredError
from algolia_events.sandbox import Sandbox

EXAMPLE = Path(__file__).parents[1] / "examples/recommend_attribution.py"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(port=0) as sandbox:
        yield sandbox


def client_for(sandbox: Sandbox, **options: Any) -> AlgoliaEvents:
    return AlgoliaEvents(app_id="APP", api_key="key", insights_url=sandbox.url, recommend_urls=[sandbox.url], **options)


async def first_object(algolia: AlgoliaEvents) -> str:
    return (await algolia.recommend.trending_items("products", threshold=0)).hits[0].object_id


async def test_click_and_purchase_of_hits_are_attributed_with_their_positions(sandbox: Sandbox) -> None:
    async with client_for(sandbox) as algolia:
        user = algolia.user("anonymous-1", authenticated_user_token="user-123456")
        subject = await first_object(algolia)
        related = await user.related_products("products", object_id=subject, threshold=0)
        trending = await user.trending_items("products", threshold=0)

        algolia.events.track(related.hits[1].clicked("Product Clicked"))
        algolia.events.track(trending.hits[2].purchased("Bought"))
        cart = [related.hits[0], trending.hits[1]]
        (purchase,) = related.purchased("Cart Bought", cart, [{"price": 10}, {"price": 5}], "EUR")
        algolia.events.track(purchase)
        report = await algolia.events.flush(10)

    judged = sandbox.attributions
    assert report.delivered == 3
    assert [attribution.attributed for attribution in judged] == [True, True, True]
    assert judged[0].event["positions"] == [2]
    assert {item.model for item in judged[2].items} == {"related-products", "trending-items"}
    assert purchase.user_token == "anonymous-1"


async def test_a_purchase_with_a_made_up_query_id_is_not_attributed(sandbox: Sandbox) -> None:
    async with client_for(sandbox) as algolia:
        made_up = {"queryID": "0" * 32, "index": "products", "hits": [{"objectID": "sku-1"}]}
        hit = attributed(made_up, user_token="user-1").hits[0]

        algolia.events.track(hit.purchased("Bought"))
        await algolia.events.flush(10)

    assert [attribution.attributed for attribution in sandbox.attributions] == [False]


async def test_a_hit_resolved_from_a_token_by_another_client_is_attributed(sandbox: Sandbox) -> None:
    async with client_for(sandbox, attribution_keys=["secret"]) as algolia:
        user = algolia.user("anonymous-1")
        recs = await user.related_products("products", object_id=await first_object(algolia), threshold=0)
        token = algolia.attribution.sign(recs.hits[2])

    async with client_for(sandbox, attribution_keys=["newer", "secret"]) as other:
        other.events.track(other.attribution.resolve(token).clicked("Product Clicked"))
        await other.events.flush(10)

    (judged,) = sandbox.attributions
    assert judged.attributed
    assert judged.event["positions"] == [3]
    assert judged.event["userToken"] == "anonymous-1"


async def test_what_the_store_remembers_makes_plain_events_attributed(sandbox: Sandbox) -> None:
    async with client_for(sandbox, remember_answers=True) as algolia:
        recs = await algolia.user("user-1").trending_items("products", threshold=0)
        common: dict[str, Any] = {"index": "products", "object_ids": [recs.hits[3].object_id]}

        for token in ("user-1", "user-2"):
            click = ClickedObjectIDs(event_name="Clicked", user_token=token, **common)
            bought = PurchasedObjectIDs(event_name="Bought", user_token=token, **common)
            for event in (click, bought):
                algolia.events.track(await algolia.attribution.attribute(event))
        await algolia.events.flush(10)

    assert [attribution.attributed for attribution in sandbox.attributions] == [True, True, False, False]
    assert sandbox.events[0]["positions"] == [4]


async def test_an_age_limit_for_tokens_is_the_client_s_to_set(sandbox: Sandbox) -> None:
    hit = attributed({"index": "products", "hits": [{"objectID": "sku-1"}]}).hits[0]
    options: dict[str, Any] = {"attribution_keys": ["secret"], "attribution_max_age": timedelta(hours=1)}

    async with client_for(sandbox, **options) as algolia:
        long_ago = Attribution(["secret"], clock=lambda: time.time() - 3700)

        assert algolia.attribution.resolve(algolia.attribution.sign(hit)) == hit
        with pytest.raises(TokenExpiredError, match="3600 seconds"):
            algolia.attribution.resolve(long_ago.sign(hit))


class UnclosableStore(MemoryAttributionStore):
    """A store whose connection is lost when it is closed."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    async def aclose(self) -> None:
        raise self.error


class WatchedTransport:
    """A transport that knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    async def send(self, request: Request) -> Response:
        raise AssertionError(request)

    async def aclose(self) -> None:
        self.closed = True


async def test_a_store_that_cannot_be_closed_leaves_no_connection_open() -> None:
    transport = WatchedTransport()
    store = UnclosableStore(OSError("lost"))
    algolia = AlgoliaEvents(app_id="APP", api_key="key", transport=transport, attribution_store=store)

    report = await algolia.aclose()

    assert report.dropped == 0
    assert transport.closed


async def test_a_cancelled_close_of_the_store_leaves_no_connection_open() -> None:
    transport = WatchedTransport()
    store = UnclosableStore(asyncio.CancelledError())
    algolia = AlgoliaEvents(app_id="APP", api_key="key", transport=transport, attribution_store=store)

    with pytest.raises(asyncio.CancelledError):
        await algolia.aclose()

    assert transport.closed


async def test_an_asked_and_refused_model_and_index_have_their_own_errors() -> None:
    async with Sandbox(missing_indices=["gone"], models=["trending-items"]) as sandbox, client_for(sandbox) as algolia:
        user = algolia.user("user-1")

        with pytest.raises(NotFoundError):
            await user.trending_items("gone", threshold=0)
        with pytest.raises(FeatureNotEnabledError):
            await user.related_products("products", object_id="a", threshold=0)


def test_the_example_shows_both_events_attributed(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLE), run_name="__main__")

    shown = capsys.readouterr().out
    assert shown.count("attributed: yes") == 3
    assert "attributed: no" not in shown
