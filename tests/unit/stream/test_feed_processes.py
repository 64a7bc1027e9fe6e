"""The processes of a feed: they work beside a device that holds the GIL, and nothing of them is left, however it ends."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.errors import DatasetError, FeedError
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.feed import Feed, load_batch
from tests.unit.processes import ended

WIDTH, HEIGHT = 64, 48

PROGRAM = """
import ctypes, os, signal, sys, time
from pathlib import Path
import numpy as np
from fcos_lib.contract import SHAPES
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.feed import Feed
folder = Path(sys.argv[1])
groups = [[Picture(number, folder / f"{number % 8}.jpg", 64, 48)] * 2 for number in range(int(sys.argv[2]))]
def say(*words):
    print(*words, flush=True)
def children():
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
"""


PATIENT = f"""
import sys
sys.path.append({str(Path(__file__).parents[3])!r})
import fcos_lib.files
fcos_lib.files.open_plain = lambda path: open(path, "rb")
"""


def descriptors():
    """What this process has open: each descriptor and what it leads to."""
    opened = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists them
            opened.add((entry.name, os.readlink(entry)))
    return opened


def open_to_write(fifo):
    """Wait until somebody reads a FIFO, and open its other end."""
    for _ in range(1000):
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.01)
    pytest.fail("no process reads the picture")


@pytest.fixture
def folder(tmp_path):
    """Eight pictures, 0.jpg to 7.jpg."""
    random = np.random.default_rng(0)
    for number in range(8):
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    return tmp_path


@pytest.fixture
def pictures(folder):
    """The eight."""
    return [Picture(number, folder / f"{number}.jpg", WIDTH, HEIGHT) for number in range(8)]


@pytest.fixture
def pending(pictures, folder, monkeypatch):
    """A picture whose reader waits for its bytes: a FIFO in the place of 1.jpg, which new processes take for a plain file."""
    (folder / "patient").mkdir()
    (folder / "patient" / "sitecustomize.py").write_text(PATIENT)
    monkeypatch.setenv("PYTHONPATH", str(folder / "patient"))
    path = pictures[1].path
    content = path.read_bytes()
    path.unlink()
    os.mkfifo(path)
    return path, content


@pytest.fixture
def children():
    """Say the ids of this process's children since the test began, those that nobody has waited for included."""
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    others = path.read_text().split()  # such as the one that multiprocessing keeps for good

    def find():
        return [int(pid) for pid in path.read_text().split() if pid not in others]

    return find


@pytest.fixture(autouse=True)
def nothing_left(tmp_path, monkeypatch, children):
    """Every test leaves as many processes and descriptors as it found, and no file in shared memory or in /tmp."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    opened, shared = descriptors(), os.listdir("/dev/shm")
    yield
    assert children() == [], "a process of the feed is left, or nobody waited for it"
    assert not descriptors() - opened, "a descriptor of the feed is left open"
    assert not [name for name in os.listdir("/dev/shm") if name not in shared and "fcos" in name]
    assert not os.listdir(temporary)


@pytest.fixture
def program(folder, tmp_path):
    """Start a Python program that has a folder of pictures; whatever it started is gone in the end."""
    started = []

    def start(text, count=100):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM + text, str(folder), str(count)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_feed_gone_through_leaves_nothing(pictures, children):
    """Before it is closed: whoever forgets to close it has lost nothing by then."""
    feed = Feed([pictures[:4], pictures[4:]], SHAPES, 4)
    assert [len(batch.pictures) for batch in feed] == [4, 4]
    assert children() == []


def test_an_abandoned_feed_leaves_nothing(pictures, children):
    """Closed with work in hand, twice."""
    with Feed([[picture] for picture in pictures], SHAPES, 1) as feed:
        for _ in feed:
            assert children()
            break
    feed.close()
    assert children() == []


def test_an_error_leaves_nothing(pictures, children):
    """The caller's own, and that of a picture."""
    with pytest.raises(ZeroDivisionError), Feed([pictures[:2], pictures[4:6]], SHAPES, 2) as feed:
        _ = [1 / 0 for _ in feed]
    assert children() == []
    pictures[3].path.unlink()
    with pytest.raises(DatasetError, match=r"3\.jpg"), Feed([pictures[:4]], SHAPES, 4) as feed:
        next(iter(feed))


def test_nobody_is_started_in_vain(pictures, children):
    """Before a batch is asked for, and beyond the number of pictures."""
    with Feed([pictures[:2], []], SHAPES, 4, workers=5) as feed:
        rest = iter(feed)
        assert children() == []
        next(rest)
        assert len(children()) == 2


def test_as_many_work_as_were_asked_for(pictures, children):
    """Three for eight pictures."""
    with Feed([pictures], SHAPES, 8, workers=3) as feed:
        rest = iter(feed)
        batch = next(rest)
        assert len(children()) == 3
        np.testing.assert_array_equal(batch.tensor, load_batch(pictures, SHAPES, 8).tensor)


def test_memory_without_memfd_has_no_name_either(pictures, monkeypatch):
    """Where the system cannot give memory without a file, the file is gone before it is used."""
    monkeypatch.delattr(os, "memfd_create")
    with Feed([pictures[:2]], SHAPES, 2) as feed:
        (batch,) = feed
        assert not os.listdir(os.environ["TMPDIR"])
    np.testing.assert_array_equal(batch.tensor, load_batch(pictures[:2], SHAPES, 2).tensor)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV], ids=lambda how: how.name)
def test_a_killed_worker_is_one_clear_error(pictures, pending, how, children):
    """It names the picture that the process had, and how it died; others that live on do not hide it."""
    with Feed([[picture] for picture in pictures], SHAPES, 1, workers=1) as feed:
        rest = iter(feed)
        assert next(rest).pictures == (pictures[0],)
        (worker,) = children()
        writer = open_to_write(pending[0])
        os.kill(worker, how)
        with pytest.raises(FeedError, match=rf"{how.name} while it had .*1\.jpg") as caught:
            next(rest)
        os.close(writer)
    assert ("dmesg" in caught.value.advice) == (how is signal.SIGKILL)


def test_an_idle_worker_that_dies_is_an_error_too(pictures, children):
    """One process less would be a slower run that nobody understands."""
    with Feed([pictures[:2], pictures[2:4]], SHAPES, 2, workers=2) as feed:
        rest = iter(feed)
        next(rest)
        worker = children()[0]
        os.kill(worker, signal.SIGKILL)
        assert ended(worker)
        with pytest.raises(FeedError, match="SIGKILL while it had"):
            next(rest)


@pytest.mark.parametrize(
    ("executable", "words"),
    [("/nowhere/python", "cannot be started"), ("/bin/false", "ended with status 1 while it had no picture")],
    ids=["missing", "failing"],
)
def test_a_process_that_cannot_start_is_an_error(pictures, monkeypatch, executable, words):
    """And no endless wait."""
    monkeypatch.setattr(sys, "executable", executable)
    with Feed([pictures[:1]], SHAPES, 1) as feed, pytest.raises(FeedError, match=words):
        next(iter(feed))


def test_a_worker_finds_what_this_process_finds(pictures, tmp_path, monkeypatch):
    """The folder one happens to be in holds a `cv2.py`; it is not on this process's search path, nor on a worker's."""
    (tmp_path / "cv2.py").write_text("raise SystemExit('the wrong cv2')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    with Feed([pictures[:1]], SHAPES, 1) as feed:
        assert next(iter(feed)).pictures == (pictures[0],)


def test_pictures_are_prepared_while_the_gil_is_held(program, pending):
    """A device whose run, the GIL in its hand, ends only when another process has come to the next picture but one."""
    path, content = pending
    process = program(
        f"""
groups = [[Picture(0, folder / "0.jpg", 64, 48)], [Picture(2, folder / "2.jpg", 64, 48)],
          [Picture(1, folder / "1.jpg", 64, 48)]]
libc, content = ctypes.PyDLL(None), {content!r}
with Feed(groups, SHAPES, 1, workers=1) as feed:
    rest = iter(feed)
    next(rest)
    end = libc.open({os.fsencode(path)!r}, {os.O_WRONLY})  # waits for a reader
    assert libc.write(end, content, len(content)) == len(content)
    libc.close(end)
    say([batch.pictures[0].id for batch in rest])
"""
    )
    try:
        output, errors = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        pytest.fail("while the GIL was held, nobody came to the next pictures")
    assert output == "[2, 1]\n", errors


ENDLESS = """
with Feed(groups, SHAPES, 2) as feed:
    for number, batch in enumerate(feed):
        if number == 2:
            say(*children())
        time.sleep(0.05)
"""


def test_ctrl_c_leaves_nothing(program):
    """SIGINT for the whole foreground: one traceback, from the program itself, and no process."""
    process = program(ENDLESS)
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert workers
    os.killpg(process.pid, signal.SIGINT)
    errors = process.communicate(timeout=20)[1]
    assert errors.count("Traceback") == 1, errors
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert all(ended(worker, 0.1) for worker in workers)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
def test_a_killed_program_leaves_nothing(program, how):
    """It has no chance to tidy up; its processes see that it is gone, and say nothing about it."""
    process = program(ENDLESS)
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert workers
    process.send_signal(how)
    errors = process.communicate(timeout=20)[1]
    assert [worker for worker in workers if not ended(worker)] == []
    assert errors == ""
