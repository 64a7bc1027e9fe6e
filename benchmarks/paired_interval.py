"""Coverage of the 95 % interval of a paired difference: how often it holds the true difference.

Run from the repository's root: `python -m benchmarks.paired_interval`. Takes a few minutes on 2 cores. The truth is the
difference over a large drawn dataset; every trial judges a small random part of its pictures. Exits with 1 if the mAP
difference of a change is covered in fewer than 92 or more than 98 of 100 trials.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.generated import CHANGES, contract_of, draw_dataset, draw_detections
from fcos_lib.measure.coco.matching import match
from fcos_lib.measure.coco.metrics import TWELVE, averages
from fcos_lib.measure.coco.paired import PairedDifference, paired_difference
from fcos_lib.measure.coco.truth import Truth, read_truth
from fcos_lib.stream.sessions import Detections

CLASSES = 8
Sides = tuple[Truth, dict[int, Detections], dict[int, Detections]]


@cache
def draw(change: str, population: int, seed: int) -> Sides:
    """The whole dataset with its reference and the candidate; every process draws the same."""
    random = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        dataset = draw_dataset(Path(folder), random, pictures=population, classes=CLASSES, boxes=7.4)
        reference = draw_detections(dataset, random, classes=CLASSES, wrong=15)
        return read_truth(dataset), reference, CHANGES[change](reference, random)


def trial(change: str, population: int, pictures: int, resamples: int, seed: int, number: int) -> PairedDifference:
    """The paired difference over a random part."""
    truth, reference, candidate = draw(change, population, seed)
    random = np.random.default_rng([seed, number])
    chosen = random.choice(truth.picture_ids, pictures, replace=False).tolist()
    some = [{picture: side[picture] for picture in chosen} for side in (reference, candidate)]
    return paired_difference(truth, contract_of(CLASSES), *some, pictures=chosen, resamples=resamples, seed=number)


def main() -> int:
    """Print the coverage of every number for every change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--pictures", type=int, default=250, help="in one trial")
    parser.add_argument("--population", type=int, default=10_000, help="pictures in the whole dataset")
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--change", choices=CHANGES, action="append", help="only this one")
    args = parser.parse_args()
    good = True
    print(
        f"{args.trials} trials of {args.pictures} of {args.population} pictures, {args.resamples} resamples, seed {args.seed}"
    )
    for change in args.change or CHANGES:
        start = time.perf_counter()
        truth, reference, candidate = draw(change, args.population, args.seed)
        both = [averages(match(truth, contract_of(CLASSES), side)) for side in (reference, candidate)]
        true = dict(zip(TWELVE, (both[1].twelve - both[0].twelve)[:, 0].tolist(), strict=True))
        per_class = dict(zip(truth.names, (both[1].per_class - both[0].per_class)[:, 0].tolist(), strict=True))
        fixed = (change, args.population, args.pictures, args.resamples, args.seed)
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            found = list(pool.map(trial, *zip(*[(*fixed, n) for n in range(args.trials)], strict=True), chunksize=5))
        covered = {
            name: np.mean([t.numbers[name].low <= true[name] <= t.numbers[name].high for t in found]) for name in TWELVE
        }
        classes = np.mean([one.low <= per_class[name] <= one.high for t in found for name, one in t.per_class.items()])
        widths, absolute = np.array([t.high - t.low for t in found]), np.array([t.reference["mAP"] for t in found])
        print(
            f"{change:8}  true {true['mAP']:+.5f}, mean of the trials {np.mean([t.value for t in found]):+.5f}, "
            f"interval {widths.mean():.4f} wide; covered in {100 * covered['mAP']:.1f} % ({time.perf_counter() - start:.0f} s)"
        )
        print(
            f"          {', '.join(f'{name} {100 * share:.1f}' for name, share in covered.items())}, classes {100 * classes:.1f}"
        )
        print(
            f"          the reference's own mAP: {both[0].twelve[0, 0]:.4f} over all, "
            f"{absolute.mean():.4f} +- {absolute.std():.4f} in the trials",
            flush=True,
        )
        good &= 0.92 <= covered["mAP"] <= 0.98
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
