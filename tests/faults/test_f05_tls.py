"""F5: nothing is ever sent to a server that is not who it says, and what waits for it waits."""

import logging
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme
from support.clock import HandClock
from support.rigs import LONG_S, MakeRig, arrived, turns

from algolia_events import HealthState, RetryOptions
from algolia_events._http import AiohttpTransport
from algolia_events.sandbox import ResetOnConnect, Sandbox

HOUR_S = 3600


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
async def secure(authority: trustme.CA) -> AsyncIterator[Sandbox]:
    async with Sandbox(ssl_context=server_context(authority, "127.0.0.1")) as sandbox:
        yield sandbox


async def assert_blocked_for_an_hour(
    sandbox: Sandbox, rig_url: str, make: MakeRig, clock: HandClock, transport: AiohttpTransport | None
) -> None:
    rig = make(rig_url, clock=clock, transport=transport, batch_events=10)
    rig.track(100)
    await rig.queue.start()
    await rig.until_answered(4)  # one a slot; what they learn holds for all that follow
    health = rig.queue.health()

    for minute in range(HOUR_S // 60):
        clock.advance(59.9)
        await turns()
        assert len(rig.bodies) == 4 + minute, "a probe a minute"
        clock.advance(0.1)
        await rig.until_answered(5 + minute)

    assert health.state is HealthState.BLOCKED
    assert health.reason is not None
    assert "the certificate does not verify" in health.reason
    assert rig.queue.stats().pending == 100
    assert not sandbox.requests


async def test_an_untrusted_certificate_stops_the_sending_and_keeps_the_events(
    secure: Sandbox, make: MakeRig, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "algolia_events"):
        await assert_blocked_for_an_hour(secure, secure.url, make, clock, None)

    lines = [record for record in caplog.records if record.name == "algolia_events"]
    assert [line.message for line in lines] == ["algolia_events.state"]
    assert "the certificate does not verify" in lines[0].__dict__["reason"]


async def test_a_certificate_of_somebody_else_is_as_bad(authority: trustme.CA, make: MakeRig, clock: HandClock) -> None:
    transport = AiohttpTransport(ssl_context=trusting(authority))

    async with Sandbox(ssl_context=server_context(authority, "insights.algolia.example")) as impostor:
        await assert_blocked_for_an_hour(impostor, impostor.url, make, clock, transport)


async def test_delivery_goes_on_once_the_certificate_is_right(
    authority: trustme.CA, make: MakeRig, clock: HandClock
) -> None:
    async with Sandbox(ssl_context=server_context(authority, "insights.algolia.example")) as wrong:
        port = wrong.port
        rig = make(wrong.url, clock=clock, transport=AiohttpTransport(ssl_context=trusting(authority)))
        rig.track(10)
        await rig.queue.flush(0)
        await rig.until_answered(1)

    async with Sandbox(port=port, ssl_context=server_context(authority, "127.0.0.1")) as right:
        clock.advance(60)
        report = await rig.queue.flush()

        assert (report.delivered, report.possible_duplicates) == (10, 0)
        assert arrived(right) == list(range(10))


async def test_a_handshake_that_is_reset_is_tried_again(authority: trustme.CA, secure: Sandbox, make: MakeRig) -> None:
    retry = RetryOptions(backoff_base=0.01)
    rig = make(secure.url, retry=retry, transport=AiohttpTransport(ssl_context=trusting(authority)))
    secure.faults.add(ResetOnConnect(), times=3)
    rig.track(10)

    report = await rig.queue.flush(LONG_S)

    assert (report.delivered, report.possible_duplicates) == (10, 0)
    assert len(rig.bodies) == 4
    assert arrived(secure) == list(range(10))
