"""Every example runs as it stands: the programs here, the web applications under real servers in `integrations/`."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
PROGRAMS = ("quick_start.py", "recommend_attribution.py")
APPLICATIONS = tuple(f"{name}_app.py" for name in ("aiohttp", "django", "fastapi", "litestar", "quart", "starlette"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_runs_to_its_end(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_no_example_is_forgotten() -> None:
    servers = (Path(__file__).parent / "integrations" / "test_servers.py").read_text(encoding="utf-8")

    assert {path.name for path in EXAMPLES.glob("*.py")} == {*PROGRAMS, *APPLICATIONS}
    assert [name for name in APPLICATIONS if name.removesuffix(".py") not in servers] == []
