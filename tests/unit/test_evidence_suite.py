"""A run of the real suite leaves its evidence, once, and a page; neither can hide a verdict."""

import json

import pytest

LOOK = ("tests/acceptance", "-k", "match_the_reference or candidate_reaches", "--npu", "emulated")
LOOK += ("--batch-sizes", "2,4", "--pictures", "40")


def evidence_of(artifacts):
    """(kind, subject) of all that was written, in order, and the data."""
    document = json.loads((artifacts / "results" / "results.json").read_text())
    records = document["evidence"]
    return [(record["kind"], record["subject"]) for record in records], [record["data"] for record in records]


def test_evidence_is_of_the_first_batch_size_and_of_those_that_are_not_green(run, ready, tmp_path):
    """Forty pictures are too few for the mAP, so that all batch sizes show theirs; the detections agree, so that one is shown."""
    junit = tmp_path / "junit.xml"
    finished = run(*LOOK, f"--junitxml={junit}")
    kinds, data = evidence_of(ready)
    red = "NO VERDICT" in finished.stdout
    accuracy = {("classes", "batch2"), ("precision_recall", "batch2"), ("pictures", "batch2")}
    assert accuracy < set(kinds), finished.stdout[-3000:]
    assert (("classes", "batch4") in kinds) == red, (
        "evidence of a batch size that was green, or none of one that was not"
    )
    assert not {("scatter", "batch2"), ("levels", "batch2")} - set(kinds), f"evidence of the sample is missing: {kinds}"
    assert ("scatter", "batch4") not in kinds
    assert ("left_out", "batch2") not in kinds, data
    page = ready / "results" / "evidence.html"
    assert f"page: {page}" in finished.stdout
    assert "STAND-IN" in page.read_text(encoding="utf-8")
    assert "fcos.evidence" not in junit.read_text(), "a JUnit file is no place for pictures"


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_what_cannot_be_shown_is_said_and_changes_no_verdict(run, ready, tmp_path, workers):
    """A measure of the evidence that breaks, and a page that cannot be drawn: the exit status and the table stay."""
    (tmp_path / "breaker.py").write_text(
        "def broken(*_):\n"
        "    raise RuntimeError('seeded')\n"
        "def pytest_runtest_setup():\n"
        "    import fixtures.evidence\n"
        "    fixtures.evidence.levels_by_bias = broken\n"
        "def pytest_sessionfinish():\n"
        "    import fcos_lib.evidence.page\n"
        "    fcos_lib.evidence.page.write_page_of = broken\n"
    )
    arguments = ("-p", "breaker", "tests/acceptance/test_consistency.py", "--npu", "emulated", "--batch-sizes", "2")
    finished = run(*arguments, *workers, "--pictures", "8", path=tmp_path)
    assert finished.returncode == 0, finished.stdout[-3000:]
    assert "unexplained differences" in finished.stdout
    assert "page not written" in finished.stdout
    assert "RuntimeError: seeded" in finished.stdout
    kinds, data = evidence_of(ready)
    assert ("left_out", "batch2") in kinds
    assert {"text": "levels: RuntimeError: seeded"} in data
    assert ("scatter", "batch2") in kinds
