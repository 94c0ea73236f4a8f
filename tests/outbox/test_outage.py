"""An hour in which the server fails, with a million events: memory stays flat, and all leave later, oldest first."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.binaries import require_binary
from support.programs import run
from support.redis_server import RedisServer

OUTAGE = Path(__file__).parent / "programs" / "outage.py"
EVENTS = 1_000_000
FLAT_BYTES = 16 * 1024 * 1024
"""What a few groups, requests and caches take; the events alone are eight times as much."""


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'events.db'}"
    else:  # a server of its own, since it has much to tidy up afterwards
        with RedisServer(require_binary("redis-server"), tmp_path) as server:
            yield server.url


async def test_an_outage_of_an_hour_costs_no_event_and_no_memory(url: str) -> None:
    ended = await run(
        sys.executable, str(OUTAGE), url, str(EVENTS), PYTHONPATH=f"{OUTAGE.parents[3]}:{OUTAGE.parents[2]}"
    )
    assert ended.code == 0, ended.errors

    account = json.loads(ended.output)
    assert (account["stored_in_outage"], account["pending_in_outage"]) == (EVENTS, 0)
    assert account["attempts_in_outage"] <= 75  # a probe a minute, and the doubling before
    assert account["in_order"]
    assert (account["accepted"], account["delivered"], account["dropped"]) == (EVENTS, EVENTS, 0)
    assert account["accepted_bytes"] > 7 * FLAT_BYTES
    assert account["grown_in_outage"] < FLAT_BYTES
    assert account["grown_afterwards"] < FLAT_BYTES
