"""F11: a loop that ends without `aclose()`: what was tracked is in the outbox, and nothing is said but a warning."""

import json
from pathlib import Path

from support.applications import Application
from support.groups import events_in

from algolia_events.outbox import SQLiteOutbox
from algolia_events.sandbox import Hang, Sandbox


async def test_all_that_was_tracked_is_in_the_outbox(tmp_path: Path) -> None:
    path = tmp_path / "events.db"

    async with Sandbox() as sandbox:
        with sandbox.fault(Hang()):
            application = await Application.start(
                do="track_and_leave", name="left", events=3000, outbox=f"sqlite:///{path}", insights_url=sandbox.url
            )
            code = await application.ended()
    outbox = SQLiteOutbox(path)
    kept = events_in(await outbox.claim(100_000, 1 << 40))
    await outbox.aclose()

    assert code == 0
    assert sorted(json.loads(event)["objectIDs"][0] for event in kept) == sorted(f"left-{n}" for n in range(3000))
    assert "ResourceWarning: unclosed event queue" in application.errors
    for word in ("Traceback", "Event loop is closed", "Task was destroyed"):
        assert word not in application.errors
