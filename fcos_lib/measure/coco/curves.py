"""Curves of precision over recall, of all categories at once, for pictures that count once each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fcos_lib.measure.coco.matching import Matches

RECALLS = np.linspace(0.0, 1.0, 101)
"""Precision is averaged over these recalls."""
FEW = (1, 10)
"""How many of the best detections of a picture AR1 and AR10 look at."""
_Array = NDArray[np.float64]


def unweighted(matches: Matches) -> tuple[_Array, _Array, _Array]:
    """AP and final recall, float64[A, T, K, 1] each, and recall of the best `FEW`, float64[2, T, K, 1]; NaN where no object counts.

    All categories, sizes and thresholds at once, for pictures that count once each: a tenth of the time of a loop over them.
    """
    objects, kinds = matches.objects.sum(axis=2), len(matches.starts) - 1
    sizes, thresholds = matches.right.shape[:2]
    first_rows = np.searchsorted(matches.rows, matches.starts)
    area, threshold, row = np.nonzero(matches.right)
    kind = np.repeat(np.arange(kinds), np.diff(first_rows))[row]
    group = (area * thresholds + threshold) * kinds + kind
    begins = np.flatnonzero(np.diff(group, prepend=-1))
    lengths = np.diff(np.append(begins, len(group)))
    found = np.arange(1, len(group) + 1) - np.repeat(begins, lengths)
    down_to = _sums_from_zero(matches.inside)  # of the size, down to each detection, less those of other categories
    counted = down_to[area, matches.rows[row] + 1] - down_to[area, matches.starts[kind]]
    moved = _sums_from_zero(matches.moved)
    counted += moved[area, threshold, row + 1] - moved[area, threshold, first_rows[kind]]
    precision = found / (counted + np.spacing(1))
    recall = found / objects[area, kind]
    reached = reached_by(recall)
    steps = reached - np.where(found == 1, 0, np.append(0, reached[:-1]))
    groups, ends = group[begins], begins + lengths
    bounds = list(zip(begins.tolist(), ends.tolist(), strict=True))
    for begin, end in bounds:
        backwards = precision[begin:end][::-1]
        np.maximum.accumulate(backwards, out=backwards)
    steps *= precision
    average, final = np.zeros(sizes * thresholds * kinds), np.zeros(sizes * thresholds * kinds)
    average[groups] = [np.add.reduce(steps[begin:end]) for begin, end in bounds]
    average /= len(RECALLS)
    final[groups] = recall[ends - 1]
    shape = (sizes, thresholds, kinds, 1)
    without = np.broadcast_to((objects <= 0)[:, None, :, None], shape)
    few = np.zeros((len(FEW), thresholds * kinds))
    for index, most in enumerate(FEW):
        best = (area == 0) & (matches.rank[row] < most)
        few[index] = np.bincount(group[best], minlength=thresholds * kinds)
    few = few.reshape(len(FEW), *shape[1:]) / np.maximum(objects[0], 1)[:, None]
    few[:, without[0]] = np.nan
    return np.where(without, np.nan, average.reshape(shape)), np.where(without, np.nan, final.reshape(shape)), few


def _sums_from_zero(values: NDArray[np.bool_] | NDArray[np.int8]) -> NDArray[np.int32]:
    """Sums of the first 0, 1, ... N values along the last axis of [..., N], int32[..., N + 1]."""
    sums = np.zeros((*values.shape[:-1], values.shape[-1] + 1), np.int32)
    np.cumsum(values, axis=-1, dtype=np.int32, out=sums[..., 1:])
    return sums


def recalls_reached(recall: _Array) -> _Array:
    """How many of `RECALLS` each value reaches that the one before it, along the first axis, does not."""
    reached = reached_by(recall)
    steps: _Array = reached.copy()
    steps[1:] -= reached[:-1]
    return steps


def reached_by(recall: _Array) -> _Array:
    """How many of `RECALLS` each value reaches."""
    # Percent of recall come in steps of 100 / objects: adding 1e-6 only mends a whole number that division left just below
    # itself, and the comparison then decides as pycocotools' searchsorted does. RECALLS[n] is n * 0.01, to the last bit.
    reached: _Array = recall * (len(RECALLS) - 1)
    reached += 1e-6
    np.floor(reached, out=reached)
    reached += reached * RECALLS[1] <= recall
    return reached
