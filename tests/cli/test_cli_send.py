"""`send` delivers each event of its inputs once, in full requests, and says exactly what became of which."""

import gzip
import json
import os
import pty
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from algolia_events.sandbox import ResetInAnswer, Sandbox, Status

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "insights-examples.ndjson"
Click = Callable[..., dict[str, Any]]
Ndjson = Callable[..., bytes]


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference documents are not here")
async def test_the_reference_examples_go_out_in_one_request(command: Any, sandbox: Sandbox) -> None:
    finished = await command("send", str(REFERENCE))

    assert finished.code == 0, finished.err
    assert finished.figures["accepted"] == 14
    assert len(sandbox.requests) == 1
    assert len(sandbox.events) == 14


async def test_the_last_line_has_the_figures_and_nothing_else_is_written(
    command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson
) -> None:
    (command.folder / "a.ndjson").write_bytes(ndjson(click(n) for n in range(3)))

    finished = await command("send", "a.ndjson")

    assert finished.out.startswith(
        "read 3, accepted 3, rejected 0, invalid 0, dropped 0, pending 0, requests 1, seconds "
    )
    assert finished.out.count("\n") == 1
    assert finished.err == ""
    assert [event["userToken"] for event in sandbox.events] == ["user-0", "user-1", "user-2"]


async def test_many_events_go_out_in_full_requests_with_their_own_timestamps(
    command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson
) -> None:
    events = [click(n) for n in range(25_500)]
    (command.folder / "big.ndjson").write_bytes(ndjson(events))

    finished = await command("send", "big.ndjson")

    assert finished.code == 0, finished.err
    assert len(sandbox.requests) == finished.figures["requests"] == 26
    sent = {event["userToken"]: event["timestamp"] for event in sandbox.events}
    assert sent == {event["userToken"]: event["timestamp"] for event in events}
    assert len(sandbox.events) == len(events)


async def test_a_name_that_is_no_text_is_spelled_out(
    command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson
) -> None:
    name = os.fsdecode(b"\xff\x1b[31m.ndjson")
    (command.folder / name).write_bytes(ndjson([click(1)]) + b"{}\n")

    sent = await command("send", name, "--rejected", "refused", "--resume", "state")
    again = await command("send", name, "--resume", "state")
    checked = await command("validate", "--json", name)

    assert (sent.figures["accepted"], sent.figures["invalid"], again.figures["read"]) == (1, 1, 0)
    assert sent.err.startswith("\\udcff\\x1b[31m.ndjson:2: ")
    refused = (command.folder / "refused").read_bytes()
    for line in (refused.splitlines()[0], checked.out.splitlines()[0]):
        assert json.loads(line)["file"] == "\\xff\x1b[31m.ndjson"


async def test_a_full_disk_for_what_was_refused_is_said_in_a_line(
    command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson
) -> None:
    (command.folder / "a.ndjson").write_bytes(ndjson([click(1)]) + b"{}\n")

    finished = await command("send", "a.ndjson", "--rejected", "/dev/full")

    assert (finished.code, finished.figures["accepted"], finished.figures["invalid"]) == (1, 1, 1)
    assert finished.err.splitlines()[-1] == "/dev/full: No space left on device: not all that was refused is in it"


@pytest.mark.parametrize("option", ["--rejected", "--resume"])
@pytest.mark.parametrize("name", ["a.ndjson", "symbolic", "hard"])
async def test_an_input_is_never_written_over(
    command: Any, click: Click, ndjson: Ndjson, option: str, name: str
) -> None:
    content = ndjson([click(1)])
    path = command.folder / "a.ndjson"
    path.write_bytes(content)
    path.with_name("symbolic").symlink_to(path)
    path.with_name("hard").hardlink_to(path)

    finished = await command("send", "*.ndjson", option, f"./{name}")

    assert (finished.code, path.read_bytes()) == (2, content)
    assert finished.err == f"algolia-events: {option} {name}: is one of the files to be sent; name another one\n"


async def test_a_file_on_the_standard_input_is_never_written_over(command: Any, click: Click, ndjson: Ndjson) -> None:
    content = ndjson([click(1)])
    path = command.folder / "a.ndjson"
    path.write_bytes(content)

    with path.open("rb") as file:
        finished = await command.wait(await command.start("send", "-", "--rejected", "a.ndjson", stdin=file.fileno()))

    assert (finished.code, path.read_bytes()) == (2, content)


@pytest.mark.parametrize("second", ["./b", "symbolic", "hard"])
async def test_one_file_cannot_take_the_refused_and_the_state(
    command: Any, click: Click, ndjson: Ndjson, second: str
) -> None:
    (command.folder / "a.ndjson").write_bytes(ndjson([click(1)]))
    place = command.folder / "b"
    place.with_name("symbolic").symlink_to(place)
    if second == "hard":
        place.touch()
        place.with_name("hard").hardlink_to(place)

    finished = await command("send", "a.ndjson", "--rejected", "b", "--resume", second)

    assert (finished.code, finished.err.startswith("algolia-events: --rejected and --resume both")) == (2, True)


@pytest.mark.parametrize("option", ["--rejected", "--resume"])
async def test_an_output_with_a_name_that_cannot_be_is_an_error_in_words(
    command: Any, click: Click, ndjson: Ndjson, option: str
) -> None:
    (command.folder / "a.ndjson").write_bytes(ndjson([click(1)]))
    loop = command.folder / "loop"
    loop.symlink_to(loop)

    long = await command("send", "a.ndjson", option, "x" * 300)
    looped = await command("send", "a.ndjson", "--rejected", "loop", option, "loop")

    assert (long.code, long.err) == (2, f"algolia-events: {'x' * 300}: File name too long\n")
    assert (looped.code, "Traceback" in looped.err) == (2, False)


@pytest.mark.parametrize("name", ["", "x" * 5000], ids=["empty", "long"])
async def test_a_name_that_cannot_be_is_an_error_in_words(command: Any, name: str) -> None:
    finished = await command("send", name)

    assert (finished.code, finished.err) == (2, f"algolia-events: {name}: no such file\n")


async def test_files_globs_gzip_and_standard_input_are_read_in_the_order_given(
    command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson
) -> None:
    (command.folder / "b-2.ndjson").write_bytes(ndjson([click(2)]))
    (command.folder / "b-1.ndjson.gz").write_bytes(gzip.compress(ndjson([click(1)])) + gzip.compress(b""))
    (command.folder / "c.ndjson").write_bytes(ndjson([click(4)]).rstrip())

    finished = await command("send", "b-*", "-", "c.ndjson", stdin=gzip.compress(ndjson([click(3)])))

    assert finished.code == 0, finished.err
    assert [event["userToken"] for event in sandbox.events] == ["user-1", "user-2", "user-3", "user-4"]


async def test_events_from_a_pipe_are_sent_while_it_stays_open(
    command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson
) -> None:
    process = await command.start("send", "-")
    process.stdin.write(ndjson([click(1)]))
    await process.stdin.drain()
    await sandbox.wait_for(1, timeout=30)

    finished = await command.wait(process, ndjson([click(2)]))

    assert finished.code == 0
    assert finished.figures["accepted"] == 2


async def test_refused_events_are_kept_with_line_and_reason_and_the_others_are_delivered(
    command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson
) -> None:
    sandbox.reject = lambda event: "I dislike it" if event["userToken"] == "user-7" else None
    lines: list[Any] = [click(n) for n in range(20)]
    lines[3] = "{not json"
    lines[4] = ""
    lines[5] = click(5, eventName="", positions=[1])
    lines[6] = "[]"
    (command.folder / "a.ndjson").write_bytes(ndjson(lines))

    finished = await command("send", "a.ndjson", "--rejected", "bad.ndjson")

    assert finished.code == 1
    assert finished.figures | {"requests": 0, "seconds": 0} == {
        "read": 19, "accepted": 15, "rejected": 1, "invalid": 3, "dropped": 0, "pending": 0,
        "requests": 0, "seconds": 0,
    }  # fmt: skip
    assert len(sandbox.events) == 15
    kept = {
        entry["line"]: entry for entry in map(json.loads, (command.folder / "bad.ndjson").read_bytes().splitlines())
    }
    assert sorted(kept) == [4, 6, 7, 8]
    assert {entry["file"] for entry in kept.values()} == {"a.ndjson"}
    assert kept[4]["event"] is None
    assert kept[4]["text"] == "{not json"
    assert "is not JSON" in kept[4]["reason"]
    assert kept[6]["event"] == lines[5]
    assert "eventName" in kept[6]["reason"]
    assert "queryID" in kept[6]["reason"]
    assert kept[8] == {
        "line": 8, "file": "a.ndjson", "reason": "the server refused it with 422: I dislike it", "event": lines[7],
    }  # fmt: skip
    assert "a.ndjson:8: the server refused it with 422: I dislike it" in finished.err


async def test_only_some_refusals_are_shown_and_none_with_a_user_token(
    command: Any, click: Click, ndjson: Ndjson
) -> None:
    (command.folder / "a.ndjson").write_bytes(ndjson(click(n, index="", userToken=f"bad token {n}") for n in range(50)))

    finished = await command("send", "a.ndjson")

    assert finished.figures["invalid"] == 50
    assert finished.err.count("userToken") == 10
    assert "40 more" in finished.err
    assert "bad token" not in finished.err


async def test_events_that_are_too_old_are_dropped_and_kept(
    command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson
) -> None:
    (command.folder / "a.ndjson").write_bytes(ndjson([click(1), click(2, timestamp=1_500_000_000_000)]))

    finished = await command("send", "a.ndjson", "--rejected", "bad.ndjson")

    assert finished.code == 1
    assert (finished.figures["accepted"], finished.figures["dropped"]) == (1, 1)
    assert json.loads((command.folder / "bad.ndjson").read_bytes())["line"] == 2


async def test_an_outage_is_survived_and_told(command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson) -> None:
    sandbox.script([Status(503), Status(429, {"retry-after": "0"}), None, ResetInAnswer()])
    (command.folder / "a.ndjson").write_bytes(ndjson(click(n) for n in range(10)))

    finished = await command("send", "a.ndjson")

    assert finished.code == 0
    assert finished.figures["accepted"] == 10
    assert "503" in finished.err


async def test_a_dead_server_is_given_up_with_exact_figures(command: Any, click: Click, ndjson: Ndjson) -> None:
    command.environ["ALGOLIA_INSIGHTS_URL"] = "http://127.0.0.1:9"
    (command.folder / "a.ndjson").write_bytes(ndjson(click(n) for n in range(30_000)))

    finished = await command("send", "a.ndjson", "--timeout", "1")

    assert finished.code == 1
    assert finished.figures["accepted"] == 0
    assert finished.figures["pending"] == finished.figures["read"] > 0
    assert "gave up" in finished.err


async def test_wrong_credentials_end_it_at_once(command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson) -> None:
    command.environ["ALGOLIA_API_KEY"] = "wrong-key"
    (command.folder / "a.ndjson").write_bytes(ndjson([click(1)]))

    finished = await command("send", "a.ndjson")

    assert finished.code == 1
    assert "401" in finished.err
    assert finished.figures["pending"] == 1
    assert "wrong-key" not in finished.out + finished.err


async def test_a_cut_gzip_file_is_an_error_and_what_came_before_is_sent(
    command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson
) -> None:
    packed = gzip.compress(ndjson(click(n) for n in range(5_000)))
    (command.folder / "a.ndjson.gz").write_bytes(packed[:-2_000])

    finished = await command("send", "a.ndjson.gz")

    assert finished.code == 1
    assert "cut short" in finished.err
    assert 0 < finished.figures["accepted"] == len(sandbox.events) < 5_000


async def test_a_line_longer_than_any_event_is_invalid_and_the_next_is_read(
    command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson
) -> None:
    (command.folder / "a.ndjson").write_bytes(b"x" * 9_000_000 + b"\n" + ndjson([click(1)]))

    finished = await command("send", "a.ndjson")

    assert (finished.figures["invalid"], finished.figures["accepted"]) == (1, 1)


async def test_figures_as_json(command: Any, click: Click, ndjson: Ndjson) -> None:
    finished = await command("send", "-", "--json", stdin=ndjson([click(1)]))

    assert json.loads(finished.out)["accepted"] == 1


async def test_memory_does_not_grow_with_the_file(command: Any, click: Click, ndjson: Ndjson) -> None:
    """A peak measured by the process itself: the second file is twenty times the first."""
    small, large = ndjson(click(n) for n in range(3_000)), ndjson(click(n) for n in range(3_000)) * 20
    (command.folder / "small").write_bytes(small)
    (command.folder / "large").write_bytes(large)
    program = (
        "import resource, sys; from algolia_events.cli._app import run; code = run(sys.argv[1:]);"
        " print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    )

    peaks = [int((await command.python("-c", program, "send", name)).out.split()[-1]) for name in ("small", "large")]

    assert peaks[1] - peaks[0] < 30_000, "kilobytes"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["send"], "FILES"),
        (["send", "missing.ndjson"], "no such file"),
        (["send", "missing-*.ndjson"], "no such file"),
        (["send", "."], "directory"),
        (["send", "--frobnicate", "a.ndjson"], "no such option"),
        (["send", "a.ndjson", "--region", "moon"], "moon"),
        (["send", "a.ndjson", "--insights-url", "http://example.com"], "https"),
        (["send", "a.ndjson", "--timeout", "0"], "timeout"),
        (["send", "-", "-"], "only once"),
        (["send", "a.ndjson", "--rejected", "no/such/folder/x"], "No such file"),
        (["send", "a.ndjson", "--resume", "no/such/folder/x"], "cannot be written"),
        (["frobnicate"], "frobnicate"),
    ],
)
async def test_a_wrong_call_sends_nothing_and_exits_with_2(
    command: Any, *, sandbox: Sandbox, click: Click, ndjson: Ndjson, arguments: list[str], words: str
) -> None:
    (command.folder / "a.ndjson").write_bytes(ndjson([click(1)]))

    finished = await command(*arguments)

    assert finished.code == 2
    assert words in finished.err
    assert finished.out == ""
    assert not sandbox.requests


async def test_missing_credentials_are_named_and_files_stay_untouched(
    command: Any, click: Click, ndjson: Ndjson
) -> None:
    del command.environ["ALGOLIA_API_KEY"]
    (command.folder / "a.ndjson").write_bytes(ndjson([click(1)]))
    (command.folder / "bad.ndjson").write_bytes(b"from before\n")

    finished = await command("send", "a.ndjson", "--rejected", "bad.ndjson")

    assert finished.code == 2
    assert "ALGOLIA_API_KEY" in finished.err
    assert (command.folder / "bad.ndjson").read_bytes() == b"from before\n"


async def test_a_terminal_gets_a_bar_on_its_standard_error(command: Any, click: Click, ndjson: Ndjson) -> None:
    (command.folder / "a.ndjson").write_bytes(ndjson(click(n) for n in range(2_000)))
    ours, theirs = pty.openpty()

    finished = await command("send", "a.ndjson", stderr=theirs)
    os.close(theirs)
    drawn = os.read(ours, 100_000)
    os.close(ours)

    assert finished.code == 0
    assert b"accepted" in drawn
    assert finished.out.count("\n") == 1
