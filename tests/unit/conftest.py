"""An environment of its own for every unit test, prepared artifacts, and the suite itself as a process to try things on."""

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fcos_lib.artifacts.from_checkpoint import onnx_artifact
from fcos_lib.contract import SHAPES
from fcos_lib.store.artifacts import Store
from fixtures.options import settings
from fixtures.settings import EMBEDDED_CHECKPOINT
from tests import prepared as prepared_artifacts
from tests.copies import open_copies
from tests.gateproof.child import Child
from tests.prepared import PICTURES, once, own_cores, take_over

ROOT = Path(__file__).parents[2]


WHOLE_RUNS = {"prepared", "run_in", "suite"}
"""Fixtures of tests that start the suite as a process."""


def pytest_configure():
    """Under -n, this worker and the runs that its tests start keep to cores of their own.

    Before a test module imports torch, which counts the cores once: more threads than cores wait for each other for
    twelve times the work.
    """
    os.sched_setaffinity(0, own_cores(os.sched_getaffinity(0)))


def pytest_collection_modifyitems(config, items):
    """Long tests first: one that begins last keeps a single worker busy after all others have ended. Some only if `-m` says slow.

    Before them the gates, which leave references and more in this checkout's artifact folder for others to take over.
    """
    if "slow" not in config.getoption("markexpr"):
        waiting = [item for item in items if (mark := item.get_closest_marker("slow")) and mark.kwargs.get("asked")]
        config.hook.pytest_deselected(items=waiting)
        items[:] = [item for item in items if item not in waiting]
    gates = ROOT / "tests" / "acceptance"
    items.sort(
        key=lambda item: (
            not item.path.is_relative_to(gates),
            item.get_closest_marker("slow") is None,
            WHOLE_RUNS.isdisjoint(item.fixturenames),
        )
    )


def pytest_collection_finish():
    """What was collected stays to the end: the garbage collector need not look at these thousands of tests again and again."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _environment_restored():
    """Undo what a test does to the environment, the module path and the current folder; the emulator's tree goes into the former two."""
    environ, path, folder = dict(os.environ), list(sys.path), Path.cwd()
    yield
    os.environ.clear()
    os.environ.update(environ)
    sys.path[:] = path
    os.chdir(folder)


@pytest.fixture
def outer_environment():
    """The environment of a shell that never heard of CANN, of this pytest, of a CI job or of the emulator; for child processes."""
    return prepared_artifacts.outer_environment()


@pytest.fixture(scope="session")
def only_onnx(request, tmp_path_factory):
    """An artifact folder with nothing but the embedded checkpoint's ONNX, to be linked from: exporting takes ten seconds.

    It is the one of this checkout's artifact folder, which the gates and the next run take as well.
    """

    def fill(folder):
        kept = onnx_artifact(Store(settings(request.config).artifacts), SHAPES, EMBEDDED_CHECKPOINT)
        shutil.copytree(kept.path, folder / "onnx" / kept.path.name)  # no link: what a test does to it stays its own

    return once(tmp_path_factory, "only_onnx", fill)


@pytest.fixture(scope="session")
def exported(tmp_path_factory, only_onnx):
    """An artifact folder of this worker's own with that ONNX, in which tests may leave more."""
    folder = tmp_path_factory.mktemp("exported")
    take_over(only_onnx, folder)
    return folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, only_onnx):
    """The artifacts and results of a run of accuracy at batch size 4 that nothing happened to; half a minute's work."""

    def prepare(folder):
        outcome = Child(folder, only_onnx).run("--pictures", str(PICTURES), marks="accuracy")
        assert outcome.status == 0, f"the undisturbed run is not green:\n{outcome.output}"

    return once(tmp_path_factory, "prepared", prepare) / "artifacts"


@pytest.fixture
def ready(prepared, tmp_path):
    """The test's artifact folder, with everything there that such a run needs."""
    take_over(prepared, tmp_path / "artifacts")
    return tmp_path / "artifacts"


@pytest.fixture
def suite(tmp_path, outer_environment, only_onnx):
    """The command line of pytest on this project and its environment; artifacts in a folder of the test, with the ONNX ready."""

    def prepare(*arguments, artifacts=tmp_path / "artifacts", scenario="", path="", cold=False):
        if not cold and not artifacts.exists():
            take_over(only_onnx, artifacts)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--artifacts={artifacts}"]
        command += [f"--benchmark-storage={tmp_path / 'benchmarks'}", *map(str, arguments)]
        return command, {**outer_environment, "FCOS_EMULATOR": scenario, "PYTHONPATH": str(path)}

    return prepare


@pytest.fixture(scope="session")
def copies():
    """Runs of the suite as copies of one process."""
    with open_copies() as starter:
        yield starter


@pytest.fixture
def run(suite, copies):
    """Run the suite to its end, as a copy; with a `path` for modules of the test's own, from its start."""

    def call(*arguments, timeout=300, path="", **how):
        command, environ = suite(*arguments, path=path, **how)
        if not path:
            return copies.run(command[command.index("pytest") + 1 :], environ, timeout)
        return subprocess.run(
            command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=timeout, check=False
        )

    return call


@pytest.fixture
def checkout():
    """Copies what a run needs into a folder."""

    def copy(folder):
        half_written = shutil.ignore_patterns("*.pyc.*")  # by another worker's run
        for name in ("fcos_lib", "fixtures"):  # with what Python and pytest compiled, a second's work
            shutil.copytree(ROOT / name, folder / name, ignore=half_written)
        for name in ("tests/acceptance", "tests/gateproof"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "tests" / "unit").mkdir()
        for name in ("conftest.py", "pytest.ini"):
            shutil.copy(ROOT / name, folder / name)
        return folder

    return copy


@pytest.fixture
def run_in(outer_environment, tmp_path):
    """Run pytest in a checkout, with that checkout's own code; caches of the user are the test's own."""

    def run(folder, *arguments, before=(), **environment):
        own = {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(tmp_path / "caches")}
        return subprocess.run(
            [*before, sys.executable, "-m", "pytest", *map(str, arguments)], cwd=folder, env=outer_environment | own | environment,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    return run
