"""Processes that evaluate into a journal and can be killed, and the session that they and the tests use.

As a script: imports everything once, then forks a worker per line on its standard input, so that a test can afford dozens.
"""

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from fcos_lib.contract import SHAPES, InputLayout
from fcos_lib.stream.dataset import open_dataset
from fcos_lib.stream.evaluation import detect_journaled
from fcos_lib.stream.feed import Feed, load_batch
from fcos_lib.stream.journal import Journal
from fcos_lib.stream.sessions import Outputs

ROOT = Path(__file__).parents[3]
TINY = replace(SHAPES, name="tiny", height=32, width=53)
BATCH = 3
FINGERPRINT = {"om": "0123abcd", "precision": "fp16", "software": {"numpy": "2.0"}}


class FakeSession:
    """Finds things that depend on every bit of the picture and on nothing else; notes each run in a log."""

    contract, layout = TINY, InputLayout.FLOAT_NCHW

    def __init__(self, log=None, seconds=0.0):
        self.log, self.seconds, self.runs = log, seconds, 0

    def run(self, batch):
        """Up to nine detections per picture, some pictures with none."""
        self.runs += 1
        if self.log:
            with open(self.log, "ab", buffering=0) as file:
                file.write(b"x")
        time.sleep(self.seconds)
        labels, dets = np.zeros((len(batch), 100), np.int64), np.zeros((len(batch), 100, 5), np.float32)
        for slot, tensor in enumerate(batch):
            chance = np.random.default_rng(zlib.crc32(tensor.tobytes()))
            rows = chance.integers(0, 10)
            labels[slot, :rows] = chance.integers(0, 8, rows)
            dets[slot, :rows, :4] = np.sort(chance.uniform(0, 53, (rows, 4)))
            dets[slot, :rows, 4] = chance.uniform(0.05, 1, rows)
        return Outputs(labels, dets)


@contextmanager
def plain_feed(groups, contract, size, layout):
    """Batches from this process, two ahead of the one in use, as the real feed does it."""

    def batches():
        ahead, groups_left = [], iter(groups)
        while True:
            while len(ahead) < 3 and (group := next(groups_left, None)):
                ahead.append(group)
            if not ahead:
                return
            yield load_batch(ahead.pop(0), contract, size, layout)

    yield batches()


def one_decoder(groups, contract, size, layout):
    """The real feed, with one process."""
    return Feed(groups, contract, size, layout, workers=1)


def pictures_of_the_set(count):
    """The first pictures of the embedded default."""
    return open_dataset(ROOT / "fixtures" / "shapes").pictures[:count]


@contextmanager
def workers():
    """A function that starts a worker and returns its process id, and one that waits for its exit status."""
    command = [sys.executable, "-m", "tests.unit.stream.journal_worker"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:

        def ask(**what):
            server.stdin.write(json.dumps(what, default=str) + "\n")
            server.stdin.flush()
            return json.loads(server.stdout.readline())

        ask(do="nothing")  # everything is imported
        yield (lambda folder, **how: ask(do="start", folder=folder, **how)), (lambda pid: ask(do="wait", pid=pid))
        server.stdin.close()


def as_bytes(detections):
    """Detections by picture id, in order, for comparison bit by bit."""
    return [
        (key, seen.boxes.tobytes(), seen.scores.tobytes(), seen.labels.tobytes()) for key, seen in detections.items()
    ]


def until(condition, seconds=30):
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.002)


def runs_in(log):
    """How often the sessions with this log were run."""
    return log.stat().st_size if log.exists() else 0


def _work(pictures, folder, log=None, seconds=0.0, real_feed=False, **_):
    with Journal(Path(folder), pictures, BATCH, FINGERPRINT) as journal:
        detect_journaled(FakeSession(log, seconds), journal, feed=one_decoder if real_feed else plain_feed)


def _serve():
    cv2.setNumThreads(1)  # no threads before a fork
    pictures, started, answer = pictures_of_the_set(60), set(), None
    for line in sys.stdin:
        what = json.loads(line)
        if what["do"] == "start":
            answer = os.fork()
            if not answer:
                os.setpgid(0, 0)
                status = 1
                try:
                    _work(pictures[: what.pop("count", 60)], **what)
                    status = 0
                finally:
                    os._exit(status)
            os.setpgid(answer, answer)
            started.add(answer)
        elif what["do"] == "wait":
            started.discard(what["pid"])
            answer = os.waitstatus_to_exitcode(os.waitpid(what["pid"], 0)[1])
        print(json.dumps(answer), flush=True)
    for pid in started:
        os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    _serve()
