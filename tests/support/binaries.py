"""Programs that a test needs and a machine may lack."""

import os
import shutil
from pathlib import Path

import pytest

NODE_MODULES = Path(__file__).parents[1] / "node" / "node_modules"


def require_binary(name: str) -> str:
    """Find a program: without it, skip on a user's machine and fail in CI.

    A variable can name another one than that on the path: `REDIS_SERVER=/opt/redis-6.2/bin/redis-server`.
    """
    path = shutil.which(os.environ.get(name.upper().replace("-", "_")) or name)
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed, and CI must not skip what needs it")
        pytest.skip(f"{name} is not installed")
    return path


def require_npm(path: str) -> Path:
    """Find a file of an npm package, or skip: it takes `npm ci`, which is not for a test to run."""
    file = NODE_MODULES / path
    if not file.exists():
        pytest.skip(f"{path} is not installed: npm ci --prefix tests/node")
    return file
