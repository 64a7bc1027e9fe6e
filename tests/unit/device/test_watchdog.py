"""A call that holds the GIL and never returns is ended from outside, with words and with the status of INFRA."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.processes import ended

ROOT = Path(__file__).parents[3]
PROGRAM = """
import ctypes, os, sys, time
from pathlib import Path
from fcos_lib.ascend.watchdog import watch
watchdog = watch(limit_s=0.3, note=Path(sys.argv[1]))
def hang():
    ctypes.PyDLL(None).read(os.pipe()[0], ctypes.create_string_buffer(1), 1)
"""


@pytest.fixture
def program(tmp_path):
    """Run a program that is watched; its result."""

    def run(text):
        command = [sys.executable, "-c", PROGRAM + text, str(tmp_path / "note.txt")]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)

    return run


def test_a_call_that_hangs_with_the_gil_ends_with_8_and_one_sentence(program, tmp_path):
    """On stderr and in the file, since the process itself can write nothing."""
    result = program("with watchdog.guard('a run of x.om'): hang()")
    assert result.returncode == 8, result.stderr
    assert "INFRA: a run of x.om has not returned for 0.3 s; process " in result.stderr
    assert (tmp_path / "note.txt").read_text().startswith("INFRA: a run of x.om")


def test_what_ignores_the_first_signal_is_killed(program):
    """A library that handles SIGFPE itself does not save a hung call."""
    result = program(
        "with watchdog.guard('a run'):\n"
        "    libc = ctypes.PyDLL(None); libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]; libc.signal(8, 1)\n"
        "    hang()"
    )
    assert result.returncode == -signal.SIGKILL, result.stderr


def test_calls_that_return_and_time_between_them_are_nobodys_business(program, tmp_path):
    """Many short calls that take longer together than one may, and a long pause."""
    result = program("for _ in range(20):\n    with watchdog.guard('a run'): time.sleep(0.05)\ntime.sleep(1)")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert not (tmp_path / "note.txt").exists()


def test_a_division_by_zero_outside_of_a_call_is_what_it_was(program):
    """C's handler is there during calls only."""
    assert program("os.kill(os.getpid(), 8)").returncode == -signal.SIGFPE
    result = program("with watchdog.guard('a run'): pass\nos.kill(os.getpid(), 8)")
    assert result.returncode == -signal.SIGFPE


@pytest.mark.parametrize("end", ["", "os.kill(os.getpid(), 9)"], ids=["exit", "kill"])
def test_the_watching_process_ends_with_the_watched(program, end):
    """However it ends, a forked child of it notwithstanding."""
    result = program(
        "child = os.fork()\n"
        "if child == 0:\n    os.close(1); os.close(2); time.sleep(2); os._exit(0)\n"
        f"print(watchdog._process.pid, flush=True)\n{end}"
    )
    assert ended(int(result.stdout), 1.5)


def test_a_forked_child_is_watched_by_its_own(program):
    """The parent's looks after the parent."""
    result = program(
        "child = os.fork()\n"
        "if child == 0:\n    with watch(limit_s=0.3).guard('a run of the child'): hang()\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    assert result.stdout == "8\n", result.stderr
    assert "a run of the child" in result.stderr
