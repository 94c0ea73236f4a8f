"""Ask for recommendations, click one and buy two, and see that the server attributes both events.

Runs against the sandbox, a local server that judges as Algolia does. With an application of your own, leave the
sandbox out and say `AlgoliaEvents.from_env()`.
"""

import asyncio

from algolia_events import AlgoliaEvents
from algolia_events.sandbox import Sandbox


async def main() -> None:
    """Ask, click through a signed link, buy."""
    async with (
        Sandbox(port=0) as sandbox,
        AlgoliaEvents(
            app_id="YourApplicationID",
            api_key="YourSearchOnlyAPIKey",
            insights_url=sandbox.url,
            recommend_urls=[sandbox.url],
            attribution_keys=["keep this in your configuration"],
            analytics_tags=["web"],
        ) as algolia,
    ):
        user = algolia.user("anonymous-1", authenticated_user_token="user-123456")

        trending = await user.trending_items("products", threshold=0, max_recommendations=5)
        shown = trending.hits[0]
        related = await user.related_products("products", object_id=shown.object_id, threshold=0)
        for hit in related.hits[:3]:
            print(f"{hit.position}. {hit['name']} (score {hit.score}, query ID {hit.query_id})")
        for event in related.viewed("Recommendations Viewed", related.hits[:3]):
            algolia.events.track(event)

        # The browser gets a token in the link; another process, on another machine, resolves it.
        token = algolia.attribution.sign(related.hits[1])
        clicked = algolia.attribution.resolve(token)
        algolia.events.track(clicked.clicked("Product Clicked"))

        # A cart of two answers: each item goes out with its own query ID.
        cart = [clicked, shown]
        for purchase in related.purchased("Products Purchased", cart, [{"price": 49.9}, {"price": 12}], "EUR"):
            algolia.events.track(purchase)
        algolia.events.track(shown.added_to_cart("Product Added", {"price": 12, "quantity": 1}, "EUR"))

        await algolia.events.flush()

        for judged in sandbox.attributions:
            if judged.event["eventType"] == "view":
                continue
            print(f"{judged.event['eventName']}: attributed: {'yes' if judged.attributed else 'no'}")


if __name__ == "__main__":
    asyncio.run(main())
