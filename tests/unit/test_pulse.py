"""A run and its installation say from the first second what they are doing, also where the output is no terminal."""

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from fixtures.pulse import Pulse

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pulse():
    """Of three tests, of which one took 20 s when it last ran and one 100 s; nothing is written."""
    return Pulse(["a.py::x", "a.py::y", "a.py::z"], {"a.py::y": 20.0, "a.py::z": 100.0}, -1)


def test_it_says_which_test_what_for_and_how_long_the_rest_takes(pulse):
    """The rest by the run before, the first time by the tests that are over."""
    pulse.pytest_runtest_logstart("tests/acceptance/a.py::x")
    assert pulse.text() == "0 s, test 1 of 3 (a.py::x), about 2 min left"
    pulse.pytest_runtest_logfinish("a.py::x")
    pulse.pytest_runtest_logstart("a.py::y")
    pulse.detail = "reference: 120 of 240 pictures"
    assert pulse.text() == "0 s, test 2 of 3 (a.py::y), reference: 120 of 240 pictures, about 2 min left"
    pulse.pytest_runtest_logfinish("a.py::y")
    pulse.seconds["a.py::z"] = 30.0
    assert pulse.text().endswith(", about 30 s left")


def test_without_any_run_before_nothing_is_made_up():
    """Until one test is over."""
    assert Pulse(["a.py::x"], {}, -1).text() == "0 s, test 1 of 1 ()"


def test_a_run_without_a_terminal_writes_a_line_now_and_then(run, tmp_path):
    """On stderr, in spite of pytest's capture: references i of n among them."""
    (tmp_path / "quick_pulse.py").write_text(
        "def pytest_configure():\n    import fixtures.pulse\n    fixtures.pulse.EVERY_S = 0.05\n"
    )
    arguments = ("tests/acceptance/test_golden.py", "--npu", "emulated", "--pictures", "20")
    done = run(*arguments, "-p", "quick_pulse", path=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line]
    assert all(re.match(r"fcos: \d+ s, test 1 of 1 \(", line) for line in lines), done.stderr
    assert any(re.search(r"the reference looks at the sample, reference: \d+ of 20 pictures", line) for line in lines)


def test_what_is_silent_for_minutes_is_announced_and_counted():
    """With the command's own exit status, and without waiting for anything when it has ended."""
    began = time.monotonic()
    done = subprocess.run(
        ["sh", "tools/say.sh", "installing", "sh", "-c", "sleep 1; exit 7"],
        cwd=ROOT, env=os.environ | {"SAY_EVERY": "0.3"}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 7, done.stderr
    first, *counted = done.stdout.splitlines()
    assert first == "installing", done.stdout
    assert counted, "a second of silence, and nothing was counted"
    assert all(re.fullmatch(r"installing: \d+ s", line) for line in counted), done.stdout
    quick = subprocess.run(
        ["sh", "tools/say.sh", "x", "true"], cwd=ROOT, env=os.environ | {"SAY_EVERY": "40"}, capture_output=True, check=True
    )  # fmt: skip
    assert quick.stdout == b"x\n"
    seconds = time.monotonic() - began
    assert seconds < 30, f"{seconds:.0f} s: the end of a command was not seen at once"


def test_make_accept_says_what_it_does_from_the_first_second(tmp_path):
    """Installing in four steps, then the suite; each line before the work that it announces."""
    venv, python = tmp_path / "venv", tmp_path / "python"
    python.write_text(
        f"#!/bin/sh\nmkdir -p {venv}/bin\n"
        f"for name in pip python pytest; do echo '#!/bin/sh' > {venv}/bin/$name; chmod +x {venv}/bin/$name; done\n"
    )
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "--no-print-directory", "accept", f"VENV={venv}", f"PYTHON={python}"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    said = [line for line in done.stdout.splitlines() if line.startswith(("installing", "running"))]
    assert [line.partition(":")[0] for line in said] == [
        "installing 1 of 4", "installing 2 of 4", "installing 3 of 4", "installing 4 of 4", "running the acceptance suite",
    ], done.stdout  # fmt: skip
    assert done.stdout.startswith("installing 1 of 4"), done.stdout


@pytest.mark.parametrize("arguments", [("-s",), ("-p", "no:capture")], ids=" ".join)
def test_a_run_without_a_capture_judges_all_the_same(run, arguments):
    """What is to be seen in spite of it is seen anyway; a missing capture is no fault of the model's."""
    done = run(
        *arguments, "-m", "accuracy", "-k", "candidate_reaches", "--npu", "emulated", "--batch-sizes", "2",
        "--pictures", "2", "tests/acceptance",
    )  # fmt: skip
    assert done.returncode == 7, (
        f"two pictures are too few to tell, and nothing else is wrong:\n{done.stdout}{done.stderr}"
    )
    assert "AttributeError" not in done.stdout
