"""F4: a name that does not resolve, and a port that nobody listens on, are waited out like a failing server."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from support.rigs import LONG_S, MakeRig, Rig, arrived, click, until

from algolia_events import HealthState, InsightsClient, RetryOptions, TransportError
from algolia_events._http import AiohttpTransport
from algolia_events.sandbox import Sandbox

QUICK = RetryOptions(backoff_base=0.005, backoff_cap=0.01)


class Names(AbstractResolver):
    """Knows no name until it is told that every name is this machine."""

    def __init__(self) -> None:
        self.works = False
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        if not self.works:
            raise OSError(-3, "Temporary failure in name resolution")
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        pass


@pytest.fixture
async def names() -> Names:
    return Names()


@pytest.fixture
async def session(names: Names) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=names)) as session:
        yield session


async def longest_gap(attempts: int, rig: Rig) -> float:
    """Measure, while so many more attempts fail, how long the loop kept a ticker waiting at most, in seconds."""
    target, longest, before = len(rig.outcomes) + attempts, 0.0, time.perf_counter()
    while len(rig.outcomes) < target:
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
    return longest


async def test_events_wait_until_the_name_resolves(
    sandbox: Sandbox, make: MakeRig, session: aiohttp.ClientSession, names: Names
) -> None:
    rig = make(f"http://localhost:{sandbox.port}", retry=QUICK, transport=AiohttpTransport(session))
    rig.track(10_000)
    await rig.queue.start()
    await until(lambda: names.asked >= 5)
    health = rig.queue.health()
    # What else the machine does can only lengthen a gap: the shortest of several rounds is ours.
    gap = min([await longest_gap(10, rig) for _ in range(5)])

    names.works = True
    report = await rig.queue.flush(LONG_S)

    assert health.state is HealthState.RETRYING
    assert health.reason == "localhost: the name does not resolve"
    assert gap < 0.020
    assert (report.delivered, report.possible_duplicates) == (10_000, 0)
    assert sorted(arrived(sandbox)) == list(range(10_000))


async def test_events_wait_until_somebody_listens(sandbox: Sandbox, make: MakeRig) -> None:
    rig = make(sandbox.url, retry=QUICK)
    await sandbox.stop_listening()
    rig.track(10_000)
    await rig.queue.start()
    await until(lambda: len(rig.outcomes) >= 5)
    gap = min([await longest_gap(10, rig) for _ in range(5)])

    await sandbox.listen_again()
    report = await rig.queue.flush(LONG_S)

    assert gap < 0.020
    assert (report.delivered, report.possible_duplicates) == (10_000, 0)
    assert sorted(arrived(sandbox)) == list(range(10_000))


@pytest.mark.parametrize("why", ["no name", "no listener"])
async def test_who_sends_himself_sees_the_librarys_own_error(
    sandbox: Sandbox, session: aiohttp.ClientSession, names: Names, why: str
) -> None:
    names.works = why == "no listener"
    await sandbox.stop_listening()
    client = InsightsClient.create("APP", "KEY", insights_url=f"http://localhost:{sandbox.port}", session=session)

    with pytest.raises(TransportError) as caught:
        await client.send_events([click()])

    error: Any = caught.value
    assert error.retriable
    assert not error.ambiguous
    assert isinstance(error.__cause__, aiohttp.ClientConnectorError)
