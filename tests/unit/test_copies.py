"""A copy of the suite is a process as any other that a test would start."""

import json
import os
import signal
import time

import pytest

from tests.prepared import outer_environment

TELL = """
import json, os, sys
def test_tells():
    umask = os.umask(0)
    os.umask(umask)
    said = {
        "umask": umask, "cores": sorted(os.sched_getaffinity(0)), "leads": os.getsid(0) == os.getpid(),
        "home": os.environ["HOME"], "leaks": "OPENBLAS_NUM_THREADS" in os.environ, "arguments": sys.argv[1:], "reads": sys.stdin.read(),
        "files": [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")],
    }
    print(json.dumps(said), flush=True)
"""


@pytest.fixture
def tell(tmp_path):
    """Arguments with which pytest does nothing but say what it is."""
    (tmp_path / "test_tells.py").write_text(TELL)
    folders = [f"--rootdir={tmp_path}", f"--confcutdir={tmp_path}", str(tmp_path)]
    return ["-q", "-s", "-p", "no:cacheprovider", "-c", os.devnull, *folders]


def test_it_has_what_the_caller_has(copies, tell):
    """umask, cores, the environment that it is given and no other; nothing to read, and no file of anybody else's."""
    environ = outer_environment() | {"HOME": "/nowhere"}
    environ.pop("OPENBLAS_NUM_THREADS", None)  # what it is copied from has it
    before = os.umask(0o027)
    try:
        done = copies.run(tell, environ)
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout.splitlines()[0])
    assert said["umask"] == 0o027, done.stdout
    assert said["cores"] == sorted(os.sched_getaffinity(0)), done.stdout
    assert said["leads"], "it is in the session of another process"
    assert (said["home"], said["leaks"], said["reads"]) == ("/nowhere", False, ""), done.stdout
    assert said["arguments"][:-1] == tell, "it was given other arguments"
    assert not [name for name in said["files"] if name.startswith(("socket:", "pipe:"))], said["files"]


def test_its_end_is_the_shells(copies, tell, tmp_path):
    """An exit status, or the signal that killed it; what it wrote to stderr is apart."""
    done = copies.run([*tell, "--no-such-option"], outer_environment())
    assert done.returncode == 4, done.stdout + done.stderr
    assert "unrecognized arguments: --no-such-option" in done.stderr, done.stderr
    # it sleeps for longer than the test waits, and is killed at once
    (tmp_path / "test_tells.py").write_text("import time\ndef test_sleeps():\n    time.sleep(60)\n")
    copy = copies.start(tell, outer_environment())
    assert copy.wait(0.2) is None, "it has ended already"
    began = time.monotonic()
    assert copy.kill() == -signal.SIGKILL
    assert time.monotonic() - began < 30, "its end was not noticed"
    assert copy.wait(0) == -signal.SIGKILL, "how it ended is forgotten"
