"""What a C++ library prints is collected, and stdout is always given back."""

import ctypes
import os
import subprocess
import sys

import pytest

from fcos_lib.ascend.process import Console


@pytest.fixture
def console():
    """A console that is closed in the end."""
    console = Console()
    yield console
    console.close()


def test_text_below_sys_stdout_is_collected(console, capfd):
    """printf and plain descriptor writes are caught; what Python had printed before is not."""
    print("mine")
    with console.capture():
        ctypes.CDLL(None).printf(b"from printf\n")
        os.write(1, b"from write\n")
    assert sorted(console.text.splitlines()) == ["from printf", "from write"]
    assert capfd.readouterr().out == "mine\n"


def test_each_capture_begins_empty(console):
    """The text is that of the last call only."""
    with console.capture():
        os.write(1, b"first, and longer\n")
    with console.capture():
        os.write(1, b"second\n")
    assert console.text == "second\n"
    with console.capture():
        pass
    assert console.text == ""


def test_stdout_comes_back_after_an_error(console, capfd):
    """The text up to the error is there, and no descriptor is lost."""
    before = len(os.listdir("/proc/self/fd"))

    def fail():
        with console.capture():
            os.write(1, b"the cause\n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert console.text == "the cause\n"
    assert len(os.listdir("/proc/self/fd")) == before
    os.write(1, b"visible\n")
    assert capfd.readouterr().out == "visible\n"


def test_of_a_flood_the_end_is_kept(console):
    """The cause is printed last."""
    with console.capture():
        os.write(1, b"x" * 200_000 + b"\nthe cause\n")
    assert console.text.endswith("\nthe cause\n")
    assert len(console.text) <= 64 * 1024, f"{len(console.text)} characters are kept"


def test_text_that_c_still_buffers_is_collected():
    """printf to a pipe or file keeps its text back; it belongs to the call that printed it, on both sides."""
    program = (
        "import ctypes\n"
        "from fcos_lib.ascend.process import Console\n"
        "console = Console()\n"
        "printf = ctypes.CDLL(None).printf\n"
        "printf(b'earlier,')\n"
        "with console.capture(): printf(b'during,')\n"
        "print(console.text)\n"
    )
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=environ)
    assert ended.stdout == "earlier,during,\n"


def test_a_closed_stdout_is_no_failure():
    """Services run without one; then nothing is captured."""
    program = (
        "import os, sys\n"
        "from fcos_lib.ascend.process import Console\n"
        "console = Console()\n"
        "os.close(1)\n"
        "with console.capture(): pass\n"
        "print('survived', end='', file=sys.stderr, flush=True)\n"
        "os._exit(0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ended.stderr == "survived"
