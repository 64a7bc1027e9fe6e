"""A run that does not end leaves what it had found, and no results of an earlier run that could be taken for its own."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.prepared import PICTURES

ROOT = Path(__file__).parents[2]
ACCURACY = ("tests/acceptance", "-q", "-m", "accuracy", "--npu", "emulated", "--batch-sizes", "4")
ACCURACY += ("--pictures", str(PICTURES), "--no-explain")
GATE = "tests/acceptance/test_accuracy.py::test_the_candidate_reaches_the_limit[batch4]"


@pytest.fixture
def results(prepared, ready):
    """The results of a green run, with its page."""
    shutil.copytree(prepared / "results", ready / "results")
    path = ready / "results" / "results.json"
    assert json.loads(path.read_text())["run"]["exit_status"] == 0
    assert path.with_name("evidence.html").exists()
    return path


def assert_unfinished(results):
    """What was judged is there; what was not is INFRA; no page tells of another run."""
    document = json.loads(results.read_text())
    assert document["run"]["exit_status"] == 8
    judged = [verdict for verdict in document["verdicts"] if verdict["limit"]]
    assert {(verdict["subject"], verdict["outcome"]) for verdict in judged} == {("reference", "PASS")}
    (entry,) = document["unjudged"]
    assert (entry["test"], entry["outcome"]) == (GATE, "INFRA")
    assert "did not end" in entry["message"]
    assert not results.with_name("evidence.html").exists()


def test_a_run_that_hangs(run, results):
    """Its call into the device never returns; the watchdog ends it."""
    result = run(*ACCURACY, "--run-time-limit", "2", scenario="run=hang:3")
    assert result.returncode == 8, result.stdout + result.stderr
    assert_unfinished(results)


def test_a_run_that_is_killed(suite, results):
    """Not even the watchdog has a say."""
    command, environ = suite(*ACCURACY, scenario="run=hang:3")
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        end = time.monotonic() + 100
        while "did not end" not in results.read_text() or GATE not in results.read_text():
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() < end, "the gate never began"
            time.sleep(0.01)  # between two looks at the file
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert_unfinished(results)


@pytest.mark.parametrize("hook", ["logstart", "logfinish"])
def test_a_run_that_somebody_ends_as_a_success_is_none(run, tmp_path, hook):
    """A plugin stops it in the first gate, or behind it, with exit status 0: two or three of three gates never judged."""
    ended = f"import pytest\n\ndef pytest_runtest_{hook}():\n    pytest.exit('enough', 0)\n"
    (tmp_path / "enough.py").write_text(ended)
    done = run(
        "-p", "enough", "-m", "contract", "--npu", "emulated", "--batch-sizes", "4", "tests/acceptance", path=tmp_path
    )
    assert done.returncode == 7, done.stdout + done.stderr
    assert f"NO VERDICT: {3 if hook == 'logstart' else 2} selected tests did not run" in done.stdout


def test_a_junit_file_without_room_hides_no_verdict(run):
    """Every gate is green and a file is missing: INFRA, with the verdict, instead of a traceback and FAIL's exit status."""
    done = run("-m", "contract", "--npu", "emulated", "--batch-sizes", "4", "tests/acceptance", "--junit-xml=/dev/full")
    assert done.returncode == 8, done.stdout + done.stderr
    assert "such as --junit-xml's, cannot be written ([Errno 28] No space left on device)" in done.stderr
    assert "verdicts: INFRA" in done.stdout
    assert "Traceback" not in done.stderr


BREAKS_OFF = """
from fcos_lib.measure.detections import coverage

def unlike(*_):
    raise MemoryError("no more")

coverage.unlike = unlike
"""
"""What the gate of accuracy asks for after its first verdict."""


def test_a_gate_that_breaks_off_behind_a_green_verdict_says_why(run, tmp_path):
    """It was FAIL without a word: the cause was lost, and whose fault it was, since the test had judged something."""
    (tmp_path / "breaks_off.py").write_text(BREAKS_OFF)
    done = run("-p", "breaks_off", *ACCURACY, "-k", "candidate_reaches", path=tmp_path)
    assert done.returncode == 8, done.stdout + done.stderr
    assert "INFRA: MemoryError: no more" in done.stdout
    document = json.loads((tmp_path / "artifacts" / "results" / "results.json").read_text())
    assert [verdict["key"] for verdict in document["verdicts"]] == ["accuracy.ruler"]
    (entry,) = document["unjudged"]
    assert (entry["test"], entry["phase"], entry["outcome"]) == (GATE, "call", "INFRA")
