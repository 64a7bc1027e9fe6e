"""Curves of precision over recall, of one category and for many weightings of the pictures at once.

Only right detections raise recall, and precision is highest at one of them, so that wrong ones are looked at no further than
to be counted: those between two detections that overlap an object are summed once for all IoU thresholds.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fcos_lib.measure.coco.matching import Matches

RECALLS = np.linspace(0.0, 1.0, 101)
"""Precision is averaged over these recalls."""
FEW = (1, 10)
"""How many of the best detections of a picture AR1 and AR10 look at."""
AT_ONCE = 1 << 17
"""Detections that overlap an object, times weightings: the arrays of a curve are to stay in a core's cache."""

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
    reached = _reached(recall)
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


class Category:
    """The detections of one category; `columns` float64[P, W] says how often each weighting counts each picture."""

    def __init__(self, matches: Matches, kind: int, columns: _Array) -> None:
        first, last = (int(bound) for bound in matches.starts[kind : kind + 2])
        self._near = slice(*(int(bound) for bound in np.searchsorted(matches.rows, (first, last))))
        self._matches = matches
        self._pictures = matches.picture[first:last]
        self._rows = matches.rows[self._near] - first
        self._weights = columns[self._pictures[self._rows]]
        self._counted = self._sums(matches.inside[:, first:last], columns)

    def _sums(self, inside: NDArray[np.bool_], columns: _Array) -> list[_Array]:
        """For each range of sizes, float64[S, W]: how many detections of it there are down to each one that overlaps an object."""
        from scipy.sparse import csr_array  # type: ignore[import-untyped]  # a tenth of a second to import

        end = int(self._rows[-1]) + 1 if len(self._rows) else 0
        behind, pictures = np.searchsorted(self._rows, np.arange(end)), self._pictures[:end]

        def summed(times: NDArray[np.int64]) -> _Array:
            some = np.flatnonzero(times)
            shape = (len(self._rows), len(columns))
            between = csr_array((times[some].astype(np.float64), (behind[some], pictures[some])), shape=shape)
            sums: _Array = between @ columns
            return _running(np.add, sums)

        ranges = inside[:, :end].astype(np.int64)
        sizes = [summed(each) for each in ranges[1:]]
        # All sizes together are what the three are, but for those on a border, which belong to two of them.
        twice = ranges[1:].sum(axis=0) - ranges[0]
        whole = sizes[0] + sizes[1] + sizes[2]
        return [whole - summed(twice) if twice.any() else whole, *sizes]

    @staticmethod
    def weightings(matches: Matches, kind: int) -> int:
        """How many weightings of this category are best counted together."""
        near = int(np.diff(np.searchsorted(matches.rows, matches.starts[kind : kind + 2]))[0])
        return max(16, AT_ONCE // max(1, near))

    def right(self, area: int, threshold: int) -> NDArray[np.int64]:
        """Which of the S detections that overlap an object found one, int64[N]."""
        return np.flatnonzero(self._matches.right[area, threshold, self._near])

    def found(self, right: NDArray[np.int64], most: int) -> _Array:
        """float64[W]: how many of these are among the best `most` of their picture."""
        total: _Array = self._weights[right[self._matches.rank[self._near][right] < most]].sum(axis=0)
        return total

    def curve(self, area: int, threshold: int, right: NDArray[np.int64], objects: _Array) -> tuple[_Array, _Array]:
        """AP and final recall, float64[W] each, NaN without objects, float64[W]."""
        width = len(objects)
        average, recall = np.zeros(width), np.zeros(width)
        if len(right):
            moved = self._matches.moved[area, threshold, self._near]
            counted = self._counted[area][right]
            if len(strays := np.flatnonzero(moved)):
                shift = np.zeros((len(strays) + 1, width))
                _running(np.add, np.multiply(self._weights[strays], moved[strays, None], out=shift[1:]))
                counted += shift[np.searchsorted(strays, right, side="right")]
            average, recall = _averaged(self._weights[right], counted, objects)
        empty = objects <= 0
        average[empty] = recall[empty] = np.nan
        return average, recall


def _averaged(right: _Array, counted: _Array, objects: _Array) -> tuple[_Array, _Array]:
    """AP and final recall of W weightings with an object each.

    `right` float64[N, W] is how often each right detection counts, best first, `counted` float64[N, W] how many right and wrong
    ones there are down to it. Both are overwritten.
    """
    _running(np.add, right)
    counted += np.spacing(1)
    precision = np.divide(right, counted, out=counted)
    _running(np.maximum, precision[::-1])
    recall = np.divide(right, np.maximum(objects, 1), out=right)
    last = recall[-1].copy()
    steps = recalls_reached(recall)
    steps *= precision
    average: _Array = steps.sum(axis=0) / len(RECALLS)
    return average, last


def _running(ufunc: np.ufunc, values: _Array) -> _Array:
    """`ufunc.accumulate` along the first axis of float64[N, W], in place: in steps of whole rows, five times as fast for many columns."""
    count, width = values.shape
    if width < 16:
        ufunc.accumulate(values, axis=0, out=values)
        return values
    block = math.isqrt(count)
    whole = count // block * block if block else 0
    if block > 4:  # all blocks together, then each by the end of the one before it
        blocks = values[:whole].reshape(-1, block, width)
        for row in range(1, block):
            ufunc(blocks[:, row], blocks[:, row - 1], out=blocks[:, row])
        for before, after in pairwise(blocks):
            ufunc(after, before[-1], out=after)
    for row in range(whole if block > 4 else 1, count):
        ufunc(values[row], values[row - 1], out=values[row])
    return values


def recalls_reached(recall: _Array) -> _Array:
    """How many of `RECALLS` each value reaches that the one before it, along the first axis, does not."""
    reached = _reached(recall)
    steps: _Array = reached.copy()
    steps[1:] -= reached[:-1]
    return steps


def _reached(recall: _Array) -> _Array:
    """How many of `RECALLS` each value reaches."""
    # Percent of recall come in steps of 100 / objects: adding 1e-6 only mends a whole number that division left just below
    # itself, and the comparison then decides as pycocotools' searchsorted does. RECALLS[n] is n * 0.01, to the last bit.
    reached: _Array = recall * (len(RECALLS) - 1)
    reached += 1e-6
    np.floor(reached, out=reached)
    reached += reached * RECALLS[1] <= recall
    return reached
