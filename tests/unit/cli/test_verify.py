"""The verb `verify` says if a stored run is complete and green, and `judge` forgets nothing that failed besides."""

import json

import pytest

from fcos_lib.cli.main import main
from fcos_lib.judge.roll_call import State
from fcos_lib.judge.verdict import decide
from fcos_lib.measure import Measurement

MEASURED = Measurement("pictures not counted once", 0.0, "pictures", 240, gate="accuracy.not_counted_once")
ENTRY = {
    "key": "accuracy.not_counted_once", "promise": "accuracy", "name": "x", "subject": "batch4", "state": "judged",
    "why": "", "recorded": False,
}  # fmt: skip


@pytest.fixture
def stored(tmp_path):
    """Writes a green run, changed as the arguments say, and returns its path."""

    def write(*, stand_in=False, gates=(ENTRY,), unjudged=(), outcome=None, **run):
        from fcos_lib.judge.limits import find_limit

        verdict = decide("accuracy", "batch4", MEASURED, find_limit("accuracy", "not_counted_once"), stand_in=stand_in)
        entry = verdict.as_dict() | {"test": "tests/acceptance/test_accuracy.py::x"}
        document = {
            "schema_version": 2,
            "run": {"exit_status": 0, "pytest_status": 0, "other_failures": 0, "gates": 1, "gates_not_run": 0} | run,
            "environment": {}, "artifacts": [], "evidence": [],
            "verdicts": [entry | ({"outcome": outcome} if outcome else {})], "unjudged": list(unjudged),
            "gates": list(gates),
        }  # fmt: skip
        path = tmp_path / "results.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        return str(path)

    return write


def test_a_complete_green_run_is_0(stored, capsys):
    """One line, for people."""
    assert main(["verify", stored()]) == 0
    assert "PASS, 1 verdicts" in capsys.readouterr().out


INFRA = {"test": "tests/acceptance/x", "phase": "call", "outcome": "INFRA", "message": "the run did not end"}
OPEN = ENTRY | {"state": State.NOT_SELECTED.value, "why": "by -m 'x'"}


@pytest.mark.parametrize(
    ("changes", "arguments", "status", "words"),
    [
        ({"exit_status": 1, "other_failures": 1}, [], 1, "1 tests that are no gates failed"),
        ({"exit_status": 2, "pytest_status": 2}, [], 2, "pytest ended with status 2"),
        ({"unjudged": [INFRA], "exit_status": 8}, [], 8, "1 tests did not come to a verdict"),
        ({"unjudged": [INFRA], "gates": ()}, [], 8, "did not end"),
        ({"gates": ()}, [], 8, "it does not say what became of every gate"),
        ({"outcome": "FAIL"}, [], 1, "1 verdicts are neither PASS nor STAND-IN"),
        ({"exit_status": 7}, [], 7, "its own exit status was 7"),
        ({"gates_not_run": 2}, [], 7, "2 selected tests did not run"),
        ({"gates": (OPEN,)}, ["--require", "accuracy"], 7, "was not judged: not selected, by -m 'x'"),
        ({"gates": (OPEN,), "require": ["accuracy"]}, [], 7, "was not judged: not selected"),
        ({"gates": (OPEN | {"state": "missing"},)}, [], 7, "was not judged: missing"),
        ({"stand_in": True}, ["--npu", "required"], 7, "STAND-IN is not PASS"),
    ],
)
def test_anything_else_is_not_0(stored, capsys, changes, arguments, status, words):
    """And says why in a line."""
    assert main(["verify", stored(**changes), *arguments]) == status
    assert words in capsys.readouterr().out


def test_a_run_on_the_emulator_is_green_unless_an_npu_is_required(stored, capsys):
    """And called STAND-IN."""
    assert main(["verify", stored(stand_in=True)]) == 0
    assert "STAND-IN, 1 verdicts" in capsys.readouterr().out


def test_a_run_that_left_nothing_is_an_error(tmp_path):
    """A library that ends the process before the first gate leaves no file."""
    assert main(["verify", str(tmp_path / "results.json")]) == 3


@pytest.mark.parametrize(
    ("run", "status"),
    [
        ({"exit_status": 1, "other_failures": 1}, 1),
        ({"exit_status": 2, "pytest_status": 2}, 2),
        ({"exit_status": 3, "pytest_status": 3}, 3),
        ({"unanswered": 1, "require": ["accuracy"]}, 7),
        ({"exit_status": 0}, 0),
    ],
    ids=["unit_test", "interrupted", "internal", "required", "green"],
)
def test_judge_counts_what_else_failed_in_the_run(stored, capsys, run, status):
    """It used to be exit 0 as soon as all gates were green."""
    gates = (OPEN,) if "require" in run else (ENTRY,)
    assert main(["judge", stored(gates=gates, **run)]) == status


@pytest.mark.parametrize("stored_status", [1, 2, 3, 6])
def test_judge_believes_the_status_of_an_older_run(stored, stored_status):
    """A run of an earlier release did not note what failed besides; its status did."""
    path = stored(exit_status=stored_status)
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    for name in ("pytest_status", "other_failures"):
        del document["run"][name]
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file)
    assert main(["judge", path]) == stored_status
