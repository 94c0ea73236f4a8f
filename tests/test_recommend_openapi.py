"""Every request is one that the published description of the API accepts."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi_schema_validator import OAS30Validator
from support.recommend_server import RecommendServer, recommend_server

from algolia_events._http import AiohttpTransport
from algolia_events._recommend import RecommendClient
from algolia_events.recommendations import (
    BoughtTogether,
    LookingSimilar,
    Query,
    RelatedProducts,
    TrendingFacets,
    TrendingItems,
)

DESCRIPTION = Path(__file__).parents[2] / "shared/reference/recommend.openapi.yml"


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    transport = AiohttpTransport()
    yield transport
    await transport.aclose()


@pytest.fixture
async def server() -> AsyncIterator[RecommendServer]:
    async with recommend_server() as server:
        yield server


def _resolved(node: Any, document: dict[str, Any]) -> Any:
    while "$ref" in node:
        node = document["components"]["schemas"][node["$ref"].rpartition("/")[2]]
    return node


def _flattened(node: Any, document: dict[str, Any]) -> Any:
    """Join `allOf`: the description closes its parts with additionalProperties, which read literally admits nothing."""
    if isinstance(node, list):
        return [_flattened(item, document) for item in node]
    if not isinstance(node, dict):
        return node
    node = {name: _flattened(value, document) for name, value in node.items()}
    for part in node.pop("allOf", []):
        merged = _flattened(_resolved(part, document), document)
        node.setdefault("properties", {}).update(merged.get("properties", {}))
        node["required"] = [*node.get("required", []), *merged.get("required", [])]
        node |= {name: value for name, value in merged.items() if name in ("type", "additionalProperties")}
        if "oneOf" in merged:
            node["oneOf"] = merged["oneOf"]
    return {name: value for name, value in node.items() if name != "required" or value}


@pytest.fixture(scope="module")
def validator() -> OAS30Validator:
    if not DESCRIPTION.exists():
        pytest.skip("the published description is not here")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document = yaml.load(DESCRIPTION.read_bytes(), loader)
    schemas = {name: _flattened(schema, document) for name, schema in document["components"]["schemas"].items()}
    body = document["paths"]["/1/indexes/*/recommendations"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    return OAS30Validator({**body, "components": {"schemas": schemas}})


FULL_PARAMETERS: dict[str, Any] = {
    "filters": "brand:acme",
    "attributesToRetrieve": ["name"],
    "ruleContexts": ["mobile"],
    "enableRules": True,
}
FALLBACK_PARAMETERS: dict[str, Any] = {"query": "shoes", "facetFilters": [["a:b", "a:c"], "d:e"]}


@pytest.mark.parametrize(
    "query",
    [
        RelatedProducts(index="i", object_id="o", threshold=0),
        BoughtTogether(index="i", object_id="o", threshold=0),
        LookingSimilar(index="i", object_id="o", threshold=0),
        TrendingItems(index="i", threshold=0),
        TrendingFacets(index="i", facet_name="f", threshold=0),
        *(
            kind(
                index="i",
                object_id="o",
                threshold=99.5,
                max_recommendations=30,
                query_parameters=FULL_PARAMETERS,
                fallback_parameters=FALLBACK_PARAMETERS,
            )
            for kind in (RelatedProducts, BoughtTogether, LookingSimilar)
        ),
        TrendingItems(
            index="i",
            threshold=100,
            facet_name="f",
            facet_value="v",
            max_recommendations=1,
            query_parameters=FULL_PARAMETERS,
            fallback_parameters=FALLBACK_PARAMETERS,
        ),
        TrendingFacets(index="i", facet_name="f", threshold=100, max_recommendations=30),
    ],
    ids=lambda query: query.model,
)
@pytest.mark.parametrize("options", [{}, {"user_token": "user-1", "analytics_tags": ["a", "b"]}], ids=["bare", "user"])
async def test_the_published_description_accepts_every_request(
    server: RecommendServer,
    transport: AiohttpTransport,
    validator: OAS30Validator,
    query: Query,
    options: dict[str, Any],
) -> None:
    client = RecommendClient(transport, app_id="APP", api_key="key", urls=[server.url])

    await client.get_recommendations([query], **options)

    problems = [error.message for error in validator.iter_errors(server.received[0].body)]
    assert problems == []


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 101},
        {"maxRecommendations": 31},
        {"unknown": 1},
        {"model": "x"},
        {"queryParameters": {"page": "a"}},
    ],
)
def test_the_published_description_refuses_what_is_wrong(validator: OAS30Validator, change: dict[str, Any]) -> None:
    query = {"model": "related-products", "indexName": "i", "objectID": "o", "threshold": 0}

    body = {"requests": [query | change]}

    assert list(validator.iter_errors(body))
