"""Matching of detections with objects: pycocotools' greedy assignment, for all pictures and categories at once.

The rules are those of `COCOeval.evaluateImg` in pycocotools 2.0.11 with its default parameters. The tests hold the numbers
that follow from the result equal to pycocotools' own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.measure.coco.rows import Rows, best_first, countable, flat, narrow, places_in_groups
from fcos_lib.measure.coco.truth import Truth
from fcos_lib.stream.sessions import Detections

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""T = 10; a detection whose IoU is exactly the threshold has found its object."""
AREA_RANGES = np.array([[0, 1e5**2], [0, 32**2], [32**2, 96**2], [96**2, 1e5**2]], np.float64)
"""A = 4: all, small, medium, large, in square picture pixels; both borders belong to the range."""
MAX_DETECTIONS = 100
"""Per picture and category, best first."""
_PAIRS_AT_ONCE = 1 << 15
"""Of a detection and an object: their numbers are to stay in a core's cache."""


@dataclass(frozen=True, slots=True)
class Matches:
    """What became of D detections in P pictures and K categories, ordered by category, then by score, best first."""

    truth: Truth
    total: int
    """Detections given, those beyond the first 100 of a picture and category included."""
    picture: NDArray[np.int64]
    """int64[D], index into the truth's pictures"""
    scores: NDArray[np.float64]
    """float64[D]"""
    starts: NDArray[np.int64]
    """int64[K + 1], where each category's detections start"""
    inside: NDArray[np.bool_]
    """bool[A, D]: the detection's own area is in the range, so it is wrong there if it found nothing."""
    rows: NDArray[np.int64]
    """int64[S], ascending: the detections that overlap an object enough for any threshold; all others found nothing."""
    rank: NDArray[np.int64]
    """int64[S], place among the detections of its picture and category, from 0"""
    right: NDArray[np.bool_]
    """bool[A, T, S]: found an object that counts in this range"""
    moved: NDArray[np.int8]
    """int8[A, T, S]: +1 if it counts (as right or wrong) despite its own area, -1 if it does not (it found a crowd or an
    object of another size)"""
    objects: NDArray[np.float64]
    """float64[A, K, P], how many objects count"""

    def outcomes(self, kind: int, threshold: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of the N detections of a category, best first: 1 for a right one, 1 for one that counts at all; of all sizes."""
        first, last = self.starts[kind : kind + 2]
        low, high = np.searchsorted(self.rows, (first, last))
        rows = self.rows[low:high] - first
        right, counted = np.zeros(last - first), self.inside[0, first:last].astype(np.float64)
        right[rows] = self.right[0, threshold, low:high]
        counted[rows] += self.moved[0, threshold, low:high]
        return right, counted


def match(truth: Truth, contract: ModelContract, detections: Mapping[int, Detections]) -> Matches:
    """Assign detections, boxes in picture pixels, to objects.

    `detections` holds every picture id of `truth` exactly once, empty pictures included; `DatasetError` if one is missing
    or unknown, because an average over fewer pictures is another number, and if a value is not finite or not a label.
    """
    return match_rows(truth, flat(truth, contract, detections))


def match_rows(truth: Truth, rows: Rows) -> Matches:
    """Assign detections, all finite, to objects. A picture without any has found nothing."""
    kinds, listed, total = len(truth.names), len(truth.picture_ids), len(rows)
    rows = countable(rows, kinds, MAX_DETECTIONS)
    order = best_first(rows, kinds, listed)
    pictures, categories = rows.pictures[order], rows.categories[order]
    outside = ~_in_ranges((rows.boxes[:, 2] * rows.boxes[:, 3])[order])

    object_cells = truth.pictures * kinds + truth.categories
    objects = np.argsort(object_cells, kind="stable")
    crowd = truth.crowd[objects]
    ignored = ~_in_ranges(truth.areas[objects]) | crowd
    # Only those that share a picture and a category with an object can find one: these, cell by cell, best first.
    cells = pictures * kinds + categories
    with_object = np.zeros(listed * kinds, bool)
    with_object[object_cells] = True
    able = np.flatnonzero(with_object[cells])
    able = able[np.argsort(narrow(pictures[able], listed), kind="stable")]
    cells = cells[able]
    pairs = _overlaps(rows.boxes[order[able]], cells, truth.boxes[objects], object_cells[objects], crowd)
    near, object_found = _assign(*pairs, cells, ignored, crowd)
    by_place = np.argsort(able[near])
    near, object_found = near[by_place], np.ascontiguousarray(object_found[by_place].transpose(1, 2, 0))
    places = able[near]

    # As with pycocotools, the id of the object found says whether one was found, so that annotation 0 is taken and missed.
    hit = (object_found >= 0) & truth.numbered[objects][object_found]
    skipped = (object_found >= 0) & ignored[np.arange(len(AREA_RANGES))[:, None, None], object_found]
    skipped |= ~hit & outside[:, None, places]
    counted = np.zeros((len(AREA_RANGES), kinds * listed))
    for area, unseen in enumerate(ignored):
        np.add.at(counted[area], (truth.categories * listed + truth.pictures)[objects[~unseen]], 1.0)
    return Matches(
        truth=truth,
        total=total,
        picture=pictures,
        scores=rows.scores[order],
        starts=np.searchsorted(categories, np.arange(kinds + 1)),
        inside=~outside,
        rows=places,
        rank=places_in_groups(cells)[near],
        right=hit & ~skipped,
        moved=outside[:, None, places].astype(np.int8) - skipped,
        objects=counted.reshape(-1, kinds, listed),
    )


def _in_ranges(areas: NDArray[np.float64]) -> NDArray[np.bool_]:
    """bool[A, N]: which of N areas lie in which range."""
    inside: NDArray[np.bool_] = (areas >= AREA_RANGES[:, :1]) & (areas <= AREA_RANGES[:, 1:])
    return inside


def _overlaps(
    boxes: NDArray[np.float64],
    cells: NDArray[np.int64],
    objects: NDArray[np.float64],
    object_cells: NDArray[np.int64],
    crowd: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Every detection and object of one cell with an IoU of at least 0.5, by ascending detection (dt), then object (gt).

    A cell is one picture and one category; boxes are x, y, width, height. The union with a crowd is the detection alone.
    """
    first = np.searchsorted(object_cells, cells)
    counts = np.searchsorted(object_cells, cells, side="right") - first
    ends = np.cumsum(counts)
    sides = [(boxes[:, axis], boxes[:, axis] + boxes[:, axis + 2]) for axis in (0, 1)]
    gt_sides = [(objects[:, axis], objects[:, axis] + objects[:, axis + 2]) for axis in (0, 1)]
    area, gt_area = boxes[:, 2] * boxes[:, 3], objects[:, 2] * objects[:, 3]
    parts = []
    for low, high in _portions(ends):
        many = counts[low:high]
        dt = np.repeat(np.arange(low, high), many)
        gt = np.repeat(first[low:high] - (ends[low:high] - many), many) + np.arange(
            ends[high - 1] - many.sum(), ends[high - 1]
        )
        shared = np.ones(len(dt))
        for (start, end), (gt_start, gt_end) in zip(sides, gt_sides, strict=True):
            size = np.minimum(end[dt], gt_end[gt]) - np.maximum(start[dt], gt_start[gt])
            common = np.flatnonzero(size > 0)
            dt, gt, shared = dt[common], gt[common], shared[common] * size[common]
        union = np.where(crowd[gt], area[dt], area[dt] + gt_area[gt] - shared)
        iou = shared / union
        near = np.flatnonzero(iou >= IOU_THRESHOLDS[0])
        parts.append((dt[near], gt[near], iou[near]))
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))  # type: ignore[return-value]


def _portions(ends: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of detections with about `_PAIRS_AT_ONCE` pairs each, so that memory does not grow with the dataset."""
    low = 0
    while low < len(ends):
        before = ends[low - 1] if low else 0
        high = max(low + 1, int(np.searchsorted(ends, before + _PAIRS_AT_ONCE, side="right")))
        yield low, high
        low = high


def _assign(
    dt: NDArray[np.int64],
    gt: NDArray[np.int64],
    iou: NDArray[np.float64],
    cells: NDArray[np.int64],
    ignored: NDArray[np.bool_],
    crowd: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The detections S that have a pair, and the object each one found (-1: none) as int32[S, A, T].

    `dt` and `gt` are the detection and the object of each pair. In a cell the detections choose one after another, best first; cells do not touch each other. So the first of every cell
    choose together, then all the second ones, and so on.
    """
    rows, of = np.unique(dt, return_inverse=True)
    lanes = (len(AREA_RANGES), len(IOU_THRESHOLDS))
    area, threshold = np.ogrid[: lanes[0], : lanes[1]]
    object_found = np.full((len(rows), *lanes), -1, np.int32)
    taken = np.zeros((len(crowd) + 1, *lanes), bool)  # the last one is for those that found none
    # The best object has the highest IoU, of equal ones the last; one that counts is preferred to one that is ignored.
    order = np.lexsort((gt, iou))
    preference = np.empty((len(order), 1), np.int32)
    preference[order, 0] = np.arange(len(order))
    chosen_of = np.concatenate([gt[order], gt[order], [-1]]).astype(np.int32)
    turn = (np.arange(len(rows)) - np.searchsorted(cells[rows], cells[rows]))[of]
    by_turn = np.argsort(turn, kind="stable")
    bounds = np.searchsorted(turn[by_turn], np.arange(turn.max(initial=-1) + 2))
    for low, high in pairwise(bounds.tolist()):
        pairs = by_turn[low:high]
        choosers, starts = np.unique(of[pairs], return_index=True)
        objects = gt[pairs]
        allowed = (iou[pairs, None] >= IOU_THRESHOLDS)[:, None] & ~(taken[objects] & ~crowd[objects, None, None])
        worth = preference[pairs] + np.int32(len(order)) * ~ignored.T[objects]
        worth = np.where(allowed, worth[:, :, None], np.int32(-1))
        best, many = worth[starts], np.diff(starts, append=len(pairs))
        for further in range(1, many.max(initial=0)):
            some = np.flatnonzero(many > further)
            best[some] = np.maximum(best[some], worth[starts[some] + further])
        object_found[choosers] = chosen = chosen_of[best]
        taken[chosen, area, threshold] = True
    return rows, object_found
