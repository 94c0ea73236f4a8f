"""Each scripted fault does to a connection what it says, and the ledger knows what was received in spite of it."""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson
import pytest

from algolia_events.sandbox import (
    CloseWithoutAnswer,
    Delay,
    Drip,
    EndlessBody,
    Fault,
    Hang,
    ResetBeforeBody,
    ResetInAnswer,
    ResetInBody,
    ResetOnConnect,
    Sandbox,
    Status,
)
from algolia_events.sandbox._faults import FaultScript

Click = Callable[..., dict[str, Any]]
HEAD = "POST /1/events HTTP/1.1\r\nhost: x\r\nx-algolia-application-id: a\r\nx-algolia-api-key: k\r\n"


class Wire:
    """A bare connection: what a client sees without a library's interpretation."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, sandbox: Sandbox) -> "Wire":
        return cls(*await asyncio.open_connection("127.0.0.1", sandbox.port))

    async def send(self, events: list[Any]) -> None:
        body = orjson.dumps({"events": events})
        self.writer.write(f"{HEAD}content-length: {len(body)}\r\n\r\n".encode() + body)
        await self.writer.drain()

    async def receive(self) -> tuple[bytes, str]:
        """Read to the end: the bytes, and whether the connection was closed or reset."""
        received = b""
        try:
            while chunk := await self.reader.read(65_536):
                received += chunk
        except ConnectionResetError:
            return received, "reset"
        return received, "closed"

    async def close(self) -> None:
        self.writer.close()
        with_reset = await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)
        assert all(outcome is None or isinstance(outcome, OSError) for outcome in with_reset)


async def meet(sandbox: Sandbox, fault: Fault, events: list[Any]) -> tuple[bytes, str]:
    sandbox.faults.add(fault)
    wire = await Wire.open(sandbox)
    try:
        await wire.send(events)
        return await wire.receive()
    finally:
        await wire.close()


async def post(client: aiohttp.ClientSession, sandbox: Sandbox, events: list[Any]) -> int:
    async with client.post(f"{sandbox.url}/1/events", json={"events": events}) as answer:
        await answer.read()
        return answer.status


async def test_a_status_with_headers_and_body(sandbox: Sandbox, client: aiohttp.ClientSession, click: Click) -> None:
    sandbox.faults.add(Status(503, {"retry-after": "30"}, b"<html>"))

    async with client.post(f"{sandbox.url}/1/events", json={"events": [click()]}) as answer:
        received = answer.status, answer.headers["retry-after"], await answer.read()

    assert received == (503, "30", b"<html>")
    assert sandbox.events == ()
    assert sandbox.requests[0].fault == Status(503, {"retry-after": "30"}, b"<html>")


async def test_a_retry_can_be_seen_to_be_unchanged(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    first, other = click(), click(userToken="other")
    sandbox.faults.add(Status(503), times=1)

    for events in ([first, first], [first, first], [first, other]):
        await post(client, sandbox, events)

    before, after, changed = sandbox.requests
    assert before.body_digest == after.body_digest != changed.body_digest
    assert [request.events for request in sandbox.requests] == [2, 2, 2]
    assert [request.status for request in sandbox.requests] == [503, 200, 200]


async def test_a_client_that_goes_away_in_mid_body_leaves_a_trace(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    wire = await Wire.open(sandbox)
    wire.writer.write(f"{HEAD}content-length: 10\r\n\r\n12345".encode())
    await sandbox.wait_for(lambda: len(sandbox.requests) == 1)

    await wire.close()
    await sandbox.wait_for(lambda: sandbox.requests[0].answered_at is not None)

    (request,) = sandbox.requests
    assert (request.body_complete, request.status) == (False, None)
    assert caplog.records == []


async def test_a_status_has_a_body_of_its_own_by_default(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    sandbox.faults.add(Status(500))

    async with client.post(f"{sandbox.url}/1/events", json={"events": [click()]}) as answer:
        document = await answer.json()

    assert document == {"status": 500, "message": "Internal Server Error"}


async def test_a_status_can_hide_that_the_request_was_handled(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    sandbox.faults.add(Status(504, request="handled"))

    statuses = [await post(client, sandbox, [click()]), await post(client, sandbox, [click()])]

    assert statuses == [504, 200]
    assert len(sandbox.events) == 2


async def test_a_delay_holds_the_answer_back_but_not_the_events(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    sandbox.faults.add(Delay(0.2))
    started = time.monotonic()

    sending = asyncio.create_task(post(client, sandbox, [click()]))
    await sandbox.wait_for(1)
    was_answered = sending.done()
    status = await sending

    assert not was_answered
    assert status == 200
    assert time.monotonic() - started >= 0.2


async def test_latency_holds_every_answer_back(client: aiohttp.ClientSession, click: Click) -> None:
    async with Sandbox(latency=0.1) as sandbox:
        started = time.monotonic()
        await post(client, sandbox, [click()])
        slow = time.monotonic() - started
        sandbox.latency = 0

        await post(client, sandbox, [click()])

    assert slow >= 0.1
    assert [request.status for request in sandbox.requests] == [200, 200]


async def test_a_reset_on_connect_comes_before_a_request(sandbox: Sandbox, click: Click) -> None:
    sandbox.faults.add(ResetOnConnect())
    wire = await Wire.open(sandbox)

    outcome = await wire.receive()
    await wire.close()

    assert outcome == (b"", "reset")
    assert sandbox.requests == ()
    assert sandbox.faults.pending == ()


async def test_a_reset_before_the_body(sandbox: Sandbox) -> None:
    sandbox.faults.add(ResetBeforeBody())
    wire = await Wire.open(sandbox)
    wire.writer.write(f"{HEAD}content-length: 10\r\n\r\n".encode())

    outcome = await wire.receive()
    await wire.close()

    assert outcome == (b"", "reset")
    (request,) = sandbox.requests
    assert (request.body_bytes, request.body_complete, request.status) == (0, False, None)


async def test_a_reset_in_the_body(sandbox: Sandbox) -> None:
    sandbox.faults.add(ResetInBody(after_bytes=5))
    wire = await Wire.open(sandbox)
    wire.writer.write(f"{HEAD}content-length: 10\r\n\r\n123456".encode())

    outcome = await wire.receive()
    await wire.close()

    assert outcome == (b"", "reset")
    (request,) = sandbox.requests
    assert (request.body_bytes, request.body_complete, request.status) == (6, False, None)


async def test_a_reset_in_the_answer_comes_after_the_events_were_accepted(sandbox: Sandbox, click: Click) -> None:
    received, end = await meet(sandbox, ResetInAnswer(), [click()])

    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length: 29" in head
    assert len(body) == 14
    assert end == "reset"
    assert len(sandbox.events) == 1
    assert sandbox.requests[0].body_complete


async def test_a_retry_after_a_sabotaged_answer_makes_a_duplicate(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    event = click()
    await meet(sandbox, ResetInAnswer(), [event])

    await post(client, sandbox, [event])

    assert list(sandbox.events) == [event, event]


@pytest.mark.parametrize(("treatment", "accepted"), [("ignored", 0), ("handled", 1)])
async def test_closing_without_an_answer(sandbox: Sandbox, click: Click, treatment: Any, accepted: int) -> None:
    outcome = await meet(sandbox, CloseWithoutAnswer(request=treatment), [click()])

    assert outcome == (b"", "closed")
    assert len(sandbox.events) == accepted
    assert sandbox.requests[0].body_complete


@pytest.mark.parametrize(("treatment", "accepted"), [("ignored", 0), ("handled", 1)])
async def test_a_hang_reads_everything_and_never_answers(click: Click, treatment: Any, accepted: int) -> None:
    async with Sandbox() as sandbox:
        meeting = asyncio.create_task(meet(sandbox, Hang(request=treatment), [click()]))
        await sandbox.wait_for(lambda: bool(sandbox.requests) and sandbox.requests[0].body_complete)
        in_time = meeting.done()

    outcome = await meeting

    assert not in_time
    assert outcome == (b"", "reset")
    assert len(sandbox.events) == accepted
    assert sandbox.requests[0].status is None


async def test_a_drip_sends_the_answer_piece_by_piece(sandbox: Sandbox, click: Click) -> None:
    started = time.monotonic()

    received, end = await meet(sandbox, Drip(bytes_per_second=1000), [click()])

    assert received.endswith(b'{"status":200,"message":"OK"}')
    assert end == "closed"
    assert time.monotonic() - started >= (len(received) - 50) / 1000
    assert len(sandbox.events) == 1


async def test_an_endless_body_goes_on_until_the_client_has_enough(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    sandbox.faults.add(EndlessBody(status=500, request="ignored"))

    async with client.post(f"{sandbox.url}/1/events", json={"events": [click()]}) as answer:
        status, size = answer.status, len(await answer.content.readexactly(1_000_000))
    await sandbox.wait_for(lambda: sandbox.requests[0].answered_at is not None)

    assert (status, size) == (500, 1_000_000)
    assert sandbox.events == ()


async def test_a_fault_lasts_for_so_many_requests(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    sandbox.faults.add(Status(500), times=2)

    statuses = [await post(client, sandbox, [click()]) for _ in range(3)]

    assert statuses == [500, 500, 200]


async def test_a_script_gives_each_request_its_own_fault(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    sandbox.script([Status(500), None, Status(429)])

    statuses = [await post(client, sandbox, [click()]) for _ in range(4)]

    assert statuses == [500, 200, 429, 200]


async def test_a_fault_lasts_while_a_context_is_open(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    with sandbox.fault(Status(500)):
        during = [await post(client, sandbox, [click()]) for _ in range(2)]

    after = await post(client, sandbox, [click()])

    assert (during, after) == ([500, 500], 200)


async def test_a_fault_can_spare_the_other_api(sandbox: Sandbox, client: aiohttp.ClientSession, click: Click) -> None:
    url = f"{sandbox.url}/1/indexes/*/recommendations"

    with sandbox.fault(Status(500), api="recommend"):
        insights = await post(client, sandbox, [click()])
        async with client.post(url, json={"requests": []}) as answer:
            recommend = answer.status

    assert (insights, recommend) == (200, 500)


def test_a_fault_lasts_for_so_many_seconds() -> None:
    script = FaultScript()
    script.add(Status(500), now=100.0, seconds=60)

    met = [script.take("insights", now=now) is not None for now in (100.0, 159.9, 160.0)]

    assert met == [True, True, False]
    assert script.pending(now=160.0) == ()


def test_clearing_ends_open_contexts_too() -> None:
    script = FaultScript()

    with script.during(Hang()):
        script.clear()
        met = script.take("insights", now=0.0)

    assert met is None


def test_the_oldest_fault_is_met_first_and_connections_have_their_own() -> None:
    script = FaultScript()
    script.script([ResetOnConnect(), Status(500), Status(429)])

    first = script.take("insights", now=0.0)
    connection = script.take(None, now=0.0)
    second = script.take("recommend", now=0.0)

    assert (first, connection, second) == (Status(500), ResetOnConnect(), Status(429))


@pytest.mark.parametrize("options", [{"times": 0}, {"seconds": 0}, {"seconds": -1}])
def test_a_fault_that_would_never_be_met_is_a_mistake(options: dict[str, Any]) -> None:
    script = FaultScript()

    with pytest.raises(ValueError, match="must be"):
        script.add(Status(500), now=0.0, **options)


async def test_refused_connections_on_the_same_port(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    await post(client, sandbox, [click()])
    port = sandbox.port

    await sandbox.stop_listening()
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(client, sandbox, [click()])
    with socket.socket() as probe:
        refusal = probe.connect_ex(("127.0.0.1", port))
    await sandbox.listen_again()
    status = await post(client, sandbox, [click()])

    assert refusal != 0
    assert status == 200
    assert sandbox.port == port


async def test_stopping_to_listen_drops_what_is_not_here_in_full(sandbox: Sandbox) -> None:
    wire = await Wire.open(sandbox)
    wire.writer.write(f"{HEAD}content-length: 10\r\n\r\n12345".encode())
    await sandbox.wait_for(lambda: len(sandbox.requests) == 1)

    await sandbox.stop_listening()
    outcome = await wire.receive()
    await wire.close()

    assert outcome == (b"", "closed")


async def test_stopping_to_listen_lets_what_is_here_in_full_be_answered(
    sandbox: Sandbox, client: aiohttp.ClientSession, click: Click
) -> None:
    sandbox.faults.add(Delay(0.1))
    sending = asyncio.create_task(post(client, sandbox, [click()]))
    await sandbox.wait_for(1)

    await sandbox.stop_listening()
    status = await sending

    assert status == 200


@pytest.mark.parametrize("turns", range(8))
async def test_stopping_to_listen_is_no_error_of_the_server_whenever_it_comes(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, turns: int
) -> None:
    wire = await Wire.open(sandbox)
    wire.writer.write(f"{HEAD}content-length: 0\r\n\r\n".encode())
    await wire.reader.readuntil(b"\r\n\r\n")
    wire.writer.write(f"{HEAD}content-length: 10\r\n\r\n12345".encode())
    for _ in range(turns):  # aiohttp has a turn of its own between a request and its handler
        await asyncio.sleep(0)

    await sandbox.stop_listening()
    await wire.reader.read()
    await wire.close()
    await sandbox.wait_for(lambda: all(request.answered_at is not None for request in sandbox.requests))

    assert [record.getMessage() for record in caplog.records] == []
