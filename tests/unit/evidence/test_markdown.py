"""The Markdown of a run shows verdicts first, fits its place, and takes text from anywhere as text."""

import os

import pytest

from fcos_lib.cli.main import main
from fcos_lib.evidence.markdown import MOST_BYTES, Annotation, append_summary, escaped, summary, workflow_commands
from fcos_lib.evidence.results import write_results
from tests.unit.evidence.entries import verdict


def run(*verdicts, status=0, unjudged=(), **more):
    """A run with these verdicts."""
    return {
        "run": {"exit_status": status, "command": ["pytest", "-m", "accuracy"], "options": "--aipp", **more},
        "environment": {"python": "3.11", "packages": {"numpy": "2"}, "device": None},
        "artifacts": [{"kind": "om", "key": "k", "files": {"model.om": "f" * 64}, "provenance": {"batch": 8}}],
        "verdicts": list(verdicts), "unjudged": list(unjudged), "evidence": [],
    }  # fmt: skip


def test_a_green_run_is_told_in_its_heading_and_table():
    """PASS, and one row for both sizes."""
    text = summary(run(verdict(0.36), verdict(0.361, "batch16")))
    assert text.startswith("## FCOS acceptance: PASS (exit status 0)\n")
    assert "| accuracy: mAP | batch8, 16 | ≥ 0.359 AP | 0.36 to 0.361 AP | PASS |" in text
    assert "STAND-IN" not in text


def test_a_red_gate_has_its_paragraph_and_the_command_to_run_it_again():
    """With the options of the run."""
    text = summary(run(verdict(0.3551), status=1))
    assert "FCOS acceptance: FAIL (exit status 1)" in text
    assert "### accuracy\\[batch8\\] mAP is FAIL" in text
    assert "  because   a paper" in text
    assert "again     pytest 'tests/acceptance/test_accuracy.py::test_limit[batch8]' --aipp" in text


def test_a_gate_that_broke_before_it_judged_is_there_with_its_words():
    """INFRA is not silence."""
    broken = {"test": "tests/acceptance/x.py::y", "outcome": "INFRA", "message": "the disk is full"}
    text = summary(run(verdict(0.36), status=8, unjudged=[broken]))
    assert "FCOS acceptance: INFRA" in text
    assert "the disk is full\n\nagain     pytest tests/acceptance/x.py::y --aipp" in text


def test_stand_in_cannot_be_overlooked():
    """In the heading and in a box of its own, before any number."""
    text = summary(run(verdict(0.36, stand_in=True)))
    assert text.startswith("## FCOS acceptance: STAND-IN")
    banner = "> **STAND-IN: measured on the emulator; says nothing about hardware.**"
    assert banner in text.partition("| gate |")[0], "the box is not before the table"


def test_gates_that_did_not_run_are_said():
    """A deselected half is no success."""
    assert "NO VERDICT: 3 selected tests did not run" in summary(run(verdict(0.36), status=7, gates_not_run=3))


def test_the_worst_number_of_several_sizes_is_shown_with_its_place():
    """The furthest to the limit's wrong side; what is not a number is worse than any."""
    sizes = [verdict(0.40, "batch1", where="fine"), verdict(0.36, "batch4", where="here")]
    assert "| accuracy: mAP | 0.36 AP | ≥ 0.359 AP | batch4 | here |" in summary(run(*sizes))
    assert "| batch8 | lost |" in summary(run(*sizes, verdict(float("nan"), where="lost"), status=1))


def test_what_a_drop_comes_from_is_said():
    """If the run was explained."""
    explained = {"kind": "ladder", "subject": "batch8", "data": {"sentence": "of -0.42: -0.39 network, -0.03 NMS"}}
    assert "**batch8**: of -0.42: -0.39 network, -0.03 NMS\n" in summary(run(verdict(0.36)) | {"evidence": [explained]})
    assert "**batch8**" not in summary(run(verdict(0.36)) | {"evidence": [explained | {"data": {"sentence": 7}}]})


def test_provenance_is_folded_away():
    """Command, packages and hashes, for those who look."""
    text = summary(run(verdict(0.36)))
    folded = text[text.index("<details><summary>Provenance</summary>") :]
    assert "command   pytest -m accuracy" in folded
    assert f"{'f' * 64}  model.om" in folded
    assert folded.count("<details>") == folded.count("</details>")


def test_escaped_text_stays_in_its_line():
    """A line break would end a table's row."""
    assert escaped("a\n\n# b\r\n| c") == "a \\# b \\| c"


def test_a_summary_never_exceeds_its_place():
    """GitHub drops a summary of more than 1 MiB as a whole; what matters most is kept and the rest counted."""
    red = [verdict(0.3, f"batch{size}", where="w" * 20_000) for size in range(1, 400)]
    text = summary(run(*red, status=1))
    assert len(text.encode()) <= MOST_BYTES, f"{len(text.encode())} bytes, GitHub takes {MOST_BYTES}"
    assert text.startswith("## FCOS acceptance: FAIL")
    assert "more red gates are in results.json" in text
    short = summary(run(*red, status=1), room=30_000)
    assert len(short.encode()) <= 30_000, f"{len(short.encode())} bytes instead of 30,000"
    assert "parts are left out" in short
    assert summary(run(*red), room=-5) == ""


def test_a_step_that_already_said_something_leaves_less_room(tmp_path):
    """The bound is for the file, not for what is appended."""
    target = tmp_path / "summary.md"
    target.write_text("x" * (MOST_BYTES - 100), encoding="utf-8")
    append_summary(target, run(verdict(0.36)))
    size = target.stat().st_size
    assert size <= MOST_BYTES, f"{size} bytes in all, GitHub takes {MOST_BYTES}"
    target.write_text("before\n", encoding="utf-8")
    append_summary(target, run(verdict(0.36)))
    assert target.read_text(encoding="utf-8").startswith("before\n## FCOS acceptance: PASS")


def test_a_pipe_is_not_waited_for(tmp_path):
    """Nobody may ever read it."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is not a file"):
        append_summary(tmp_path / "pipe", run())


def test_the_verb_prints_it(tmp_path, capsys):
    """From the file alone."""
    path = tmp_path / "results.json"
    write_results(path, environment={}, artifacts=[], verdicts=[verdict(0.36)], unjudged=[], run={"exit_status": 0})
    assert main(["summary", str(path)]) == 0
    assert capsys.readouterr().out.startswith("## FCOS acceptance: PASS")


def test_an_annotation_is_one_line_whatever_its_text():
    """Escaped as GitHub unescapes it: what would end a line, and in properties what separates them."""
    annotation = Annotation("accuracy[batch8]: 5 %, FAIL", "100 %\r\nsecond: line, ::error::x", "tests/a,b:c.py", 7)
    assert workflow_commands([annotation]) == [
        "::error file=tests/a%2Cb%3Ac.py,line=7,title=accuracy[batch8]%3A 5 %25%2C FAIL::100 %25%0D%0Asecond: line, ::error::x"
    ]


def test_more_annotations_than_are_shown_are_counted():
    """GitHub shows ten of a step; the tenth says how many there are besides."""
    ten = [Annotation(f"gate {number}", "text") for number in range(10)]
    assert len(workflow_commands(ten)) == 10
    lines = workflow_commands([*ten, Annotation("gate 10", "text")])
    assert len(lines) == 10
    assert lines[-1] == "::error title=2 more red gates::gate 9, gate 10"
