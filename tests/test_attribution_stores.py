"""Every store keeps what it is given for a while and forgets it in time; an error of Redis says why, but no secret."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from support.binaries import require_binary
from support.redis_server import RedisServer, SecureRedis, certificates_only_in_threads, free_port, secure_redis

from algolia_events import attribution_stores
from algolia_events.abc import AttributionStore
from algolia_events.attribution_stores import MemoryAttributionStore, RedisAttributionStore
from algolia_events.errors import AttributionError, ConfigurationError

NO_STORE = (
    "the address of a Redis store is wrong: it is redis://, rediss:// or unix://, with parameters that redis-py knows"
)
READER = ("--user", "reader", "on", ">of-the-reader", "~*", "+@read", "+@connection")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real server with a user who may only read; each test that shares it takes a prefix of its own."""
    with RedisServer(require_binary("redis-server"), tmp_path_factory.mktemp("redis"), *READER) as server:
        yield server


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureRedis]:
    with secure_redis(tmp_path_factory.mktemp("secure"), name="127.0.0.1") as server:
        yield server


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[SecureRedis]:
    """A server with somebody else's certificate."""
    with secure_redis(tmp_path, name="store.example") as server:
        yield server


@pytest.fixture
def certificates_are_read_elsewhere() -> Iterator[None]:
    with certificates_only_in_threads():
        yield


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AttributionStore]:
    if request.param == "memory":
        yield MemoryAttributionStore()
        return
    async with redis_store(request.getfixturevalue("server").url, prefix=f"{tmp_path.name}:") as store:
        yield store


@asynccontextmanager
async def redis_store(url: str | Redis, **options: Any) -> AsyncIterator[RedisAttributionStore]:
    """Make a store that waits for Redis for as long as a busy machine takes, unless its address says otherwise."""
    if isinstance(url, str):
        url += f"{'&' if '?' in url else '?'}socket_timeout=30&socket_connect_timeout=30"  # of two, the first counts
    store = RedisAttributionStore(url, **options)
    try:
        yield store
    finally:
        await store.aclose()


async def words_of_reading(url: str | Redis) -> str:
    """Say how it fails to read from there."""
    async with redis_store(url) as store:
        with pytest.raises(AttributionError) as caught:
            await store.get_many([b"key"])
    return str(caught.value)


async def test_what_was_put_is_found_in_the_order_asked(store: AttributionStore) -> None:
    await store.put_many({b"\x00a": b"1", b"\xffb": b"2 \xff"})

    assert list(await store.get_many([b"\xffb", b"none", b"\x00a"])) == [b"2 \xff", None, b"1"]
    assert list(await store.get_many([])) == []


async def test_the_last_value_of_a_key_counts(store: AttributionStore) -> None:
    await store.put_many({b"a": b"1"})
    await store.put_many({b"a": b"2"})

    assert list(await store.get_many([b"a"])) == [b"2"]


async def test_a_store_is_what_the_protocol_asks_for(store: AttributionStore) -> None:
    assert isinstance(store, AttributionStore)


# --- memory


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_memory_forgets_in_time() -> None:
    clock = Clock()
    store = MemoryAttributionStore(ttl=10, clock=clock)
    await store.put_many({b"a": b"1"})
    clock.now = 5.0
    await store.put_many({b"b": b"2"})

    clock.now = 10.0
    found = await store.get_many([b"a", b"b"])

    assert found == [None, b"2"]
    assert len(store) == 1


async def test_memory_holds_the_newest_up_to_its_bound() -> None:
    store = MemoryAttributionStore(max_entries=3)

    await store.put_many({b"a": b"1", b"b": b"2", b"c": b"3"})
    await store.put_many({b"a": b"4", b"d": b"5"})

    assert await store.get_many([b"a", b"b", b"c", b"d"]) == [b"4", None, b"3", b"5"]
    assert len(store) == 3


@pytest.mark.parametrize("options", [{"max_entries": 0}, {"ttl": 0}, {"ttl": -1}])
def test_memory_without_room_or_time_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        MemoryAttributionStore(**options)


# --- Redis


async def test_redis_entries_expire_and_stand_under_their_prefix(server: RedisServer) -> None:
    async with redis_store(server.url, ttl=3600, prefix="shop:") as store:
        await store.put_many({b"key": b"value"})

    async with Redis.from_url(server.url) as redis:
        names = await redis.keys("shop:*")
        left = await redis.pttl(names[0])

    assert names == [b"shop:" + b"key".hex().encode()]
    assert 0 < left <= 3_600_000


async def test_a_borrowed_redis_is_never_closed(server: RedisServer) -> None:
    async with Redis.from_url(server.url, decode_responses=True) as redis:
        await redis.ping()
        store = RedisAttributionStore(redis, prefix="borrowed:")
        await store.put_many({b"key": b"value"})
        await store.aclose()

        assert await store.get_many([b"key"]) == [b"value"]


@pytest.mark.parametrize("login", [":secret", "shop:of-the-shop"], ids=["password", "user of an ACL"])
async def test_over_tls_certificates_are_verified_and_read_outside_the_event_loop(
    secure: SecureRedis, certificates_are_read_elsewhere: None, login: str
) -> None:
    async with redis_store(secure.url(login=login, authority=secure.authority)) as store:
        await store.put_many({b"key": b"value"})
        found = await store.get_many([b"key"])

    assert found == [b"value"]


# --- what is said when Redis fails


async def test_a_redis_that_is_gone_is_an_error_of_ours() -> None:
    async with redis_store(f"redis://127.0.0.1:{free_port()}") as store:
        with pytest.raises(AttributionError) as reading:
            await store.get_many([b"a"])
        with pytest.raises(AttributionError) as writing:
            await store.put_many({b"a": b"1"})

    assert str(reading.value) == "Redis cannot be read: Connection refused"
    assert str(writing.value) == "Redis cannot be written: Connection refused"


async def test_a_redis_that_hangs_does_not_answer_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:  # the system takes the connection, and nobody reads it
        async with aclosing(RedisAttributionStore(f"redis://127.0.0.1:{hanging.getsockname()[1]}")) as store:
            with pytest.raises(AttributionError) as caught:
                await store.get_many([b"key"])

    assert str(caught.value) == "Redis cannot be read: no answer in time"


@pytest.mark.parametrize(
    ("mistake", "reason"),
    [
        ("authority", "the certificate does not verify: "),
        ("password", "invalid username-password pair"),
        ("file", "the certificates that the address names cannot be read"),
        ("folder", "the certificates that the address names cannot be read"),
        ("no certificate", "the certificates that the address names cannot be read"),
        ("no text", "the certificates that the address names cannot be read"),
    ],
)
async def test_a_redis_that_cannot_be_trusted_is_not_used(
    secure: SecureRedis, tmp_path: Path, mistake: str, reason: str
) -> None:
    (tmp_path / "empty.pem").touch()
    url = {
        "authority": secure.url(),
        "password": secure.url(login=":not-the-secret", authority=secure.authority),
        "file": secure.url(authority=tmp_path / "nowhere.pem"),
        "folder": secure.url(authority=tmp_path),
        "no certificate": secure.url(authority=tmp_path / "empty.pem"),
        "no text": f"{secure.url()}?ssl_ca_data=%C3%A9",
    }[mistake]

    said = await words_of_reading(url)

    assert said.startswith(f"Redis cannot be read: {reason}")
    for secret in ("secret", "127.0.0.1", str(secure.port), str(tmp_path)):
        assert secret not in said


async def test_a_certificate_for_another_name_is_as_bad(impostor: SecureRedis) -> None:
    said = await words_of_reading(impostor.url(authority=impostor.authority))

    assert said == "Redis cannot be read: the certificate does not verify: IP address mismatch"


async def test_what_redis_refuses_to_write_is_not_told(server: RedisServer) -> None:
    async with redis_store(server.url.replace(":secret", "reader:of-the-reader")) as store:
        with pytest.raises(AttributionError) as caught:
            await store.put_many({b"key": b"value", b"other": b"value"})

    assert str(caught.value).startswith("Redis cannot be written: ")
    assert "no permissions" in str(caught.value)
    for content in ("value", b"key".hex(), "of-the-reader"):
        assert content not in str(caught.value)


async def answer_that_it_is_elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each command as a node of a cluster does that does not hold the key."""
    async for line in reader:
        if line.startswith(b"*"):
            writer.write(b"-MOVED 1 10.1.2.3:7000\r\n")
    writer.close()


async def test_the_address_of_another_server_is_not_told() -> None:
    async with await asyncio.start_server(answer_that_it_is_elsewhere, "127.0.0.1", 0) as node:
        of_a_cluster = await words_of_reading(f"redis://127.0.0.1:{node.sockets[0].getsockname()[1]}?protocol=2")
    once: dict[str, Any] = {"retry": Retry(NoBackoff(), 0)}
    sentinel = Sentinel([("127.0.0.1", free_port())], sentinel_kwargs=once, **once)  # type: ignore[no-untyped-call]
    async with sentinel.master_for("shop") as redis:
        with pytest.raises(MasterNotFoundError, match="127"):  # and connections are made, which looks on the disk
            await redis.ping()
        of_a_sentinel = await words_of_reading(redis)

    assert of_a_cluster == "Redis cannot be read: it is a node of a cluster, and what was asked for belongs to another"
    assert of_a_sentinel == "Redis cannot be read: no Sentinel knows a server"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/var/run/redis.sock",
        "https://127.0.0.1:6379",
        "redis://:secret@127.0.0.1:port",
        "redis://:secret@127.0.0.1?db=first",
        "redis://:secret@127.0.0.1?no_such_parameter=1",
        "rediss://:secret@127.0.0.1?ssl_cert_reqs=sometimes",
        "redis://:secret@127.0.0.1?ssl_ca_certs=ca.pem",
    ],
)
def test_an_address_that_is_none_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RedisAttributionStore(url)

    assert str(caught.value) == NO_STORE


def test_redis_without_time_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        RedisAttributionStore("redis://127.0.0.1", ttl=0)


def test_without_redis_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['redis'] = None\n"
        "from algolia_events.attribution_stores import MemoryAttributionStore\n"
        "from algolia_events.attribution_stores import RedisAttributionStore"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert "ConfigurationError: RedisAttributionStore needs redis: pip install 'algolia-events[redis]'" in done.stderr


def test_there_is_no_other_store() -> None:
    with pytest.raises(AttributeError, match="NoSuchStore"):
        attribution_stores.NoSuchStore  # noqa: B018
