"""Matching of two sets of detections of the same picture, whatever their order, and the distances of the pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fcos_lib.measure import Measurement
from fcos_lib.measure.detections.bands import box_band
from fcos_lib.stream.sessions import Detections

PAIR_IOU = 0.5
"""Boxes of one class overlapping less than this are never taken for the same object."""
CLEAR_SCORE = 0.1
"""Twice the score threshold: below it a detection may come or go with one rounding step, above it it must have a partner."""
_SCORE_WEIGHT = 1e-3
"""What equal scores add to a pair's IoU: too little to prefer a worse box."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """Which reference detection is which candidate detection, in one picture."""

    pairs: NDArray[np.int64]
    """int64[P, 2]: index into the reference, index into the candidate"""
    missing: NDArray[np.int64]
    """Reference detections without a partner."""
    extra: NDArray[np.int64]
    """Candidate detections without a partner."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """All pairs of many pictures, row by row: what a bias is measured on."""

    pictures: NDArray[np.int64]
    """int64[P], an index into the pictures that were compared"""
    reference: Detections
    """P detections; boxes in network pixels"""
    candidate: Detections
    """Their partners."""

    def __len__(self) -> int:
        return len(self.pictures)


def iou_of(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """IoU of boxes [..., 4] with boxes [..., 4] of the same or a broadcast shape; 1 for equal boxes, even empty ones."""
    a, b = np.broadcast_arrays(np.asarray(first, np.float64), np.asarray(second, np.float64))
    with np.errstate(invalid="ignore"):  # infinite corners overlap with nothing
        width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
        height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
        inter = np.where((width > 0) & (height > 0), width * height, 0.0)
        areas = [(boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]) for boxes in (a, b)]
        union = areas[0] + areas[1] - inter
    iou: NDArray[np.float64] = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    iou[(a == b).all(axis=-1)] = 1.0
    return iou


def iou_matrix(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """IoU of every box of float32[A, 4] with every box of float32[B, 4], as float64[A, B]; 1 for equal boxes, even empty."""
    return iou_of(first[:, None], second[None])


def pair(reference: Detections, candidate: Detections) -> Pairing:
    """One-to-one pairs of one class that agree best in all; what is left over is missing or extra.

    A pair needs an IoU of `PAIR_IOU`, or corners that fp16 does not tell apart: the IoU of boxes with next to no area, which
    `norm_on_bbox` can give, is decided by rounding. Among all ways to pair, the one with the largest sum of what exceeds
    that IoU is taken, scores deciding between equal boxes. The order of the detections has no influence.
    """
    same_place = _same_place(reference.boxes, candidate.boxes)
    perhaps = _perhaps(reference, candidate) | same_place
    rows, columns = np.nonzero((reference.labels[:, None] == candidate.labels[None]) & perhaps)
    iou = iou_of(reference.boxes[rows], candidate.boxes[columns])
    near = (iou >= PAIR_IOU) | same_place[rows, columns]
    rows, columns = rows[near], columns[near]
    gap = np.abs(reference.scores[rows].astype(np.float64) - candidate.scores[columns])
    gain = np.maximum(iou[near] - PAIR_IOU, 0) + _SCORE_WEIGHT * (1 - np.minimum(np.nan_to_num(gap, nan=1.0), 1))
    alone = (np.bincount(rows)[rows] == 1) & (np.bincount(columns)[columns] == 1)
    pairs = np.stack([rows[alone], columns[alone]], axis=1)
    if not alone.all():
        some = ~alone
        pairs = np.concatenate([pairs, _best_pairs(reference, candidate, rows[some], columns[some], gain[some])])
        pairs = pairs[np.argsort(pairs[:, 0])]
    free_reference, free_candidate = np.ones(len(reference), bool), np.ones(len(candidate), bool)
    free_reference[pairs[:, 0]] = free_candidate[pairs[:, 1]] = False
    return Pairing(pairs.astype(np.int64), np.flatnonzero(free_reference), np.flatnonzero(free_candidate))


def _perhaps(reference: Detections, candidate: Detections) -> NDArray[np.bool_]:
    """bool[R, C]: False where the IoU is certainly below `PAIR_IOU`, in float32 and without a division."""
    a, b = reference.boxes.T[:, :, None], candidate.boxes.T[:, None, :]
    width = np.minimum(a[2], b[2]) - np.maximum(a[0], b[0])
    height = np.minimum(a[3], b[3]) - np.maximum(a[1], b[1])
    inter = np.maximum(width, 0) * np.maximum(height, 0)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    possible: NDArray[np.bool_] = inter * ((1 + PAIR_IOU) / PAIR_IOU) >= areas * 0.999
    return possible


def _same_place(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.bool_]:
    """bool[A, B]: True for thin boxes whose corners are within the band of fp16; of others the IoU decides alone."""
    same = np.zeros((len(first), len(second)), bool)
    rows, columns = np.flatnonzero(_thin(first)), np.flatnonzero(_thin(second))
    if len(rows) and len(columns):
        a, b = first[rows][:, None], second[columns][None]
        with np.errstate(invalid="ignore"):  # infinite corners are in no place
            same[np.ix_(rows, columns)] = (np.abs(a - b) <= np.maximum(box_band(a), box_band(b))).all(axis=-1)
    return same


def _thin(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """bool[A]: True if moving the corners within the band may bring the IoU with the box itself below `PAIR_IOU`."""
    with np.errstate(invalid="ignore"):
        thin: NDArray[np.bool_] = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) <= 4 * box_band(boxes).max(axis=1)
    return thin


def _best_pairs(
    reference: Detections,
    candidate: Detections,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    gain: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Pairs int64[P, 2] with the largest sum of gains, where some detection has several possible partners.

    Both sides are brought into an order of their own, and the lesser side comes first: equal sums then have the same
    answer whatever the order, and whichever side is called the reference.
    """
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]  # a third of a second to import

    left, left_keys = _ordered(reference, np.unique(rows))
    right, right_keys = _ordered(candidate, np.unique(columns))
    place_left, place_right = np.zeros(len(reference), np.int64), np.zeros(len(candidate), np.int64)
    place_left[left], place_right[right] = np.arange(len(left)), np.arange(len(right))
    gains = np.zeros((len(left), len(right)))
    gains[place_left[rows], place_right[columns]] = gain
    if left_keys <= right_keys:
        first, second = linear_sum_assignment(gains, maximize=True)
    else:
        second, first = linear_sum_assignment(gains.T, maximize=True)
    chosen = gains[first, second] > 0
    return np.stack([left[first[chosen]], right[second[chosen]]], axis=1)


def _ordered(detections: Detections, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[list[float]]]:
    """The indices in an order that depends on the detections alone, and what they were ordered by."""
    keys = np.column_stack([detections.labels[indices], -detections.scores[indices], detections.boxes[indices]])
    order = np.lexsort(keys.T[::-1])
    return indices[order], keys[order].tolist()


def compare(
    reference: Sequence[Detections],
    candidate: Sequence[Detections],
    names: Sequence[str],
    what: str = "",
    gates: tuple[str, str, str] = ("", "", ""),
) -> tuple[Measurement, Measurement, Measurement]:
    """Unmatched share, worst score difference and worst box difference over pictures in the same order.

    `names` say which picture is which, `what` is added to the measurements' names, and `gates` are
    those that they are for. Unmatched counts detections with a score of at least `CLEAR_SCORE` on either
    side that have no partner, as a share of all such detections; box differences are network pixels per coordinate. A score
    that is no number counts as well, and a difference that is none is infinite.
    """
    if not (len(reference) == len(candidate) == len(names)):
        raise ValueError(f"{len(reference)} reference and {len(candidate)} candidate pictures, {len(names)} names")
    clear = pairs = lost = 0
    first_lost = worst_score_at = worst_box_at = ""
    worst_score = worst_box = 0.0
    for expected, seen, name in zip(reference, candidate, names, strict=True):
        with np.errstate(invalid="ignore"):  # infinite values are near nothing
            pairing = pair(expected, seen)
            r, c = pairing.pairs.T
            score_gaps = np.abs(expected.scores[r] - seen.scores[c])
            box_gaps = np.abs(expected.boxes[r] - seen.boxes[c]).max(axis=1)
        clear += int(_clear(expected).sum() + _clear(seen).sum())
        for side, detections, left in (("missing", expected, pairing.missing), ("extra", seen, pairing.extra)):
            for index in left[_clear(detections)[left]]:
                lost += 1
                first_lost = first_lost or f"{side} {describe(detections, int(index))} in {name}"
        pairs += len(pairing.pairs)
        if not len(pairing.pairs):
            continue
        # A box that barely made it into either list is paired with whatever replaced it: only clear ones are compared.
        both_clear = _clear(expected)[r] & _clear(seen)[c]
        for all_gaps, kind in ((score_gaps, "score"), (box_gaps, "box")):
            gaps = np.where(both_clear, np.where(np.isnan(all_gaps), np.inf, all_gaps), 0)
            at = int(gaps.argmax())
            text = f"{describe(expected, int(r[at]))} became {describe(seen, int(c[at]))} in {name}"
            if kind == "score" and gaps[at] > worst_score:
                worst_score, worst_score_at = float(gaps[at]), text
            if kind == "box" and gaps[at] > worst_box:
                worst_box, worst_box_at = float(gaps[at]), text
    suffix = f" {what}" if what else ""
    share = lost / clear if clear else 0.0
    counts = {"pictures": len(names), "pairs": pairs, "clear": clear, "unmatched": lost}
    return (
        Measurement(f"unmatched detections{suffix}", share, "share", clear, first_lost, counts, gate=gates[0]),
        Measurement(
            f"largest score difference{suffix}", worst_score, "score", pairs, worst_score_at, counts, gate=gates[1]
        ),
        Measurement(f"largest box difference{suffix}", worst_box, "px", pairs, worst_box_at, counts, gate=gates[2]),
    )


def _clear(detections: Detections) -> NDArray[np.bool_]:
    """bool[N]: False for a score below `CLEAR_SCORE`; true of NaN, so that it shows."""
    clear: NDArray[np.bool_] = ~(detections.scores < CLEAR_SCORE)
    return clear


def describe(detections: Detections, index: int) -> str:
    """One detection in words: label, score and box."""
    box = ", ".join(f"{value:.1f}" for value in detections.boxes[index])
    return f"label {detections.labels[index]} score {detections.scores[index]:.4f} at [{box}]"
