"""CSV files are read by the names of their columns, by a mapping, and with constants for what no column has."""

from datetime import UTC, datetime
from typing import Any

import pytest

from algolia_events.sandbox import Sandbox


async def test_columns_mapping_and_constants(command: Any, sandbox: Sandbox) -> None:
    (command.folder / "views.csv").write_bytes(
        b'\xef\xbb\xbfuserToken,sku,name,shop\r\nuser-1,sku-1|sku-2,"Seen, ""so""",x\r\n\r\nuser-2,"[""a|b""]",,y\r\n'
    )

    finished = await command(
        "send", "views.csv", "--map", "objectIDs=sku", "--map", "eventName=name", "--set", "eventName=Viewed",
        "--set", "eventType=view", "--set", "index=products",
    )  # fmt: skip

    assert finished.code == 0, finished.err
    first, second = sandbox.events
    assert (first["eventName"], first["objectIDs"], first["userToken"]) == ('Seen, "so"', ["sku-1", "sku-2"], "user-1")
    assert (second["eventName"], second["objectIDs"]) == ("Viewed", ["a|b"])
    assert "columns not used: shop" in finished.err


async def test_purchases_with_items_and_clicks_with_positions(command: Any, sandbox: Sandbox) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    query_id = "0123456789abcdef0123456789abcdef"
    rows = (
        "eventType;eventSubtype;eventName;index;userToken;objectIDs;price;quantity;currency;value;queryID;positions;timestamp\n"
        "conversion;purchase;Bought;p;u;a|b;9.90|5;1|2;EUR;19.90;;;\n"
        f"click;;Clicked;p;u;a|b;;;;;{query_id};3|4;{now}\n"
    )

    finished = await command("send", "-", "--csv", "--delimiter", ";", stdin=rows.encode())

    assert finished.code == 0, finished.err
    bought, clicked = sandbox.events
    assert bought["objectData"] == [{"price": "9.90", "quantity": 1}, {"price": "5", "quantity": 2}]
    assert (bought["value"], bought["currency"]) == ("19.90", "EUR")
    assert (clicked["positions"], clicked["queryID"]) == ([3, 4], query_id)
    assert clicked["timestamp"] == datetime.fromisoformat(now).timestamp() * 1000


async def test_cells_that_do_not_fit_are_named(command: Any) -> None:
    rows = "eventType,eventName,index,userToken,objectIDs,positions,timestamp\nclick,C,p,u,a,x,yesterday\n"

    finished = await command("validate", "--csv", "-", stdin=rows.encode())

    assert finished.code == 1
    assert "-:2: positions: expected a whole number" in finished.out
    assert "-:2: timestamp: expected milliseconds" in finished.out


async def test_a_row_of_several_lines_is_one_event_with_the_line_it_begins_at(command: Any) -> None:
    rows = 'eventType,eventName,index,userToken,objectIDs\nview,V,"p\nq",u,a\nview,V,p,u,a,extra\n'

    finished = await command("validate", "--csv", "-", stdin=rows.encode())

    assert finished.out.splitlines() == [
        "-:4: row: has 6 cells, the header 5",
        "read 2, valid 1, invalid 1, problems 1",
    ]


@pytest.mark.parametrize("cell", ['"' + "x" * 200_000 + '"', "a\rb", "\0"])
async def test_a_row_that_cannot_be_read_is_invalid_and_the_next_is_read(command: Any, cell: str) -> None:
    rows = f"eventType,eventName,index,userToken,objectIDs\nview,{cell},,,\nview,V,p,u,a\n"

    finished = await command("validate", "--csv", "-", stdin=rows.encode())

    assert finished.code == 1
    assert finished.out.splitlines()[0].startswith("-:2: ")
    assert "read 2, valid 1, invalid 1" in finished.out


async def test_csv_is_resumed(command: Any, sandbox: Sandbox) -> None:
    header = "eventType,eventName,index,userToken,objectIDs\n"
    rows = [f'view,V,"p\nq",u-{n},a\n' for n in range(3)]
    (command.folder / "a.csv").write_text(header + rows[0] + rows[1])
    await command("send", "a.csv", "--resume", "state")
    (command.folder / "a.csv").write_text(header + "".join(rows))

    second = await command("send", "a.csv", "--resume", "state")

    assert (second.code, second.figures["read"]) == (0, 1)
    assert [event["userToken"] for event in sandbox.events] == ["u-0", "u-1", "u-2"]


async def test_columns_that_are_not_there_are_a_wrong_call(command: Any, sandbox: Sandbox) -> None:
    (command.folder / "a.csv").write_text("a,b\n1,2\n")

    unmapped = await command("send", "a.csv")
    absent = await command("send", "a.csv", "--map", "eventName=c")
    no_field = await command("send", "a.csv", "--map", "nonsense=a")
    no_pair = await command("send", "a.csv", "--set", "eventName")

    assert [run.code for run in (unmapped, absent, no_field, no_pair)] == [2, 2, 2, 2]
    assert "--map FIELD=COLUMN" in unmapped.err
    assert "no column 'c'" in absent.err
    assert "no field 'nonsense'" in no_field.err
    assert "takes FIELD=" in no_pair.err
    assert not sandbox.requests
