"""Without the extension the library is the same."""

import importlib.util
import os
import subprocess
import sys

import pytest

IS_BUILT = importlib.util.find_spec("algolia_events._speedups") is not None
LEFT_OUT = "ALGOLIA_EVENTS_NO_EXTENSIONS"
PROGRAM = """
from algolia_events import ClickedObjectIDs, _native
from algolia_events._codec import encode
event = ClickedObjectIDs(event_name="Clicked", index="products", user_token="u", object_ids=["sku-1"])
print(_native.speedups is None, ClickedObjectIDs.__init__.__qualname__, encode(event, 1))
"""


@pytest.mark.parametrize("left_out", ["", "1"])
def test_the_library_is_the_same_without_it(left_out: str) -> None:
    environment = {**os.environ, LEFT_OUT: left_out}

    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)

    without, name, line = done.stdout.strip().split(" ", 2)
    assert without == str(bool(left_out) or not IS_BUILT)
    assert name == "ClickedObjectIDs.__init__"
    assert line == (
        '{"eventType":"click","eventName":"Clicked","userToken":"u","timestamp":1,"index":"products",'
        '"objectIDs":["sku-1"]}'
    )


STALE = """
import sys, types
stale = types.ModuleType("algolia_events._speedups")
sys.modules[stale.__name__] = stale
import algolia_events
algolia_events._speedups = stale
from algolia_events import _native
print(_native._found())
stale.INTERFACE = _native._INTERFACE
print(_native._found())
"""


def test_a_build_of_other_times_is_none() -> None:
    environment = {**os.environ, LEFT_OUT: ""}

    done = subprocess.run([sys.executable, "-c", STALE], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout.split("\n")[:2] == ["None", "<module 'algolia_events._speedups'>"]
