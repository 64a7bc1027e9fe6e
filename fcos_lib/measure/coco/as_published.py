"""mAP as published: what ModelZoo's figure would be for these detections, by the arithmetic that it was computed with.

The recipe's `fcos_pth_postprocess.py` differs from this project in three ways, and its figure belongs to its way:

* boxes come back by the ideal ratio and by half the ideal border, not by the size that the picture was really given;
* boxes are not clipped to the picture;
* mmdetection 2.x leaves out pictures without an annotation (`CocoDataset._filter_imgs`: it was not told that this is a test),
  and those with a side of less than 32 pixels.

Rows of padding, which the recipe evaluates as detections with a score of 0, come last and change no average.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.measure import Measurement
from fcos_lib.measure.coco.matching import match
from fcos_lib.measure.coco.metrics import details_of, lowest_class
from fcos_lib.measure.coco.truth import Truth
from fcos_lib.measure.detections.worst import to_network
from fcos_lib.stream.dataset import Dataset, Picture
from fcos_lib.stream.letterbox import geometry
from fcos_lib.stream.sessions import Detections

SMALLEST_SIDE = 32
"""Pixels; `min_size` of mmdetection 2.x."""


def as_published(
    dataset: Dataset,
    truth: Truth,
    contract: ModelContract,
    detections: Mapping[int, Detections],
    gate: str = "accuracy.mAP_as_published",
) -> Measurement:
    """mAP (IoU 0.50:0.95) as the recipe computes it, with all twelve numbers in `details`; n counts the recipe's pictures.

    `detections` holds every picture of `recipe_pictures`; errors as in `metrics.evaluate`. `truth` is the dataset's.
    """
    counted = recipe_pictures(dataset, truth)
    if not counted:
        return Measurement("mAP as published", 0.0, "AP", 0, "no picture has an annotation", gate=gate)
    chosen = {number: detections[number] for number in counted if number in detections}
    details = details_of(match(truth.only(counted), contract, recipe_detections(dataset, contract, chosen)), dataset)
    return Measurement(
        name="mAP as published",
        value=details["numbers"]["mAP"],
        unit="AP",
        n=len(counted) if details["per_class"] else 0,
        where=f"{lowest_class(details['per_class'])}; {len(dataset.pictures) - len(counted)} pictures without an annotation are "
        "left out, as in the recipe",
        details=details,
        gate=gate,
    )


def recipe_pictures(dataset: Dataset, truth: Truth) -> list[int]:
    """Ids of the pictures that the recipe counts, ascending."""
    annotated = set(truth.picture_ids[np.unique(truth.pictures)].tolist())
    large = (each for each in dataset.pictures if min(each.width, each.height) >= SMALLEST_SIDE)
    return [picture.id for picture in large if picture.id in annotated]


def recipe_detections(
    dataset: Dataset, contract: ModelContract, detections: Mapping[int, Detections]
) -> dict[int, Detections]:
    """The same detections in picture pixels as the recipe brings them there, from the model's own boxes (`network`).

    Where these are not known, from the boxes in the picture, which were clipped to it.
    """
    in_pictures = {}
    for picture in (picture for picture in dataset.pictures if picture.id in detections):
        seen = detections[picture.id]
        boxes = seen.network
        if boxes is None:
            boxes = to_network(seen.boxes, geometry(picture.width, picture.height, contract))
        in_pictures[picture.id] = replace(seen, boxes=_brought_back(boxes, picture, contract))
    return in_pictures


def _brought_back(boxes: NDArray[np.float32], picture: Picture, contract: ModelContract) -> NDArray[np.float32]:
    """Boxes float32[K, 4] from network to picture pixels, in float32 and in the recipe's order of operations."""
    scale = min(contract.width / picture.width, contract.height / picture.height)
    left = (contract.width - picture.width * scale) // 2
    top = (contract.height - picture.height * scale) // 2
    back: NDArray[np.float32] = (boxes - np.array([left, top, left, top], np.float32)) / np.float32(scale)
    return back
