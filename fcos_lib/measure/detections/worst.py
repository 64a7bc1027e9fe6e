"""The pictures that differ the most: boxes of both sides and of the annotation file, with causes."""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.measure.coco.truth import Truth
from fcos_lib.measure.detections.causes import BeforeNms, Comparison, explain
from fcos_lib.measure.detections.differences import Difference
from fcos_lib.measure.detections.matching import iou_of, pair
from fcos_lib.stream.dataset import Picture, read_picture
from fcos_lib.stream.letterbox import Geometry, geometry, to_picture
from fcos_lib.stream.sessions import Detections

MOST = 20
WIDEST = 480
"""Pixels of a shown picture."""
_QUALITY = 80


def score_loss(reference: Detections, candidate: Detections) -> float:
    """How much became of another score or place: 0 if nothing, 1 for a certain detection that only one side has.

    The sum, over pairs, of the difference of the scores and of the part of the score that the boxes do not share, and of
    the scores of all detections without a partner. In any pixels, as long as both sides' are the same.
    """
    pairing = pair(reference, candidate)
    rows, columns = pairing.pairs.T
    scores = reference.scores[rows].astype(np.float64)
    apart = np.abs(scores - candidate.scores[columns])
    apart += scores * (1 - iou_of(reference.boxes[rows], candidate.boxes[columns]))
    alone = reference.scores[pairing.missing].sum() + candidate.scores[pairing.extra].sum()
    return float(np.nan_to_num(apart.sum() + alone, posinf=1e6, neginf=1e6, nan=1e6))


def worst(
    reference: Sequence[Detections],
    candidate: Sequence[Detections],
    first: Collection[int] = (),
    most: int = MOST,
) -> list[tuple[int, float]]:
    """(index, `score_loss`) of the pictures with the largest loss, those whose index is in `first` before all others."""
    with np.errstate(invalid="ignore"):
        losses = [score_loss(expected, seen) for expected, seen in zip(reference, candidate, strict=True)]
    order = sorted(range(len(losses)), key=lambda index: (index not in first, -losses[index]))
    return [(index, losses[index]) for index in order[:most]]


def show(
    pictures: Sequence[Picture],
    reference: Sequence[Detections],
    candidate: Sequence[Detections],
    losses: Sequence[float],
    truth: Truth,
    contract: ModelContract,
    before_nms: BeforeNms | None = None,
) -> dict[str, Any]:
    """These pictures with all boxes and every difference's cause; JSON-ready, lengths in picture pixels.

    The detections are in network pixels, and so is what `before_nms` (see `causes`) gives.
    """
    names = [picture.name for picture in pictures]
    comparison = explain(reference, candidate, names, contract, before_nms)
    objects = objects_of(pictures, truth, contract)
    return {
        "names": list(contract.classes),
        "pictures": [
            _shown(picture, annotated, (expected, seen), loss, comparison, contract)
            for picture, annotated, expected, seen, loss in zip(
                pictures, objects, reference, candidate, losses, strict=True
            )
        ],
    }


def objects_of(pictures: Sequence[Picture], truth: Truth, contract: ModelContract) -> list[list[list[float]]]:
    """The annotated objects of each picture as x1, y1, x2, y2, label; crowds and other categories left out."""
    label_of = {int(category): label for label, category in enumerate(truth.label_categories(contract))}
    objects = []
    for picture in pictures:
        rows = np.flatnonzero((truth.picture_ids[truth.pictures] == picture.id) & ~truth.crowd)
        labels = [label_of.get(int(category)) for category in truth.categories[rows]]
        objects.append(
            [
                [*_rounded(box), label]
                for box, label in zip(truth.corners[rows], labels, strict=True)
                if label is not None
            ]
        )
    return objects


def to_network(boxes: NDArray[np.float32], letterbox: Geometry) -> NDArray[np.float32]:
    """Boxes float32[K, 4] from picture pixels to network pixels, the way back from `to_picture` but for what that clips."""
    scale = np.array([letterbox.scale_x, letterbox.scale_y] * 2, np.float32)
    moved: NDArray[np.float32] = boxes * scale + np.array([letterbox.left, letterbox.top] * 2, np.float32)
    return moved


def _shown(
    picture: Picture,
    objects: list[list[float]],
    sides: tuple[Detections, Detections],
    loss: float,
    comparison: Comparison,
    contract: ModelContract,
) -> dict[str, Any]:
    letterbox = geometry(picture.width, picture.height, contract)
    jpeg, scale = _jpeg(picture)
    differences = [difference for difference in comparison.differences if difference.picture == picture.name]
    reference, candidate = ([*map(list, _rows(side, letterbox))] for side in sides)
    return {
        "name": picture.name,
        "width": picture.width,
        "height": picture.height,
        "jpeg": jpeg,
        "scale": round(scale, 5),
        "score_loss": round(loss, 4),
        "truth": objects,
        "reference": reference,
        "candidate": candidate,
        "differences": [
            _difference(difference)
            for difference in sorted(
                differences, key=lambda difference: (difference.explained, -_score(difference, sides))
            )
        ],
    }


def _score(difference: Difference, sides: tuple[Detections, Detections]) -> float:
    """The higher of the scores of a difference."""
    rows = (difference.reference_row, difference.candidate_row)
    return max(float(side.scores[row]) for row, side in zip(rows, sides, strict=True) if row is not None)


def _rows(detections: Detections, letterbox: Geometry) -> list[list[float]]:
    boxes = np.nan_to_num(to_picture(detections.boxes, letterbox))
    return [
        [*_rounded(box), round(float(np.nan_to_num(score)), 4), int(label)]
        for box, score, label in zip(boxes, detections.scores, detections.labels, strict=True)
    ]


def _difference(difference: Difference) -> dict[str, Any]:
    """`row` is a row of `side`; `other_row` that of the other side, if both have it."""
    both = difference.reference_row is not None and difference.candidate_row is not None
    side = "candidate" if difference.reference_row is None else "reference"
    return {
        "kind": difference.kind.value,
        "cause": difference.cause.value,
        "side": side,
        "row": difference.candidate_row if difference.reference_row is None else difference.reference_row,
        "other_row": difference.candidate_row if both else None,
        "text": difference.text,
    }


def _jpeg(picture: Picture) -> tuple[str, float]:
    """The picture, at most `WIDEST` pixels wide, as base64 of a JPEG; and shown pixels per picture pixel."""
    pixels: NDArray[Any] = read_picture(picture)
    scale = min(1.0, WIDEST / picture.width)
    if scale < 1:
        pixels = cv2.resize(pixels, (WIDEST, max(1, round(picture.height * scale))), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
    return base64.b64encode(data.tobytes()).decode(), scale


def _rounded(box: NDArray[Any]) -> list[float]:
    return [round(float(value), 1) for value in box]
