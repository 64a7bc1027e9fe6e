"""A run hands on the numbers of those before it, and says what changed since the last one that ended."""

import copy
import json
import subprocess
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from fcos_lib.evidence.earlier import MOST, PREVIOUS, evidence_of_earlier, numbers_before
from fcos_lib.evidence.page import render
from fcos_lib.evidence.results import read_results, stored_verdict
from fixtures.evidence import keep_previous, of_earlier_runs
from fixtures.throughput import ThroughputRun
from tests.unit.evidence.endings import ended, judged
from tests.unit.evidence.entries import Elements
from tests.unit.judge.history_runs import HERE, rate
from tests.unit.judge.history_runs import run as history_run
from tests.unit.processes import ROOT


def run(value, evidence=(), **change):
    """A run with one number of accuracy."""
    document = ended([judged("accuracy.mAP", value, 0.661)])
    return {
        **document,
        "run": document["run"] | {"started_at": "2026-11-28T10:00:00Z"} | change,
        "evidence": [*evidence],
    }


def chained(values):
    """The last of runs with these numbers, each of which knew of the one before it."""
    document = run(values[0])
    for value in values[1:]:
        after = run(value)
        document = {**after, "evidence": list(evidence_of_earlier(document, after))}
    return document


def before(document):
    """The earlier values of its number."""
    return [value for _, value in numbers_before(document, stored_verdict(document["verdicts"][0]))]


def test_numbers_are_handed_on_the_oldest_first():
    """No more of them than a picture shows."""
    assert before(run(0.67)) == []
    assert before(chained([0.67, 0.68, 0.66])) == [0.67, 0.68]
    many = before(chained([0.6 + index / 1000 for index in range(MOST + 5)]))
    assert len(many) == MOST, f"{len(many)} runs are handed on, not the last {MOST}"
    assert many[-1] == pytest.approx(0.6 + (MOST + 3) / 1000), f"the newest of them is {many[-1]}"


def test_what_is_no_number_is_not_handed_on():
    """JSON has none, and nothing can be drawn of it."""
    document = chained([float("nan"), float("inf"), 0.67])
    assert before(document) == []
    json.dumps(document["evidence"], allow_nan=False)


def timed(earlier):
    """A run whose rate has a history of its own, besides what was handed on."""
    verdicts = [judged("throughput.rate", 57.0)]
    first, second = ({**run(0.67), "verdicts": verdicts} for _ in range(2))
    rates = [{"series": "batch8 stream", "earlier": [["", 1.0]]}, {"series": "batch8 pure", "earlier": earlier}]
    throughput = {"kind": "throughput", "subject": "all", "data": {"rates": rates, "history": None}}
    return {**second, "evidence": [throughput, *evidence_of_earlier(first, second)]}


@pytest.mark.parametrize(
    ("earlier", "values"),
    [([["2026-11-01", 55.0], ["2026-11-02", 56.0]], [55.0, 56.0]), ([], [57.0]), ([["", "fast"]], [57.0]), (7, [57.0])],
)
def test_a_rate_has_the_history_of_stored_runs(earlier, values):
    """Runs of the same fingerprint, wherever they left their results; without any, or if they cannot be read, those handed on."""
    assert before(timed(earlier)) == values


def test_stored_runs_of_another_fingerprint_are_left_out(tmp_path):
    """Neither is this run its own past."""
    series = rate(58.0).series
    this = ThroughputRun(tmp_path / "accepted.json")
    this.add(SimpleNamespace(extra_info={}), rate(58.0))
    elsewhere = replace(HERE, chip="another")
    stored = [history_run(1, rate(55.0)), history_run(2, rate(56.0, fingerprint=elsewhere)), history_run(3, rate(57.0))]
    stored.append(replace(history_run(4, rate(99.0)), run_id=this.run_id))
    (shown,) = this.as_evidence(stored)
    assert shown["series"] == series.label
    assert [value for _, value in shown["earlier"]] == [55.0, 57.0]


def page_of(document):
    """The text of the page."""
    return " ".join(Elements(render(document)).text.split())


def test_the_page_says_what_changed():
    """The verdicts that turned and the numbers that moved are open, the rest is folded; nothing is said if nothing moved."""
    moved = page_of(chained([0.67, 0.5]))
    assert "Since the last run" in moved
    header = "another verdict gate last run this run change"
    assert f"{header} accuracy[batch8] mAP (accuracy.mAP) PASS 0.67 FAIL 0.5 −0.17 AP (−25 %)" in moved
    assert "moved beyond noise" not in moved, "the same number is shown twice"
    beyond = page_of(chained([0.9, 0.7]))
    assert "moved beyond noise gate last run this run change held against accuracy[batch8] mAP" in beyond
    assert "another verdict" not in beyond
    assert "The last run began 2026-11-28 10:00:00 UTC and was PASS." in moved
    same = page_of(chained([0.67, 0.67]))
    assert "No number that is in both runs moved beyond noise" in same
    assert "1 measurements: 1 the same" in same
    assert "another verdict" not in same
    assert "Since the last run" not in page_of(run(0.67))


def test_runs_without_a_common_number_are_not_said_to_be_alike():
    """A run of one promise after one of another says nothing about what moved."""
    first, second = run(0.67), run(0.67)
    first["verdicts"] = [judged("bias.size", 0.0, 0.1, "batch8")]
    page = page_of({**second, "evidence": list(evidence_of_earlier(first, second))})
    assert "No number is in both runs" in page
    assert "moved beyond noise" not in page


def test_long_lists_are_cut_and_counted():
    """A part after a whole run lacks hundreds of numbers."""
    first, second = run(0.67), run(0.67)
    first["verdicts"] += [judged("bias.size", 0.0, 0.1, f"batch{size}") for size in range(100)]
    page = page_of({**second, "evidence": list(evidence_of_earlier(first, second))})
    assert "only in last run: 100" in page
    assert "40 more are not shown." in page


@pytest.fixture
def kept(tmp_path):
    """Writes a run where a run writes it."""

    def write(document, **change):
        path = tmp_path / "results.json"
        path.write_text(json.dumps({"schema_version": 3, **document, **change}))
        return path

    return write


def test_a_run_that_was_killed_takes_no_place(kept):
    """Only one that ended knows of its gates: what was before stays the last run."""
    path = kept(run(0.67))
    keep_previous(path)
    assert path.exists(), "whoever looks now must not find nothing"
    keep_previous(kept(run(0.1), gates=[]))
    document = run(0.68)
    document["evidence"] = of_earlier_runs(path, document)
    assert before(document) == [0.67]
    assert read_results(path.with_name(PREVIOUS))["verdicts"][0]["measurement"]["value"] == 0.67


@pytest.mark.parametrize("text", ["", "{", '{"schema_version": 3}', "[]"])
def test_what_cannot_be_read_changes_nothing_else(tmp_path, text):
    """A results.json of something else is left to be overwritten, a previous.json that is broken is said to be."""
    path = tmp_path / "results.json"
    assert of_earlier_runs(path, run(0.67)) == []
    keep_previous(path)
    path.write_text(text)
    keep_previous(path)
    assert path.read_text() == text
    path.with_name(PREVIOUS).write_text(text)
    (record,) = of_earlier_runs(path, run(0.67))
    assert record["kind"] == "left_out"
    assert "what changed since the last run" in record["data"]["text"]


def test_nothing_in_a_past_run_acts(document):
    """Its words are words."""
    hostile = copy.deepcopy(document)
    hostile["verdicts"][0] |= {"subject": "<script>alert(1)</script>", "gate": "<img src=x>"}
    hostile["run"]["started_at"] = "<b>"
    document["evidence"] = list(evidence_of_earlier(hostile, document))
    page = render(document)
    assert "<script>alert" not in page
    assert "<b>" not in page


def test_the_second_of_two_runs_knows_the_first(run_twice):
    """The real suite, one test of it: `results.json` of the second holds what changed and the numbers of the first."""
    first, second = run_twice
    assert [record["kind"] for record in first["evidence"]] == []
    kinds = {record["kind"]: record["data"] for record in second["evidence"]}
    assert set(kinds) == {"since", "earlier"}
    assert kinds["since"]["started_at"] == first["run"]["started_at"]
    (known,) = kinds["earlier"]["runs"]
    assert known["numbers"]["inputs.wrong[inputs] pictures"] == 0, known


@pytest.fixture
def run_twice(suite, tmp_path):
    """The results of two runs of one test in one folder."""
    command, environ = suite("tests/acceptance/test_inputs.py", "--npu", "emulated")
    results = []
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        results.append(read_results(tmp_path / "artifacts" / "results" / "results.json"))
    return results
