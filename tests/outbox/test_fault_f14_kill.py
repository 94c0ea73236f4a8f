"""F14: after `kill -9`, every event whose `put()` had returned is sent by whoever is alive, few of them twice."""

import asyncio
import os
import random
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from support.applications import Application

from algolia_events.sandbox import Sandbox

ROUNDS = int(os.environ.get("KILL_ROUNDS", "5"))
SEED = int(os.environ.get("KILL_SEED", "14"))
IN_FLIGHT, BATCH = 2, 200


def ids(sandbox: Sandbox) -> Counter[str]:
    return Counter(event["objectIDs"][0] for event in sandbox.events)


async def all_accepted(sandbox: Sandbox, promised: set[str]) -> None:
    await sandbox.wait_for(lambda: promised <= ids(sandbox).keys(), timeout=30)


@pytest.mark.timeout(60 + 5 * ROUNDS)
async def test_nothing_that_was_put_is_lost_by_a_kill(tmp_path: Path) -> None:
    draw = random.Random(SEED)
    path = tmp_path / "events.db"
    promised: set[str] = set()

    async with Sandbox(latency=0.002) as sandbox:
        for round_number in range(ROUNDS):
            application = await Application.start(
                do="put_for_ever",
                name=f"round-{round_number}",
                outbox=f"sqlite:///{path}",
                insights_url=sandbox.url,
                in_flight=IN_FLIGHT,
                batch_events=BATCH,
            )
            await application.has_written(1)
            await asyncio.sleep(draw.uniform(0, 0.15))
            await application.kill()
            promised.update(application.lines)
        last = await Application.start(do="relay", outbox=f"sqlite:///{path}", insights_url=sandbox.url)
        await all_accepted(sandbox, promised)
        code = await last.terminate()
        accepted = ids(sandbox)

    repeated = sum(count - 1 for count in accepted.values())
    assert promised, f"seed {SEED}"
    assert promised <= accepted.keys()
    assert repeated <= ROUNDS * IN_FLIGHT * BATCH, f"seed {SEED}"
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    assert code != 0  # by SIGTERM: the program has no handler, which is not what is tested here
