"""Pairs of pictures that are matched per second on one core, a line per kind of picture.

    python benchmarks/matching.py [--seconds 2]

Each picture has 100 detections on either side, the candidate's moved by up to a tenth of a pixel and in another order. `80 classes`
is COCO; `crowded` has every detection in one class and boxes so dense that partners are ambiguous.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from fcos_lib.contract import COCO_R50
from fcos_lib.measure.detections.causes import explain
from fcos_lib.measure.detections.matching import pair
from fcos_lib.stream.sessions import Detections

Picture = tuple[Detections, Detections]
ROWS = 100


def picture(random: np.random.Generator, classes: int, spread: float) -> Picture:
    """A reference and a candidate of `ROWS` detections with corners within `spread` of the input's size."""
    corner = random.uniform(0, spread, (ROWS, 2)) * (COCO_R50.width - 200, COCO_R50.height - 200)
    boxes = np.concatenate([corner, corner + random.uniform(20, 200, (ROWS, 2))], axis=1)
    scores = np.sort(random.uniform(0.06, 1, ROWS))[::-1].astype(np.float32)
    reference = Detections(boxes.astype(np.float32), scores, random.integers(0, classes, ROWS))
    order = random.permutation(ROWS)
    moved = (boxes + random.uniform(-0.1, 0.1, boxes.shape)).astype(np.float32)
    return reference, Detections(moved[order], reference.scores[order], reference.labels[order])


def per_second(work: Callable[[Picture], object], pictures: list[Picture], seconds: float) -> float:
    """Pictures per second, going round the list until the time is up."""
    done, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        for one in pictures:
            work(one)
        done += len(pictures)
    return done / spent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="CPU time per line (default: 2)")
    seconds = parser.parse_args().seconds
    random = np.random.default_rng(3)
    for name, classes, spread in (("80 classes", 80, 1.0), ("8 classes", 8, 1.0), ("crowded", 1, 0.3)):
        pictures = [picture(random, classes, spread) for _ in range(50)]
        pair(*pictures[0])  # imports what is imported late
        paired = per_second(lambda one: pair(*one), pictures, seconds)
        caused = per_second(lambda one: explain([one[0]], [one[1]], ["picture"], COCO_R50), pictures, seconds)
        print(f"{name:<11} {paired:7.0f} pairs of pictures/s paired, {caused:7.0f}/s with causes")


if __name__ == "__main__":
    main()
