"""F8: a bad event is found and rejected with the server's words; the good ones beside it neither suffer nor wait."""

import asyncio
import json
from http import HTTPStatus

import pytest
from support.clock import HandClock
from support.rigs import MakeRig, arrived, click, numbers_in
from support.server import OK, Handler, read_request, serve

from algolia_events import EventRejectedError, Hook
from algolia_events.sandbox import Sandbox

BAD = 617
ANSWERS = {
    "JSON": (422, b'{"status":422,"message":"EventName is required"}', "EventName is required"),
    "HTML": (400, b"<html><head><title>400</title></head><body>Bad <b>Request</b></body></html>", "400 Bad Request"),
    "empty": (422, b"", HTTPStatus(422).phrase),
    "cut JSON": (422, b'{"status":422,"mess', '{"status":422,"mess'),
    "no text": (400, b"\xff\xfe\x00", "\ufffd\ufffd"),
}


class Rejected(Hook):
    def __init__(self) -> None:
        self.heard: list[tuple[bytes, int, str]] = []

    def rejected(self, event: bytes, status: int, message: str) -> None:
        self.heard.append((event, status, message))


def refusing(status: int, text: bytes, taken: list[int]) -> Handler:
    """Refuse each request that holds the bad event."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, body = await read_request(reader)
            numbers = numbers_in(body)
            json.loads(body)
            if BAD in numbers:
                writer.write(b"HTTP/1.1 %d No\r\ncontent-length: %d\r\n\r\n%b" % (status, len(text), text))
            else:
                taken.extend(numbers)
                writer.write(OK)
            await writer.drain()

    return handle


@pytest.mark.parametrize(("status", "text", "words"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_one_bad_event_of_a_thousand_is_isolated(
    make: MakeRig, clock: HandClock, status: int, text: bytes, words: str
) -> None:
    taken: list[int] = []
    listener = Rejected()

    async with serve(refusing(status, text, taken)) as url:
        rig = make(url, clock=clock, hooks=[listener])  # the clock stands still: the search never pauses
        rig.track(1000)
        report = await rig.queue.flush()

    assert (report.delivered, report.rejected, report.dropped, report.pending) == (999, 1, 0, 0)
    assert sorted(taken) == [number for number in range(1000) if number != BAD]
    assert len(rig.bodies) <= 21
    assert [(numbers_in(event), *rest) for event, *rest in listener.heard] == [([BAD], status, words)]


async def test_what_comes_behind_a_bad_event_does_not_wait_for_it(
    sandbox: Sandbox, make: MakeRig, clock: HandClock
) -> None:
    sandbox.reject = lambda event: "no" if event["objectIDs"] == ["sku-0"] else None
    listener = Rejected()
    rig = make(sandbox.url, clock=clock, hooks=[listener])
    rig.track(4000)
    await rig.queue.start()

    await sandbox.wait_for(3000)
    rejected_by_then = len(listener.heard)
    report = await rig.queue.flush()

    assert rejected_by_then == 0, "the other slots are done long before the search is"
    assert (report.delivered, report.rejected) == (3999, 1)


async def test_who_waits_for_a_good_event_beside_a_bad_one_is_told_so(
    sandbox: Sandbox, make: MakeRig, clock: HandClock
) -> None:
    sandbox.reject = lambda event: "EventType is required" if event["objectIDs"] == ["sku-3"] else None
    rig = make(sandbox.url, clock=clock)

    results = await asyncio.gather(*(rig.queue.deliver(click(n)) for n in range(10)), return_exceptions=True)

    assert [n for n, result in enumerate(results) if result is not None] == [3]
    assert isinstance(results[3], EventRejectedError)
    assert (results[3].status, results[3].message) == (422, "EventType is required")


async def test_a_thousand_bad_events_cost_a_bounded_number_of_requests(
    sandbox: Sandbox, make: MakeRig, clock: HandClock
) -> None:
    sandbox.reject = lambda event: "no"
    listener = Rejected()
    rig = make(sandbox.url, clock=clock, hooks=[listener])
    rig.track(1000)

    report = await rig.queue.flush()

    assert (report.delivered, report.rejected, report.dropped, report.pending) == (0, 1000, 0, 0)
    assert sorted(numbers_in(event)[0] for event, _, _ in listener.heard) == list(range(1000))
    assert {"together" in words for _, _, words in listener.heard} == {True, False}, "each, or a piece of the rest"
    assert len(rig.bodies) < 600, "far from one an event"
    assert not sandbox.events


async def test_thirty_bad_events_in_three_thousand_cost_no_good_one(
    sandbox: Sandbox, make: MakeRig, clock: HandClock
) -> None:
    sandbox.reject = lambda event: "no" if int(event["objectIDs"][0][4:]) % 100 == 99 else None
    rig = make(sandbox.url, clock=clock)
    rig.track(3000)

    report = await rig.queue.flush()

    assert (report.delivered, report.rejected) == (2970, 30)
    assert sorted(arrived(sandbox)) == [number for number in range(3000) if number % 100 != 99]
