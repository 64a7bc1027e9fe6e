"""Time of COCO's numbers and of the paired interval at the size of val2017, next to pycocotools.

Run from the repository's root: `python -m benchmarks.coco_metrics`. Takes about two minutes. Exits with 1 if the numbers
differ by more than 1e-12 or a ratio, a time or the memory is not what docs/measurements/accuracy.md promises.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.generated import contract_of, draw_dataset, draw_detections, rounded
from fcos_lib.measure.coco.matching import match
from fcos_lib.measure.coco.metrics import TWELVE, twelve_numbers
from fcos_lib.measure.coco.paired import paired_difference
from fcos_lib.measure.coco.truth import read_truth
from fcos_lib.stream.dataset import Dataset
from fcos_lib.stream.sessions import Detections


def pycocotools_twelve(
    dataset: Dataset, category_ids: tuple[int, ...], found: dict[int, Detections]
) -> tuple[dict[str, float], float, float]:
    """Its numbers, the seconds for everything, and those for evaluate, accumulate and summarize alone."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    start = time.perf_counter()
    rows = [
        [number, box[0], box[1], box[2] - box[0], box[3] - box[1], score, category_ids[label]]
        for number, one in sorted(found.items())
        for box, score, label in zip(one.boxes.tolist(), one.scores.tolist(), one.labels.tolist(), strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(dataset.annotations))
        evaluation = COCOeval(truth, truth.loadRes(np.array(rows, np.float64)), "bbox")
        loaded = time.perf_counter()
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    end = time.perf_counter()
    return dict(zip(TWELVE, evaluation.stats.tolist(), strict=True)), end - start, end - loaded


def peak_gb() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> int:
    """Print times, ratios and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--resamples", type=int, default=1000)
    args = parser.parse_args()
    random, contract = np.random.default_rng(0), contract_of(args.classes)
    with tempfile.TemporaryDirectory() as folder:
        dataset = draw_dataset(Path(folder), random, pictures=args.pictures, classes=args.classes, boxes=7.4)
        reference = draw_detections(dataset, random, classes=args.classes, wrong=97)
        candidate = rounded(reference, random)

        start = time.perf_counter()
        truth = read_truth(dataset)
        read = time.perf_counter()
        matches = match(truth, contract, reference)
        numbers = twelve_numbers(matches)
        ours, ours_alone = time.perf_counter() - start, time.perf_counter() - read
        print(
            f"data      {len(truth.picture_ids)} pictures, {len(truth.boxes)} boxes, {matches.total} detections, "
            f"{len(truth.names)} classes"
        )
        start = time.perf_counter()
        paired = paired_difference(truth, contract, reference, candidate, resamples=args.resamples)
        seconds, memory = time.perf_counter() - start, peak_gb()
        expected, theirs, theirs_alone = pycocotools_twelve(dataset, dataset.label_ids(contract), reference)
    apart = max(abs(numbers[name] - expected[name]) for name in TWELVE)
    print(f"numbers   mAP {numbers['mAP']:.6f}; the twelve differ from pycocotools' by at most {apart:.1e}")
    print(f"twelve    {ours:.2f} s with reading, pycocotools {theirs:.1f} s: 1/{theirs / ours:.0f}")
    print(f"          {ours_alone:.2f} s without, pycocotools {theirs_alone:.1f} s: 1/{theirs_alone / ours_alone:.0f}")
    print(f"paired    {seconds:.1f} s for {args.resamples} resamples of both sides, {memory:.2f} GB at the peak")
    print(f"          mAP difference {paired.value:+.5f} ({paired.low:+.5f} to {paired.high:+.5f})")
    print(f"memory    {peak_gb():.2f} GB at the peak with pycocotools")
    kept = apart <= 1e-12 and min(theirs / ours, theirs_alone / ours_alone) >= 8 and seconds <= 60 and memory <= 4
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
