"""How far apart are two sets of detections of the same picture, whatever their order?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fcos_lib.measure import Measurement
from fcos_lib.sessions import Detections

PAIR_IOU = 0.5
"""Boxes of one class overlapping less than this are never taken for the same object."""
CLEAR_SCORE = 0.1
"""Twice the score threshold: below it a detection may come or go with one rounding step, above it it must have a partner."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """Which reference detection is which candidate detection, in one picture."""

    pairs: NDArray[np.int64]
    """int64[P, 2]: index into the reference, index into the candidate"""
    missing: NDArray[np.int64]
    """Reference detections without a partner."""
    extra: NDArray[np.int64]
    """Candidate detections without a partner."""


def iou_matrix(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """IoU of every box of float32[A, 4] with every box of float32[B, 4], as float64[A, B]."""
    a, b = first.astype(np.float64)[:, None], second.astype(np.float64)[None]
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    inter = np.prod(np.clip(high - low, 0, None), axis=2)
    union = np.prod(a[..., 2:] - a[..., :2], axis=2) + np.prod(b[..., 2:] - b[..., :2], axis=2) - inter
    matrix: NDArray[np.float64] = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return matrix


def pair(reference: Detections, candidate: Detections) -> Pairing:
    """One-to-one pairs of the same class, the largest IoU first; what is left over is missing or extra."""
    iou = iou_matrix(reference.boxes, candidate.boxes)
    iou[reference.labels[:, None] != candidate.labels[None]] = 0.0
    free_reference, free_candidate = np.ones(len(reference), bool), np.ones(len(candidate), bool)
    pairs = []
    rows, columns = np.nonzero(iou >= PAIR_IOU)
    for index in np.argsort(-iou[rows, columns], kind="stable"):
        row, column = rows[index], columns[index]
        if free_reference[row] and free_candidate[column]:
            free_reference[row] = free_candidate[column] = False
            pairs.append((row, column))
    return Pairing(
        np.array(pairs, np.int64).reshape(-1, 2), np.flatnonzero(free_reference), np.flatnonzero(free_candidate)
    )


def compare(
    reference: Sequence[Detections], candidate: Sequence[Detections], names: Sequence[str], what: str = ""
) -> tuple[Measurement, Measurement, Measurement]:
    """Unmatched share, worst score difference and worst box difference over pictures in the same order.

    `names` say which picture is which, `what` is added to the measurements' names. Unmatched counts detections with a score of at least `CLEAR_SCORE` on either
    side that have no partner, as a share of all such detections; box differences are network pixels per coordinate.
    """
    if not (len(reference) == len(candidate) == len(names)):
        raise ValueError(f"{len(reference)} reference and {len(candidate)} candidate pictures, {len(names)} names")
    clear = pairs = lost = 0
    first_lost = worst_score_at = worst_box_at = ""
    worst_score = worst_box = 0.0
    for one, other, name in zip(reference, candidate, names, strict=True):
        pairing = pair(one, other)
        clear += int((one.scores >= CLEAR_SCORE).sum() + (other.scores >= CLEAR_SCORE).sum())
        for side, detections, left in (("missing", one, pairing.missing), ("extra", other, pairing.extra)):
            for index in left[detections.scores[left] >= CLEAR_SCORE]:
                lost += 1
                first_lost = first_lost or f"{side} {describe(detections, int(index))} in {name}"
        pairs += len(pairing.pairs)
        if not len(pairing.pairs):
            continue
        r, c = pairing.pairs.T
        score_gaps = np.abs(one.scores[r] - other.scores[c])
        box_gaps = np.abs(one.boxes[r] - other.boxes[c]).max(axis=1)
        # A box that barely made it into either list is paired with whatever replaced it: only clear ones are compared.
        both_clear = (one.scores[r] >= CLEAR_SCORE) & (other.scores[c] >= CLEAR_SCORE)
        for gaps, kind in ((np.where(both_clear, score_gaps, 0), "score"), (np.where(both_clear, box_gaps, 0), "box")):
            at = int(gaps.argmax())
            text = f"{describe(one, int(r[at]))} became {describe(other, int(c[at]))} in {name}"
            if kind == "score" and gaps[at] > worst_score:
                worst_score, worst_score_at = float(gaps[at]), text
            if kind == "box" and gaps[at] > worst_box:
                worst_box, worst_box_at = float(gaps[at]), text
    suffix = f" {what}" if what else ""
    share = lost / clear if clear else 0.0
    counts = {"pictures": len(names), "pairs": pairs, "clear": clear, "unmatched": lost}
    return (
        Measurement(f"unmatched detections{suffix}", share, "share", clear, first_lost, counts),
        Measurement(f"largest score difference{suffix}", worst_score, "score", pairs, worst_score_at, counts),
        Measurement(f"largest box difference{suffix}", worst_box, "px", pairs, worst_box_at, counts),
    )


def describe(detections: Detections, index: int) -> str:
    """One detection in words: label, score and box."""
    box = ", ".join(f"{value:.1f}" for value in detections.boxes[index])
    return f"label {detections.labels[index]} score {detections.scores[index]:.4f} at [{box}]"
