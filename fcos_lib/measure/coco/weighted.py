"""Curves of precision over recall, of one category and for many weightings of the pictures at once.

Only right detections raise recall, and precision is highest at one of them, so that wrong ones are looked at no further than
to be counted: those between two detections that overlap an object are summed once for all IoU thresholds. Whatever is counted
is a whole number; precision alone is not.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.measure.coco.curves import RECALLS, reached_by
from fcos_lib.measure.coco.matching import Matches

AT_ONCE = 1 << 19
"""Right detections times weightings that are looked at together: the arrays are to stay in the caches."""
LEAST = 64
"""The fewest weightings. One alone would be added up in another order, which moves a last bit."""
DEEP = 16
"""Right detections in a column of a `_Table`."""

_Array = NDArray[np.float64]
_Whole = NDArray[np.int32]


class Category:
    """The detections of one category; `columns` int32[P, W] says how often each weighting counts each picture.

    S detections overlap an object. Tables have one row more, which counts nothing.
    """

    def __init__(self, matches: Matches, kind: int, columns: _Whole) -> None:
        first, last = (int(bound) for bound in matches.starts[kind : kind + 2])
        near = slice(*(int(bound) for bound in np.searchsorted(matches.rows, (first, last))))
        self._right, self._moved, self._rank = matches.right[..., near], matches.moved[..., near], matches.rank[near]
        self._pictures = matches.picture[first:last]
        self._rows = matches.rows[near] - first
        self._weights = np.zeros((len(self._rows) + 1, columns.shape[1]), np.int32)
        self._weights[:-1] = columns[self._pictures[self._rows]]
        self._counted = self._sums(matches.inside[:, first:last], columns)

    def _sums(self, inside: NDArray[np.bool_], columns: _Whole) -> list[_Whole]:
        """For each range of sizes, int32[S + 1, W]: how many detections of it there are down to each one that overlaps an object."""
        from scipy.sparse import csr_array  # type: ignore[import-untyped]  # a tenth of a second to import

        end = int(self._rows[-1]) + 1 if len(self._rows) else 0
        bounds, shape = np.concatenate([[0], self._rows + 1, [end]]), (len(self._weights), len(columns))

        def summed(times: NDArray[np.int32]) -> _Whole:
            some = np.flatnonzero(times)
            parts = (times[some], self._pictures[some], np.searchsorted(some, bounds))
            sums: _Whole = csr_array(parts, shape=shape) @ columns
            return np.cumsum(sums, axis=0, dtype=np.int32, out=sums)

        ranges = inside[:, :end].astype(np.int32)
        sizes = [summed(each) for each in ranges[1:]]
        # All sizes together are what the three are, but for those on a border, which belong to two of them.
        twice = ranges[1:].sum(axis=0, dtype=np.int32) - ranges[0]
        whole = sizes[0] + sizes[1] + sizes[2]
        counted = [whole - summed(twice) if twice.any() else whole, *sizes]
        for each in counted:
            each[-1] = 1 << 30  # nothing found among so many has no precision
        return counted

    def found(self, most: int) -> _Whole:
        """int32[T, W]: how many objects of any size are found by the best `most` of each picture."""
        best = self._right[0] & (self._rank < most)
        return np.array([self._weights[np.flatnonzero(each)].sum(axis=0, dtype=np.int32) for each in best])

    def curves(self, area: int, objects: _Array) -> tuple[_Array, _Array]:
        """AP and final recall, float64[T, W] each, NaN without objects, float64[W]."""
        lengths, weightings = self._right[area].sum(axis=1), len(objects)
        average, recall = np.zeros((2, len(lengths), weightings))
        reached = _reached(objects)
        parts = max(1, weightings // max(LEAST, AT_ONCE // max(1, int(lengths.sum()))))
        bounds = [weightings * part // parts for part in range(parts + 1)]
        together = max(1, AT_ONCE // max(1, int(lengths.max()) * bounds[1]))
        groups = [slice(first, first + together) for first in range(0, len(lengths), together)]
        tables = [
            (some, _Table(self._right[area, some], self._moved[area, some])) for some in groups if lengths[some].any()
        ]
        for part in (slice(*pair) for pair in pairwise(bounds)):
            weights, counted = (np.ascontiguousarray(each[:, part]) for each in (self._weights, self._counted[area]))
            for some, table in tables:
                average[some, part], last = table.averaged(weights, counted, reached[part])
                recall[some, part] = last / np.maximum(objects[part], 1)
        average[:, objects <= 0] = recall[:, objects <= 0] = np.nan
        return average, recall


def _reached(objects: _Array) -> NDArray[np.int8]:
    """int8[W, N]: how many recalls each number of objects found reaches, 0 to all that there are for any weighting."""
    counts, kind = np.unique(objects, return_inverse=True)
    of_each = reached_by(np.arange(int(counts[-1]) + 1) / np.maximum(counts, 1)[:, None])
    reached: NDArray[np.int8] = of_each.astype(np.int8)[kind]
    return reached


class _Table:
    """The right ones among S detections, for T thresholds, as numbers of rows int64[B, L]: B down the first column, and so on.

    Each threshold begins a column. In this order a running sum takes few steps, each of many numbers that lie side by side.
    """

    def __init__(self, right: NDArray[np.bool_], moved: NDArray[np.int8]) -> None:
        lengths, size = right.sum(axis=1), right.shape[1] + 1
        columns = -(-lengths // DEEP)
        ends = np.cumsum(columns)
        self._parts = list(pairwise([0, *ends.tolist()]))
        self._lengths = lengths.tolist()
        threshold, row = np.nonzero(right)
        position = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        self._rows = np.full((DEEP, ends[-1]), size - 1)
        self._rows[position % DEEP, (ends - columns)[threshold] + position // DEEP] = row
        # What is moved, for each threshold behind a row that moves nothing
        moved = np.pad(moved, ((0, 0), (1, 0)))
        self._strays = np.nonzero((moved != 0) | (np.arange(size) == 0))
        self._times = moved[self._strays][:, None].astype(np.int32)
        numbers = np.ravel_multi_index(self._strays, moved.shape)
        self._first = np.searchsorted(numbers, self._strays[0] * size)
        self._moved = (
            np.searchsorted(numbers, np.repeat(np.arange(len(right)), columns) * size + self._rows + 1, side="right")
            - 1
        )

    def averaged(self, weights: _Whole, counted: _Whole, reached_by_found: NDArray[np.int8]) -> tuple[_Array, _Whole]:
        """AP float64[T, W], and how many objects are found in the end, int32[T, W].

        For each row, `weights` int32[S + 1, W] says how often it counts, `counted` int32[S + 1, W] how many right and wrong
        ones there are down to it; `reached_by_found` int8[W, N] says how many recalls that many found objects reach.
        """
        right, down_to = weights.take(self._rows, axis=0), counted.take(self._rows, axis=0)
        if len(self._times) > len(self._parts):
            shift = np.cumsum(weights.take(self._strays[1] - 1, axis=0) * self._times, axis=0, dtype=np.int32)
            shift -= shift.take(self._first, axis=0)
            down_to += shift.take(self._moved, axis=0)
        _running(np.add, right, self._parts)
        precision = down_to + np.spacing(1)
        np.divide(right, precision, out=precision)
        columns, weightings = right.shape[1:]
        _running(np.maximum, precision[::-1, ::-1], [(columns - end, columns - begin) for begin, end in self._parts])
        nothing = np.zeros(weightings, np.int32)
        last = np.array([right[-1, end - 1] if end > begin else nothing for begin, end in self._parts])
        starts = np.arange(weightings) * reached_by_found.shape[1]
        reached = reached_by_found.reshape(-1).take(right + starts)
        steps = reached.copy()
        steps[1:] -= reached[:-1]
        steps[0] -= _from_before(reached[-1], self._parts)
        sums = np.empty((columns, DEEP, weightings))
        np.multiply(steps, precision, out=sums.swapaxes(0, 1))
        average = [
            sums[begin:end].reshape(-1, weightings)[:length].sum(axis=0)
            for (begin, end), length in zip(self._parts, self._lengths, strict=True)
        ]
        return np.array(average) / len(RECALLS), last


def _running(ufunc: np.ufunc, table: NDArray[Any], parts: list[tuple[int, int]]) -> None:
    """`ufunc.accumulate` of float64[B, L, W] in place, down each column, and from column to column within each of the parts."""
    for above, below in pairwise(table):
        ufunc(above, below, out=below)
    ends = table[-1]
    for begin, end in parts:
        ufunc.accumulate(ends[begin:end], axis=0, out=ends[begin:end])
    before = _from_before(ends, parts)
    ufunc(table[:-1], before, out=table[:-1])


def _from_before(ends: NDArray[Any], parts: list[tuple[int, int]]) -> NDArray[Any]:
    """float64[L, W]: what stands at the end of the column before, 0 in the first of each part."""
    before = np.zeros_like(ends)
    before[1:] = ends[:-1]
    before[[begin for begin, end in parts if begin < end]] = 0
    return before
