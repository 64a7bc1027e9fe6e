"""Defects of a device or its runtime. Everything that a run returns passes `apply_fault` of the emulator.

Its arrays are labels int[N, 100], dets float32[N, 100, 5] and, of an OM that returns them, boxes and scores before NMS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.gateproof.case import ALL, MORE, PART, REFUSED, Case, Injection, marks_for

OUTPUTS = "fcos_lib.emulator.acl_parts:apply_fault"
UNEXPLAINED, ROWS = "consistency: unexplained differences", "contract: broken rows"
BY_NMS = f"{UNEXPLAINED} by NMS"


def changed(change: Callable[[Any, Any], object]) -> Any:
    """`change(labels, dets)` works in place."""

    def result(arrays: Any, *_: Any) -> Any:
        arrays = [np.array(array) for array in arrays]
        labels = next(array for array in arrays if array.ndim == 2)
        dets = next(array for array in arrays if array.ndim == 3 and array.shape[2] == 5)
        change(labels, dets)
        return arrays

    return result


def _swapped(arrays: Any, *_: Any) -> Any:
    return [arrays[1], arrays[0], *arrays[2:]]


def _labels_off_by_one(labels: Any, dets: Any) -> None:
    labels += 1


def _score_in_padding(labels: Any, dets: Any) -> None:
    last = dets[:, -1]
    last[last[:, 4] == 0, 4] = 0.04


def _box_in_padding(labels: Any, dets: Any) -> None:
    last = dets[:, -1]
    last[last[:, 4] == 0, :4] = (8.0, 8.0, 24.0, 24.0)


def _nan_row(labels: Any, dets: Any) -> None:
    dets[0, 0, :4] = np.nan


def _unsorted(labels: Any, dets: Any) -> None:
    for array in (labels, dets):
        array[:, [0, 1]] = array[:, [1, 0]]


def _pixel_lost(labels: Any, dets: Any) -> None:
    used = dets[..., 4] > 0
    dets[used, 2:4] = np.maximum(dets[used, 2:4] - 1, dets[used, :2])


def _last_row_lost(labels: Any, dets: Any) -> None:
    for picture in dets:
        picture[np.count_nonzero(picture[:, 4]) - 1] = 0


def _class_agnostic(labels: Any, dets: Any) -> None:
    for picture, kinds in zip(dets, labels, strict=True):
        kept: list[int] = []
        for row in range(np.count_nonzero(picture[:, 4])):
            if all(_iou(picture[row], picture[other]) <= 0.5 for other in kept):
                kept.append(row)
        picture[: len(kept)], kinds[: len(kept)] = picture[kept], kinds[kept]
        picture[len(kept) :] = 0


def _iou(first: Any, second: Any) -> float:
    sides = np.maximum(np.minimum(first[2:4], second[2:4]) - np.maximum(first[:2], second[:2]), 0)
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (first, second)]
    return float(sides.prod()) / (sum(areas) - float(sides.prod()) + 1e-9)


def stale_rows() -> Any:
    """Rows beyond those that are used keep what the run before left there."""
    memory: dict[int, tuple[Any, Any]] = {}

    def change(labels: Any, dets: Any) -> None:
        old = memory.get(len(dets))
        if old:
            unused = dets[..., 4] == 0
            dets[unused], labels[unused] = old[1][unused], old[0][unused]
        memory[len(dets)] = labels.copy(), dets.copy()

    return changed(change)


def run_before() -> Any:
    """Each run returns what the one before it computed: results were copied before the device was done."""
    memory: dict[tuple[Any, ...], Any] = {}

    def result(arrays: Any, *_: Any) -> Any:
        key = tuple(array.shape for array in arrays)
        before, memory[key] = memory.get(key), [np.array(array) for array in arrays]
        return before or arrays

    return result


def _exchanged(arrays: Any, *_: Any) -> Any:
    order = np.arange(len(arrays[0]))
    order[:2] = order[:2][::-1]
    return [array[order] for array in arrays]


def _first_slot(arrays: Any, *_: Any) -> Any:
    return [np.repeat(array[:1], len(array), axis=0) for array in arrays]


def _last_slot_empty(labels: Any, dets: Any) -> None:
    dets[-1] = 0


def _last_slot_shifted(labels: Any, dets: Any) -> None:
    if len(dets) > 1:
        last = dets[-1]
        last[last[:, 4] > 0, :4] += 2


def _batch_8_weak(labels: Any, dets: Any) -> None:
    if len(dets) == 8:
        dets[..., 4] *= np.float32(0.98)
        dets[dets[..., 4] <= np.float32(0.05)] = 0  # as NMS would


def _case(name: str, what: str, result: Any, *gates: str, words: str = "", more: bool = False) -> Case:
    marks, options = (ALL, MORE) if more else (marks_for(gates), PART)
    return Case(name, what, gates, words, (Injection(OUTPUTS, "result", result),), marks=marks, options=options)


CASES = (
    _case("outputs_swapped", "labels and dets in the other order", _swapped, REFUSED, words="check the order of the outputs"),
    _case("labels_off_by_one", "labels count from one", changed(_labels_off_by_one), REFUSED, words="label 8", more=True),
    _case("score_in_padding", "an unused row has a score", changed(_score_in_padding), ROWS, words="score not above the threshold"),
    _case("box_in_padding", "an unused row has a box", changed(_box_in_padding), ROWS, words="padding with a box"),
    _case("nan_row", "the best detection of each batch has a box of NaN", changed(_nan_row), REFUSED, words="NaN or infinite values"),
    _case("rows_unsorted", "the second best detection comes first", changed(_unsorted), ROWS, words="score above the row before"),
    _case("pixel_lost", "boxes end one pixel early", changed(_pixel_lost), "consistency: size bias", "consistency: centre x bias"),
    _case("last_row_lost", "the last detection of each picture is lost", changed(_last_row_lost), UNEXPLAINED, BY_NMS),
    _case("class_agnostic", "NMS takes all classes for one", changed(_class_agnostic), UNEXPLAINED, BY_NMS),
    _case("stale_rows", "unused rows keep the detections of the batch before", stale_rows(), UNEXPLAINED),
    _case("run_before", "each run returns the results of the run before it", run_before(), UNEXPLAINED),
    _case("slots_exchanged", "the first two slots of each batch are exchanged", _exchanged, UNEXPLAINED),
    _case("first_slot_everywhere", "every slot has the first one's results", _first_slot, UNEXPLAINED,
          "accuracy: pictures not counted once", more=True),
    _case("last_slot_empty", "nothing is found in the last slot", changed(_last_slot_empty),
          "consistency: unmatched detections between slots", UNEXPLAINED),
    _case("last_slot_shifted", "boxes of the last slot are two pixels off", changed(_last_slot_shifted),
          "consistency: largest box difference between slots", UNEXPLAINED),
    Case("batch_8_weak", "scores are 2 % too low at batch size 8 alone",
         ("consistency: largest score difference between batch sizes", "consistency: score bias"), "",
         (Injection(OUTPUTS, "result", changed(_batch_8_weak)),), marks="contract or consistency", options=PART, batch_sizes="4,8"),
)  # fmt: skip
