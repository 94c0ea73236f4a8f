"""Track events and have them delivered: run it as it is, against a sandbox in this process.

For Algolia itself, take `AlgoliaEvents.from_env()` with ALGOLIA_APP_ID and ALGOLIA_API_KEY set, and leave the sandbox
out.
"""

import asyncio

from algolia_events import AlgoliaEvents, ClickedObjectIDs
from algolia_events.sandbox import Sandbox


async def main() -> None:
    """Track, flush, and look at what has become of it."""
    async with (
        Sandbox() as sandbox,
        AlgoliaEvents(app_id="any", api_key="any", insights_url=sandbox.url) as algolia,
    ):
        click = ClickedObjectIDs(
            event_name="Product Clicked", index="products", object_ids=["sku-1", "sku-2"], user_token="user-123456"
        )
        algolia.events.track(click)  # returns at once; a background task sends what has gathered

        user = algolia.user("anonymous-1", authenticated_user_token="user-123456")
        user.viewed_object_ids("Product Viewed", "products", ["sku-3"])

        report = await algolia.events.flush(timeout=5)
        print(f"delivered {report.delivered}, rejected {report.rejected}, pending {report.pending}")
        print("the server has", [event["eventName"] for event in sandbox.events])


if __name__ == "__main__":
    asyncio.run(main())
