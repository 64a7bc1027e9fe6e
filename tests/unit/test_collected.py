"""A run of gates reads no unit tests, and a run that selects any of them reads them all."""

import ast
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from fixtures.selection import _OF_GATES, pytest_ignore_collect
from tests.prepared import own_cores

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "tests" / "unit"


def ignored(markers, path=UNIT):
    """Whether the folder is passed over for -m."""
    return pytest_ignore_collect(path, SimpleNamespace(rootpath=ROOT, getoption=lambda _: markers))


@pytest.mark.parametrize("markers", ["accuracy", "contract or accuracy", "(cost) and not own_om", "throughput"])
def test_unit_tests_are_not_read_for_gates_alone(markers):
    """They were imported and deselected before, six seconds in a run that may take thirty."""
    assert ignored(markers) is True


@pytest.mark.parametrize(
    "markers",
    ["", "not throughput", "slow", "accuracy or slow", "not (accuracy or cost)", "not accuracy", "accuracy and", "usefixtures"],
)  # fmt: skip
def test_unit_tests_are_read_if_any_of_them_may_be_selected(markers):
    """What cannot be understood is for pytest to refuse."""
    assert ignored(markers) is None


def test_nothing_else_is_passed_over():
    """Above all no gate."""
    assert ignored("accuracy", ROOT / "tests" / "acceptance") is None
    assert ignored("accuracy", ROOT / "tests") is None


def test_no_unit_test_has_a_marker_of_a_gate():
    """It would never run with -m."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: pytest.mark.{node.attr}"
        for path in sorted(UNIT.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in _OF_GATES
        and isinstance(node.value, ast.Attribute) and node.value.attr == "mark"
    ]  # fmt: skip
    assert not found, f"{len(found)} unit tests have a marker of gates: {found}"


def test_every_marker_of_a_gate_is_declared(pytestconfig):
    """A name that pytest.ini does not have is a slip."""
    declared = {line.partition(":")[0].strip() for line in pytestconfig.getini("markers")}
    assert declared >= _OF_GATES, f"not declared in pytest.ini: {sorted(_OF_GATES - declared)}"


def test_a_run_of_gates_collects_gates_only_and_imports_no_hypothesis(suite):
    """From the command line, with no path given. Hypothesis took a second of every run, to say that there is nothing to say."""
    command, environ = suite("--collect-only", "-q", "--npu", "emulated", "--batch-sizes", "4", "-m", "cost")
    command[1:1] = ["-X", "importtime"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "tests/unit" not in done.stdout, done.stdout
    *_, counted = [line for line in done.stdout.splitlines() if "tests collected" in line]
    assert int(counted.partition("/")[2].split()[0]) < 100, f"unit tests were read as well: {counted}"
    assert "hypothesis" not in {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


def test_hypothesis_may_be_missing(run):
    """As where only what the gates need is installed."""
    done = run("--collect-only", "-q", "--npu", "emulated", "-m", "cost", "-p", "no:hypothesispytest")
    assert done.returncode == 0, done.stdout + done.stderr


def test_torch_counts_the_cores_of_this_worker_only():
    """Under -n: what it counted when it was imported stays, and a thread too many on a core is twelve times the work."""
    torch = pytest.importorskip("torch", reason="needs the extra 'export'")
    threads, cores = torch.get_num_threads(), len(os.sched_getaffinity(0))
    assert threads <= cores, f"torch has {threads} threads for the {cores} cores of this worker"


@pytest.mark.parametrize(
    ("worker", "workers", "own"),
    [("", "", {2, 3, 5}), ("gw0", "2", {2, 5}), ("gw1", "2", {3}), ("gw3", "4", {2}), ("gw1", "4", {3}), ("gw7", "1", {2, 3, 5})],
)  # fmt: skip
def test_a_worker_has_cores_of_its_own(monkeypatch, worker, workers, own):
    """Every core belongs to one; more workers than cores share them evenly, and one that replaces a dead one has a higher number."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", workers)
    assert own_cores({5, 3, 2}) == own, f"{worker} of {workers} has other cores"
