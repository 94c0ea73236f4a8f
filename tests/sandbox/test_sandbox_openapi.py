"""The sandbox agrees with the published OpenAPI descriptions, where they are at hand."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from algolia_events.sandbox import Sandbox
from algolia_events.sandbox._answers import RefusedError
from algolia_events.sandbox._insights_rules import check_event
from algolia_events.sandbox._recommend_rules import check_query

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
pytestmark = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the published descriptions are not here")

HOSTILE: list[Any] = [None, True, 0, 1.5, -1, "", "x", "é\n", [], [1], [""], ["x"] * 21, {}, {"x": 1}, 2**40]
QUERY_ID = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def examples() -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (REFERENCE / "insights-examples.ndjson").read_bytes().splitlines()]


def schemas(name: str) -> dict[str, Any]:
    """Read a description's schemas; YAML is only needed here."""
    yaml = pytest.importorskip("yaml")
    document = yaml.safe_load((REFERENCE / name).read_text())
    components: dict[str, Any] = document["components"]
    return components


def validator(components: dict[str, Any], schema: dict[str, Any]) -> Callable[[Any], bool]:
    openapi = pytest.importorskip("openapi_schema_validator")
    # patterns are meant for the whole value: the published ones lack their anchors
    anchored = anchor(copy.deepcopy(components))
    return openapi.OAS30Validator({**schema, "components": anchored}).is_valid  # type: ignore[no-any-return]


def anchor(node: Any) -> Any:
    if isinstance(node, dict):
        pattern = node.get("pattern")
        if isinstance(pattern, str):
            node["pattern"] = rf"^(?:{pattern.removeprefix('^').removesuffix('$')})\Z"
        for value in node.values():
            anchor(value)
    elif isinstance(node, list):
        for value in node:
            anchor(value)
    return node


@pytest.fixture(scope="module")
def is_described_event() -> Callable[[Any], bool]:
    components = schemas("insights.openapi.yml")
    # several of the schemas fit most events, as none of them is closed: any is enough
    return validator(components, {"anyOf": components["schemas"]["EventsItems"]["oneOf"]})


def is_accepted(event: Any) -> bool:
    try:
        check_event(event, oldest_ms=0)
    except RefusedError:
        return False
    return True


def mutations(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the event with one field missing or replaced by something hostile, nested ones included."""
    for name, value in event.items():
        yield {key: kept for key, kept in event.items() if key != name}
        for hostile in HOSTILE:
            yield {**event, name: hostile}
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for item in mutations(value[0]):
                yield {**event, name: [item, *value[1:]]}
    for name in ("queryID", "positions", "filters", "objectIDs", "objectData", "currency", "value", "timestamp"):
        if name not in event:
            for hostile in [*HOSTILE, QUERY_ID]:
                yield {**event, name: hostile}


async def test_the_published_examples_are_accepted_in_one_request(
    sandbox: Sandbox, client: aiohttp.ClientSession, examples: list[dict[str, Any]]
) -> None:
    async with client.post(f"{sandbox.url}/1/events", json={"events": examples}) as answer:
        status = answer.status

    assert status == 200
    assert len(examples) == 14
    assert list(sandbox.events) == examples


@pytest.mark.parametrize("index", range(14))
def test_what_the_sandbox_accepts_is_as_described(
    examples: list[dict[str, Any]], is_described_event: Callable[[Any], bool], index: int
) -> None:
    candidates = list(mutations(examples[index]))

    accepted = [event for event in candidates if is_accepted(event)]
    contradictions = [event for event in accepted if not is_described_event(event)]

    assert 0 < len(accepted) < len(candidates)
    assert contradictions == []


def test_the_recommend_parameters_are_those_described() -> None:
    components = schemas("recommend.openapi.yml")
    named = all_properties(components["schemas"], components["schemas"]["recommendSearchParams"])
    base = {"model": "trending-items", "indexName": "i", "threshold": 0}

    refused = {name for name in named if not takes_parameter(base, name)}

    assert refused == set()
    assert not takes_parameter(base, "page")


def all_properties(components: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    if "$ref" in schema:
        return all_properties(components, components[schema["$ref"].rpartition("/")[2]])
    names = set(schema.get("properties", ()))
    for part in schema.get("allOf", ()):
        names |= all_properties(components, part)
    return names


def takes_parameter(query: dict[str, Any], name: str) -> bool:
    """Say whether some JSON type is accepted under this name."""
    values: list[Any] = ["x", True, 1, [], {}]
    for value in values:
        try:
            check_query({**query, "queryParameters": {name: value}})
        except RefusedError:
            continue
        return True
    return False


@pytest.mark.parametrize("model", ["related-products", "trending-items", "trending-facets"])
async def test_recommend_answers_are_as_described(sandbox: Sandbox, client: aiohttp.ClientSession, model: str) -> None:
    components = schemas("recommend.openapi.yml")
    query: dict[str, Any] = {"model": model, "indexName": "products", "threshold": 0}
    query |= {"objectID": "sku-1"} if model == "related-products" else {}
    query |= {"facetName": "brand"} if model == "trending-facets" else {"queryParameters": {"clickAnalytics": True}}
    is_result = validator(components, {"$ref": "#/components/schemas/baseSearchResponse"})
    is_hit = validator(components, {"$ref": "#/components/schemas/recommendationsHit"})

    async with client.post(f"{sandbox.url}/1/indexes/*/recommendations", json={"requests": [query]}) as answer:
        (result,) = (await answer.json())["results"]

    assert is_result(result)
    assert result["hits"]
    assert all(is_hit(hit) for hit in result["hits"])
