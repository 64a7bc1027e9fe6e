"""The proof of the gates is proved itself: injections reach every process, void ones are found out, and words mean what they say."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fixtures.gateproof import by_gate, markdown, matrix
from tests.gateproof.case import REFUSED, Case, Injection, Outcome, verdict_on
from tests.gateproof.catalogue import CASES, CONTROLS, DEFECTS, SIZED, case_called
from tests.gateproof.child import PLUG, red_gates
from tests.gateproof.inject import fingerprint, wrap

ROOT = Path(__file__).parents[3]
GATE, OTHER = "consistency: size bias", "accuracy: mAP"
DEFECT = Case("a_defect", "something is wrong", (GATE,), "P5")
CONTROL = Case("a_control", "nothing is wrong")
NOTHING = Outcome(0, {}, (), (), 1.0, {}, "")
INJECTION = Injection("module:double", "result", lambda result, number: result)


def double(number):
    """What an injection is tried on."""
    return 2 * number


@pytest.fixture
def module():
    """A module with one function."""
    made = ModuleType("module")
    made.double = double
    return made


@pytest.mark.parametrize(
    ("kind", "change", "result", "changed"),
    [
        ("result", lambda result, number: result + 1, 7, True),
        ("result", lambda result, number: result, 6, False),
        ("arguments", lambda number: ((number + 1,), {}), 8, True),
        ("arguments", lambda number: ((number,), {}), 6, False),
        ("function", lambda original, number: original(number) - 1, 5, True),
        ("function", lambda original, number: original(number), 6, False),
        ("instead", lambda original, number: 0, 0, True),
        ("instead", lambda original, number: original(number), 6, False),
    ],
)
def test_an_injection_tells_whether_it_changed_anything(module, tmp_path, kind, change, result, changed):
    """It is played, and `changed-<pid>` is there only if something came out otherwise."""
    wrap(module, Injection("module:double", kind, change), tmp_path)
    assert module.double(3) == result
    assert (tmp_path / f"reached-{os.getpid()}").exists()
    assert (tmp_path / f"changed-{os.getpid()}").exists() == changed


def test_what_a_function_writes_into_its_argument_counts():
    """Arrays are compared by their bytes, files by their content."""
    assert fingerprint([np.zeros(3)]) != fingerprint([np.array([0, 0, -0.0])])
    assert fingerprint({"a": np.zeros(3)}) == fingerprint({"a": np.zeros(3)})
    assert fingerprint(np.zeros(3, np.float32)) != fingerprint(np.zeros(3, np.int32))
    assert fingerprint(Path(__file__)) == fingerprint(Path(__file__))


def test_processes_that_decode_pictures_play_the_defect_too(tmp_path):
    """The defect reaches the workers of a feed through the environment alone, and each leaves a trace."""
    program = (
        "from fcos_lib.stream.dataset import open_dataset; from fcos_lib.stream.feed import Feed, load_batch;"
        "from fcos_lib.contract import SHAPES; from fixtures.settings import EMBEDDED; import numpy as np;"
        "pictures = open_dataset(EMBEDDED).pictures[:8];"
        "here = load_batch(pictures, SHAPES, 8).tensor;"
        "there = next(iter(Feed([pictures], SHAPES, 8, workers=2))).tensor;"
        "assert (here == there).all(), 'the workers play something else'"
    )
    environ = {**os.environ, "PYTHONPATH": f"{PLUG}{os.pathsep}{ROOT}"}
    environ |= {"FCOS_DEFECT": "bgr_rgb", "FCOS_DEFECT_TRACE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("changed-*"))) >= 2, [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("case", "outcome", "changed", "verdict"),
    [
        (DEFECT, replace(NOTHING, status=1, red={GATE: "P5: median"}), True, "caught"),
        (DEFECT, NOTHING, True, "NOT CAUGHT: every gate is green"),
        (DEFECT, replace(NOTHING, status=1, red={OTHER: "P5"}), True, f"NOT CAUGHT BY {GATE}, but by {OTHER}"),
        (DEFECT, replace(NOTHING, status=2), True, f"NOT CAUGHT BY {GATE}, but by exit status 2 alone"),
        (DEFECT, replace(NOTHING, status=1, red={GATE: "P3"}), True, "CAUGHT WITHOUT THE WORDS 'P5': P3"),
        (DEFECT, replace(NOTHING, red={GATE: "P5"}), True, "CAUGHT, but the exit status is 0"),
        (CONTROL, NOTHING, True, "green"),
        (CONTROL, replace(NOTHING, status=7), True, "FALSE ALARM: exit status 7, no gate fired"),
        (CONTROL, replace(NOTHING, status=1, red={GATE: ""}), True, f"FALSE ALARM: exit status 1, {GATE}"),
        (replace(CONTROL, expect=lambda document: False), NOTHING, True, "VOID: the run was not what the case says"),
        (replace(CONTROL, injections=(INJECTION,)), NOTHING, False, "VOID: the injected function was never called"),
        (replace(DEFECT, injections=(INJECTION,)), replace(NOTHING, status=1, red={GATE: "P5"}, traces=(Path("reached-1"),)),
         False, "VOID: the injection changed no byte"),
    ],
)  # fmt: skip
def test_a_case_is_judged_strictly(case, outcome, changed, verdict):
    """By the named gate, with its words, with an exit status; a run in which nothing was different proves nothing."""
    assert verdict_on(case, outcome, changed) == verdict


def test_a_red_gate_is_one_with_a_limit_that_is_neither_pass_nor_stand_in():
    """What was only recorded is no gate; what failed in front of its verdict is one."""

    def verdict(outcome, limit):
        return {
            "promise": "accuracy", "gate": "accuracy[batch4] mAP", "outcome": outcome, "limit": limit,
            "measurement": {"name": "mAP", "value": 0.5, "unit": "AP", "where": "lowest class"},
        }  # fmt: skip

    assert red_gates({"verdicts": [verdict("STAND-IN", {}), verdict("NO VERDICT", None)]}) == {}
    assert red_gates({"verdicts": [verdict("NO VERDICT", {"bound": 1})]}).keys() == {OTHER}
    unjudged = [{"test": "test_x", "outcome": "FAIL", "message": "a sentence"}]
    assert red_gates({"verdicts": [], "unjudged": unjudged}) == {REFUSED: "FAIL test_x: a sentence"}


def test_the_matrix_tells_who_catches_what_alone():
    """A gate that is the only one to fire for some defect is worth its time; the others are listed as well."""
    facts = {"judged": [GATE, OTHER], "seconds": 1, "verdict": "caught", "what": "", "control": False, "named": [GATE]}
    cases = [
        {**facts, "name": "one", "red": {GATE: "", OTHER: ""}},
        {**facts, "name": "two", "red": {GATE: ""}},
        {**facts, "name": "three", "red": {}, "control": True, "verdict": "green"},
    ]
    found = by_gate(cases)
    assert found[GATE] == {"catches": ["one", "two"], "alone": ["two"]}
    assert found[OTHER] == {"catches": ["one"], "alone": []}
    rows = matrix(cases)[-3:]
    assert [row.split()[:3] for row in rows] == [["one", "x", "#"], ["two", ".", "#"], ["three", ".", "."]]
    assert f"| two |  | **{GATE}** | 1 |" in markdown(cases)


def test_the_catalogue_is_large_and_has_no_two_cases_of_one_name():
    """Not fewer than 30 defects and 10 harmless changes, all of which can be found by name."""
    assert len(DEFECTS) >= 30
    assert len(CONTROLS) >= 10
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(case_called(case.name) is case for case in CASES)
    assert all(case_called(f"{name}={sized.largest}") for name, sized in SIZED.items())


@pytest.mark.parametrize(("arguments", "count"), [((), 0), (("-m", "gateproof", "-k", "bgr_rgb and not kept"), 1)])
def test_only_who_asks_for_the_proof_collects_it(arguments, count):
    """A plain run does not know of it; `-m gateproof -k NAME` finds one case."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *arguments]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [*command, "tests", "--ignore=tests/unit", "--ignore=tests/acceptance"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    found = [line for line in done.stdout.splitlines() if "test_gateproof.py::" in line]
    assert len(found) == count, done.stdout[-2000:]
