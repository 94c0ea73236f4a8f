"""A Redis outbox over TLS: certificates are verified, with the CA that the address names; a failure names no secret."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.redis_server import SecureRedis, secure_redis

from algolia_events import AlgoliaEvents, ClickedObjectIDs
from algolia_events.reports import Health, HealthState
from algolia_events.sandbox import Sandbox

EVENTS = 100


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureRedis]:
    with secure_redis(tmp_path_factory.mktemp("secure"), name="127.0.0.1") as server:
        yield server


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[SecureRedis]:
    """A server with somebody else's certificate."""
    with secure_redis(tmp_path, name="queue.example") as server:
        yield server


async def track_some(url: str) -> tuple[Health, Sandbox, bool]:
    """Send events through an outbox; return how it went, and whether the outbox had a part in it."""
    async with (
        Sandbox() as sandbox,
        AlgoliaEvents(app_id="APP", api_key="key", insights_url=sandbox.url, outbox=url) as algolia,
    ):
        for number in range(EVENTS):
            algolia.events.track(
                ClickedObjectIDs(event_name="Clicked", index="i", object_ids=[str(number)], user_token="u")
            )
        await algolia.events.flush(30)
        await sandbox.wait_for(EVENTS)
        health, sending = algolia.health(), algolia.stats().sending
        return health, sandbox, sending is not None and sending.accepted == EVENTS


@pytest.mark.parametrize("login", [":secret", "shop:of-the-shop"], ids=["password", "user of an ACL"])
async def test_with_a_known_authority_events_go_through_redis(redis: SecureRedis, login: str) -> None:
    health, sandbox, through_redis = await track_some(redis.url(login=login, authority=redis.authority))

    assert health.ok
    assert through_redis
    assert len(sandbox.events) == EVENTS


def address(redis: SecureRedis, mistake: str, tmp_path: Path) -> str:
    """Make the address with one thing wrong."""
    return {
        "authority": redis.url(),
        "password": redis.url(login=":not-the-secret", authority=redis.authority),
        "file": redis.url(authority=tmp_path / "nowhere.pem"),
    }[mistake]


@pytest.mark.parametrize(
    ("mistake", "reason"),
    [
        ("authority", "the certificate does not verify: "),
        ("password", "invalid username-password pair"),
        ("file", "the certificates that the address names cannot be read"),
    ],
)
async def test_where_redis_cannot_be_trusted_memory_takes_over_and_health_says_why(
    redis: SecureRedis, tmp_path: Path, caplog: pytest.LogCaptureFixture, mistake: str, reason: str
) -> None:
    health, sandbox, through_redis = await track_some(address(redis, mistake, tmp_path))

    assert health.state is HealthState.DEGRADED
    assert reason in str(health.reason)
    assert not through_redis
    assert len(sandbox.events) == EVENTS
    assert_tells_nothing(redis, health, caplog)


async def test_a_certificate_for_another_name_is_as_bad(
    impostor: SecureRedis, caplog: pytest.LogCaptureFixture
) -> None:
    health, sandbox, through_redis = await track_some(impostor.url(authority=impostor.authority))

    assert health.state is HealthState.DEGRADED
    assert str(health.reason).endswith("the certificate does not verify: IP address mismatch")
    assert not through_redis
    assert len(sandbox.events) == EVENTS
    assert_tells_nothing(impostor, health, caplog)


def assert_tells_nothing(redis: SecureRedis, health: Health, caplog: pytest.LogCaptureFixture) -> None:
    """No message holds the password or the address."""
    said = [health.reason, *(str(vars(record)) for record in caplog.records if record.name == "algolia_events")]
    assert len(said) > 1
    for secret in ("secret", "127.0.0.1", str(redis.port)):
        assert secret not in "".join(map(str, said))
