"""What every unit test gets, an environment of its own, and the suite itself as a process to try things on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fcos_lib.artifacts.from_checkpoint import onnx_artifact
from fcos_lib.contract import SHAPES
from fcos_lib.store.artifacts import Store
from fixtures.options import EMBEDDED_CHECKPOINT

ROOT = Path(__file__).parents[2]


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
    """The environment of a shell that never heard of CANN, of this pytest, of a CI job or of the emulator; for child processes."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ASCEND", "FCOS", "GITHUB_", "PYTEST_"))
    }
    entries = kept.get("PATH", "").split(os.pathsep)
    kept["PATH"] = os.pathsep.join(entry for entry in entries if "emulator" not in entry)
    kept.pop("PYTHONPATH", None)
    return kept


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """An artifact folder in which the embedded checkpoint's ONNX is ready: exporting takes ten seconds."""
    folder = tmp_path_factory.mktemp("exported")
    onnx_artifact(Store(folder), SHAPES, EMBEDDED_CHECKPOINT)
    return folder


@pytest.fixture
def suite(tmp_path, outer_environment, exported):
    """The command line of pytest on this project and its environment; artifacts in a folder of the test, with the ONNX ready."""

    def prepare(*arguments, artifacts=tmp_path / "artifacts", scenario="", path="", ready=True):
        if ready and not artifacts.exists():
            shutil.copytree(exported / "onnx", artifacts / "onnx")  # other tests may have left more there
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--artifacts={artifacts}"]
        command += [f"--benchmark-storage={tmp_path / 'benchmarks'}", *map(str, arguments)]
        return command, {**outer_environment, "FCOS_EMULATOR": scenario, "PYTHONPATH": str(path)}

    return prepare


@pytest.fixture
def run(suite):
    """Run the suite to its end."""

    def call(*arguments, timeout=300, **how):
        command, environ = suite(*arguments, **how)
        return subprocess.run(
            command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=timeout, check=False
        )

    return call
