"""The recording transport takes what a client sends, and answers with success, or as scripted."""

from collections.abc import AsyncIterator

import pytest

from algolia_events import AlgoliaEvents, CredentialsError, EventRejectedError, MissingQueryIDError, TransportError
from algolia_events.abc import Transport
from algolia_events.testing import RecordingTransport, answer


@pytest.fixture
def transport() -> RecordingTransport:
    return RecordingTransport(hits={"products": [{"objectID": "sku-1", "name": "Tent"}, {"objectID": "sku-2"}]})


@pytest.fixture
async def algolia(transport: RecordingTransport) -> AsyncIterator[AlgoliaEvents]:
    async with AlgoliaEvents(app_id="APP", api_key="key", transport=transport) as client:
        yield client


def test_it_is_a_transport() -> None:
    assert isinstance(RecordingTransport(), Transport)


async def test_events_can_be_chosen_among(algolia: AlgoliaEvents, transport: RecordingTransport) -> None:
    algolia.user("user-1").clicked_object_ids("Clicked", "products", ["sku-1"])
    algolia.user("user-2", "member-2").purchased_object_ids("Purchased", "products", ["sku-1", "sku-2"])
    algolia.user("user-2").viewed_object_ids("Seen", "articles", ["art-1"])

    await algolia.events.flush()

    events = transport.events
    assert len(events) == 3
    assert [event["eventName"] for event in events(kind="conversion")] == ["Purchased"]
    assert events(kind="purchase") == events(kind="conversion") == events(user="member-2")
    assert len(events(user="user-2")) == 2
    assert [event["eventName"] for event in events(index="articles")] == ["Seen"]
    assert len(events(object_id="sku-1")) == 2
    assert events(kind="click", user="user-2") == ()
    assert len(events(name="Clicked")) == 1


def test_a_kind_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ValueError, match="addToCart"):
        RecordingTransport().assert_events(0, kind="clik")


async def test_a_failed_assertion_says_what_was_there(algolia: AlgoliaEvents, transport: RecordingTransport) -> None:
    for _ in range(3):
        algolia.user("secret-user").clicked_object_ids("Clicked", "products", ["sku-1"])
    await algolia.events.flush()

    with pytest.raises(AssertionError) as caught:
        transport.assert_events(1, kind="view", index="articles")

    assert "0 events instead of 1 match kind='view', index='articles'" in str(caught.value)
    assert "3 times click 'Clicked' on products [sku-1]" in str(caught.value)
    assert "secret-user" not in str(caught.value)


async def test_recommendations_have_the_hits_given_and_query_ids(
    algolia: AlgoliaEvents, transport: RecordingTransport
) -> None:
    user = algolia.user("user-1")

    first = await user.related_products("products", object_id="sku-9", threshold=0)
    second = await user.related_products("products", object_id="sku-9", threshold=0, max_recommendations=1)
    unknown = await user.trending_items("unknown", threshold=0)

    assert [hit.object_id for hit in first.hits] == ["sku-1", "sku-2"]
    assert first.hits[0]["name"] == "Tent"
    assert len(second.hits) == 1
    assert first.query_id != second.query_id
    assert list(unknown.hits) == []
    algolia.events.track(first.hits[1].clicked("Clicked"))
    await algolia.events.flush()
    (event,) = transport.assert_events(1, kind="click")
    assert (event["queryID"], event["positions"]) == (first.query_id, [2])


async def test_without_click_analytics_there_is_no_query_id(algolia: AlgoliaEvents) -> None:
    recs = await algolia.user("user-1").related_products(
        "products", object_id="sku-9", threshold=0, query_parameters={"clickAnalytics": False}
    )

    with pytest.raises(MissingQueryIDError):
        recs.hits[0].clicked("Clicked")


async def test_answers_and_errors_can_be_scripted(algolia: AlgoliaEvents, transport: RecordingTransport) -> None:
    event = {"eventName": "Clicked", "eventType": "click", "index": "i", "userToken": "u", "objectIDs": ["a"]}
    transport.script(answer(422, {"message": "Invalid payload"}), TransportError("no network", ambiguous=False))

    with pytest.raises(EventRejectedError, match="Invalid payload"):
        await algolia.events.deliver(event)
    await algolia.events.deliver(event)

    assert len(transport.requests) == 3
    assert len(transport.events) == 1


async def test_a_scripted_answer_has_a_message(algolia: AlgoliaEvents, transport: RecordingTransport) -> None:
    transport.script(answer(403, headers={"X-Whatever": "1"}))

    with pytest.raises(CredentialsError, match="scripted 403"):
        await algolia.insights.delete_user_token("user-1")


async def test_a_deletion_succeeds(algolia: AlgoliaEvents, transport: RecordingTransport) -> None:
    await algolia.insights.delete_user_token("user/1")

    assert transport.requests[0].url.endswith("/1/usertokens/user%2F1")


async def test_it_knows_that_it_was_closed(transport: RecordingTransport) -> None:
    async with AlgoliaEvents(app_id="APP", api_key="key", transport=transport):
        assert not transport.is_closed

    assert transport.is_closed
