"""Bands: how far apart two scores, boxes or overlaps may be that are the same but for fp16.

The NMS operator's part is exact arithmetic (CANN's TIK kernel of BatchMultiClassNMS: boxes x 0.1 and back in fp16). The
network's part is an allowance, measured: `LOGIT_NOISE` and `BOX_NOISE`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LOGIT_NOISE = 0.03
"""Noise of one head's logit. Measured on the emulator (fp16) before NMS, scores above 0.045: 0.007 at most over 4,435 scores
of the embedded default's 240 pictures, 0.021 at full size with seeded weights (R50, 1333 x 800); half as much again."""
BOX_NOISE = 0.01
"""Noise of a coordinate as a share of the box's longer side, since FCOS's distances are exponentials. Measured on the
emulator (fp16) before NMS, scores above 0.05, 240 pictures of the embedded default: 0.0044 at most; twice that."""
IOU_ROUNDING = 0.0022
"""What fp16 does to an IoU of 0.5 inside the operator: six roundings of 2^-11 between corners and comparison, times 3/4."""
_SCALE = 10.0
_SHIFTED = 0.5
"""The operator subtracts 1 from x2 and y2 and adds it again later: below this (in its unit) that costs one step of 0.5."""


def box_step(coordinate: NDArray[Any] | float) -> NDArray[np.float64]:
    """How far (px) the NMS operator can move a coordinate: its x 0.1 grid plus its final fp16 store.

    1.25 px from 1280, 0.625 in 640-1280, 0.3125 in 320-640, ..., and 1 px in 1024-2048, 0.5 px in 512-1024, ... on top.
    """
    size = np.abs(np.asarray(coordinate, np.float64))
    return _SCALE * _half_step(np.maximum(size / _SCALE, _SHIFTED)) + _half_step(size)


def box_band(boxes: NDArray[Any]) -> NDArray[np.float64]:
    """Allowed difference (px) of each coordinate of boxes [..., 4]."""
    band: NDArray[np.float64] = box_step(boxes) + BOX_NOISE * _longer_side(boxes)
    return band


def score_band(scores: NDArray[Any] | np.floating[Any] | float) -> NDArray[np.float64]:
    """Allowed difference of scores: an fp16 step, plus the noise of both logits whose sigmoids are multiplied.

    A score s = p c changes by s ((1 - p) + (1 - c)) per logit, which is at most 2 s (1 - sqrt s), at p = c.
    """
    score = np.clip(np.asarray(scores, np.float64), 0, 1)
    band: NDArray[np.float64] = _half_step(score) + LOGIT_NOISE * 2 * score * (1 - np.sqrt(score))
    return band


def iou_band(first: NDArray[Any], second: NDArray[Any], threshold: float = 0.5) -> NDArray[np.float64]:
    """Allowed difference of the IoU of boxes [..., 4]: the roundings of eight independent coordinates, added as such.

    Each coordinate is off by half its step and half its noise; how much the IoU changes with it is the derivative. Infinite
    for two boxes without area, such as `norm_on_bbox` can give: any rounding decides what their IoU is. The operator's own roundings
    are those at `threshold`, with which the IoU is compared: they grow as t (1 + t), of which `IOU_ROUNDING` has 3/4 at 0.5.
    """
    a, b = np.broadcast_arrays(np.asarray(first, np.float64), np.asarray(second, np.float64))
    size = np.minimum(a, b)[..., 2:] - np.maximum(a, b)[..., :2]
    inter = np.prod(np.maximum(size, 0), axis=-1)[..., None]
    union = np.maximum(_area(a) + _area(b) - inter, np.finfo(np.float64).tiny)
    iou = inter / union
    total = np.zeros(inter.shape[:-1])
    for boxes, rivals in ((a, b), (b, a)):
        across = np.maximum(np.concatenate([size[..., ::-1]] * 2, axis=-1), 0)  # what an edge of the overlap is long
        own = np.concatenate([(boxes[..., 2:] - boxes[..., :2])[..., ::-1]] * 2, axis=-1)
        inner = np.concatenate([boxes[..., :2] >= rivals[..., :2], boxes[..., 2:] <= rivals[..., 2:]], axis=-1)
        error = np.hypot(box_step(boxes) / 2, BOX_NOISE / 2 * _longer_side(boxes))
        with np.errstate(over="ignore"):
            slope = (np.where(inner, across, 0) * (1 + iou) - iou * own) / union
            total = total + ((slope * error) ** 2).sum(axis=-1)
    band: NDArray[np.float64] = np.sqrt(total) + IOU_ROUNDING * (threshold * (1 + threshold) / 0.75)
    return band


def _half_step(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The step from an fp16 number to the next: beyond 65000 that of the largest, and NaN of NaN."""
    with np.errstate(invalid="ignore"):
        half = np.minimum(values, 65000.0).astype(np.float16)
        return np.spacing(half).astype(np.float64)


def _longer_side(boxes: NDArray[Any]) -> NDArray[np.float64]:
    box = np.asarray(boxes, np.float64)
    longer: NDArray[np.float64] = np.abs(box[..., 2:] - box[..., :2]).max(axis=-1, keepdims=True)
    return longer


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    area: NDArray[np.float64] = np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1, keepdims=True)
    return area
