"""A row of an OM's outputs is a proper detection, padding, or broken: each kind is named and counted."""

from dataclasses import replace

import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.measure.detections.broken_rows import broken_rows
from fcos_lib.stream.sessions import Outputs

CONTRACT = replace(SHAPES, width=128, height=64)
LAST = len(CONTRACT.classes) - 1
THRESHOLD = float(np.float16(CONTRACT.score_threshold))
GOOD = (5, 4, 30, 20, 0.75, LAST)
BESIDE = (0, 0, 128, 64, 0.5, 0)
KINDS = (
    "score not above the threshold", "unknown label", "box turned inside out", "box outside the input",
    "padding with a score below 0", "padding with a box", "score above the row before",
)  # fmt: skip


def measured(*rows, slots=2):
    """What is said of these rows (x1, y1, x2, y2, score, label), followed by padding, in the last slot of a batch."""
    table = np.zeros((slots, 6, 6), np.float32)
    table[-1, : len(rows)] = rows
    return broken_rows(Outputs(table[..., 5].astype(np.int64), table[..., :5].copy()), CONTRACT)


def test_proper_rows_and_padding_are_not_broken():
    """Whatever the padding's label says; the corners of the input and a score of 1 belong to it, and so do equal scores."""
    result = measured((*GOOD[:4], 1, 0), GOOD, GOOD, BESIDE, (0, 0, 0, 0, 0, 99))
    assert (result.name, result.value, result.unit, result.n, result.where) == ("broken rows", 0, "rows", 12, "")
    assert result.details == dict.fromkeys(KINDS, 0) | {"used": 4}
    assert result.gate == "contract.broken_rows"


@pytest.mark.parametrize(
    ("row", "kinds"),
    [
        ((*GOOD[:4], THRESHOLD + 2e-4, 0), ()),
        ((*GOOD[:4], THRESHOLD, 0), ()),
        ((*GOOD[:4], THRESHOLD - 2e-4, 0), KINDS[:1]),
        ((*GOOD[:4], 1.001, 0), (KINDS[0], KINDS[6])),
        ((*GOOD[:5], -1), KINDS[1:2]),
        ((*GOOD[:5], LAST + 1), KINDS[1:2]),
        ((30, 4, 30, 4, 0.75, 0), ()),
        ((31, 4, 30, 20, 0.75, 0), KINDS[2:3]),
        ((5, 21, 30, 20, 0.75, 0), KINDS[2:3]),
        ((-1, -1, 129, 65, 0.75, 0), ()),
        ((-1.5, 4, 30, 20, 0.75, 0), KINDS[3:4]),
        ((5, -1.5, 30, 20, 0.75, 0), KINDS[3:4]),
        ((5, 4, 129.5, 20, 0.75, 0), KINDS[3:4]),
        ((5, 4, 30, 65.5, 0.75, 0), KINDS[3:4]),
        ((0, 0, 0, 0, -0.5, 0), KINDS[4:5]),
        ((0, 0, 0, 7, 0, 0), KINDS[5:6]),
        ((*GOOD[:4], 0.875, 0), KINDS[6:7]),
        ((40, 4, 30, 99, 0.5, 77), KINDS[1:4]),
    ],
    ids=[
        "low", "threshold", "too-low", "over-1", "label-below", "label-beyond", "no-area", "inside-out-x", "inside-out-y", "slack",
        "left", "above", "right", "below", "negative", "padded-box", "rising", "three-at-once",
    ],
)  # fmt: skip
def test_a_broken_row_is_named_with_all_that_is_wrong(row, kinds):
    """A box may leave the input by a pixel, one fp16 step above 1024; the threshold is what fp16 makes of it."""
    result = measured((*GOOD[:4], 0.8125, 0), row)
    x1, y1, x2, y2, score, label = row
    told = f"slot 1 row 1: {', '.join(kinds)} (label {label}, {np.array([x1, y1, x2, y2, score], np.float32)})"
    expected = {kind: int(kind in kinds) for kind in KINDS} | {"used": 1 + (score > 0)}
    expected[KINDS[6]] += score < 0  # the padding that follows rises above it
    assert (result.value, result.where) == (bool(kinds) + (score < 0), told if kinds else "")
    assert result.details == expected


def test_each_row_counts_once_and_the_first_is_named():
    """Scores are compared within a slot: the first row follows no other."""
    table = np.zeros((2, 6, 6), np.float32)
    table[0, :2], table[1, :2] = [GOOD, (50, 4, 30, 99, 0.5, 77)], [(*GOOD[:4], 0.9375, 0), (31, 4, 30, 20, 0.95, 0)]
    result = broken_rows(Outputs(table[..., 5].astype(np.int64), table[..., :5].copy()), CONTRACT)
    assert (result.value, result.n) == (2, 12)
    assert result.where.startswith(
        "slot 0 row 1: unknown label, box turned inside out, box outside the input (label 77, "
    )
    assert result.details["box turned inside out"] == 2
    assert result.details["score above the row before"] == 1
