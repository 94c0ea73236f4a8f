"""A broken import goes on where it was: nothing twice, nothing left out, and figures that are true."""

import asyncio
import gzip
import json
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from algolia_events.sandbox import Hang, Sandbox, Status

Click = Callable[..., dict[str, Any]]
Ndjson = Callable[..., bytes]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_cleanly_and_a_second_run_sends_the_rest_once(
    command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson, number: signal.Signals
) -> None:
    events = [click(n) for n in range(40_000)]
    (command.folder / "big.ndjson").write_bytes(ndjson(events))
    sandbox.latency = 0.05
    process = await command.start("send", "big.ndjson", "--resume", "state")
    await sandbox.wait_for(4_000, timeout=30)

    signalled = time.monotonic()
    process.send_signal(number)
    first = await command.wait(process)
    took = time.monotonic() - signalled
    accepted_at_first = len(sandbox.events)
    sandbox.latency = 0
    second = await command("send", "big.ndjson", "--resume", "state")

    cut_off = re.search(r"(\d+) of the pending events may have arrived", first.err)  # on a machine that is too slow
    in_doubt = int(cut_off[1]) if cut_off else 0
    assert not in_doubt or took > 4.5, "nothing is cut off before the grace of 5 s is over"
    assert first.code == 1
    assert first.figures["accepted"] <= accepted_at_first <= first.figures["accepted"] + in_doubt < 40_000
    assert first.figures["read"] == first.figures["accepted"] + first.figures["pending"]
    assert "interrupted" in first.err
    assert "not everything was sent" in first.err
    assert second.code == 0, second.err
    assert first.figures["accepted"] + second.figures["accepted"] == 40_000
    assert len(sandbox.events) - 40_000 == accepted_at_first - first.figures["accepted"]
    assert {event["userToken"] for event in sandbox.events} == {event["userToken"] for event in events}


async def test_what_was_settled_out_of_order_is_not_sent_again(
    command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson
) -> None:
    events = [click(n) for n in range(4_000)]
    (command.folder / "big.ndjson.gz").write_bytes(gzip.compress(ndjson(events)))
    sandbox.script([Hang()])  # the first batch stays without a verdict while the next three get theirs

    first = await command("send", "big.ndjson.gz", "--resume", "state", "--timeout", "2")
    second = await command("send", "big.ndjson.gz", "--resume", "state")

    assert first.code == 1
    assert (first.figures["accepted"], first.figures["pending"]) == (3_000, 1_000)
    assert (second.code, second.figures["accepted"], second.figures["read"]) == (0, 1_000, 1_000)
    assert Counter(event["userToken"] for event in sandbox.events) == Counter(event["userToken"] for event in events)


async def test_after_kill_9_at_most_what_was_under_way_is_repeated(
    command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson
) -> None:
    (command.folder / "big.ndjson").write_bytes(ndjson(click(n) for n in range(30_000)))
    sandbox.latency = 0.3
    process = await command.start("send", "big.ndjson", "--resume", "state")
    await sandbox.wait_for(8_000, timeout=30)

    process.kill()
    await command.wait(process)
    sandbox.latency = 0
    second = await command("send", "big.ndjson", "--resume", "state")

    assert second.code == 0, second.err
    counted = Counter(event["userToken"] for event in sandbox.events)
    assert len(counted) == 30_000
    assert max(counted.values()) <= 2
    assert sum(counted.values()) - 30_000 <= 2 * 4 * 1_000, "requests under way, and those answered meanwhile"


async def test_several_files_and_refused_lines_are_resumed_too(
    command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson
) -> None:
    (command.folder / "a.ndjson").write_bytes(ndjson([click(1), "{}", click(2)]))
    (command.folder / "b.ndjson").write_bytes(ndjson([click(3), click(4)]))
    arguments = ("send", "a.ndjson", "b.ndjson", "--resume", "state", "--rejected", "bad.ndjson")
    sandbox.faults.add(Status(401), times=1)

    first = await command(*arguments)
    second = await command(*arguments)
    third = await command(*arguments)

    assert (first.figures["invalid"], first.figures["pending"]) == (1, 4)
    assert (second.code, second.figures["accepted"]) == (1, 4)
    assert "1 events were not accepted" in second.err
    assert third.figures["read"] == 0
    assert len(sandbox.events) == 4
    kept = (command.folder / "bad.ndjson").read_bytes().splitlines()
    assert [json.loads(line)["line"] for line in kept] == [2]


async def test_a_file_that_has_changed_is_refused(command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson) -> None:
    (command.folder / "a.ndjson").write_bytes(ndjson([click(1)]))
    await command("send", "a.ndjson", "--resume", "state")
    (command.folder / "a.ndjson").write_bytes(ndjson([click(5), click(2)]))
    changed = await command("send", "a.ndjson", "--resume", "state")
    (command.folder / "a.ndjson").write_bytes(b"")

    emptied = await command("send", "a.ndjson", "--resume", "state")

    assert changed.code == emptied.code == 1
    assert "another one than when it was sent" in changed.err
    assert "shorter" in emptied.err
    assert len(sandbox.events) == 1


async def test_a_line_that_has_changed_at_the_same_length_is_noticed_though_the_last_one_is_the_same(
    command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson
) -> None:
    old = ndjson([click(1), click(2), click(3)])
    (command.folder / "a.ndjson").write_bytes(old)
    await command("send", "a.ndjson", "--resume", "state")
    (command.folder / "a.ndjson").write_bytes(old.replace(b"user-1", b"user-9") + ndjson([click(4)]))

    changed = await command("send", "a.ndjson", "--resume", "state")

    assert changed.code == 1
    assert "a.ndjson: line 3, or one before it, is another one" in changed.err
    assert len(sandbox.events) == 3


@pytest.mark.parametrize("change", ["another line", "one line more", "one line less"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
async def test_a_file_before_the_one_it_had_come_to_is_refused_when_it_has_changed(
    command: Any, *, sandbox: Sandbox, click: Click, ndjson: Ndjson, pack: Callable[[bytes], bytes], change: str
) -> None:
    old = ndjson([click(1), click(2)])
    new = {"another line": old.replace(b"user-1", b"user-9"), "one line more": old * 2, "one line less": old[:-200]}
    for name, content in (("a", old), ("b", old), ("c", ndjson([click(3)]))):
        (command.folder / name).write_bytes(pack(content))
    await command("send", "a", "b", "c", "--resume", "state")
    (command.folder / "b").write_bytes(pack(new[change]))
    (command.folder / "d").write_bytes(ndjson([click(4)]))

    second = await command("send", "a", "b", "c", "d", "--resume", "state")

    assert (second.code, second.figures["read"]) == (1, 0)
    assert "algolia-events: b: is not what it was when it was sent" in second.err
    assert len(sandbox.events) == 5


async def test_files_may_be_added_and_the_last_one_may_grow(
    command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson
) -> None:
    zero, one, two, nine = (ndjson([click(number)]) for number in (0, 1, 2, 9))
    for name, content in (("a", zero), ("b", one), ("c", two)):
        (command.folder / name).write_bytes(content)
    first = await command("send", "--resume", "state", "a", "-", "b", stdin=nine)
    (command.folder / "b").write_bytes(one + ndjson([click(5)]))

    second = await command("send", "--resume", "state", "a", "-", "b", "c", stdin=b"not read again")

    assert (first.code, second.code) == (0, 0), second.err
    assert [event["userToken"] for event in sandbox.events] == ["user-0", "user-9", "user-1", "user-5", "user-2"]


async def test_a_signal_that_leaves_nothing_unsent_ends_it_as_finished(
    command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson
) -> None:
    (command.folder / "a.ndjson").write_bytes(ndjson(click(n) for n in range(10)))
    sandbox.latency = 1.0  # the whole file is read, and its only request under way
    process = await command.start("send", "a.ndjson")
    await sandbox.wait_for(lambda: any(request.body_complete for request in sandbox.requests), timeout=30)

    process.send_signal(signal.SIGTERM)
    finished = await command.wait(process)

    assert (finished.figures["accepted"], finished.figures["pending"]) == (10, 0)
    assert "not everything" not in finished.err
    assert finished.code == 0


async def test_lines_added_later_are_sent(command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson) -> None:
    old = ndjson([click(1)])
    (command.folder / "a.ndjson").write_bytes(old)
    await command("send", "a.ndjson", "--resume", "state")
    (command.folder / "a.ndjson").write_bytes(old + ndjson([click(2)]))

    second = await command("send", "a.ndjson", "--resume", "state")

    assert (second.code, second.figures["read"]) == (0, 1)
    assert [event["userToken"] for event in sandbox.events] == ["user-1", "user-2"]


@pytest.mark.parametrize(
    ("state", "words"),
    [(b"{}", "is not the state"), (b'{"version":99}', "another version"), (b"\xff", "is not the state")],
)
async def test_a_file_that_is_no_state_is_refused_and_kept(
    command: Any, *, sandbox: Sandbox, click: Click, ndjson: Ndjson, state: bytes, words: str
) -> None:
    (command.folder / "a.ndjson").write_bytes(ndjson([click(1)]))
    (command.folder / "state").write_bytes(state)

    finished = await command("send", "a.ndjson", "--resume", "state")

    assert finished.code == 2
    assert words in finished.err
    assert (command.folder / "state").read_bytes() == state
    assert not sandbox.requests


async def test_the_state_of_other_files_is_refused(command: Any, click: Click, ndjson: Ndjson) -> None:
    for name in ("a", "b"):
        (command.folder / name).write_bytes(ndjson([click(1)]))
    await command("send", "a", "--resume", "state")

    finished = await command("send", "b", "--resume", "state")

    assert finished.code == 2
    assert "other files" in finished.err


async def test_a_second_signal_does_not_wait_for_a_server_that_hangs(
    command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson
) -> None:
    (command.folder / "a.ndjson").write_bytes(ndjson(click(n) for n in range(1_500)))
    began = time.monotonic()

    with sandbox.fault(Hang()):
        process = await command.start("send", "a.ndjson")
        await sandbox.wait_for(lambda: any(request.body_complete for request in sandbox.requests), timeout=30)
        process.send_signal(signal.SIGINT)
        while process.returncode is None:
            process.send_signal(signal.SIGINT)
            await asyncio.wait({asyncio.ensure_future(process.wait())}, timeout=0.1)
        finished = await command.wait(process)

    assert finished.code == 1
    assert (finished.figures["accepted"], finished.figures["pending"]) == (0, 1_500)
    assert "1500 of the pending events may have arrived" in finished.err
    assert time.monotonic() - began < 5 + 10, "the start of the process, and no grace of five seconds beside it"
