"""NMS as the reference computes it, replayed on proposals; and a check of the rows that an OM returns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.measure import Measurement
from fcos_lib.stream.sessions import Detections, Outputs

SLACK = 1.0
"""Network pixels that a box may leave the input by: one fp16 step above 1024."""


def broken_rows(outputs: Outputs, contract: ModelContract) -> Measurement:
    """How many rows are neither a proper detection nor padding, over all slots and rows of a batch.

    A detection has a score above the threshold (as fp16 sees it) and at most 1, a label of the contract and a box with
    x1 <= x2, y1 <= y2 inside the input; padding has score 0 and box 0, its label means nothing. Scores never rise.
    """
    boxes, scores = outputs.dets[..., :4], outputs.dets[..., 4]
    used = scores > 0
    threshold = np.float32(np.float16(contract.score_threshold)) - np.float32(1e-4)
    limits = np.array([contract.width, contract.height] * 2, np.float32) + SLACK
    problems = {
        "score not above the threshold": used & ((scores <= threshold) | (scores > 1)),
        "unknown label": used & ((outputs.labels < 0) | (outputs.labels >= len(contract.classes))),
        "box turned inside out": used & ((boxes[..., 2] < boxes[..., 0]) | (boxes[..., 3] < boxes[..., 1])),
        "box outside the input": used & ((boxes < -SLACK) | (boxes > limits)).any(axis=-1),
        "padding with a score below 0": scores < 0,
        "padding with a box": ~used & (boxes != 0).any(axis=-1),
        "score above the row before": np.diff(scores, axis=1, prepend=np.inf) > 0,
    }
    broken = np.logical_or.reduce(list(problems.values()))
    where = ""
    if broken.any():
        slot, row = (int(index) for index in np.argwhere(broken)[0])
        reasons = [name for name, mask in problems.items() if mask[slot, row]]
        where = f"slot {slot} row {row}: {', '.join(reasons)} (label {outputs.labels[slot, row]}, {outputs.dets[slot, row]})"
    counts = {name: int(mask.sum()) for name, mask in problems.items()}
    return Measurement(
        "broken rows", float(broken.sum()), "rows", int(broken.size), where, {**counts, "used": int(used.sum())},
        gate="contract.broken_rows",
    )  # fmt: skip


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
