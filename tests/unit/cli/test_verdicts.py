"""The verbs for stored runs: `verify` says if one is complete and green, `judge` decides it again, `limits` shows by what."""

import json
import re
from pathlib import Path

import pytest

from fcos_lib.cli.main import main
from fcos_lib.evidence.results import write_results
from fcos_lib.judge.limits import FILE, find_limit
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
        verdict = decide("accuracy", "batch4", MEASURED, find_limit("accuracy", "not_counted_once"), stand_in=stand_in)
        entry = verdict.as_dict() | {"test": "tests/acceptance/test_accuracy.py::x"}
        document = {
            "schema_version": 3,
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
        ({"unjudged": [INFRA], "exit_status": 8}, [], 8, "tests that did not come to a verdict: 1"),
        ({"unjudged": [INFRA], "gates": ()}, [], 8, "did not end"),
        ({"gates": ()}, [], 8, "it does not say what became of every gate"),
        ({"outcome": "FAIL"}, [], 1, "1 verdicts are neither PASS nor STAND-IN"),
        ({"exit_status": 7}, [], 7, "its own exit status was 7"),
        ({"exit_status": 256}, [], 3, "its own exit status was 256"),
        ({"pytest_status": -256}, [], 3, "pytest ended with status -256"),
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


@pytest.mark.parametrize("outcome", ["FAIL", "NO VERDICT"])
def test_a_red_run_that_other_limits_make_green_is_green(stored, outcome):
    """pytest's own 1 was of the red gate; without one it is of something that nobody noted."""
    path = stored(outcome=outcome, exit_status=7, pytest_status=1)
    document = json.loads(Path(path).read_text(encoding="utf-8"))
    document["verdicts"][0] |= {"limit": None, "lacks": "accuracy.not_counted_once"} if outcome != "FAIL" else {}
    Path(path).write_text(json.dumps(document), encoding="utf-8")
    assert main(["judge", path]) == 0
    assert main(["judge", stored(exit_status=1, pytest_status=1)]) == 1


def test_a_gate_that_a_red_one_stopped_is_no_verdict_under_other_limits(stored, capsys):
    """It measured nothing, so that no limit can make it green."""
    stopped = ENTRY | {"state": State.BLOCKED.value, "why": "another was red", "key": "accuracy.unlike_reference"}
    assert main(["judge", stored(gates=[ENTRY, stopped], outcome="FAIL", exit_status=1, pytest_status=1)]) == 7
    assert "gates that did not come to their measurement, since another was red: 1" in capsys.readouterr().out


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


@pytest.fixture
def measured(tmp_path):
    """Writes a run with one accuracy gate at 0.40, or none, and what failed before it could judge; returns its path."""

    def write(*, verdicts=1, unjudged=()):
        val2017 = {"count": 5000, "first": 139, "last": 581781, "ids_sha256": "0" * 64}
        measurement = Measurement("mAP as published", 0.40, "AP", 4952, details={"data_set": val2017})
        limit = find_limit("accuracy", "coco_r50", "mAP_as_published")
        entries = [decide("accuracy", "batch8", measurement, limit, stand_in=False).as_dict()] * verdicts
        path = tmp_path / "results.json"
        write_results(path, environment={}, artifacts=[], verdicts=entries, unjudged=list(unjudged), run={})
        return str(path)

    return write


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (lambda text: text, 0, "0 verdicts differ"),
        (lambda text: text.replace("bound = 0.359", "bound = 0.41"), 1, "1 verdicts differ"),
        (lambda text: re.sub(r"\[\w+\.coco_r50\.[^\[]*", "", text), 7, "NO VERDICT"),
        (lambda text: "", 3, "limits.toml lacks [accuracy.distance_from_pycocotools]"),
    ],
    ids=["same", "stricter", "gone", "none"],
)
def test_judge_decides_by_the_limits_that_it_is_given(measured, tmp_path, capsys, change, status, words):
    """Without inference; a contract without limits is NO VERDICT, and a file with a hole judges nothing."""
    limits = tmp_path / "limits.toml"
    limits.write_text(change(FILE.read_text(encoding="utf-8")), encoding="utf-8")
    assert main(["judge", measured(), "--limits", str(limits)]) == status
    said = capsys.readouterr()
    assert words in said.out + said.err


def test_judge_needs_a_measurement(measured, capsys):
    """Exit 3; files that are no results have their cases in tests/unit/hostile/test_files.py."""
    assert main(["judge", measured(verdicts=0)]) == 3
    assert "holds no measurement" in capsys.readouterr().err


def test_judge_keeps_the_outcome_of_a_gate_that_failed_before_it_could_judge(measured, capsys):
    """It is not forgotten."""
    broken = {"test": "tests/acceptance/x", "phase": "call", "outcome": "INFRA", "message": ""}
    assert main(["judge", measured(unjudged=[broken])]) == 8
    assert "INFRA: no reason was given (tests/acceptance/x could not judge)" in capsys.readouterr().out


def test_limits_prints_bound_and_source(capsys):
    """The published accuracy with the table it was published in."""
    assert main(["limits"]) == 0
    out = capsys.readouterr().out
    assert "accuracy.coco_r50.mAP_as_published  must be at least 0.359 AP" in out
    assert "ModelZoo FCOS README" in out
