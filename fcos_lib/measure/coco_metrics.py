"""What are COCO's twelve numbers for these detections? pycocotools is the truth; here is only what surrounds it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping

import numpy as np

from fcos_lib.contract import ModelContract
from fcos_lib.errors import DatasetError
from fcos_lib.measure import Measurement
from fcos_lib.sessions import Detections
from fcos_lib.stream.dataset import Dataset

TWELVE = ("mAP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""COCO's summary in pycocotools' order; APs and ARs are small (< 32 x 32 picture pixels), m medium, l large (> 96 x 96)."""


def evaluate(dataset: Dataset, contract: ModelContract, detections: Mapping[int, Detections]) -> Measurement:
    """mAP (IoU 0.50:0.95) over the whole dataset, with all twelve numbers and AP per class in `details`.

    `detections` holds every picture id of the dataset exactly once, empty pictures included, boxes in picture pixels;
    `DatasetError` if one is missing or unknown, because an average over fewer pictures is another number.
    """
    expected = {picture.id for picture in dataset.pictures}
    missing, unknown = sorted(expected - detections.keys()), sorted(detections.keys() - expected)
    if missing or unknown:
        raise DatasetError(
            f"{len(missing)} of {len(expected)} pictures have no result (first: {missing[:3]}) and {len(unknown)} results "
            f"belong to no picture (first: {unknown[:3]})",
            "mAP is defined over every picture of the annotation file exactly once",
        )
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    label_ids = dataset.label_ids(contract)
    rows = [
        [picture_id, box[0], box[1], box[2] - box[0], box[3] - box[1], score, label_ids[label]]
        for picture_id, found in sorted(detections.items())
        for box, score, label in zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(dataset.annotations))
        results = truth.loadRes(np.array(rows, np.float64).reshape(-1, 7)) if rows else COCO()
        if not rows:  # loadRes cannot represent "nothing found"
            results.dataset = {**truth.dataset, "annotations": []}
            results.createIndex()
        evaluation = COCOeval(truth, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]  # [IoU, recall, class] for all areas and 100 detections
    per_class = {}
    for index, category in enumerate(evaluation.params.catIds):
        values = precision[:, :, index]
        if (values > -1).any():
            per_class[truth.cats[category]["name"]] = float(values[values > -1].mean())
    numbers = {name: float(value) for name, value in zip(TWELVE, evaluation.stats, strict=True)}
    worst = min(per_class, key=lambda name: per_class[name], default="")
    return Measurement(
        name="mAP",
        value=numbers["mAP"],
        unit="AP",
        n=len(expected),
        where=f"lowest class: {worst} {per_class[worst]:.3f}" if worst else "no class has an object",
        details={"numbers": numbers, "per_class": per_class, "detections": len(rows)},
    )
