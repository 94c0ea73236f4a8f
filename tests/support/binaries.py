"""Programs that a test needs and a machine may lack."""

import os
import shutil

import pytest


def require_binary(name: str) -> str:
    """Find a program: without it, skip on a user's machine and fail in CI."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed, and CI must not skip what needs it")
        pytest.skip(f"{name} is not installed")
    return path
