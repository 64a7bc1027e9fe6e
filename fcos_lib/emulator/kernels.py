"""The device's own kernels in numpy, fp16 step by fp16 step: AIPP in front of the network, `BatchMultiClassNMS` behind it.

AIPP turns bytes into the network's input. Order and formula are the ATC user guide's: channel swap, then
`(pixel - mean_chn - min_chn) * var_reci_chn` in fp16 with indices counted after the swap. One static operator on RGB888_U8 of the
input's size, which is what the suite writes, is imitated, everything else refused with E10055. What cannot be read is E10052.

The order of operations of the NMS is that of the TIK kernel in CANN's operator sources, believed to be the one that 310 and 310P
run: boxes are scaled by 0.1 so that areas fit fp16, x2 and y2 are one less until the end, both comparisons are strict,
and the classes of unused rows are whatever lay in memory. float32 holds sums, differences and products of two fp16
numbers exactly enough that rounding them once gives the fp16 result.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.emulator.atc_errors import AtcError

Half = NDArray[np.float16]
Full = NDArray[np.float32]

NMS_OPERATOR = "BatchMultiClassNMS"
"""The type of its node in ONNX."""
SORTED_PER_CLASS = 3968
"""Proposals of one class that the kernel sorts (248 KB of unified buffer / 64 bytes); the rest is never looked at."""
_BURST = 128
_SCALE = np.float16(0.1)
_UNSCALE = np.float16(10)
_OPERATOR = re.compile(r"\s*aipp_op\s*:?\s*\{(?P<fields>[^{}]*)\}\s*")
_FIELD = re.compile(r"(\w+)\s*:\s*([^\s;,]+)[\s;,]*")
_SWITCHES = {"true": True, "false": False}
_DEFAULTS = {"csc_switch": "false", "related_input_rank": "0"}
_RANGES: dict[str, tuple[type[int] | type[float], float, float]] = {
    **{f"mean_chn_{channel}": (int, 0, 255) for channel in range(3)},
    **{f"min_chn_{channel}": (float, 0, 255) for channel in range(3)},
    **{f"var_reci_chn_{channel}": (float, -65504, 65504) for channel in range(3)},
}
"""Fields with a number: its type, the lowest and the highest."""


@dataclass(frozen=True, slots=True)
class Aipp:
    """What happens to the model's input, with every size settled."""

    width: int
    """Columns of the picture that comes in."""
    height: int
    """Rows of the picture that comes in."""
    swap: bool
    """Whether channels 0 and 2 change places."""
    mean: list[float]
    minimum: list[float]
    factor: list[float]

    def apply(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8[N, height, width, 3] → float32[N, 3, height, width] with fp16 values, as the graph takes them."""
        planes = (pictures[..., ::-1] if self.swap else pictures).transpose(0, 3, 1, 2)
        result = np.empty(planes.shape, np.float32)
        # A byte has 256 values: each channel is a table of what fp16 makes of them.
        bytes_ = np.arange(256, dtype=np.float16)
        for channel in range(3):
            centred = (bytes_ - np.float16(self.mean[channel])) - np.float16(self.minimum[channel])
            with np.errstate(over="ignore"):
                table = (centred * np.float16(self.factor[channel])).astype(np.float32)
            result[:, channel] = table[planes[:, channel]]
        return result


def read_aipp_config(path: Path, shape: tuple[int, ...]) -> Aipp:
    """The operator of a configuration file for an input [N, 3, H, W].

    E10001 if there is no such file, E10052 for what cannot be read, E10055 for what is not imitated.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = f"realpath error, errmsg:{os.strerror(error.errno or 0)}"
        raise AtcError("E10001", path, "--insert_op_conf", reason) from error
    operator = _OPERATOR.fullmatch(re.sub(r"#.*", "", text))
    if operator is None:
        raise AtcError("E10052", f"Read AIPP conf file error: {path} is not one 'aipp_op {{ ... }}'")
    pairs = _FIELD.findall(operator["fields"])
    rest = _FIELD.sub("", operator["fields"]).strip()
    if rest or len(dict(pairs)) < len(pairs):
        raise AtcError(
            "E10052", f"Read AIPP conf file error: {path}, {f'near {rest[:40]!r}' if rest else 'a field twice'}"
        )
    if len(shape) != 4 or shape[1] != 3:
        raise AtcError("E10052", f"The input of AIPP must be [N, 3, H, W] for RGB888_U8, it is {list(shape)}")
    rows, columns = shape[2:]
    sizes = {"src_image_size_w": str(columns), "src_image_size_h": str(rows)}
    fields = {"rbuv_swap_switch": "false", **_DEFAULTS, **sizes, **dict(pairs)}
    for name, value in {"aipp_mode": "static", "input_format": "RGB888_U8", **_DEFAULTS, **sizes}.items():
        if (given := fields.pop(name, "not set")) != value:
            raise AtcError("E10055", f"the stand-in imitates AIPP with {name}: {value} for this input, it is {given}")
    swap = fields.pop("rbuv_swap_switch")
    if swap not in _SWITCHES:
        raise AtcError("E10052", f'Invalid value for boolean field "rbuv_swap_switch". Value: "{swap}"')
    numbers = {name: _number(name, value) for name, value in fields.items()}
    mean, minimum, factor = (
        [numbers.get(f"{name}_{channel}", default) for channel in range(3)]
        for name, default in (("mean_chn", 0), ("min_chn", 0.0), ("var_reci_chn", 1.0))
    )
    return Aipp(columns, rows, _SWITCHES[swap], mean, minimum, factor)


def _number(name: str, text: str) -> Any:
    """The value of a field; E10055 for one that is not imitated, E10052 for no number, or none that the device takes."""
    if name not in _RANGES:
        raise AtcError("E10055", f"the stand-in does not imitate AIPP's {name}")
    kind, lowest, highest = _RANGES[name]
    try:
        value = kind(text)
    except ValueError:
        raise AtcError("E10052", f"Expected {'integer' if kind is int else 'double'}, got: {text} for {name}") from None
    if not lowest <= value <= highest:
        raise AtcError("E10052", f"{name} is {text}, the value range is [{lowest}, {highest}]")
    return value


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
        rows = np.flatnonzero(above[:, label])
        values = scores[rows, label].astype(np.float32)
        order = _sorted(values)[:SORTED_PER_CLASS]
        ranked = boxes[rows[order], label if boxes.shape[1] > 1 else 0]
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
