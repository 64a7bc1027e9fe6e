"""What every unit test gets: an environment of its own."""

import os
import sys

import pytest


@pytest.fixture(autouse=True)
def _environment_restored():
    """Undo what a test does to the environment and the module path; the emulator's tree goes into both."""
    environ, path = dict(os.environ), list(sys.path)
    yield
    os.environ.clear()
    os.environ.update(environ)
    sys.path[:] = path


@pytest.fixture
def outer_environment():
    """The environment of a shell that never heard of CANN, of this pytest or of the emulator; for child processes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ASCEND", "FCOS", "PYTEST_"))}
    entries = kept.get("PATH", "").split(os.pathsep)
    kept["PATH"] = os.pathsep.join(entry for entry in entries if "emulator" not in entry)
    kept.pop("PYTHONPATH", None)
    return kept
