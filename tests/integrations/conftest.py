"""Clients without a network, for the tests of the frameworks."""

import pytest
from support.asgi import Clients


@pytest.fixture
def clients() -> Clients:
    return Clients()
