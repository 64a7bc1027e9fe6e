"""Contributions: how much of a difference in mAP each picture carries.

AP is a sum over the right detections of a category, of the precision at the recall that each one reaches. What a detection is worth
is the derivative of that sum by its weight: the precision that a right one brings, and what it, or a wrong one, does to the precision
of those with lower scores. By Euler's theorem these worths add up to AP, so that the worths of a picture's detections on the second
side, less those on the first, add up over the pictures to the difference in mAP.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fcos_lib.measure.coco.curves import RECALLS, recalls_reached
from fcos_lib.measure.coco.matching import IOU_THRESHOLDS, Matches


@dataclass(frozen=True, slots=True)
class Contributions:
    """What each of P pictures has to do with the second side's mAP minus the first's."""

    shares: NDArray[np.float64]
    """float64[P], in AP; they add up to the difference"""
    same: NDArray[np.bool_]
    """bool[P], both sides found the same with the same scores; a share is then only what other pictures did to its precision"""
    right: NDArray[np.int64]
    """int64[2, P]: objects found at IoU 0.50 by either side"""
    wrong: NDArray[np.int64]
    """int64[2, P]: detections of either side that count as wrong at IoU 0.50"""

    @property
    def better(self) -> int:
        """Pictures that were found otherwise, and raise the second side's mAP above the first's."""
        return int((~self.same & (self.shares > 0)).sum())

    @property
    def worse(self) -> int:
        """Pictures that lower it."""
        return int((~self.same & (self.shares < 0)).sum())

    def deciding(self, most: int) -> list[int]:
        """Indices of the pictures with the largest shares of either sign, at most so many."""
        order = np.argsort(-np.abs(np.where(self.same, 0, self.shares)), kind="stable")[:most]
        return [int(index) for index in order if not self.same[index] and self.shares[index]]


def contributions(first: Matches, second: Matches) -> Contributions:
    """Both sides matched with the same truth."""
    pictures, objects = len(first.truth.picture_ids), first.objects[0].sum(axis=1)
    shares, counts = np.zeros((2, pictures)), np.zeros((2, 2, pictures))
    for index, side in enumerate((first, second)):
        for kind in range(len(objects)):
            at = side.picture[slice(*side.starts[kind : kind + 2])]
            for threshold in range(len(IOU_THRESHOLDS)):
                right, counted = side.outcomes(kind, threshold)
                if threshold == 0:
                    counts[0, index] += np.bincount(at, right, pictures)
                    counts[1, index] += np.bincount(at, counted - right, pictures)
                if objects[kind]:
                    shares[index] += np.bincount(at, _worths(right, counted, objects[kind]), pictures)
    at_50 = counts.astype(np.int64)
    parts = len(IOU_THRESHOLDS) * max(1, int(np.count_nonzero(objects)))
    return Contributions((shares[1] - shares[0]) / parts, _same(first, second), at_50[0], at_50[1])


def _worths(right: NDArray[np.float64], counted: NDArray[np.float64], objects: float) -> NDArray[np.float64]:
    """float64[N], in AP: what each detection is worth; they add up to the AP of the category."""
    at = np.flatnonzero(right)
    if not len(at):
        return np.zeros(len(right))
    right_so_far = np.arange(1, len(at) + 1)
    down_to = np.cumsum(counted)[at] + np.spacing(1)
    precision = right_so_far / down_to
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    steps = recalls_reached(right_so_far / objects) / len(RECALLS)
    # Precision counts where it is highest from there on; only what stands before such a peak moves it.
    peaks = np.searchsorted(-highest, -highest, side="right") - 1
    weight = np.bincount(peaks, steps, len(at)) / down_to
    rises, costs = (np.append(np.cumsum(values[::-1])[::-1], 0.0) for values in (weight, weight * precision))
    worths: NDArray[np.float64] = -counted * costs[np.searchsorted(at, np.arange(len(right)))]
    worths[at] += steps * highest + rises[:-1]
    return worths


def _same(first: Matches, second: Matches) -> NDArray[np.bool_]:
    """bool[P]: both sides have as many detections in the picture, of the same categories, scores and outcomes."""
    pictures = len(first.truth.picture_ids)
    counts = [np.bincount(side.picture, minlength=pictures) for side in (first, second)]
    as_many: NDArray[np.bool_] = counts[0] == counts[1]
    columns = []
    for side in (first, second):
        outcomes = np.zeros((len(side.picture), 1 + len(IOU_THRESHOLDS)))
        outcomes[:, 0] = side.scores
        outcomes[side.rows, 1:] = (4 * side.right[0] + side.moved[0]).T
        kinds = np.repeat(np.arange(len(side.starts) - 1), np.diff(side.starts))
        order = np.argsort(side.picture, kind="stable")
        order = order[as_many[side.picture[order]]]
        columns.append((side.picture[order], np.column_stack([kinds, outcomes])[order]))
    (at, before), (_, after) = columns
    same: NDArray[np.bool_] = as_many & (np.bincount(at, (before != after).any(axis=1), pictures) == 0)
    return same
