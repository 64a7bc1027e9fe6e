"""Proposals of both sides compared before NMS, level by level.

Proposals are boxes float32[N, M, 4] and scores float32[N, M, C], level after level as the contract counts them. The
figures are those of the vendor's compare tool (msit): cosine similarity, relative Euclidean distance, largest error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.measure import Measurement, json_ready
from fcos_lib.measure.detections.bands import score_band
from fcos_lib.model.decoding import Proposals

_SCORE_PER_STRIDE = 100.0
"""In aligning rows, a score difference of 0.01 weighs as much as a box difference of one stride."""
_FAR = 0.5
"""Rows further apart than this are not the same point: half the distance between two points, or 0.005 of a score."""


@dataclass(frozen=True, slots=True)
class LevelDifference:
    """One output of one level, the worst picture for each figure."""

    output: str
    """`boxes` or `scores`"""
    level: str
    """`P3` ... `P7`"""
    cosine: float
    """Lowest cosine similarity; -1 if a value is not finite."""
    relative_distance: float
    """Largest Euclidean distance over the reference's length; infinite if a value is not finite."""
    largest: float
    """Largest difference (px or score); infinite if a value is not finite."""
    where: str
    """Picture, row within the level and column of the largest difference."""
    values: int
    """Values compared."""
    at_the_cut: int
    """Rows left out: at the end of a cut level each side took another point with the same score."""


def compare_proposals(
    reference: Proposals, candidate: Proposals, names: Sequence[str], contract: ModelContract
) -> tuple[LevelDifference, ...]:
    """Every level of both outputs, pictures in the same order; `ValueError` if shapes are not the contract's.

    A level with more points than `proposals_per_level` is cut by a TopK, which orders its rows: there rows are brought
    together by box and scores first, so that the figures say how near the two sets are. Elsewhere row meets row.
    """
    for boxes, scores in (reference, candidate):
        expected = [(len(names), contract.proposals, last) for last in (4, len(contract.classes))]
        if [boxes.shape, scores.shape] != expected:
            raise ValueError(f"proposals are {boxes.shape} and {scores.shape}, expected {expected}")
    differences: list[LevelDifference] = []
    start = 0
    points = [rows * columns for rows, columns in contract.level_shapes]
    for stride, rows, total in zip(contract.strides, contract.proposals_by_level, points, strict=True):
        ours, theirs = ([array[:, start : start + rows] for array in side] for side in (reference, candidate))
        start += rows
        differences += _level(f"P{stride.bit_length() - 1}", stride, total > rows, ours, theirs, names)
    return tuple(differences)


def _level(
    level: str,
    stride: int,
    cut: bool,
    reference: list[NDArray[np.float32]],
    candidate: list[NDArray[np.float32]],
    names: Sequence[str],
) -> list[LevelDifference]:
    figures: dict[str, list[LevelDifference]] = {"boxes": [], "scores": []}
    for picture, name in enumerate(names):
        ours, theirs = [side[picture] for side in reference], [side[picture] for side in candidate]
        rows, at_the_cut = np.arange(len(ours[0])), 0
        if cut and all(np.isfinite(array).all() for array in (*ours, *theirs)):
            first, second = aligned_rows((ours[0], ours[1]), (theirs[0], theirs[1]), stride)
            at_the_cut = len(rows) - len(first)
            rows, ours, theirs = first, [array[first] for array in ours], [array[second] for array in theirs]
        for output, expected, seen in zip(figures, ours, theirs, strict=True):
            figures[output].append(_figures(output, level, expected, seen, rows, name, at_the_cut))
    return [
        replace(
            max(pictures, key=lambda each: each.largest),
            cosine=min(each.cosine for each in pictures),
            relative_distance=max(each.relative_distance for each in pictures),
            values=sum(each.values for each in pictures),
            at_the_cut=sum(each.at_the_cut for each in pictures),
        )
        for pictures in figures.values()
        if pictures
    ]


def non_finite(what: str, tensors: Mapping[str, NDArray[np.float32]], names: Sequence[str], gate: str) -> Measurement:
    """How many values are NaN or infinite, over tensors [P, rows, columns] of the pictures `names`; for this gate."""
    total, where = 0, ""
    for output, array in tensors.items():
        broken = ~np.isfinite(array)
        if broken.any() and not where:
            picture, row, column = (int(index) for index in np.argwhere(broken)[0])
            where = f"{output} row {row} column {column} of {names[picture]}: {array[picture, row, column]}"
        total += int(broken.sum())
    size = sum(array.size for array in tensors.values())
    return Measurement(f"non-finite {what}", float(total), "values", size, where, gate=gate)


def aligned_rows(
    reference: Proposals, candidate: Proposals, stride: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which row of the reference's boxes [K, 4] and scores [K, C] is which of the candidate's, all values finite.

    Rows that are near in box (in strides) and scores belong together. What finds no near row is left out on both sides
    if its best score is within rounding of its side's last row, where the TopK could have gone either way; otherwise it
    stays and is compared with another left-over row.
    """
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]  # a third of a second to import
    from scipy.spatial.distance import cdist  # type: ignore[import-untyped]

    sides = [
        np.hstack([boxes / stride, scores * _SCORE_PER_STRIDE]).astype(np.float64)
        for boxes, scores in (reference, candidate)
    ]
    distance = cdist(*sides, "chebyshev")
    # Beyond the bound all rows are equally wrong, or one lost row would shift a chain of others.
    first, second = linear_sum_assignment(np.minimum(distance, _FAR))
    far = distance[first, second] > _FAR
    best = [side[1].max(axis=1) for side in (reference, candidate)]
    last = [float(values.min()) for values in best]
    at_the_end = (best[0][first] <= last[0] + score_band(last[0])) & (best[1][second] <= last[1] + score_band(last[1]))
    kept = ~(far & at_the_end)
    return first[kept], second[kept]


def _figures(
    output: str,
    level: str,
    reference: NDArray[np.float32],
    candidate: NDArray[np.float32],
    rows: NDArray[np.int64],
    name: str,
    at_the_cut: int,
) -> LevelDifference:
    a, b = reference.astype(np.float64), candidate.astype(np.float64)
    broken = ~(np.isfinite(a) & np.isfinite(b))
    apart_by = broken if broken.any() else np.abs(a - b)
    row, column = (int(index) for index in np.unravel_index(int(apart_by.argmax()), apart_by.shape))
    column_name = f"class {column}" if output == "scores" else f"column {column}"
    where = (
        f"{level} row {rows[row]} {column_name} of {name}: {reference[row, column]:g} became {candidate[row, column]:g}"
    )
    if broken.any():
        return LevelDifference(output, level, -1.0, math.inf, math.inf, where, a.size, at_the_cut)
    norm_a, norm_b, apart = (float(np.linalg.norm(value)) for value in (a, b, a - b))
    cosine = float((a * b).sum()) / (norm_a * norm_b) if norm_a and norm_b else float(norm_a == norm_b)
    relative = apart / norm_a if norm_a else (math.inf if apart else 0.0)
    return LevelDifference(output, level, cosine, relative, float(np.abs(a - b).max()), where, a.size, at_the_cut)


def measurements(levels: Sequence[LevelDifference]) -> tuple[Measurement, ...]:
    """Per output the lowest cosine, the largest relative distance and the largest difference, over all levels."""
    measured = []
    for output, unit in (("boxes", "px"), ("scores", "score")):
        own = [level for level in levels if level.output == output]
        if not own:
            continue
        n = sum(level.values for level in own)
        details = {level.level: json_ready(level) for level in own}
        cosine = min(own, key=lambda level: level.cosine)
        relative = max(own, key=lambda level: level.relative_distance)
        largest = max(own, key=lambda level: level.largest)
        for figure, value, of, where in (
            ("cosine", cosine.cosine, "cosine", cosine.level),
            ("relative distance", relative.relative_distance, "share", relative.level),
            ("largest difference", largest.largest, unit, largest.where),
        ):
            gate = _GATES[output, figure]
            measured.append(Measurement(f"{figure} of {output}", value, of, n, where, details, gate=gate))
    return tuple(measured)


_GATES = {
    ("boxes", "cosine"): "proposals.cosine_boxes",
    ("boxes", "relative distance"): "proposals.relative_distance_boxes",
    ("boxes", "largest difference"): "proposals.largest_difference_boxes",
    ("scores", "cosine"): "proposals.cosine_scores",
    ("scores", "relative distance"): "proposals.relative_distance_scores",
    ("scores", "largest difference"): "proposals.largest_difference_scores",
}
