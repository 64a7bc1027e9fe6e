"""Figures of a comparison for the evidence page, JSON-ready and of bounded size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.measure import Measurement
from fcos_lib.measure.coco.curves import RECALLS
from fcos_lib.measure.coco.matching import Matches
from fcos_lib.measure.coco.metrics import averages
from fcos_lib.measure.coco.paired import Interval, PairedDifference
from fcos_lib.measure.detections.causes import Comparison
from fcos_lib.measure.proposals.comparison import LevelDifference
from fcos_lib.stream.sessions import Detections

POINTS = 5000
_BIASES = ("log_size", "centre_x", "centre_y", "score")
"""What `bias` returns, in its order."""


def scatter(
    comparison: Comparison, reference: Sequence[Detections], candidate: Sequence[Detections], names: Sequence[str]
) -> dict[str, Any]:
    """Score of the reference against score of the candidate; 0 for a side that does not have the detection.

    At most `POINTS` points, evenly spread from the smallest difference to the largest, which is always one of them.
    """
    pairs = comparison.pairs
    points = [np.column_stack([pairs.reference.scores, pairs.candidate.scores])]
    index_of = {name: index for index, name in enumerate(names)}
    for difference in comparison.differences:
        if difference.kind.value in ("missing", "extra", "class"):  # the others are pairs
            rows = (difference.reference_row, difference.candidate_row)
            sides = (reference[index_of[difference.picture]], candidate[index_of[difference.picture]])
            scores = [0.0 if row is None else float(side.scores[row]) for row, side in zip(rows, sides, strict=True)]
            points.append(np.array([scores]))
    scores_of_both = np.nan_to_num(np.concatenate(points).astype(np.float64))
    scores_of_both = scores_of_both[np.argsort(np.abs(scores_of_both[:, 0] - scores_of_both[:, 1]), kind="stable")]
    kept = np.unique(np.linspace(0, len(scores_of_both) - 1, min(POINTS, len(scores_of_both))).round().astype(int))
    return {"points": scores_of_both[kept].round(4).tolist(), "total": len(scores_of_both)}


def levels_by_bias(biases: Sequence[Measurement]) -> dict[str, Any]:
    """The medians of `bias.bias`, level by level."""
    tables = dict(zip(_BIASES, (bias.details for bias in biases), strict=True))
    levels = [level for level in tables["score"] if level != "all levels"]
    return {
        "levels": [
            {"level": level, "pairs": tables["score"][level]["n"]}
            | {name: _median(table.get(level)) for name, table in tables.items()}
            | {"proposals": None}
            for level in [*levels, *(["all levels"] if levels else [])]
        ]
    }


def levels_by_proposals(levels: Sequence[LevelDifference]) -> dict[str, Any]:
    """How near the proposals before NMS are, level by level."""
    names = dict.fromkeys(difference.level for difference in levels)
    return {
        "levels": [
            {"level": level, "pairs": None}
            | dict.fromkeys(_BIASES)
            | {
                "proposals": {
                    f"{figure}_{difference.output}": _number(value)
                    for difference in levels
                    if difference.level == level
                    for figure, value in (
                        ("cosine", difference.cosine),
                        ("relative_distance", difference.relative_distance),
                        ("largest", difference.largest),
                    )
                }
            }
            for level in names
        ]
    }


def precision_recall(reference: Matches, candidate: Matches) -> dict[str, Any]:
    """Precision of both sides at COCO's 101 recalls (IoU 0.5, mean over classes)."""
    curves = {"recall": RECALLS.round(2).tolist()}
    for side, matches in (("reference", reference), ("candidate", candidate)):
        curves[side] = [round(float(value), 5) for value in precision_at_recalls(matches)]
    return curves


def precision_at_recalls(matches: Matches) -> NDArray[np.float64]:
    """Precision float64[101] at each of `RECALLS`, IoU 0.5, all sizes, mean over the classes that have an object.

    Its mean is AP50: the precision at a recall is the best of those at this recall or a higher one, 0 if none reaches it.
    """
    curves = []
    for kind in range(len(matches.truth.names)):
        objects = float(matches.objects[0, kind].sum())
        if not objects:
            continue
        right, counted = matches.outcomes(kind, 0)
        hits = np.cumsum(right)
        precision = hits / np.maximum(np.cumsum(counted), 1)
        best = np.maximum.accumulate(precision[::-1])[::-1]
        first_at = np.searchsorted(hits / objects, RECALLS, side="left")
        curves.append(np.append(best, 0.0)[np.minimum(first_at, len(best))])
    return np.mean(curves, axis=0) if curves else np.zeros(len(RECALLS))


def classes(paired: PairedDifference, reference: Matches, candidate: Matches) -> dict[str, Any]:
    """AP of both sides and the difference with its interval, by class, size and IoU."""
    first, second = (averages(side).per_class[:, 0] for side in (reference, candidate))
    of_class = {name: both for name, *both in zip(reference.truth.names, first, second, strict=True)}

    def entry(name: str, sides: Sequence[float], difference: Interval) -> dict[str, Any]:
        before, after = (round(float(value), 5) for value in sides)
        rounded = {key: round(value, 5) for key, value in asdict(difference).items()}
        return {"name": name, "reference": before, "candidate": after, "difference": rounded}

    def numbers(table: Mapping[str, Interval], keys: Mapping[str, str]) -> list[dict[str, Any]]:
        return [
            entry(name, (paired.reference[keys[name]], paired.candidate[keys[name]]), interval)
            for name, interval in table.items()
        ]

    return {
        "classes": [entry(name, of_class[name], change) for name, change in paired.per_class.items()],
        "sizes": numbers(paired.per_size, {"small": "APs", "medium": "APm", "large": "APl"}),
        "iou": numbers(paired.per_iou, {"0.50": "AP50", "0.75": "AP75"}),
        "all": numbers({"mAP": paired.numbers["mAP"]} if paired.numbers else {}, {"mAP": "mAP"}),
    }


def _median(entry: Mapping[str, Any] | None) -> dict[str, float | None] | None:
    """`value`, `low` and `high`; None where too few pairs give no bound."""
    if entry is None:
        return None
    return {key: _number(float(entry[key])) for key in ("value", "low", "high")}


def _number(value: float) -> float | None:
    """With six significant digits; None for what is not finite."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
