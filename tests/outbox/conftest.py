"""The outboxes under test, and what to put into them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from support.binaries import require_binary
from support.groups import MakeOutbox, OwnOutbox
from support.redis_server import RedisServer

from algolia_events.outbox import MemoryOutbox, RedisOutbox, SQLiteOutbox


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real server, which all tests share; each takes a stream of its own."""
    with RedisServer(require_binary("redis-server"), tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def make_outbox(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MakeOutbox]:
    """Makes an outbox of each kind; all that one test makes share their store, except in memory, where it is one."""
    async with AsyncExitStack() as stack:
        in_memory: dict[int, MemoryOutbox] = {}

        async def make(max_bytes: int = 64 * 1024 * 1024) -> OwnOutbox:
            outbox: OwnOutbox
            if request.param == "sqlite":
                outbox = SQLiteOutbox(tmp_path / "events.db", max_bytes=max_bytes)
            elif request.param == "redis":
                redis = request.getfixturevalue("redis_server")
                outbox = RedisOutbox(redis.url, stream=redis.new_stream(tmp_path), max_bytes=max_bytes)
            else:
                outbox = in_memory.setdefault(max_bytes, MemoryOutbox(max_bytes=max_bytes))
            stack.push_async_callback(outbox.aclose)
            await outbox.open()
            return outbox

        yield make


@pytest.fixture
async def outbox(make_outbox: MakeOutbox) -> OwnOutbox:
    return await make_outbox()
