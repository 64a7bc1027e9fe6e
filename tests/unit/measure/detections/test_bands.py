"""Bands are as wide as fp16 and the operator's arithmetic make them, by plain calculation and by trying."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcos_lib.emulator.kernels import NmsSettings, batch_multi_class_nms
from fcos_lib.measure.detections.bands import (
    BOX_NOISE,
    IOU_ROUNDING,
    LOGIT_NOISE,
    box_band,
    box_step,
    iou_band,
    score_band,
)

SQUARE = np.array([100.0, 100, 200, 200])


@pytest.mark.parametrize(
    ("coordinate", "step"),
    [
        (5, 10 / 2048 + 1 / 256),
        (400, 0.3125 + 0.25),
        (600, 0.3125 + 0.5),
        (700, 0.625 + 0.5),
        (1100, 0.625 + 1),
        (1279, 0.625 + 1),
        (1280, 1.25 + 1),
        (1333, 1.25 + 1),
    ],
)
def test_the_step_of_a_coordinate_is_that_of_its_two_grids(coordinate, step):
    """The figures of the operator's x 0.1 grid and its final fp16 store."""
    assert box_step(coordinate) == pytest.approx(step)


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1300), st.floats(0, 780), st.floats(0, 500))
def test_the_operator_never_moves_a_box_by_more_than_its_step(x, y, side):
    """One box through the kernel's arithmetic stays within `box_step` of where it was."""
    box = np.array([x, y, min(x + side, 1333), min(y + side, 800)], np.float32)
    one = NmsSettings(0.05, 0.5, 1, 1)
    out, *_ = batch_multi_class_nms(box.reshape(1, 1, 4), np.full((1, 1, 1), 0.9), one)
    moved = np.abs(out[0, 0].astype(np.float64) - box)
    assert (moved <= box_step(box)).all(), f"{box} moved by {moved}, its step is {box_step(box)}"


def test_a_box_may_move_further_where_the_grid_is_coarse():
    """Two pixels are rounding at 1300 px for a box of 30 px and a defect at 100 px."""
    assert box_band(np.array([1290.0, 0, 1320, 30]))[0] == pytest.approx(2.25 + 30 * BOX_NOISE)
    near = box_band(np.array([100.0, 0, 130, 30]))[0]
    assert near < 0.5, f"{near} px are allowed at 100 px"


def test_what_is_no_fp16_number_has_a_step_too():
    """A device may return anything: NaN has none, infinity that of the largest, and nobody is warned."""
    assert np.isnan(box_step(np.nan))
    assert box_step(np.inf) == box_step(-np.inf) == 11 * 32


@pytest.mark.parametrize(("score", "step"), [(0.05, 2**-15), (0.3, 2**-12), (0.9, 2**-11)])
def test_a_score_moves_by_a_step_and_by_the_noise_of_two_logits(score, step):
    """It is a class's sigmoid times centerness's: whichever two they are, no others move it further."""
    sigmoids = np.linspace(score, 1, 20001)
    slopes = score * ((1 - sigmoids) + (1 - score / sigmoids))
    assert score_band(score) == pytest.approx(step + LOGIT_NOISE * slopes.max(), rel=1e-5)


def test_a_score_beyond_0_or_1_has_the_band_of_the_end():
    """And no warning."""
    assert score_band(np.array([-0.5, 1.5])).tolist() == score_band(np.array([0.0, 1.0])).tolist() == [2**-24, 2**-10]


def plain_iou(coordinates):
    """IoU of two boxes, eight numbers."""
    x0, y0, x1, y1, u0, v0, u1, v1 = coordinates
    inter = max(min(x1, u1) - max(x0, u0), 0) * max(min(y1, v1) - max(y0, v0), 0)
    return inter / ((x1 - x0) * (y1 - y0) + (u1 - u0) * (v1 - v0) - inter)


def plain_band(first, second, threshold):
    """How far the IoU goes if each coordinate is off by half its step and half its noise; edges that meet go the worse way."""
    boxes = np.array([*first, *second], np.float64)
    squares = 0.0
    for place in range(8):
        box = boxes[:4] if place < 4 else boxes[4:]
        off = np.hypot(box_step(boxes[place]) / 2, BOX_NOISE / 2 * max(box[2] - box[0], box[3] - box[1]))
        moved = [boxes.copy(), boxes.copy()]
        moved[0][place] -= 1e-6
        moved[1][place] += 1e-6
        slope = max(abs(plain_iou(other) - plain_iou(boxes)) for other in moved) / 1e-6
        squares += (slope * off) ** 2
    return np.sqrt(squares) + IOU_ROUNDING * threshold * (1 + threshold) / 0.75


@pytest.mark.parametrize("threshold", [0.5, 0.6])
def test_the_band_of_an_overlap_is_that_of_its_eight_coordinates(threshold):
    """Apart, in a corner, by less than a pixel, inside, with an edge in common, far to the right: each with each."""
    first = [(100, 120, 220, 200), (700, 400, 1100, 640), (30, 30, 33, 34)]
    second = [
        *[(130, 110, 250, 190), (110, 130, 210, 150), (219.5, 100, 300, 200.5), (100, 100, 220, 180)],
        *[(90, 120, 215, 230), (50, 140, 220, 210), (105, 95, 230, 200)],
        *[(720, 390, 1290, 700), (710, 410, 1000, 600), (29, 31, 34, 33)],
    ]
    bands = iou_band(np.array(first, np.float32)[:, None], np.array(second, np.float32), threshold)
    expected = [[plain_band(one, other, threshold) for other in second] for one in first]
    np.testing.assert_allclose(bands, expected, rtol=1e-4)


def test_the_roundings_of_an_overlap_are_those_at_the_contracts_threshold():
    """Six of 2^-11, times 3/4 at an IoU of 0.5 and 0.96 at 0.6; the band of 0.5 keeps its bits."""
    boxes = SQUARE, np.array([400 / 3, 100, 700 / 3, 200])
    usual, wider = iou_band(*boxes), iou_band(*boxes, 0.6)
    assert iou_band(*boxes, 0.5) == usual, f"{iou_band(*boxes, 0.5)} is not {usual}"
    assert wider - usual == pytest.approx(6 * 2**-11 * (0.96 - 0.75), rel=0.01), (
        f"0.6 adds {wider - usual:.6f} to the band"
    )


def test_the_overlap_of_two_boxes_without_area_is_anybodys_guess():
    """0 over 0: any rounding decides, without a warning; beside a box with an area there is nothing to guess."""
    flat, other = np.array([10.0, 44, 60, 44]), np.array([20.0, 30, 50, 30])
    assert iou_band(flat, other) == np.inf, f"the band is {iou_band(flat, other)}"
    assert iou_band(flat, SQUARE) < 0.2, f"the band is {iou_band(flat, SQUARE)}"
