"""The NPU's `BatchMultiClassNMS`: its kernel's arithmetic in numpy, fp16 step by fp16 step.

The order of operations is that of the TIK kernel in CANN's operator sources, believed to be the one that 310 and 310P
run: boxes are scaled by 0.1 so that areas fit fp16, x2 and y2 are one less until the end, both comparisons are strict,
and the classes of unused rows are whatever lay in memory. float32 holds sums, differences and products of two fp16
numbers exactly enough that rounding them once gives the fp16 result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Half = NDArray[np.float16]
Full = NDArray[np.float32]

NMS_OPERATOR = "BatchMultiClassNMS"
"""The type of its node in ONNX."""
SORTED_PER_CLASS = 3968
"""Candidates of one class that the kernel sorts (248 KB of unified buffer / 64 bytes); the rest is never looked at."""
_BURST = 128
_SCALE = np.float16(0.1)
_UNSCALE = np.float16(10)


@dataclass(frozen=True, slots=True)
class NmsSettings:
    """The attributes that the ONNX plugin reads from the node."""

    score_threshold: float
    iou_threshold: float
    max_size_per_class: int
    max_total_size: int


def _half(values: Full) -> Full:
    """Rounded to fp16, kept as float32."""
    return values.astype(np.float16).astype(np.float32)


def _sorted(scores: Full) -> NDArray[np.intp]:
    """Descending; equal scores in a fixed order that follows neither the index nor its reverse, as a hardware sort's."""
    shuffled = (np.arange(len(scores), dtype=np.uint32) * np.uint32(2654435761)) >> np.uint32(7)
    order: NDArray[np.intp] = np.lexsort((shuffled, -scores))
    return order


def _suppresses(kept: Full, areas: Full, boxes: Full, box_areas: Full, factor: np.float32) -> NDArray[np.bool_]:
    """bool[K, B]: whether kept box k overlaps box b by more than the threshold; sides count the shifted pixel back in."""
    width = np.minimum(kept[:, None, 2], boxes[None, :, 2]) - np.maximum(kept[:, None, 0], boxes[None, :, 0])
    height = np.minimum(kept[:, None, 3], boxes[None, :, 3]) - np.maximum(kept[:, None, 1], boxes[None, :, 1])
    pixel = np.float32(1)
    overlap = _half(
        np.maximum(_half(_half(width) + pixel), np.float32(0)) * np.maximum(_half(_half(height) + pixel), np.float32(0))
    )
    allowed = _half(_half(areas[:, None] + box_areas[None, :]) * factor)
    result: NDArray[np.bool_] = overlap > allowed
    return result


def _one_class(boxes: Full, limit: int, factor: np.float32) -> list[int]:
    """Positions of at most `limit` survivors among boxes float32[K, 4] sorted by score, in bursts as the kernel goes."""
    pixel = np.float32(1)
    sides = _half(_half(boxes[:, 2:] - boxes[:, :2]) + pixel)
    areas = _half(sides[:, 0] * sides[:, 1])
    kept: list[int] = []
    for start in range(0, len(boxes), _BURST):
        burst, burst_areas = boxes[start : start + _BURST], areas[start : start + _BURST]
        gone = np.zeros(len(burst), dtype=np.bool_)
        if kept:
            gone |= np.any(_suppresses(boxes[kept], areas[kept], burst, burst_areas, factor), axis=0)
        among = _suppresses(burst, burst_areas, burst, burst_areas, factor)
        for position in range(len(burst)):
            if gone[position]:
                continue
            kept.append(start + position)
            if len(kept) == limit:
                return kept
            gone |= among[position]
    return kept


def _one_picture(boxes: Full, scores: Half, settings: NmsSettings) -> tuple[Full, Full, NDArray[np.intp]]:
    """Boxes float32[K, 4] (scaled and shifted), scores float32[K] and classes int[K] of one picture, best first.

    Takes boxes float32[N, q, 4] scaled and shifted, and scores float16[N, C]. Scores at or below the threshold are
    left out first: they sort last, so they suppress nothing that is kept, and the kernel filters them at its end.
    """
    threshold = np.float16(settings.score_threshold)
    iou = np.float32(settings.iou_threshold)
    factor = np.float32(np.float16(iou / (np.float32(1) + iou)))
    above = scores > threshold
    classes: list[tuple[Full, Full, NDArray[np.intp]]] = []
    for label in np.flatnonzero(above.any(0)):
        candidates = np.flatnonzero(above[:, label])
        values = scores[candidates, label].astype(np.float32)
        order = _sorted(values)[:SORTED_PER_CLASS]
        ranked = boxes[candidates[order], label if boxes.shape[1] > 1 else 0]
        kept = _one_class(ranked, settings.max_size_per_class, factor)
        classes.append((ranked[kept], values[order][kept], np.full(len(kept), label)))
    if not classes:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.intp)
    all_boxes, all_scores, labels = (np.concatenate(parts) for parts in zip(*classes, strict=True))
    best = _sorted(all_scores)[: settings.max_total_size]
    return all_boxes[best], all_scores[best], labels[best]


def batch_multi_class_nms(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], settings: NmsSettings
) -> tuple[Half, Half, Half, NDArray[np.int32]]:
    """The operator's four outputs for a batch.

    Takes boxes [N, M, 4] or [N, M, q, 4] with q 1 or C (x1, y1, x2, y2 in pixels) and scores [N, M, C]; whatever the
    dtype, fp16 is computed with. Returns boxes float16[N, T, 4], scores float16[N, T], classes float16[N, T] and counts
    int32[N], T being `max_total_size`. Rows from the count on have box 0, score 0 and an arbitrary class.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        half_boxes, half_scores = boxes.astype(np.float16), scores.astype(np.float16)
        if half_boxes.ndim == 3:
            half_boxes = half_boxes[:, :, None, :]
        pictures, rows = len(half_boxes), settings.max_total_size
        inner = _half(half_boxes.astype(np.float32) * np.float32(_SCALE))
        inner[..., 2:] = _half(inner[..., 2:] - np.float32(1))
        out_boxes = np.zeros((pictures, rows, 4), np.float16)
        out_scores = np.zeros((pictures, rows), np.float16)
        # Padding rows carry leftovers of memory on the device; a fixed seed keeps a stand-in run repeatable.
        leftovers = np.random.default_rng(11).integers(0, half_scores.shape[2], (pictures, rows))
        out_classes = leftovers.astype(np.float16)
        counts = np.zeros(pictures, np.int32)
        for picture in range(pictures):
            kept, values, labels = _one_picture(inner[picture], half_scores[picture], settings)
            count = len(values)
            kept[:, 2:] = _half(kept[:, 2:] + np.float32(1))
            out_boxes[picture, :count] = (kept * np.float32(_UNSCALE)).astype(np.float16)
            out_scores[picture, :count] = values
            out_classes[picture, :count] = labels
            counts[picture] = count
    return out_boxes, out_scores, out_classes, counts
