"""Detections as columns of numbers, whatever they came from, and the orders in which they count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.errors import DatasetError
from fcos_lib.measure.coco.truth import Truth
from fcos_lib.stream.sessions import Detections


@dataclass(frozen=True, slots=True)
class Rows:
    """D detections of pictures that a truth lists, in the order in which equal scores are to count."""

    boxes: NDArray[np.float64]
    """float64[D, 4]: x, y, width, height in picture pixels"""
    scores: NDArray[np.float64]
    """float64[D]"""
    pictures: NDArray[np.int64]
    """int64[D], index into the truth's pictures"""
    categories: NDArray[np.int64]
    """int64[D], index of the category"""

    def __len__(self) -> int:
        return len(self.scores)


def flat(truth: Truth, contract: ModelContract, detections: Mapping[int, Detections]) -> Rows:
    """All detections by ascending picture id."""
    expected = set(truth.picture_ids.tolist())
    missing, unknown = sorted(expected - detections.keys()), sorted(detections.keys() - expected)
    if missing or unknown:
        raise DatasetError(
            f"{len(missing)} of {len(expected)} pictures have no result (first: {missing[:3]}) and {len(unknown)} results "
            f"belong to no picture (first: {unknown[:3]})",
            "mAP is defined over every picture of the annotation file exactly once",
        )
    sides = [detections[number] for number in truth.picture_ids.tolist()]
    boxes = np.concatenate([side.boxes for side in sides]).astype(np.float64).reshape(-1, 4)
    scores = np.concatenate([side.scores for side in sides]).astype(np.float64)
    labels = np.concatenate([side.labels for side in sides])
    pictures = np.repeat(np.arange(len(sides)), [len(side) for side in sides])
    broken = ~(np.isfinite(boxes).all(axis=1) & np.isfinite(scores) & (labels >= 0) & (labels < len(contract.classes)))
    if broken.any():
        at = int(broken.argmax())
        raise DatasetError(
            f"{int(broken.sum())} detections are no results of contract '{contract.name}', the first in picture "
            f"{truth.picture_ids[pictures[at]]}: label {labels[at]}, score {scores[at]}, box {boxes[at].tolist()}",
            f"labels are 0 to {len(contract.classes) - 1}, scores and boxes are finite",
        )
    boxes[:, 2:] -= boxes[:, :2]
    return Rows(boxes, scores, pictures, truth.label_categories(contract)[labels])


def countable(rows: Rows, kinds: int, most: int) -> Rows:
    """The best `most` of each picture and category; of equal scores those given first, as pycocotools' mergesort has it."""
    cells = rows.pictures * kinds + rows.categories
    if np.bincount(cells, minlength=1).max() <= most:
        return rows
    order = np.lexsort((-rows.scores, cells))
    kept = np.sort(order[places_in_groups(cells[order]) < most])
    return Rows(rows.boxes[kept], rows.scores[kept], rows.pictures[kept], rows.categories[kept])


def best_first(rows: Rows, kinds: int, listed: int) -> NDArray[np.int64]:
    """int64[D]: their order in `Matches`, by category, then by score, then by picture, then as given.

    Scores are sorted by their bits, which ascend as numbers do, 16 at a time: for those numpy has a radix sort, which takes a
    fifth of the time.
    """
    bits = (0.0 - rows.scores).view(np.int64)  # 0 and -0 become one
    bits ^= (bits >> 63) & np.iinfo(np.int64).max
    digits = [(bits >> shift).astype(np.int16 if shift == 48 else np.uint16) for shift in (0, 16, 32, 48)]
    return np.lexsort((narrow(rows.pictures, listed), *digits, narrow(rows.categories, kinds)))


def narrow(indices: NDArray[np.int64], below: int) -> NDArray[Any]:
    """The same whole numbers in a type that is sorted fast, if they fit."""
    return indices.astype(np.uint16) if below <= 1 << 16 else indices


def places_in_groups(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[N]: the place of each among its neighbours of the same group, from 0."""
    begins = np.flatnonzero(np.diff(groups, prepend=-1))
    places: NDArray[np.int64] = np.arange(len(groups)) - np.repeat(begins, np.diff(np.append(begins, len(groups))))
    return places
