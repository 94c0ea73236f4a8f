"""What every test shares: one event loop's worth of rules, and the books that must add up after each."""

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import HealthCheck, settings
from support.clock import HandClock

from algolia_events import _fork
from algolia_events._queue import EventQueue

settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


@pytest.fixture
def anyio_backend() -> str:
    """aiohttp runs on asyncio alone."""
    return "asyncio"


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[BlockBuster]:
    """A call of the library that blocks the event loop is an error."""
    with blockbuster_ctx("algolia_events") as blockbuster:
        yield blockbuster


@pytest.fixture(autouse=True)
def books_add_up() -> Iterator[None]:
    """`tracked == delivered + rejected + dropped + pending + stored`, after every test, for every queue that lives."""
    yield
    for queue in [member for member in tuple(_fork._members) if isinstance(member, EventQueue)]:
        stats = queue.stats()
        accounted = stats.delivered + stats.rejected + sum(stats.dropped.values()) + stats.pending + stats.stored
        assert stats.tracked == accounted, stats


@pytest.fixture
def clock() -> HandClock:
    """A clock that stands still until a test moves it."""
    return HandClock()
