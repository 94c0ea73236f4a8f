"""What the package promises by being importable: sorted public names, typed, quick, and without side effects."""

import importlib
import pickle
import subprocess
import sys

import pytest

import algolia_events
from algolia_events import errors

PUBLIC = ["algolia_events", "algolia_events.sandbox", "algolia_events.instrumentation", "algolia_events.outbox"]


def _constants_classes_functions(name: str) -> tuple[bool, bool, str]:
    return not name.isupper(), not name[0].isupper(), name


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_sorted_and_exist(name: str) -> None:
    module = importlib.import_module(name)

    assert list(module.__all__) == sorted(module.__all__, key=_constants_classes_functions)
    assert [public for public in module.__all__ if not hasattr(module, public)] == []


def test_every_error_is_public() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.AlgoliaEventsError) and not name.startswith("_")
    }

    assert defined <= set(algolia_events.__all__)


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidEventError("ClickedObjectIDs", [("index", "is empty")]),
        errors.QueueFullError(1, 2),
        errors.EventRejectedError(422, "no"),
        errors.EventDroppedError("shutdown"),
        errors.TransportError("reset", ambiguous=True),
        errors.UnreachableError([("host", "refused")]),
        errors.ApiError.from_status(429, "slow down", correlation_id="c", request_id="r", retry_after=2.5),
        errors.MissingQueryIDError("clicked()"),
        errors.OutboxFullError(5),
    ],
)
def test_errors_survive_a_process_boundary(error: errors.AlgoliaEventsError) -> None:
    again = pickle.loads(pickle.dumps(error))

    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_importing_starts_nothing_and_brings_in_no_extra() -> None:
    program = (
        "import sys, threading, logging, asyncio, os\n"
        "os.environ.clear()\n"
        "import algolia_events\n"
        "assert threading.active_count() == 1\n"
        "assert not logging.getLogger('algolia_events').handlers\n"
        "extras = {'redis', 'rich', 'cyclopts', 'opentelemetry', 'starlette', 'pytest', 'sqlite3'}\n"
        "unwanted = extras & set(sys.modules)\n"
        "assert not unwanted, unwanted\n"
    )

    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
