"""The manual is true: its programs call what exists, its links lead somewhere, and no public name is missing.

The programs of `events.md` run as they stand, against the sandbox.
"""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

import algolia_events
from algolia_events import AlgoliaEvents, QueueOptions, RetryOptions
from algolia_events.sandbox import Sandbox

ROOT = Path(__file__).parent.parent
PAGES = sorted(ROOT.glob("docs/*.md"))
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
PUBLIC = ("", ".attribution_stores", ".instrumentation", ".outbox", ".relay", ".sandbox", ".testing")
FRAMEWORKS = ("aiohttp", "django", "fastapi", "litestar", "quart", "starlette")


def programs(page: Path) -> list[str]:
    """Find the Python blocks of a page; "…" stands for what the reader fills in."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [block.replace("…", "...") for block in blocks]


PROGRAMS = [pytest.param(block, id=f"{page.stem}-{n}") for page in PAGES for n, block in enumerate(programs(page))]


def parse(program: str) -> ast.Module:
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(program, "the manual", "exec", flags=flags)
    assert isinstance(tree, ast.Module)
    return tree


def imported(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    """Import what a program imports of ours."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("algolia_events"):
            module = importlib.import_module(node.module or "")
            yield from ((name.asname or name.name, getattr(module, name.name)) for name in node.names)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_is_python_and_what_it_calls_takes_its_arguments(program: str) -> None:
    tree = parse(program)

    known = {**vars(algolia_events), **vars(importlib.import_module("algolia_events.outbox")), **dict(imported(tree))}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and callable(known.get(node.func.id)):
            parameters = inspect.signature(known[node.func.id]).parameters
            if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
                assert {keyword.arg for keyword in node.keywords} <= set(parameters), node.func.id


async def test_the_programs_about_events_run() -> None:
    async with (
        Sandbox(delete_api_key="a key with the right deleteObject") as sandbox,
        AlgoliaEvents(app_id="APP", api_key="KEY", insights_url=sandbox.url) as algolia,
    ):
        names: dict[str, Any] = {"algolia": algolia, "url": sandbox.url, "Decimal": Decimal}
        for program in programs(ROOT / "docs" / "events.md"):
            code = compile(program, "events.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            running = eval(code, names)
            if inspect.isawaitable(running):
                await running
        report = await algolia.events.flush()

    assert (report.delivered, report.rejected) == (3, 0)
    sandbox.assert_events(3 + 2, kind="purchase", user="anonymous-1")
    assert sandbox.deleted_tokens == ("anonymous-1",)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_somewhere_and_the_readme_leads_here(page: Path) -> None:
    links = re.findall(r"\]\(((?!https?:)[^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8"))

    for path, section in links:
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE) if section else []
        assert not section or section in {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in headings}
    assert f"](docs/{page.name})" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("module", [*PUBLIC, *(f".integrations.{name}" for name in FRAMEWORKS)])
def test_every_public_name_is_in_the_manual(module: str) -> None:
    names = importlib.import_module(f"algolia_events{module}").__all__

    assert [name for name in names if not re.search(rf"\b{name}\b", TEXT) and name != "__version__"] == []


def test_every_option_is_in_the_manual() -> None:
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")

    options = [field.name for kind in (QueueOptions, RetryOptions) for field in attrs.fields(kind)]
    options += list(inspect.signature(AlgoliaEvents).parameters)
    assert [name for name in options if f"`{name}`" not in page] == []
