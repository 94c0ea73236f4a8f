"""Our rules against the server's: its documented refusals, and its published description where that is at hand."""

import json
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
import yaml

from algolia_events._codec import WIRE_NAMES, encode, parse_event, to_mapping
from algolia_events.errors import InvalidEventError
from algolia_events.events import (
    KINDS,
    InstantSearchTelemetry,
    ObjectData,
    PurchasedObjectIDsAfterSearch,
    TypedEvent,
)

REFERENCE = Path(__file__).parents[2] / "shared" / "reference"
QUERY_ID = "7dfe2ada7bca48bdd0629649df0bee07"
NOW_MS = 1_700_000_000_000
CLICK: dict[str, Any] = {
    "eventType": "click",
    "eventName": "Clicked",
    "index": "products",
    "userToken": "u",
    "objectIDs": ["a"],
}
SEARCH_CLICK = CLICK | {"positions": [1], "queryID": QUERY_ID}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in CLICK.items() if key != name}


@pytest.mark.parametrize(
    ("server", "mapping", "field"),
    [
        ("EventName is required", without("eventName"), "eventName"),
        ("EventName must contain only visible ASCII characters", CLICK | {"eventName": "Geöffnet"}, "eventName"),
        ("EventName must ... be between 1 and 64 characters long", CLICK | {"eventName": "x" * 65}, "eventName"),
        ("EventType is required", without("eventType"), "eventType"),
        ('EventType must be one of "click", ...', CLICK | {"eventType": "buy"}, "eventType"),
        ("The index field is required", without("index"), "index"),
        ("The userToken field is required", without("userToken"), "userToken"),
        ("UserToken must contain only alphanumeric, ...", CLICK | {"userToken": "a b"}, "userToken"),
        ("UserToken must ... be between 1 and 128", CLICK | {"userToken": "x" * 129}, "userToken"),
        ("Event should specify either some ObjectIDs or some Filters", without("objectIDs"), "objectIDs"),
        ("Event should specify ObjectIDs or Filters, but not both", CLICK | {"filters": ["a:b"]}, "filters"),
        (
            "Only event of type click should specify the positions attribute",
            CLICK | {"eventType": "view", "positions": [1]},
            "positions",
        ),
        ("Event of type click with positions should specify a queryID", CLICK | {"positions": [1]}, "queryID"),
        (
            "Event of type click may only have strictly positive positions",
            SEARCH_CLICK | {"positions": [0]},
            "positions[0]",
        ),
        (
            "Event of type click should have the same number of ObjectIDs and Positions",
            SEARCH_CLICK | {"positions": [1, 2]},
            "positions",
        ),
        ("Query ID must be a search query ID", SEARCH_CLICK | {"queryID": "xyz"}, "queryID"),
        ("Invalid type ...: expected string, got number", CLICK | {"index": 5}, "index"),
        ("The timestamp is too far in the past", CLICK | {"timestamp": 1_687_193_127}, "timestamp"),
        (
            "Cannot process more that 20 objects in an event",
            CLICK | {"objectIDs": [str(n) for n in range(21)]},
            "objectIDs",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_server_refuses_is_refused_here(server: str, mapping: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidEventError) as caught:
        parse_event(mapping)

    assert [name for name, _ in caught.value.problems] == [field]


def reference(name: str) -> str:
    path = REFERENCE / name
    if not path.exists():
        pytest.skip(f"NOT COMPARED with Algolia's own description: no {name} beside the repository")
    return path.read_text()


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    description: dict[str, Any] = yaml.safe_load(reference("insights.openapi.yml"))
    found: dict[str, Any] = description["components"]["schemas"]
    return found


def schema_name(cls: type[TypedEvent]) -> str:
    return "Instantsearch" if cls is InstantSearchTelemetry else cls.__name__


def test_each_schema_of_an_event_is_a_class(schemas: dict[str, Any]) -> None:
    described = {item["$ref"].rpartition("/")[2] for item in schemas["EventsItems"]["oneOf"]}

    assert described == {schema_name(cls) for cls in KINDS}


@pytest.mark.parametrize("cls", KINDS)
def test_each_field_is_described_and_required_alike(schemas: dict[str, Any], cls: type[TypedEvent]) -> None:
    schema = schemas[schema_name(cls)]
    fields = {WIRE_NAMES[field.name]: field for field in attrs.fields(cls)}
    required = {name for name, field in fields.items() if field.default is attrs.NOTHING}
    if cls is PurchasedObjectIDsAfterSearch:
        # Its query ID is a convenience that ends in the items; items are required unless it makes them.
        del fields["queryID"]
        required.add("objectData")

    kinds = {"eventType", "eventSubtype"} if cls.event_subtype else {"eventType"}

    assert set(schema["properties"]) == set(fields) | kinds
    assert set(schema["required"]) == required | kinds
    assert referenced(schemas, schema["properties"]["eventType"])["enum"] == [cls.event_type]
    if cls.event_subtype:
        assert referenced(schemas, schema["properties"]["eventSubtype"])["enum"] == [cls.event_subtype]


def referenced(schemas: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schemas[schema["$ref"].rpartition("/")[2]]
    return found


def test_object_data_is_described_alike(schemas: dict[str, Any]) -> None:
    names = {WIRE_NAMES[field.name] for field in attrs.fields(ObjectData)}

    assert set(schemas["objectDataAfterSearch"]["properties"]) == names
    assert set(schemas["objectData"]["properties"]) == names - {"queryID"}


EXAMPLES = (
    [line for line in (REFERENCE / "insights-examples.ndjson").read_text().splitlines() if line]
    if (REFERENCE / "insights-examples.ndjson").exists()
    else [None]
)


@pytest.mark.parametrize("line", EXAMPLES, ids=range(len(EXAMPLES)))
def test_each_published_example_comes_out_as_it_went_in(line: str | None) -> None:
    mapping = json.loads(line if line is not None else reference("insights-examples.ndjson"))

    event = parse_event(mapping)

    assert to_mapping(event) == mapping
    assert orjson.loads(encode(event, NOW_MS)) == mapping | {"timestamp": NOW_MS}
