"""A short run of the chaos with fixed seeds: the server's ledger and the queues' counters agree, event by event.

A failure is repeated, and looked at, with `python -m benchmarks.chaos --seed N`.
"""

import re
import sys

import pytest
from support.programs import run

SECONDS = 4


@pytest.mark.parametrize("seed", [7, 8])
async def test_ledger_and_counters_agree(seed: int) -> None:
    ended = await run(sys.executable, "-m", "benchmarks.chaos", "--seed", str(seed), "--seconds", str(SECONDS))

    assert f"seed {seed}," in ended.output
    assert "0 differences" in ended.output, ended.output
    assert ended.code == 0, ended.errors
    assert "Traceback" not in ended.errors
    tracked = re.search(r"(\d+) tracked", ended.output)
    assert tracked is not None
    assert int(tracked[1]) > 1000, "something has happened"
