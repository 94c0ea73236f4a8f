"""The README holds what it promises: its program runs as it stands, and every page it names exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_program_is_short_and_runs_as_it_stands(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "readme.py").write_text(program, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-W", "error", "readme.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert len(program.splitlines()) <= 15
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "[('Product Clicked', False), ('Recommendation Clicked', True)]\n"


@pytest.mark.parametrize("page", re.findall(r"\]\(((?!https?:)[^)]+)\)", README))
def test_every_page_that_is_named_exists(page: str) -> None:
    assert (ROOT / page).is_file()
