"""One cause is said once, however many tests it stops: there were up to 49 times the same sentences."""

import json

import pytest

from fixtures.causes import stopped
from fixtures.github import _red

REASON = "atc exited with status 1 (E10001)"


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_an_atc_that_fails_is_said_once(run, tmp_path, workers):
    """The first gate has the whole of it, the others point there, and the end counts them; every one of them is in results.json."""
    gates = ("tests/acceptance", "-m", "contract or consistency", "-k", "batch", "--npu", "emulated")
    result = run(
        *gates, "--batch-sizes", "1,2,4", f"--junitxml={tmp_path / 'junit.xml'}", *workers, scenario="atc=fail"
    )
    assert result.returncode == 8, result.stdout + result.stderr
    unjudged = json.loads((tmp_path / "artifacts" / "results" / "results.json").read_text())["unjudged"]
    causes = [entry for entry in unjudged if not entry["message"].startswith("see the first: ")]
    assert len(unjudged) > 5, f"{len(unjudged)} gates stopped, not more than 5: {unjudged}"
    assert len(causes) == 1, f"the cause is said {len(causes)} times: {causes}"
    others = {entry["message"] for entry in unjudged if entry not in causes}
    assert others == {f"see the first: {causes[0]['test']}"}
    assert all(entry["outcome"] == "INFRA" for entry in unjudged)
    table = result.stdout.partition("= verdicts =")[2].partition("short test summary")[0]
    lines = [
        line for line in table.splitlines() if "before it could judge" in line or "before they could judge" in line
    ]
    assert len(lines) == len(causes), f"the end of the run says it {len(lines)} times:\n{table}"
    assert lines[0].startswith(f"INFRA: {len(unjudged)} tests failed before they could judge, the first ")
    assert lines[0].endswith(causes[0]["message"].partition("\n")[0])
    shown = result.stdout.partition("= ERRORS =")[2].partition("= verdicts =")[0]
    assert shown.count(causes[0]["message"]) == 1, shown
    pointers, others = (tmp_path / "junit.xml").read_text().count("see the first: "), len(unjudged) - len(causes)
    assert pointers >= others, f"{pointers} of {others} gates point to the first in the JUnit file"


def test_other_causes_stay_apart():
    """Counted by what each gate points to; one that stopped a single gate keeps its line."""
    lines = stopped([
        {"test": "a", "outcome": "FAIL", "message": f"{REASON}\n  → look at the log"},
        {"test": "b", "outcome": "INFRA", "message": "no NPU"},
        {"test": "c", "outcome": "FAIL", "message": "see the first: a"},
        {"test": "d", "outcome": "FAIL", "message": "see the first: a"},
    ])  # fmt: skip
    assert list(lines) == [
        ("FAIL", f"FAIL: 3 tests failed before they could judge, the first a: {REASON}"),
        ("INFRA", "INFRA: b failed before it could judge"),
    ]


def test_a_job_has_one_annotation_for_it(tmp_path):
    """GitHub shows ten of a step."""
    entries = [
        {"test": "x.py::a", "outcome": "INFRA", "message": REASON},
        {"test": "x.py::b", "outcome": "INFRA", "message": "see the first: x.py::a"},
    ]
    document = {"unjudged": entries, "verdicts": [], "run": {}, "roll_call": []}
    assert [annotation.title for annotation in _red(document, {}, tmp_path)] == ["x.py::a is INFRA"]
