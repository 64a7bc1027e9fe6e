"""COCO's twelve numbers as pycocotools computes them, and for re-weighted pictures too.

The tests hold all twelve equal to pycocotools' within 1e-12.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.measure import Measurement
from fcos_lib.measure.coco.curves import FEW, unweighted
from fcos_lib.measure.coco.matching import IOU_THRESHOLDS, Matches, match
from fcos_lib.measure.coco.truth import read_truth
from fcos_lib.measure.coco.weighted import Category
from fcos_lib.stream.dataset import Dataset, picture_set
from fcos_lib.stream.sessions import Detections

TWELVE = ("mAP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""COCO's summary in pycocotools' order; APs and ARs are small (< 32 x 32 picture pixels), m medium, l large (> 96 x 96)."""


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
        "empty_pictures": sum(not len(side) for side in detections.values()),
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
    numbers = averages(matches)
    values = zip(matches.truth.names, numbers.per_class[:, 0], strict=True)
    return {
        "numbers": _coco_convention(numbers.twelve[:, 0]),
        "per_class": {name: float(value) for name, value in values if value == value},
        "detections": matches.total,
        "annotations_sha256": dataset.annotations_sha256,
        "data_set": picture_set(dataset),
    }


def twelve_numbers(matches: Matches, weights: NDArray[np.int64] | None = None) -> dict[str, float]:
    """The twelve by name, -1 where no object counts, as pycocotools has it. `weights` int64[P]: how often each picture counts."""
    return _coco_convention(averages(matches, None if weights is None else weights[None]).twelve[:, 0])


def averages(matches: Matches, weights: NDArray[np.int64] | None = None) -> Averages:
    """All numbers for each row of `weights`, int64[W, P]: whole numbers that say how often each picture counts (default: once).

    A picture that counts twice is the same as two pictures with equal content, so a bootstrap needs no second matching. Arrays
    have a column for each weighting, so that numpy's loops run along these; categories are spread over threads.
    """
    if weights is None:
        ap, recall, few = unweighted(matches)
    else:
        ap, recall, few = _weighted(matches, np.ascontiguousarray(np.asarray(weights, np.int32).T))
    rows_of = [ap[0], ap[0][:1], ap[0][5:6], *ap[1:], *few, recall[0], *recall[1:]]
    twelve = np.array([_mean(values.reshape(-1, ap.shape[-1])) for values in rows_of])
    return Averages(twelve, ap[0].mean(axis=0))


def _weighted(
    matches: Matches, columns: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What `unweighted` gives, for each column of int32[P, W]."""
    from scipy.sparse import csr_array  # type: ignore[import-untyped]  # a tenth of a second to import

    shape = (len(matches.inside), len(IOU_THRESHOLDS), len(matches.truth.names), columns.shape[1])
    ap, recall, few = np.full(shape, np.nan), np.full(shape, np.nan), np.full((2, *shape[1:]), np.nan)
    objects = (csr_array(matches.objects.reshape(-1, len(columns))) @ columns).reshape(shape[0], *shape[2:])

    def count(kind: int) -> None:
        category = Category(matches, kind, columns)
        for area in range(shape[0]):
            if (counting := objects[area, kind]).any():
                ap[area, :, kind], recall[area, :, kind] = category.curves(area, counting)
        for index, most in enumerate(FEW):
            few[index, :, kind] = _share(category.found(most).astype(np.float64), objects[0, kind])

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        list(threads.map(count, np.argsort(-np.diff(matches.starts), kind="stable").tolist()))  # the longest first
    return ap, recall, few


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
