"""The pytest plugin's fixtures work under each plugin that runs async tests, and load nothing before they are used.

Each sample project runs in a pytest of its own, with the plugins it names and no others.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ATTRIBUTED = """
    user = algolia_events.user("user-1")
    recs = await user.related_products("products", object_id="sku-1", threshold=0)
    algolia_events.events.track(recs.hits[0].clicked("Product Clicked"))
    user.converted_object_ids("Converted", "products", ["sku-2"])
    await algolia_events.events.flush()

    assert len(algolia_sandbox.events(kind="click", user="user-1")) == 1
    algolia_sandbox.assert_attributed(kind="click", model="related-products")
    algolia_sandbox.assert_not_attributed(kind="conversion")
"""
ANYIO = f"""
import pytest

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
async def test_attribution(algolia_events, algolia_sandbox):{ATTRIBUTED}

@pytest.mark.anyio
async def test_each_test_has_a_sandbox_of_its_own(algolia_sandbox):
    assert algolia_sandbox.counts.requests == 0
    algolia_sandbox.assert_nothing_rejected()
"""
PYTEST_ASYNCIO = f"""
import pytest

@pytest.mark.asyncio
async def test_attribution(algolia_events, algolia_sandbox):{ATTRIBUTED}

@pytest.mark.asyncio
async def test_each_test_has_a_sandbox_of_its_own(algolia_sandbox):
    assert algolia_sandbox.counts.requests == 0
"""
PYTEST_AIOHTTP = f"""
from aiohttp import web
from algolia_events.integrations.aiohttp import ALGOLIA, get_user, setup_user_tokens

async def test_attribution(algolia_events, algolia_sandbox):{ATTRIBUTED}

async def test_an_application(aiohttp_client, algolia_events, algolia_sandbox):
    async def click(request):
        get_user(request).clicked_object_ids("Product Clicked", "products", ["sku-1"])
        return web.Response()

    app = web.Application()
    app[ALGOLIA] = algolia_events
    setup_user_tokens(app)
    app.router.add_post("/click", click)
    shop = await aiohttp_client(app)

    answer = await shop.post("/click")

    await algolia_sandbox.wait_for(1)
    assert answer.status == 200
    algolia_sandbox.assert_events(1, kind="click", user=answer.cookies["_ALGOLIA"].value)
"""
SYNC = """
import asyncio
from algolia_events import AlgoliaEvents

def test_an_application_with_a_loop_of_its_own(algolia_sandbox):
    async def application():
        url = algolia_sandbox.url
        async with AlgoliaEvents(app_id="APP", api_key="key", insights_url=url) as algolia:
            algolia.user("user-1").clicked_object_ids("Product Clicked", "products", ["sku-1"])

    asyncio.run(application())

    algolia_sandbox.assert_events(1, kind="click", user="user-1")
"""
NO_LOOP = """
def test_a_client_needs_a_loop(algolia_events):
    pass
"""
LAZY = """
import sys

def test_nothing_is_loaded():
    assert "pytest_algolia_events" in sys.modules
    assert not {"algolia_events", "aiohttp", "attrs", "orjson"} & set(sys.modules)
"""


def run_pytest(directory: Path, source: str, *arguments: str, succeeds: bool = True) -> str:
    """Run a sample project, and give what pytest said."""
    (directory / "test_sample.py").write_text(source)
    (directory / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    environment = {
        **os.environ,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "pytest_algolia_events", *arguments]
    done = subprocess.run(
        [*command, "-v", "-rA", str(directory)],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) is succeeds, done.stdout + done.stderr
    return done.stdout


def require(module: str) -> None:
    """Skip where an optional plugin is missing, and fail in CI."""
    if find_spec(module) is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{module} is not installed, and CI must not skip what needs it")
        pytest.skip(f"{module} is not installed")


def test_anyio(tmp_path: Path) -> None:
    output = run_pytest(tmp_path, ANYIO, "-p", "anyio")

    assert "2 passed" in output


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_pytest_asyncio(tmp_path: Path, mode: str) -> None:
    require("pytest_asyncio")

    output = run_pytest(
        tmp_path,
        PYTEST_ASYNCIO,
        "-p",
        "asyncio",
        "-o",
        "asyncio_default_fixture_loop_scope=function",
        f"--asyncio-mode={mode}",
    )

    assert "2 passed" in output


def test_pytest_aiohttp(tmp_path: Path) -> None:
    require("pytest_aiohttp")

    output = run_pytest(
        tmp_path,
        PYTEST_AIOHTTP,
        "-p",
        "asyncio",
        "-p",
        "aiohttp",
        "-o",
        "asyncio_default_fixture_loop_scope=function",
        "--asyncio-mode=auto",
    )

    assert "2 passed" in output


def test_tests_that_are_not_async(tmp_path: Path) -> None:
    output = run_pytest(tmp_path, SYNC)

    assert "1 passed" in output


def test_a_client_for_a_test_that_is_not_async_is_refused_with_a_way_out(tmp_path: Path) -> None:
    output = run_pytest(tmp_path, NO_LOOP, succeeds=False)

    assert "1 error" in output
    assert "give your application the address algolia_sandbox.url" in output


def test_nothing_is_loaded_until_it_is_asked_for(tmp_path: Path) -> None:
    output = run_pytest(tmp_path, LAZY)

    assert "1 passed" in output
