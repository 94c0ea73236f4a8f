"""Algolia's own clients get along with the sandbox: what they send right is accepted, what is wrong refused in words.

`search-insights` is not downloaded here: `npm ci --prefix tests/node` brings it.
"""

import re
from typing import Any

import anyio
import orjson
import pytest
from algoliasearch.http.exceptions import RequestException
from algoliasearch.http.hosts import Host, HostsCollection
from algoliasearch.insights.client import InsightsClient
from algoliasearch.insights.config import InsightsConfig
from algoliasearch.recommend.client import RecommendClient
from algoliasearch.recommend.config import RecommendConfig
from playwright.async_api import async_playwright
from support.binaries import require_binary, require_npm
from support.chromium import FLAGS

from algolia_events.sandbox import Sandbox

QUERY_ID = "43b15df305339e827f0ac0bdc5ebcaa7"
LONG_S = 40.0
# its own for Node takes the port of an address for a part of the name
REQUESTER = """
    const request = async (url, data) => {
        const headers = { "content-type": "application/json" };
        return (await fetch(url, { method: "POST", headers, body: JSON.stringify(data) })).ok;
    };
"""
# what the documentation has pages begin with: calls wait here until the script is loaded
SNIPPET = """() => {
    window.AlgoliaAnalyticsObject = "aa";
    window.aa = function () { (window.aa.queue = window.aa.queue || []).push(arguments); };
}"""
# what a shop's page sends: the documented calls of search-insights, 2.x
CALLS = f"""
    aa("init", {{appId: "APP", apiKey: "key", host: URL_OF_THE_SANDBOX, useCookie: false}});
    aa("setUserToken", "user-1");
    aa("setAuthenticatedUserToken", "member-1");
    const after = {{index: "products", queryID: "{QUERY_ID}"}};
    const sent = [
        aa("clickedObjectIDs", {{eventName: "Clicked", index: "products", objectIDs: ["sku-1"]}}),
        aa("clickedObjectIDsAfterSearch", {{eventName: "Clicked", ...after, objectIDs: ["sku-1"], positions: [1]}}),
        aa("clickedFilters", {{eventName: "Filtered", index: "products", filters: ["brand:acme"]}}),
        aa("convertedObjectIDsAfterSearch", {{eventName: "Converted", ...after, objectIDs: ["sku-1"]}}),
        aa("convertedFilters", {{eventName: "Converted", index: "products", filters: ["brand:acme"]}}),
        aa("addedToCartObjectIDsAfterSearch", {{eventName: "Added", ...after, objectIDs: ["sku-1"],
            objectData: [{{price: 9.5, quantity: 2}}], currency: "EUR"}}),
        aa("purchasedObjectIDs", {{eventName: "Purchased", index: "products", objectIDs: ["sku-1"]}}),
        aa("purchasedObjectIDsAfterSearch", {{eventName: "Purchased", index: "products", objectIDs: ["sku-1"],
            objectData: [{{price: "9.50", queryID: "{QUERY_ID}"}}], currency: "EUR"}}),
        aa("viewedObjectIDs", {{eventName: "Viewed", index: "products", objectIDs: ["sku-1", "sku-2"]}}),
        aa("viewedFilters", {{eventName: "Viewed", index: "products", filters: ["brand:acme"]}}),
        aa("sendEvents", [
            {{eventType: "click", eventName: "Bad", index: "products", objectIDs: ["sku-1"], positions: [1]}},
        ]),
    ];
"""


def assert_arrived(sandbox: Sandbox, calls: int) -> None:
    """All but the last of the calls are accepted, as what they say they are."""
    assert [rejection.message for rejection in sandbox.rejected] == [
        "Event of type click with positions should specify a queryID"
    ]
    sandbox.assert_events(calls - 1, user="user-1")
    sandbox.assert_events(3, kind="click")
    sandbox.assert_events(1, kind="addToCart")
    sandbox.assert_events(2, kind="purchase")
    sandbox.assert_events(2, kind="view")
    assert {request.credentials for request in sandbox.requests} <= {"url", "headers"}


async def test_search_insights_in_node() -> None:
    package = require_npm("search-insights/index-node.cjs").parent
    script = f"""
        const {{ createInsightsClient }} = require({orjson.dumps(str(package)).decode()});
        {REQUESTER}
        const aa = createInsightsClient(request);
        (async () => {{ {CALLS} await Promise.all(sent); }})();
    """
    async with Sandbox() as sandbox:
        source = script.replace("URL_OF_THE_SANDBOX", orjson.dumps(sandbox.url).decode())
        with anyio.fail_after(LONG_S):
            done = await anyio.run_process([require_binary("node"), "-e", source], check=False)
            assert done.returncode == 0, done.stderr.decode()
        await sandbox.wait_for(lambda: len(sandbox.requests) == 11)

    assert_arrived(sandbox, 11)


async def test_search_insights_in_a_browser() -> None:
    script = require_npm("search-insights/dist/search-insights.iife.min.js")
    async with Sandbox() as sandbox, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=require_binary("chromium"), args=FLAGS)
        page = await browser.new_page()
        await page.evaluate(SNIPPET)
        await page.add_script_tag(path=script)  # on a blank page, whose origin is not the sandbox's
        calls = CALLS.replace("URL_OF_THE_SANDBOX", orjson.dumps(sandbox.url).decode())
        await page.evaluate(f"async () => {{ {calls} await Promise.all(sent); }}")
        await sandbox.wait_for(lambda: len(sandbox.events) + len(sandbox.rejected) == 11)
        await browser.close()

    assert_arrived(sandbox, 11)


def pointed_at(config: Any, sandbox: Sandbox) -> Any:
    """Point a configuration of the official client at the sandbox, in its own way."""
    config.hosts = HostsCollection([Host(f"127.0.0.1:{sandbox.port}", scheme="http")])
    return config


async def test_the_official_python_client() -> None:
    event = {"eventType": "click", "eventName": "Clicked", "index": "products", "userToken": "user-1"}
    async with Sandbox() as sandbox:
        async with RecommendClient(config=pointed_at(RecommendConfig("APP", "key"), sandbox)) as recommend:
            request = {"indexName": "products", "model": "related-products", "objectID": "sku-1", "threshold": 0}
            parameters = {"clickAnalytics": True, "userToken": "user-1"}
            response = await recommend.get_recommendations(
                {"requests": [{**request, "maxRecommendations": 3, "queryParameters": parameters}]}
            )
        result = orjson.loads(response.to_json())["results"][0]
        click = {**event, "queryID": result["queryID"], "objectIDs": [result["hits"][0]["objectID"]], "positions": [1]}
        async with InsightsClient(config=pointed_at(InsightsConfig("APP", "key"), sandbox)) as insights:
            accepted = await insights.push_events({"events": [click]})
            with pytest.raises(RequestException, match=re.escape("Event of type click with positions should specify")):
                await insights.push_events({"events": [{**event, "objectIDs": ["a"], "positions": [1]}]})
            await insights.delete_user_token("user-1")

    assert accepted.status == 200
    sandbox.assert_attributed(kind="click", model="related-products")
    assert sandbox.deleted_tokens == ("user-1",)
