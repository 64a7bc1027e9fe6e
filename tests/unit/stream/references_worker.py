"""A small reference for tests, and another process that uses it: `python references_worker.py ROOT PICTURES MANNER`."""

import os
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from fcos_lib.contract import SHAPES
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.references import References
from fcos_lib.stream.sessions import Outputs

TINY = replace(SHAPES, name="tiny", height=64, width=96)
WIDTH, HEIGHT = 40, 30


class Fake:
    """A session whose detections depend on the picture alone."""

    def __init__(self, shift=0.0):
        self.numerics, self.runs, self.shift = {"runtime": "fake 1"}, 0, shift

    def run_and_proposals(self, batch):
        """Random numbers, seeded by the input."""
        self.runs += 1
        random = np.random.default_rng(zlib.crc32(batch.tobytes()))
        dets, labels = np.zeros((1, 100, 5), np.float32), np.full((1, 100), 3, np.int64)
        dets[0, :7, :4] = random.uniform(0, 60, (7, 4)) + self.shift
        dets[0, :7, 4] = np.sort(random.uniform(0.06, 1, 7))[::-1]
        boxes = random.uniform(0, 60, (1, TINY.proposals, 4)).astype(np.float32)
        return Outputs(labels, dets), boxes, random.random((1, TINY.proposals, 8), np.float32)

    def run(self, batch):
        """Only the detections."""
        return self.run_and_proposals(batch)[0]


def draw(folder, count):
    """Small pictures that differ."""
    folder.mkdir(exist_ok=True)
    pictures = []
    for number in range(count):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), (7 * number, 90, 200 - number), np.uint8))
        pictures.append(Picture(number, path, WIDTH, HEIGHT))
    return pictures


def opened(root, session=None, contract=TINY, onnx="a" * 64, **options):
    """References of a new run."""
    return References(root, session or Fake(), contract, onnx, **options)


def records(root):
    """Every record there is."""
    return sorted(root.rglob("*.npz"))


def assert_equal(left, right):
    """The same bits for the same pictures."""
    assert list(left) == list(right)
    for number in left:
        for one, other in zip(flat(left[number]), flat(right[number]), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


def flat(result):
    """The arrays of a result with or without proposals."""
    detections, *arrays = result if isinstance(result, tuple) else (result,)
    return [detections.boxes, detections.scores, detections.labels, *arrays]


def child(root, pictures, manner):
    """Another process that computes references; `slow` takes its time, `stop` halts it before the third record gets its name."""
    command = [sys.executable, __file__, str(root), str(pictures), manner]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _run_as_child(root, pictures, manner):
    session = Fake()
    if manner == "slow":
        honest = session.run
        session.run = lambda batch: time.sleep(0.05) or honest(batch)
    elif manner == "stop":
        os_replace, written = os.replace, []

        def stop(source, target):
            if target.suffix == ".npz":
                written.append(target)
            if len(written) == 3:
                print("writing", flush=True)
                signal.pause()
            os_replace(source, target)

        os.replace = stop
    references = opened(root, session)
    names = sorted(pictures.iterdir(), key=lambda path: int(path.stem))
    detections = references.detections([Picture(int(path.stem), path, WIDTH, HEIGHT) for path in names])
    print(references.facts.computed)
    print(zlib.crc32(b"".join(array.tobytes() for result in detections.values() for array in flat(result))))


if __name__ == "__main__":
    _run_as_child(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
