"""`diff` says what moved, what it was held against and what the runs stood on; its status is for scripts."""

import copy
import json

import pytest

from fcos_lib.cli.main import main
from fcos_lib.judge.limits import Limit
from tests.unit.evidence.entries import verdict


def picture(name, *differences):
    """A picture of the evidence, with differences as (kind, cause, side)."""
    listed = [dict(zip(("kind", "cause", "side"), words, strict=True)) for words in differences]
    return {"name": name, "differences": listed}


MISSING, EXTRA = ("missing", "IoU limit", "reference"), ("extra", "score limit", "candidate")


@pytest.fixture
def run():
    """A run with one gate, an OM and evidence about two pictures."""
    return {
        "schema_version": 3,
        "run": {"started_at": "2026-01-01T00:00:00Z", "settings": {"precision_mode": "force_fp16"}},
        "environment": {"python": "3.11.7", "packages": {"numpy": "2.0"},
                        "device": {"stand_in": False, "cann_version": "8.0.0", "driver_version": "24.1.0"}},
        "artifacts": [{"kind": "om", "key": "k", "files": {"model.om": "a" * 64}, "provenance": {"batch": 8}}],
        "verdicts": [verdict(0.369)], "unjudged": [], "gates": [],
        "evidence": [{"kind": "pictures", "subject": "batch8",
                      "data": {"pictures": [picture("1.jpg", MISSING), picture("2.jpg", EXTRA)]}}],
    }  # fmt: skip


@pytest.fixture
def diff(tmp_path, run, capsys):
    """Compares the run with a changed one; returns status and output."""

    def call(change, *options):
        other = copy.deepcopy(run)
        change(other)
        paths = [tmp_path / "a.json", tmp_path / "b.json"]
        for path, document in zip(paths, (run, other), strict=True):
            path.write_text(json.dumps(document), encoding="utf-8")
        status = main(["diff", *map(str, paths), *options])
        return status, capsys.readouterr().out

    return call


def put(document, *path, to):
    """Change one place."""
    for step in path[:-1]:
        document = document[step]
    document[path[-1]] = to


def test_the_same_run_has_not_moved(diff):
    """Status 0."""
    status, out = diff(lambda other: None)
    assert status == 0
    assert "1 measurements: 1 the same, 0 moved within noise, 0 beyond; 0 verdicts changed" in out


@pytest.mark.parametrize(
    ("now", "words"), [(0.0, "-0.369 AP (-100 %)"), (2.0, "+1.63 AP (+442 %)"), (40.0, "+39.6 AP  ")]
)
def test_percent_are_written_as_people_do(diff, now, words):
    """Without a power of ten, and not at all where they are thousands."""
    _, out = diff(lambda other: put(other, "verdicts", to=[verdict(now)]))
    assert words in out, out


@pytest.mark.parametrize(
    ("now", "status", "words"),
    [
        (
            verdict(0.3685), 0,
            ["moved within noise", "accuracy[batch8] mAP (accuracy.x)  0.369  0.3685  -0.0005 AP (-0.14 %)"],
        ),
        (verdict(0.35), 1, ["another verdict", "PASS  FAIL", "moved beyond noise"]),
        (verdict(0.3691, stand_in=True), 1, ["one is STAND-IN: not to be compared"]),
    ],
    ids=["noise", "below the limit", "emulator"],
)  # fmt: skip
def test_a_change_is_noise_or_another_verdict_or_not_to_be_compared(diff, now, status, words):
    """0.0005 less brings nobody nearer to a limit; a fall below it comes first; the emulator is no hardware, however near its number."""
    ended, out = diff(lambda other: put(other, "verdicts", to=[now]))
    assert ended == status, out
    places = [out.find(word) for word in words]
    assert -1 not in places, f"{words} is not all in:\n{out}"
    assert places == sorted(places), f"{words} come in another order:\n{out}"
    assert ("STAND-IN: measured on the emulator" in out.splitlines()[1]) is now["stand_in"], out


def test_a_gate_that_one_run_lacks_has_moved(diff):
    """What is not there cannot be the same."""
    status, out = diff(lambda other: other["verdicts"].append(verdict(0.36, "batch16")))
    assert status == 1
    assert "only in B" in out
    assert "accuracy[batch16] mAP  PASS" in out
    assert "0 only in A, 1 only in B" in out


def test_a_gate_that_broke_has_moved(diff):
    """Before it could judge."""
    status, out = diff(lambda other: other["unjudged"].append({"test": "t.py::x", "outcome": "INFRA"}))
    assert status == 1
    assert "t.py::x  absent  INFRA" in out


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (("artifacts", 0, "files", "model.om"), "b" * 64, "om 8: model.om  aaaaaaaaaaaa  bbbbbbbbbbbb"),
        (("environment", "device", "cann_version"), "8.1.0", "device: cann_version  8.0.0  8.1.0"),
        (("environment", "device", "driver_version"), "25.0", "device: driver_version  24.1.0  25.0"),
        (("environment", "packages", "numpy"), "2.1", "package: numpy  2.0  2.1"),
        (("run", "settings", "precision_mode"), "fp32", "setting: precision_mode  force_fp16  fp32"),
    ],
    ids=["om", "cann", "driver", "package", "setting"],
)
def test_what_the_runs_stood_on_is_compared(diff, path, value, line):
    """It explains a move, and is none."""
    status, out = diff(lambda other: put(other, *path, to=value))
    assert status == 0
    assert line in out


def test_a_limit_that_moved_is_said(diff):
    """The number is the same, the promise is not."""
    looser = Limit("accuracy.x", 0.3, True, "AP", "a paper")
    status, out = diff(lambda other: put(other, "verdicts", to=[verdict(0.369, limit=looser)]))
    assert status == 0
    assert "limit: accuracy.x  at least 0.359 AP  at least 0.3 AP" in out


def test_pictures_that_changed_sides_are_named(diff):
    """By what is new and what is gone; one may be among the worst of one run only."""

    def change(other):
        pictures = [picture("1.jpg", MISSING, EXTRA), picture("3.jpg", EXTRA)]
        put(other, "evidence", 0, "data", "pictures", to=pictures)

    _, out = diff(change)
    assert "picture 1.jpg [batch8]: +1 extra (score limit), candidate" in out
    assert "picture 2.jpg [batch8]: among the worst only in A; -1 extra (score limit), candidate" in out
    assert "picture 3.jpg [batch8]: among the worst only in B; +1 extra (score limit), candidate" in out


def test_missing_evidence_is_said(diff):
    """Silence about pictures would read as none that changed."""
    _, out = diff(lambda other: put(other, "evidence", to=[]))
    assert "pictures: at least one of the runs has no evidence about them" in out


@pytest.mark.parametrize("data", [{}, {"pictures": 7}, {"pictures": [3, {}, {"name": [], "differences": [{}, "x"]}]}])
def test_evidence_of_another_form_breaks_nothing(diff, data):
    """It has no schema of its own."""
    status, _ = diff(lambda other: put(other, "evidence", 0, "data", to=data))
    assert status == 0


def test_machines_get_all_of_it(diff):
    """The same as JSON."""
    status, out = diff(lambda other: put(other, "verdicts", to=[verdict(0.35)]), "--json")
    document = json.loads(out)
    assert status == 1
    assert document["something_moved"] is True
    (measured,) = document["measurements"]
    assert measured["a"]["value"] == 0.369
    assert measured["b"]["outcome"] == "FAIL"
    assert measured["beyond_noise"] is True
    assert document["pictures"] == []


def test_two_empty_runs_are_an_error(diff, run):
    """Nothing that moved is not the same as nothing that was measured."""
    run["verdicts"] = []
    status, _ = diff(lambda other: None)
    assert status == 3
