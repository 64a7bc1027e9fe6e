"""The very last lines of a run are its verdict, on every terminal: whatever its width, its colours and its encoding."""

import re
import subprocess

import pytest

from fcos_lib.evidence.last_lines import MOST
from tests.unit.processes import ROOT, on_terminal

INPUTS = ("tests/acceptance/test_inputs.py", "--npu", "emulated")
"""A test of two gates that need neither a model nor an NPU."""


@pytest.fixture
def ended(suite):
    """Run that test, with variables, and what it printed; `status` is checked."""

    def call(*arguments, status=0, **variables):
        command, environ = suite(*INPUTS, *arguments)
        done = subprocess.run(command, cwd=ROOT, env=environ | variables, capture_output=True, timeout=300, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    return call


def last_lines(text):
    """What comes after pytest's own last line."""
    lines = text.splitlines()
    heading = max(number for number, line in enumerate(lines) if " verdicts: " in line)
    assert re.search(r"\d (passed|failed|skipped|deselected).* in [\d.]+s", lines[heading - 1]), lines[heading - 1]
    assert len(lines) - heading <= MOST, f"{len(lines) - heading} lines end the run, not at most {MOST}"
    return lines[heading:]


def test_a_run_ends_with_its_verdict(ended):
    """80 columns and no colour without a terminal; the table is left to -v."""
    text = ended().decode()
    assert "\x1b[" not in text
    heading, contract, *roll, page, details = last_lines(text)
    assert heading == " verdicts: PASS, exit status 0 ".center(80, "=")
    assert contract == "PASS       contract    wrong network inputs 0 pictures (≤ 0 pictures), inputs"
    reason = r"\(by the paths given: tests/acceptance/test_inputs\.py\)"
    others = "cost, consistency, accuracy, throughput"
    said = " ".join(map(str.strip, roll))
    assert re.fullmatch(rf"gates: 2 of \d+ judged; not selected: \d+ of contract, {others} {reason}", said), roll
    assert [line.partition(" ")[0] for line in (page, details)] == ["page:", "details"]
    assert "contract: inverse letterbox error" not in text, "the table is there without -v"


def test_the_whole_table_comes_with_v_and_nothing_dies_of_an_encoding(ended):
    """Before pytest's last line, with every number and reason; where there is ASCII alone signs fall back, none is a number."""
    text = ended("-v", PYTHONIOENCODING="ascii").decode("ascii")
    assert "wrong network inputs 0 pictures (<= 0 pictures), inputs" in last_lines(text)[1]
    before = text.partition(" verdicts: ")[0]
    assert re.search(r"^contract: inverse letterbox error +inputs +<= 0.01 px", before, re.M)
    assert "(by the paths given: tests/acceptance/test_inputs.py)" in before
    _, _, ran = text.partition("collected ")  # before that pytest names the checkout's folder, which may have any name
    assert ran, text
    assert "\\u" not in ran, ran


def test_columns_and_colour_are_asked_for(ended):
    """As every program has it: COLUMNS, and --color=yes where there is no terminal."""
    heading, contract, *_ = last_lines(ended("--color=yes", COLUMNS="60").decode())
    assert contract.startswith("\x1b[32mPASS  "), contract
    width = len(re.sub(r"\x1b\[[\d;]*m", "", heading))
    assert width == 60, f"{width} columns instead of 60"


@pytest.mark.parametrize(("kind", "coloured"), [("xterm", True), ("dumb", False)])
def test_a_terminal_gives_the_width_and_takes_colour_unless_it_is_dumb(suite, kind, coloured):
    """A hundred columns of it are used."""
    command, environ = suite(*INPUTS)
    environ.pop("COLUMNS", None)  # the terminal says its own
    shown = on_terminal(command, environ | {"TERM": kind}, columns=100)
    assert ("\x1b[32m" in shown) == coloured, "without a word of NO_COLOR or --color"
    heading = next(line for line in reversed(shown.splitlines()) if " verdicts: " in line)
    width = len(re.sub(r"\x1b\[[\d;]*m", "", heading))
    assert width == 100, f"{width} columns of the terminal's 100 are used"
