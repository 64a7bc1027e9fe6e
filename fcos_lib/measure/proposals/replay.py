"""NMS as the reference computes it, replayed on proposals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.stream.sessions import Detections


def replay(boxes: NDArray[np.floating], scores: NDArray[np.floating], contract: ModelContract) -> list[Detections]:
    """Detections of each picture, in network pixels, from boxes [N, M, 4] and scores [N, M, C].

    Scores above the threshold, NMS per class, the best `max_detections` of all classes; both comparisons are strict and
    float32, as in onnxruntime's NonMaxSuppression. Of equal scores the lower class comes first, then the lower row. NaN
    is above no threshold and suppresses nothing.
    """
    detections = []
    for picture_boxes, picture_scores in zip(
        np.asarray(boxes, np.float32), np.asarray(scores, np.float32), strict=True
    ):
        above = picture_scores > np.float32(contract.score_threshold)
        rows, labels = [], []
        for label in np.flatnonzero(above.any(axis=0)):
            proposals = np.flatnonzero(above[:, label])
            order = proposals[np.argsort(-picture_scores[proposals, label], kind="stable")]
            kept = order[_nms(picture_boxes[order], np.float32(contract.iou_threshold), contract.max_detections)]
            rows.append(np.sort(kept))
            labels.append(np.full(len(kept), label, np.int64))
        row = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        label_of = np.concatenate(labels) if labels else np.zeros(0, np.int64)
        best = np.argsort(-picture_scores[row, label_of], kind="stable")[: contract.max_detections]
        row, label_of = row[best], label_of[best]
        detections.append(Detections(picture_boxes[row], picture_scores[row, label_of], label_of))
    return detections


def _nms(boxes: NDArray[np.float32], limit: np.float32, most: int) -> list[int]:
    """Rows that survive among boxes float32[K, 4] in order of score, `most` at most."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    alive = np.ones(len(boxes), bool)
    kept: list[int] = []
    for row in range(len(boxes)):
        if not alive[row]:
            continue
        kept.append(row)
        if len(kept) == most:
            break
        rest = np.arange(row + 1, len(boxes))
        low = np.maximum(boxes[row, :2], boxes[rest, :2])
        high = np.minimum(boxes[row, 2:], boxes[rest, 2:])
        sides = np.maximum(high - low, np.float32(0))
        inter = sides[:, 0] * sides[:, 1]
        union = areas[row] + areas[rest] - inter
        counted = (inter > 0) & (areas[row] > 0) & (areas[rest] > 0) & (union > 0)
        iou = np.divide(inter, union, out=np.zeros_like(inter), where=counted)
        alive[rest[iou > limit]] = False
    return kept
