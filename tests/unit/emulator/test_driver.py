"""The process that plays the NPU: run() holds the GIL while it computes, and it never outlives the sessions on it."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fcos_lib.emulator.processor import Model
from tests.unit.emulator.runtime import open_session, run
from tests.unit.processes import ended

MANY = 1024
"""A batch size that keeps the kernel's imitation busy for some 300 ms."""

OPEN = """
import os, sys, time
import numpy as np
from fcos_lib.emulator import aclruntime
path, batch = sys.argv[1], int(sys.argv[2])
session = aclruntime.InferenceSession(path, 0, aclruntime.session_options())
pictures = np.zeros((batch, 3, 16, 16), np.float32)
def run():
    return session.run([desc.name for desc in session.get_outputs()], [aclruntime.BaseTensor(pictures.ctypes.data, pictures.nbytes)])
"""


def players(parent=None):
    """Ids of the processes that play an NPU for a process, this one unless another is named."""
    output = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if b"fcos_lib.emulator.processor" in words and fields[0] != "Z" and int(fields[1]) == (parent or os.getpid()):
            output.append(int(folder.name))
    return output


@pytest.fixture
def path(compile_om):
    """The detector, compiled for a batch of two."""
    return compile_om()


@pytest.fixture
def slow_path(compile_om):
    """The detector, compiled for a batch that takes its time."""
    return compile_om(input_shape=f"input:{MANY},3,16,16", output="slow")


@pytest.fixture(autouse=True)
def nothing_left():
    """Every test begins and ends without such a process, and leaves no file in shared memory."""
    gc.collect()  # sessions of earlier tests that a caught exception's traceback kept
    assert players() == []
    yield
    gc.collect()
    assert players() == [], "a process that plays the NPU outlives its sessions"
    assert not [name for name in os.listdir("/dev/shm") if "fcos" in name]


@pytest.fixture
def script(tmp_path):
    """Start a Python program that has opened a session; it is killed in the end."""
    started = []

    def start(path, batch, text):
        process = subprocess.Popen(
            [sys.executable, "-c", OPEN + text, str(path), str(batch)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_process_computes_what_the_model_computes(path, pictures):
    """Bit for bit, through the shared memory, for one picture batch after another."""
    session = open_session(path)
    for batch in (pictures, -pictures, pictures):
        for output, expected in zip(run(session, batch), Model(path).execute([batch]), strict=True):
            np.testing.assert_array_equal(output, expected)
            assert output.dtype == expected.dtype
    session.free_resource()


def test_no_other_thread_runs_during_run(slow_path, play):
    """As with the real module: a thread that counts stands still, and goes on as soon as run() is over, computing or waiting."""
    counts, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counts[0] += 1

    def rate(work):
        before, start = counts[0], time.perf_counter()
        work()
        seconds = time.perf_counter() - start
        return (counts[0] - before) / seconds, seconds

    play("rate=5000")
    session, batch = open_session(slow_path), np.zeros((MANY, 3, 16, 16), np.float32)
    run(session, batch)
    thread = threading.Thread(target=count)
    thread.start()
    try:
        free, _ = rate(lambda: time.sleep(0.1))
        held, seconds = rate(lambda: run(session, batch))
    finally:
        stop.set()
        thread.join()
    session.free_resource()
    assert seconds > 0.1, f"the run took {seconds:.3f} s, too little to tell"
    assert held < 0.25 * free, f"{held:.0f} counts per second during run(), {free:.0f} without"


def test_sessions_of_a_device_share_its_process(path):
    """One process per device, from the first session to the last."""
    first, second, other = open_session(path), open_session(path), open_session(path, device=1)
    assert len(players()) == 2
    other.free_resource()
    first.free_resource()
    (left,) = players()
    assert run(second, np.zeros((2, 3, 16, 16), np.float32))[0].shape == (2, 10)
    assert players() == [left]
    second.free_resource()
    assert players() == []


@pytest.mark.parametrize("generation", ["new", "old"])
def test_a_dropped_session_is_freed(path, play, generation):
    """The old generation has no other way."""
    play(f"generation={generation}")
    session = open_session(path)
    assert len(players()) == 1
    del session
    assert players() == []


def test_a_session_that_cannot_be_loaded_leaves_nothing(path, tmp_path):
    """The exception may be kept; the process is not."""
    data = path.read_bytes()
    (tmp_path / "half.om").write_bytes(data[:-100])
    with pytest.raises(RuntimeError, match="invalid parameter") as caught:
        open_session(tmp_path / "half.om")
    assert players() == []
    assert caught.value is not None


def test_a_refused_om_starts_no_process(path, play, monkeypatch):
    """What the runtime can tell from the header costs nothing."""
    play("load=soc")
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises(RuntimeError, match="invalid parameter"):
        open_session(path)


def test_a_device_that_is_lost_in_the_middle_fails_the_run(slow_path, capfd):
    """With the words and the code of a lost heartbeat; the next session has a new device."""
    session, batch = open_session(slow_path), np.zeros((MANY, 3, 16, 16), np.float32)
    (player,) = players()
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -9 {player}"])
    with pytest.raises(RuntimeError) as caught:
        any(run(session, batch) is None for _ in range(50))
    killer.wait()
    assert str(caught.value) == "[-1][ACL: general failure] "
    out = capfd.readouterr().out
    assert "reason=[lost heartbeat]" in out
    assert "[ERROR] execute model failed, modelId is " in out
    assert "[ERROR] acl execute failed:1\n" in out
    with pytest.raises(RuntimeError, match="general failure"):
        run(session, batch)
    session.free_resource()
    again = open_session(slow_path)
    assert run(again, batch)[0].shape == (MANY, 10)
    again.free_resource()


@pytest.mark.parametrize("work", ["time.sleep(60)", "while True: run()"], ids=["idle", "busy"])
def test_nothing_outlives_a_killed_program(script, slow_path, work):
    """kill -9 gives a program no chance to tidy up; its device ends with it, even in the middle of a run."""
    program = script(slow_path, MANY, f"print('open', flush=True)\n{work}\n")
    assert program.stdout.readline() or program.wait() is None
    while not (output := players(program.pid)):
        time.sleep(0.01)
    time.sleep(0.3)
    program.send_signal(signal.SIGKILL)
    assert ended(output[0]), "the process that plays the NPU goes on after its program was killed"


def test_an_interrupted_run_does_not_answer_the_next_one(slow_path, pictures):
    """Ctrl-C ends the waiting; what the device still says about that run is not taken for the next one's answer."""
    session, batch = open_session(slow_path), np.zeros((MANY, 3, 16, 16), np.float32)
    batch[: len(pictures)] = pictures
    expected = run(session, batch)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with subprocess.Popen(["sh", "-c", f"sleep 0.1; kill -INT {os.getpid()}"]), pytest.raises(KeyboardInterrupt):
            run(session, -batch)
    finally:
        signal.signal(signal.SIGINT, handler)
    for output, wanted in zip(run(session, batch), expected, strict=True):
        np.testing.assert_array_equal(output, wanted)
    session.free_resource()


def test_threads_may_share_a_device(path, pictures):
    """Loading, running and freeing in several threads at once: nobody takes another one's answer, nobody waits for ever."""
    expected, wrong = Model(path).execute([pictures])[1], []

    def work():
        for _ in range(5):
            session = open_session(path)
            for _ in range(3):
                if not np.array_equal(run(session, pictures)[1], expected):
                    wrong.append("other detections")
            session.free_resource()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not [thread for thread in threads if thread.is_alive()], "a thread waits for an answer that never comes"
    assert wrong == []
