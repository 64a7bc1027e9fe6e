"""COCO's twelve numbers as pycocotools computes them, and for re-weighted pictures too.

The tests hold all twelve equal to pycocotools' within 1e-12.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.measure import Measurement
from fcos_lib.measure.coco.matching import IOU_THRESHOLDS, Matches, match
from fcos_lib.measure.coco.truth import read_truth
from fcos_lib.stream.dataset import Dataset, picture_set
from fcos_lib.stream.sessions import Detections

TWELVE = ("mAP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""COCO's summary in pycocotools' order; APs and ARs are small (< 32 x 32 picture pixels), m medium, l large (> 96 x 96)."""
RECALLS = np.linspace(0.0, 1.0, 101)
"""Precision is averaged over these recalls."""


@dataclass(frozen=True, slots=True)
class Averages:
    """The numbers of W weightings of the same pictures; NaN where no object counts."""

    twelve: NDArray[np.float64]
    """float64[12, W], in the order of `TWELVE`"""
    per_class: NDArray[np.float64]
    """float64[K, W], AP (IoU 0.50:0.95) of each category"""


def evaluate(
    dataset: Dataset, contract: ModelContract, detections: Mapping[int, Detections], gate: str = "accuracy.mAP"
) -> Measurement:
    """mAP (IoU 0.50:0.95) over the whole dataset, with all twelve numbers and AP per class in `details`.

    `detections` holds every picture id of the dataset exactly once, empty pictures included, boxes in picture pixels;
    `DatasetError` if one is missing or unknown, because an average over fewer pictures is another number. `n` is 0 if no object
    counts.
    """
    matches = match(read_truth(dataset), contract, detections)
    details = details_of(matches, dataset)
    details |= {
        "empty_pictures": sum(not len(found) for found in detections.values()),
        "category_ids": {name: matches.truth.category_ids[name] for name in contract.classes},
        "remarks": list(dataset.remarks),
    }
    return Measurement(
        name="mAP",
        value=details["numbers"]["mAP"],
        unit="AP",
        n=len(matches.truth.picture_ids) if details["per_class"] else 0,  # without an object nothing was measured
        where=lowest_class(details["per_class"]),
        details=details,
        gate=gate,
    )


def lowest_class(per_class: Mapping[str, float]) -> str:
    """The class to look at first, in words."""
    worst = min(per_class, key=lambda name: per_class[name], default="")
    return f"lowest class: {worst} {per_class[worst]:.3f}" if worst else "no class has an object"


def details_of(matches: Matches, dataset: Dataset) -> dict[str, Any]:
    """The twelve numbers, AP per class with an object, and which pictures of which annotation file they are about."""
    found = averages(matches)
    values = zip(matches.truth.names, found.per_class[:, 0], strict=True)
    return {
        "numbers": _coco_convention(found.twelve[:, 0]),
        "per_class": {name: float(value) for name, value in values if value == value},
        "detections": matches.total,
        "annotations_sha256": dataset.annotations_sha256,
        "data_set": picture_set(dataset),
    }


def twelve_numbers(matches: Matches, weights: NDArray[np.float64] | None = None) -> dict[str, float]:
    """The twelve by name, -1 where no object counts, as pycocotools has it. `weights` float64[P]: how often each picture counts."""
    return _coco_convention(averages(matches, None if weights is None else weights[None]).twelve[:, 0])


def averages(matches: Matches, weights: NDArray[np.float64] | None = None) -> Averages:
    """All numbers for each row of `weights`, float64[W, P]: whole numbers that say how often each picture counts (default: once).

    A picture that counts twice is the same as two pictures with equal content, so a bootstrap needs no second matching.
    """
    pictures, kinds = len(matches.truth.picture_ids), len(matches.truth.names)
    weights = np.ones((1, pictures)) if weights is None else np.asarray(weights, np.float64)
    ap = np.full((len(matches.inside), len(IOU_THRESHOLDS), kinds, len(weights)), np.nan)
    recall = ap.copy()
    few = np.full((2, *ap.shape[1:]), np.nan)  # recall of the best 1 and 10 detections, all sizes
    for kind in range(kinds):
        first, last = matches.starts[kind : kind + 2]
        low, high = np.searchsorted(matches.rows, (first, last))
        rows, rank = matches.rows[low:high] - first, matches.rank[low:high]
        pictures_here = matches.picture[first:last]
        for area, inside in enumerate(matches.inside[:, first:last]):
            objects = weights @ matches.objects[area, kind]
            if not objects.any():
                continue
            own = np.flatnonzero(inside)
            counted = _running(np.take(weights, pictures_here[own], axis=1))
            for threshold in range(len(IOU_THRESHOLDS)):
                right = np.flatnonzero(matches.right[area, threshold, low:high])
                found = np.take(weights, pictures_here[rows[right]], axis=1)
                # Right and wrong ones down to each right one: those of this size, and those that moved into it or out of it.
                before = counted[:, np.searchsorted(own, rows[right], side="right")]
                moved = matches.moved[area, threshold, low:high]
                strays = np.flatnonzero(moved)
                if len(strays):
                    shift = _running(np.take(weights, pictures_here[rows[strays]], axis=1) * moved[strays])
                    before += shift[:, np.searchsorted(strays, right, side="right")]
                ap[area, threshold, kind], recall[area, threshold, kind] = _curve(found, before, objects)
                if area == 0:
                    for index, most in enumerate((1, 10)):
                        few[index, threshold, kind] = _share(found[:, rank[right] < most].sum(axis=1), objects)
    rows_of = [ap[0], ap[0][:1], ap[0][5:6], *ap[1:], *few, recall[0], *recall[1:]]
    twelve = np.array([_mean(values.reshape(-1, len(weights))) for values in rows_of])
    return Averages(twelve, ap[0].mean(axis=0))


def _curve(
    right: NDArray[np.float64], counted: NDArray[np.float64], objects: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """AP and final recall of each weighting, from its right detections, best first.

    `right` float64[W, N] is how often each counts, `counted` float64[W, N] how many right and wrong ones there are down to
    it, `objects` float64[W]. Only right detections raise recall, and precision is highest at one of them, so that the wrong
    ones between them need not be looked at.
    """
    if not right.shape[1]:
        return _share(np.zeros(len(objects)), objects), _share(np.zeros(len(objects)), objects)
    right = np.cumsum(right, axis=1)
    recall = np.divide(right, objects[:, None], out=np.zeros_like(right), where=objects[:, None] > 0)
    precision = right / (counted + np.spacing(1))
    np.maximum.accumulate(precision[:, ::-1], axis=1, out=precision[:, ::-1])
    # How many RECALLS are reached. Percent of recall come in steps of 100 / objects: adding 1e-6 only mends a whole number
    # that division left just below itself, and the comparison then decides as pycocotools' searchsorted does.
    reached = (recall * (len(RECALLS) - 1) + 1e-6).astype(np.int64)
    reached += RECALLS[reached] <= recall
    steps = np.diff(reached, axis=1, prepend=0)
    average = np.einsum("ij,ij->i", steps, precision) / len(RECALLS)
    return np.where(objects > 0, average, np.nan), np.where(objects > 0, recall[:, -1], np.nan)


def _running(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the first 0, 1, ... N columns of float64[W, N], as float64[W, N + 1]."""
    sums = np.zeros((len(values), values.shape[1] + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """part / whole, NaN where there is no whole."""
    share: NDArray[np.float64] = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    return np.divide(part, whole, out=share, where=whole > 0)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the rows that are not NaN; NaN if all are."""
    present = ~np.isnan(values)
    return _share(np.where(present, values, 0).sum(axis=0), present.sum(axis=0).astype(np.float64))


def _coco_convention(twelve: NDArray[np.float64]) -> dict[str, float]:
    """By name, with -1 for a number that no object counts for."""
    return {name: -1.0 if np.isnan(value) else float(value) for name, value in zip(TWELVE, twelve, strict=True)}
