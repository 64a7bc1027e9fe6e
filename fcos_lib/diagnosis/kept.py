"""What an NMS kept: by its lowest score, its largest overlap and its rows one sees with which thresholds it ran."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fcos_lib.measure.detections.matching import iou_matrix
from fcos_lib.stream.sessions import Detections


def kept(found: Iterable[Detections]) -> dict[str, float]:
    """The lowest score, the largest overlap of two boxes of one class, and the most rows of a picture; all 0 if nothing was found."""
    scores, overlaps, rows = [], [0.0], 0
    for detections in found:
        rows = max(rows, len(detections.scores))
        scores.extend(detections.scores.tolist())
        for label in np.unique(detections.labels):
            boxes = detections.boxes[detections.labels == label]
            overlaps.append(float(np.triu(iou_matrix(boxes, boxes), 1).max()))
    return {"score": round(min(scores, default=0.0), 4), "overlap": round(max(overlaps), 3), "rows": rows}


def in_words(sides: Mapping[str, Any]) -> str:
    """What both NMS kept of the same proposals, of a ladder's `kept`."""
    reference, candidate = (
        f"scores from {side['score']:.4f}, overlaps in a class to {side['overlap']:.3f}, at most {side['rows']} rows"
        for side in (sides["reference"], sides["candidate"])
    )
    return f"Of the same proposals the reference's NMS keeps {reference}; the OM's keeps {candidate}"
