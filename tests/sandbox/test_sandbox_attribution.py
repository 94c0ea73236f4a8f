"""The sandbox says for each event whether its query ID was given out, to whom, and for which objects where."""

import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from algolia_events.sandbox import Reason, Sandbox

Click = Callable[..., dict[str, Any]]
HOUR_MS = 3_600_000


async def recommend(client: aiohttp.ClientSession, sandbox: Sandbox, **parameters: Any) -> tuple[str, list[str]]:
    """Ask as user-1; give the query ID and the object IDs in their order."""
    query = {
        "model": "related-products",
        "indexName": "products",
        "objectID": "sku-1",
        "threshold": 0,
        "queryParameters": {"clickAnalytics": True, "userToken": "user-1", **parameters},
    }
    url = f"{sandbox.url}/1/indexes/*/recommendations"
    async with client.post(url, json={"requests": [query]}) as answer:
        (result,) = (await answer.json())["results"]
    return result["queryID"], [hit["objectID"] for hit in result["hits"]]


async def send(client: aiohttp.ClientSession, sandbox: Sandbox, event: dict[str, Any]) -> None:
    async with client.post(f"{sandbox.url}/1/events", json={"events": [event]}) as answer:
        assert answer.status == 200, await answer.text()


async def test_a_click_on_a_recommendation_is_attributed(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    query_id, object_ids = await recommend(client, sandbox)
    event = click(queryID=query_id, objectIDs=object_ids[2:4], positions=[3, 4])

    await send(client, sandbox, event)

    (attribution,) = sandbox.attributions
    assert attribution.attributed
    assert attribution.reason is Reason.ATTRIBUTED
    assert (attribution.event, attribution.model, attribution.index) == (event, "related-products", "products")
    assert [item.object_id for item in attribution.items] == object_ids[2:4]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"queryID": None, "positions": None}, Reason.NO_QUERY_ID),
        ({"queryID": "f" * 32}, Reason.UNKNOWN_QUERY_ID),
        ({"queryID": "message_x"}, Reason.UNKNOWN_QUERY_ID),
        ({"index": "other"}, Reason.OTHER_INDEX),
        ({"userToken": "user-2"}, Reason.OTHER_USER),
        ({"objectIDs": ["sku-1"]}, Reason.NOT_IN_ANSWER),
        ({"positions": [2]}, Reason.WRONG_POSITION),
        ({"timestamp": int(time.time() * 1000) + 2 * HOUR_MS}, Reason.TOO_LATE),
        ({"timestamp": None}, Reason.ATTRIBUTED),
        ({"userToken": "anonymous-1", "authenticatedUserToken": "user-1"}, Reason.ATTRIBUTED),
    ],
)
async def test_a_click_is_attributed_only_if_all_is_right(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click, changes: dict[str, Any], reason: Reason
) -> None:
    query_id, object_ids = await recommend(client, sandbox)
    fields = {"queryID": query_id, "objectIDs": object_ids[:1], "positions": [1], **changes}

    await send(client, sandbox, click(**fields))

    (attribution,) = sandbox.attributions
    assert attribution.reason is reason
    assert attribution.attributed == (reason is Reason.ATTRIBUTED)
    assert sandbox.counts.attributed == int(attribution.attributed)


async def test_a_query_id_asked_for_without_a_user_is_anyones(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    url = f"{sandbox.url}/1/indexes/*/recommendations"
    query = {"model": "trending-items", "indexName": "products", "threshold": 0}
    query_parameters = {"clickAnalytics": True}
    async with client.post(url, json={"requests": [{**query, "queryParameters": query_parameters}]}) as answer:
        (result,) = (await answer.json())["results"]
    object_ids = [result["hits"][0]["objectID"]]

    await send(client, sandbox, click(queryID=result["queryID"], objectIDs=object_ids, positions=[1], userToken="who"))

    assert sandbox.attributions[0].attributed


async def test_a_purchase_is_judged_item_by_item(sandbox: Sandbox, client: aiohttp.ClientSession, click: Click) -> None:
    query_id, object_ids = await recommend(client, sandbox)
    purchase = click(
        eventName="Order Placed",
        eventType="conversion",
        eventSubtype="purchase",
        objectIDs=[object_ids[4], object_ids[0], "sku-1"],
        objectData=[{"queryID": query_id}, {"queryID": "e" * 32}, {"quantity": 1}],
    )

    await send(client, sandbox, purchase)

    (attribution,) = sandbox.attributions
    assert [item.reason for item in attribution.items] == [
        Reason.ATTRIBUTED,
        Reason.UNKNOWN_QUERY_ID,
        Reason.NO_QUERY_ID,
    ]
    assert not attribution.attributed
    assert attribution.reason is Reason.UNKNOWN_QUERY_ID
    assert attribution.model == "related-products"


async def test_the_query_id_of_an_event_holds_for_items_without_one(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    query_id, object_ids = await recommend(client, sandbox)
    cart = click(
        eventType="conversion",
        eventSubtype="addToCart",
        objectIDs=object_ids[:1],
        objectData=[{"quantity": 1}],
        queryID=query_id,
    )

    await send(client, sandbox, cart)

    assert sandbox.attributions[0].attributed


async def test_a_search_elsewhere_can_give_out_a_query_id(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    query_id = sandbox.give_query_id(index="products", object_ids=["a", "b"], user_token="user-1", first_position=21)

    await send(client, sandbox, click(queryID=query_id, objectIDs=["b"], positions=[22]))

    assert sandbox.attributions[0].attributed
    assert sandbox.attributions[0].model == "search"


async def test_a_filter_event_is_judged_as_a_whole(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    query_id, _ = await recommend(client, sandbox)

    await send(client, sandbox, click(objectIDs=None, filters=["brand:Tarn"], queryID=query_id))

    (item,) = sandbox.attributions[0].items
    assert (item.object_id, item.reason) == ("", Reason.ATTRIBUTED)
