"""The pytest plugin: fixtures `algolia_sandbox` and `algolia_events`, for whoever runs the async tests.

A module of its own beside the package, as an entry point is imported in every run of pytest: it must not bring the
library and aiohttp with it. Both are imported when a test asks for a fixture.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from algolia_events import AlgoliaEvents
    from algolia_events.sandbox import Sandbox

_APP_ID = "SANDBOX"
_API_KEY = "sandbox-key"
# Waits in a test are waits of a developer: what is tracked goes out almost at once.
_LINGER_S = 0.01


@pytest.fixture
def algolia_sandbox(request: pytest.FixtureRequest) -> "Sandbox":
    """Give a `Sandbox` on a free port, fresh for each test.

    It runs in the test's own event loop, and in a thread of its own where the test has none: look at it from there,
    and await nothing of it.
    """
    sandbox: Sandbox = request.getfixturevalue(f"_algolia_sandbox_{_runner_of(request)}")
    return sandbox


@pytest.fixture
def algolia_events(request: pytest.FixtureRequest) -> "AlgoliaEvents":
    """Give a client that is wired to `algolia_sandbox`, started, and closed after the test."""
    runner = _runner_of(request)
    if runner == "thread":
        pytest.fail(
            "algolia_events needs an async test, as the client belongs to an event loop; in this one, give your "
            "application the address algolia_sandbox.url",
            pytrace=False,
        )
    algolia: AlgoliaEvents = request.getfixturevalue(f"_algolia_events_{runner}")
    return algolia


def pytest_configure(config: pytest.Config) -> None:
    """Have the fixtures run by pytest-asyncio too, where it is loaded (pytest-aiohttp brings it)."""
    if any(config.pluginmanager.has_plugin(name) for name in ("asyncio", "pytest_asyncio.plugin")):
        config.pluginmanager.register(_asyncio_fixtures(), "algolia_events_asyncio")


def _runner_of(request: pytest.FixtureRequest) -> str:
    """Tell who runs a test; each runner sets up the async fixtures marked for it, and no others."""
    if "anyio_backend" in request.fixturenames:
        return "anyio"
    # pytest-asyncio puts its marker on every async test in auto mode
    return "asyncio" if request.node.get_closest_marker("asyncio") else "thread"


@asynccontextmanager
async def _open_sandbox() -> AsyncIterator["Sandbox"]:
    from algolia_events.sandbox import Sandbox  # noqa: PLC0415 - see the module docstring

    async with Sandbox() as sandbox:
        yield sandbox


@asynccontextmanager
async def _open_client(sandbox: "Sandbox") -> AsyncIterator["AlgoliaEvents"]:
    from algolia_events import AlgoliaEvents, QueueOptions  # noqa: PLC0415 - see the module docstring

    async with AlgoliaEvents(
        app_id=_APP_ID,
        api_key=_API_KEY,
        insights_url=sandbox.url,
        recommend_urls=[sandbox.url],
        queue=QueueOptions(linger=_LINGER_S),
        attribution_keys=["a key that only tests know, and all"],
    ) as algolia:
        yield algolia


@pytest.fixture
async def _algolia_sandbox_anyio() -> AsyncIterator["Sandbox"]:
    async with _open_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def _algolia_events_anyio(_algolia_sandbox_anyio: "Sandbox") -> AsyncIterator["AlgoliaEvents"]:
    async with _open_client(_algolia_sandbox_anyio) as algolia:
        yield algolia


@pytest.fixture
def _algolia_sandbox_thread() -> Iterator["Sandbox"]:
    from anyio.from_thread import start_blocking_portal  # noqa: PLC0415 - see the module docstring

    from algolia_events.sandbox import Sandbox  # noqa: PLC0415

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Sandbox()) as sandbox:
        yield sandbox


def _asyncio_fixtures() -> Any:
    """Make a plugin with the fixtures that pytest-asyncio runs, in strict mode as well."""
    import pytest_asyncio  # noqa: PLC0415 - there is nothing of it where it is not loaded

    class Fixtures:
        @pytest_asyncio.fixture
        async def _algolia_sandbox_asyncio(self) -> AsyncIterator["Sandbox"]:
            async with _open_sandbox() as sandbox:
                yield sandbox

        @pytest_asyncio.fixture
        async def _algolia_events_asyncio(self, _algolia_sandbox_asyncio: "Sandbox") -> AsyncIterator["AlgoliaEvents"]:
            async with _open_client(_algolia_sandbox_asyncio) as algolia:
                yield algolia

    return Fixtures()
