"""Bias: a difference of all boxes or scores in one direction, each too small to be noticed on its own.

Matching forgives each pair a rounding step. Rounding errs both ways, a defect errs one way: the median over many pairs
is small for the one and not for the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.measure import Measurement, json_ready
from fcos_lib.measure.detections.matching import Pairs

CONFIDENCE = 0.95
_FEWEST = 6
"""Samples without which nothing is certain: five on one side of the median happen by chance once in 16 times."""
_EXACT_UP_TO = 200


@dataclass(frozen=True, slots=True)
class Median:
    """A median with the interval that holds the true one in 95 of 100 cases, whatever the distribution."""

    value: float
    low: float
    """-inf and inf if there are fewer than `_FEWEST` samples: then nothing is certain."""
    high: float
    n: int

    @property
    def certain(self) -> float:
        """By how much it is certainly off zero: the end of the interval that is nearer to 0, without its sign."""
        return max(self.low, -self.high, 0.0)


def median_of(values: NDArray[np.floating]) -> Median:
    """The median and its interval between order statistics (sign test). NaN if any value is."""
    n = len(values)
    if not n or np.isnan(values).any():
        return Median(math.nan, -math.inf, math.inf, n)
    ordered = np.sort(values.astype(np.float64))
    rank = _rank(n)
    low, high = (float(ordered[rank - 1]), float(ordered[n - rank])) if rank else (-math.inf, math.inf)
    return Median(float(np.median(ordered)), low, high, n)


def _rank(n: int) -> int:
    """The largest k for which the k-th smallest and k-th largest of n enclose the median with `CONFIDENCE`; 0 if none."""
    tail = (1 - CONFIDENCE) / 2
    if n > _EXACT_UP_TO:
        return math.floor((n - NormalDist().inv_cdf(1 - tail) * math.sqrt(n)) / 2)
    total, rank = 1, 0  # ways in which at most `rank` of n fall below the median
    while total / 2**n <= tail:
        rank += 1
        total += math.comb(n, rank)
    return rank


def levels_of(
    pairs: Pairs, boxes: NDArray[np.float32], scores: NDArray[np.float32], contract: ModelContract
) -> NDArray[np.int64]:
    """The level of each pair by the reference's proposals, boxes [N, M, 4] and scores [N, M, C] of the same pictures.

    NMS copies: a detection of the reference is one of its proposals to the bit. -1 where none is.
    """
    ends = np.cumsum(contract.proposals_by_level)
    levels = np.full(len(pairs), -1, np.int64)
    detections = pairs.reference
    for index, picture in enumerate(pairs.pictures):
        same = (boxes[picture] == detections.boxes[index]).all(axis=1)
        same &= scores[picture, :, detections.labels[index]] == detections.scores[index]
        if same.any():
            levels[index] = np.searchsorted(ends, int(same.argmax()), side="right")
    return levels


def bias(pairs: Pairs, levels: NDArray[np.int64], contract: ModelContract) -> tuple[Measurement, ...]:
    """Bias of size (log ratio), centre in x and y (px) and score: candidate minus reference, four measurements.

    The value is the largest certain bias (`Median.certain`) over all pairs and over the pairs of each level; `where`
    names the level, `details` has every median with its interval. `levels` (from `levels_of`) says which level each pair
    comes from. Pairs with a box without area have no size ratio. `n` is 0 if there are too few pairs to tell.
    """
    before, after = pairs.reference.boxes.astype(np.float64), pairs.candidate.boxes.astype(np.float64)
    areas = [(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (before, after)]
    sized = ~((areas[0] <= 0) | (areas[1] <= 0))  # NaN counts as sized, and shows
    size = np.full(len(pairs), math.inf)
    size[sized] = np.log(areas[1][sized] / areas[0][sized]) / 2
    centre = (after - before)[:, :2] / 2 + (after - before)[:, 2:] / 2
    score = pairs.candidate.scores.astype(np.float64) - pairs.reference.scores
    return (
        _worst("size bias", "log ratio", size[sized], levels[sized], contract).for_gate("bias.size"),
        _worst("centre x bias", "px", centre[:, 0], levels, contract).for_gate("bias.centre_x"),
        _worst("centre y bias", "px", centre[:, 1], levels, contract).for_gate("bias.centre_y"),
        _worst("score bias", "score", score, levels, contract).for_gate("bias.score"),
    )


def _worst(
    name: str, unit: str, values: NDArray[np.float64], level: NDArray[np.int64], contract: ModelContract
) -> Measurement:
    medians = {"all levels": median_of(values)}
    for index, stride in enumerate(contract.strides):
        if (level == index).any():
            medians[f"P{stride.bit_length() - 1}"] = median_of(values[level == index])
    broken = [group for group, median in medians.items() if math.isnan(median.value)]
    worst = broken[0] if broken and len(values) else max(medians, key=lambda group: medians[group].certain)
    chosen = medians[worst]
    value = math.nan if broken and len(values) else chosen.certain
    where = (
        f"{worst}: median {chosen.value:+.5g}, 95 % between {chosen.low:+.5g} and {chosen.high:+.5g}, {chosen.n} pairs"
    )
    details = {group: json_ready(median) for group, median in medians.items()}
    n = len(values)
    if 0 < n < _FEWEST and not broken:
        n, where = 0, f"{n} pairs, and {_FEWEST} are the fewest that tell"
    return Measurement(name, value, unit, n, where if len(values) else "", details)
