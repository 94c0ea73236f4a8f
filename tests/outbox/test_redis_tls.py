"""A Redis outbox over TLS: certificates are verified, with the CA that the address names; a failure names no secret."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trustme
from support.binaries import require_binary
from support.redis_server import RedisServer, free_port

from algolia_events import AlgoliaEvents, ClickedObjectIDs
from algolia_events.reports import Health, HealthState
from algolia_events.sandbox import Sandbox

EVENTS = 100


@attrs.frozen
class SecureRedis:
    """A server with TLS, a password, and a user of the name "shop"."""

    port: int
    authority: Path

    def url(self, *, login: str = ":secret", authority: Path | None = None) -> str:
        query = "" if authority is None else f"?ssl_ca_certs={authority}"
        return f"rediss://{login}@127.0.0.1:{self.port}/0{query}"


def knows_tls(program: str) -> bool:
    """Say whether a server was built with TLS: one without does not know the option, whatever its value."""
    words = subprocess.run([program, "--tls-port", "none"], capture_output=True, text=True, timeout=30, check=False)
    return "Bad directive" not in words.stdout + words.stderr


def start(directory: Path, *, name: str) -> Iterator[SecureRedis]:
    """Run a server whose certificate is for this name."""
    authority = trustme.CA()
    certificate = authority.issue_cert(name)
    files = {part: directory / f"{part}.pem" for part in ("authority", "certificate", "key")}
    authority.cert_pem.write_to_path(files["authority"])
    certificate.cert_chain_pems[0].write_to_path(files["certificate"])
    certificate.private_key_pem.write_to_path(files["key"])
    port = free_port()
    options = ["--tls-port", str(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", str(files["authority"])]
    options += ["--tls-cert-file", str(files["certificate"]), "--tls-key-file", str(files["key"])]
    options += ["--user", "shop", "on", ">of-the-shop", "~*", "+@all"]
    program = require_binary("redis-server")
    if "REDIS_SERVER" in os.environ and not knows_tls(program):
        pytest.skip(f"{program} was built without TLS")
    with RedisServer(program, directory, *options):
        yield SecureRedis(port, files["authority"])


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureRedis]:
    yield from start(tmp_path_factory.mktemp("secure"), name="127.0.0.1")


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[SecureRedis]:
    """A server with somebody else's certificate."""
    yield from start(tmp_path, name="queue.example")


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
