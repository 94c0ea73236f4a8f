"""The other commands: `validate`, `delete-user`, `sandbox`, `demo`, help, and what happens without the extra."""

import asyncio
import json
import os
import pty
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from algolia_events.sandbox import Sandbox, Status

Click = Callable[..., dict[str, Any]]
Ndjson = Callable[..., bytes]


async def test_validate_names_every_problem_with_line_and_field(command: Any, click: Click, ndjson: Ndjson) -> None:
    lines = [click(1), click(2, eventName="", userToken="a b"), "nonsense", click(4, timestamp=1_500_000_000_000)]
    (command.folder / "a.ndjson").write_bytes(ndjson(lines))
    for name in [name for name in command.environ if name.startswith("ALGOLIA_")]:
        del command.environ[name]

    finished = await command("validate", "a.ndjson")

    assert finished.code == 1
    found = [line.split(": ")[:2] for line in finished.out.splitlines()[:-1]]
    assert found == [
        ["a.ndjson:2", "eventName"],
        ["a.ndjson:2", "userToken"],
        ["a.ndjson:3", "line"],
        ["a.ndjson:4", "timestamp"],
    ]
    assert finished.out.splitlines()[-1] == "read 4, valid 1, invalid 3, problems 4"


async def test_validate_as_json(command: Any, click: Click, ndjson: Ndjson) -> None:
    finished = await command("validate", "-", "--json", stdin=ndjson([click(1, index=5)]))

    (entry,) = map(json.loads, finished.out.splitlines())
    assert (entry["file"], entry["line"], entry["field"]) == ("-", 1, "index")
    assert "got number" in entry["problem"]
    assert "read 1" in finished.err


async def test_validate_is_content_with_valid_events_and_sends_nothing(
    command: Any, sandbox: Sandbox, click: Click, ndjson: Ndjson
) -> None:
    finished = await command("validate", "-", stdin=ndjson([click(1)]))

    assert (finished.code, finished.out) == (0, "read 1, valid 1, invalid 0, problems 0\n")
    assert not sandbox.requests


async def test_delete_user_uses_its_own_key(command: Any, sandbox: Sandbox) -> None:
    command.environ["ALGOLIA_ADMIN_API_KEY"] = command.environ["DELETE_KEY"] = (
        "admin-" + command.environ["ALGOLIA_API_KEY"]
    )

    by_default = await command("delete-user", "user/1+2=", "--yes")
    del command.environ["ALGOLIA_ADMIN_API_KEY"]
    by_name = await command("delete-user", "user-2", "--yes", "--api-key-env", "DELETE_KEY")

    assert (by_default.code, by_name.code) == (0, 0)
    assert sandbox.deleted_tokens == ("user/1+2=", "user-2")
    assert "user" not in by_default.out + by_default.err


async def test_delete_user_asks_and_takes_no_for_an_answer(command: Any, sandbox: Sandbox) -> None:
    command.environ["ALGOLIA_ADMIN_API_KEY"] = "admin-" + command.environ["ALGOLIA_API_KEY"]
    nobody = await command("delete-user", "user-1")
    ours, theirs = pty.openpty()
    os.write(ours, b"n\ny\n")

    no = await command.wait(await command.start("delete-user", "user-1", stdin=theirs))
    deleted_after_no = sandbox.deleted_tokens
    yes = await command.wait(await command.start("delete-user", "user-1", stdin=theirs))
    os.close(ours)
    os.close(theirs)

    assert (nobody.code, no.code, yes.code) == (2, 1, 0)
    assert "--yes" in nobody.err
    assert deleted_after_no == ()
    assert sandbox.deleted_tokens == ("user-1",)


async def test_delete_user_asks_nobody_where_the_input_is_closed(command: Any, sandbox: Sandbox) -> None:
    command.environ["ALGOLIA_ADMIN_API_KEY"] = "admin-" + command.environ["ALGOLIA_API_KEY"]
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "algolia_events.cli", "delete-user", "user-1"),
        env=command.environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )

    finished = await command.wait(process)

    assert (finished.code, sandbox.deleted_tokens) == (2, ())
    assert finished.err == "algolia-events: nobody is there to be asked; --yes goes without\n"


async def test_delete_user_says_what_went_wrong(command: Any, sandbox: Sandbox) -> None:
    command.environ["ALGOLIA_ADMIN_API_KEY"] = command.environ["ALGOLIA_API_KEY"]
    wrong_key = await command("delete-user", "user-1", "--yes")
    sandbox.script([Status(429, {"retry-after": "17"})])
    too_many = await command("delete-user", "user-1", "--yes")
    bad_token = await command("delete-user", "not a token", "--yes")
    del command.environ["ALGOLIA_ADMIN_API_KEY"]
    no_key = await command("delete-user", "user-1", "--yes")

    assert (wrong_key.code, too_many.code, bad_token.code, no_key.code) == (1, 1, 2, 2)
    assert "401" in wrong_key.err
    assert "429" in too_many.err
    assert "try again in 17 s" in too_many.err
    assert "user token" in bad_token.err
    assert "ALGOLIA_ADMIN_API_KEY" in no_key.err


async def test_sandbox_serves_until_it_is_told_to_stop(command: Any, click: Click) -> None:
    process = await command.start("sandbox", "--port", "0", "--app-id", "ONE", "--api-key", "key")
    url = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()
    async with aiohttp.ClientSession() as session:
        headers = {"x-algolia-application-id": "ONE", "x-algolia-api-key": "key"}
        async with session.post(f"{url}/1/events", headers=headers, json={"events": [click(1)]}) as answer:
            right = answer.status
        async with session.post(f"{url}/1/events", headers={**headers, "x-algolia-api-key": "x"}, json={}) as answer:
            wrong = answer.status

    process.send_signal(signal.SIGTERM)
    finished = await command.wait(process)

    assert (right, wrong) == (200, 401)
    assert finished.code == 0
    assert "events accepted 1" in finished.err
    assert f"ALGOLIA_RECOMMEND_URL={url}\n" in finished.err


async def test_sandbox_stays_on_this_machine_and_says_when_a_port_is_taken(command: Any, sandbox: Sandbox) -> None:
    remote = await command("sandbox", "--host", "0.0.0.0")
    taken = await command("sandbox", "--port", str(sandbox.port))

    assert (remote.code, taken.code) == (2, 2)
    assert "--allow-remote" in remote.err
    assert "--port 0" in taken.err


async def test_demo_tells_its_story_within_seconds_and_the_books_agree(command: Any) -> None:
    began = time.monotonic()

    finished = await command("demo")

    assert finished.code == 0, finished.out + finished.err
    assert "They agree." in finished.out
    assert "This server dislikes the name of the event" in finished.out
    assert "retrying → ok" in finished.out
    assert "\x1b" not in finished.out
    assert time.monotonic() - began < 30


async def test_demo_keeps_its_page_open_until_told_to_stop(command: Any) -> None:
    process = await command.start("demo", "--page")
    line = b""
    while b"The page stays open at" not in line:
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        assert line, "it ended by itself"
    url = line.decode().split()[-1]
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        page = answer.status

    process.send_signal(signal.SIGINT)
    finished = await command.wait(process)

    assert page == 200
    assert finished.code == 0


@pytest.mark.parametrize("name", ["send", "validate", "delete-user", "sandbox", "demo"])
async def test_each_command_has_help_with_an_example(command: Any, name: str) -> None:
    every, one = await command("--help"), await command(name, "--help")

    assert (every.code, one.code) == (0, 0)
    assert f" {name} " in every.out
    assert f"algolia-events {name}" in one.out.split("Usage:")[1].split("\n", 1)[1]


async def test_it_runs_as_a_module(command: Any) -> None:
    finished = await command.python("-m", "algolia_events.cli", "validate", "-")

    assert (finished.code, finished.out) == (0, "read 0, valid 0, invalid 0, problems 0\n")


async def test_without_the_extra_one_line_says_what_to_install(command: Any) -> None:
    program = (
        "import sys; sys.modules['cyclopts'] = sys.modules['rich'] = None\n"
        "from algolia_events.cli import main\nmain(['send', 'x'])"
    )

    finished = await command.python("-c", program)

    assert finished.code == 2
    assert finished.err.count("\n") == 1
    assert "pip install 'algolia-events[cli]'" in finished.err


async def test_the_library_does_not_import_what_only_the_command_needs(command: Any) -> None:
    program = "import sys, algolia_events; print(sorted({'cyclopts', 'rich'} & set(sys.modules)))"

    finished = await command.python("-c", program)

    assert finished.out == "[]\n"


ADDRESS = "redis://:S3cret@queue.internal/0"


@pytest.mark.parametrize(
    "arguments",
    [
        ("relay", ADDRESS),
        ("health", ADDRESS),
        ("outbox", ADDRESS),
        ("outbox", "stats", ADDRESS),
        ("health", f"--outbx={ADDRESS}"),
        ("health", "--max-age", ADDRESS),
        ("health", f"--{ADDRESS}"),
        ("health", "redis//:S3cret@queue.internal"),
        ("health", "redis://queue.internal?password=S3cret"),
        ("send", ADDRESS),
        (ADDRESS,),
        ("health", "--outbox", "redis://:[S3cret]@queue.internal/0"),
        ("relay", "--outbox", "redis://:S3cret[@queue.internal/0"),
        ("outbox", "stats", "--outbox", "redis://:S3cret\u2100@queue.internal/0"),
        ("health", "--outbox", "sqlite:///events.db?S3cret=1"),
    ],
    ids=" ".join,
)
async def test_the_password_in_a_misplaced_or_wrong_address_is_never_shown(
    command: Any, arguments: tuple[str, ...]
) -> None:
    finished = await command(*arguments)

    assert finished.code == 2
    assert finished.err != ""
    assert "S3cret" not in finished.out + finished.err
    assert "Traceback" not in finished.err


async def test_what_is_no_address_is_shown_where_the_command_line_is_wrong(command: Any) -> None:
    finished = await command("health", "--outbx=redis://:S3cret@queue.internal", "--max-age", "1")

    assert "--outbx" in finished.err
