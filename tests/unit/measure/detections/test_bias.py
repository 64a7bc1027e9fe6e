"""A bias that is too small to show in any pair is found over all pairs, by level, with an interval."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcos_lib.contract import COCO_R50
from fcos_lib.measure.detections.bias import Median, bias, levels_of, median_of
from fcos_lib.measure.detections.matching import Pairs
from fcos_lib.stream.sessions import Detections

SIDES = (20.0, 200.0, 400.0, 800.0, 1200.0)
"""One box size for each level."""


def pairs(count=50, noise=0.0, sides=SIDES):
    """`count` pairs for each size, the candidate's boxes off by up to `noise` px to either side."""
    random = np.random.default_rng(5)
    side = np.repeat(sides, count)[:, None]
    corner = random.uniform(0, 100, (len(side), 2))
    boxes = np.hstack([corner, corner + side]).astype(np.float32)
    scores = random.uniform(0.1, 0.9, len(side)).astype(np.float32)
    labels = np.zeros(len(side), np.int64)
    moved = boxes + random.uniform(-noise, noise, boxes.shape).astype(np.float32)
    return Pairs(labels, Detections(boxes, scores, labels), Detections(moved, scores.copy(), labels))


def by_name(measured):
    """The four measurements by what they measure."""
    return dict(zip(("size", "x", "y", "score"), measurements(measured), strict=True))


def measurements(measured):
    """All four, every pair of the level that has its box size."""
    return bias(measured, level_of(measured), COCO_R50)


def level_of(measured):
    """As many pairs of each level as of any other."""
    return np.repeat(np.arange(len(SIDES)), len(measured) // len(SIDES))


def resized(boxes, factor):
    """The same centres, all sides longer by the factor."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * factor
    return np.hstack([centre - half, centre + half])


def test_rounding_to_either_side_is_no_bias():
    """A pixel of noise that favours no direction."""
    measured = by_name(pairs(200, noise=1.0))
    size, place = measured["size"].value, max(measured["x"].value, measured["y"].value)
    assert size < 0.005, f"size is biased by {size}"
    assert place < 0.2, f"centres are biased by {place} px"
    assert measured["score"].value == 0
    assert measured["x"].n == 1000


def test_one_percent_on_every_box_is_seen():
    """Far less than any band allows for one box, and less than the noise."""
    measured = pairs(200, noise=0.3)
    measured.candidate.boxes[:] = resized(measured.candidate.boxes, 1.01)
    assert by_name(measured)["size"].value == pytest.approx(math.log(1.01), rel=0.2)


def test_a_bias_of_one_level_is_seen_and_named():
    """Ten percent on the boxes of one level, which are a fifth of all: the median over all levels does not show it."""
    measured = pairs()
    level = level_of(measured)
    measured.candidate.boxes[level == 2] = resized(measured.candidate.boxes[level == 2], 1.1)
    bias_of = by_name(measured)["size"]
    assert bias_of.value == pytest.approx(math.log(1.1), rel=1e-3)
    assert bias_of.where.startswith("P5: median +0.0953")
    assert bias_of.details["all levels"]["value"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("axis", "name"), [(0, "x"), (1, "y")])
def test_a_shift_is_seen_on_its_axis_only(axis, name):
    """A quarter of a pixel."""
    measured = pairs(noise=0.01)
    measured.candidate.boxes[:, [axis, axis + 2]] -= 0.25
    biases = by_name(measured)
    assert biases[name].value == pytest.approx(0.25, abs=0.02)
    assert biases[name].details["all levels"]["value"] == pytest.approx(-0.25, abs=0.01), "candidate minus reference"
    other = biases["y" if name == "x" else "x"].value
    assert other < 0.02, f"the other axis is biased by {other} px"


def test_a_score_shift_is_seen():
    """All scores lower by 0.01."""
    measured = pairs()
    measured.candidate.scores[:] -= 0.01
    assert by_name(measured)["score"].value == pytest.approx(0.01, rel=1e-3)


def test_few_pairs_prove_nothing():
    """With five samples no interval of 95 % exists, with six it does."""
    assert median_of(np.ones(5)).certain == 0
    assert median_of(np.ones(6)).certain == 1
    assert median_of(np.array([4.0, np.nan, 5.0])).n == 3


def test_too_few_pairs_are_no_measurement():
    """A bias of 0 would be green, whatever the boxes: no verdict can rest on it, and the reader hears why."""
    few, enough = pairs(1), pairs(2)
    for measured in (few, enough):
        measured.candidate.boxes[:] = resized(measured.candidate.boxes, 1.02)
    size = by_name(few)["size"]
    assert (size.value, size.n, size.where) == (0, 0, "5 pairs, and 6 are the fewest that tell")
    assert by_name(enough)["size"].value == pytest.approx(math.log(1.02), rel=1e-3)
    few.candidate.scores[0] = np.nan
    score = by_name(few)["score"]
    assert (math.isnan(score.value), score.n) == (True, 5), "NaN is within no limit, and needs no interval"


@pytest.mark.parametrize(("n", "rank"), [(6, 1), (9, 2), (20, 6), (30, 10), (50, 18), (100, 40), (1000, 469)])
def test_the_interval_is_the_sign_tests(n, rank):
    """Its ends are the k-th smallest and the k-th largest value, with k as tables have it for 95 %."""
    values = np.random.default_rng(0).permutation(n) + 1.0
    assert median_of(values) == Median((n + 1) / 2, rank, n + 1 - rank, n)


@pytest.mark.parametrize("n", [6, 30, 200, 201, 1000])
def test_the_interval_holds_the_median_in_95_of_100_cases(n):
    """Tried on samples of a skewed distribution whose median is known."""
    random = np.random.default_rng(n)
    intervals = [median_of(random.exponential(size=n)) for _ in range(400)]
    hits = sum(interval.low <= math.log(2) <= interval.high for interval in intervals)
    assert hits / 400 > 0.92, f"{hits} of 400 intervals hold the median"
    wrong = [interval for interval in intervals if not interval.low <= interval.value <= interval.high]
    assert not wrong, f"intervals without their own median: {wrong}"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=40))
def test_the_other_sign_has_the_mirrored_interval(values):
    """What is certain does not depend on the direction."""
    one, other = median_of(np.array(values)), median_of(-np.array(values))
    assert (one.low, one.high) == (-other.high, -other.low)
    assert one.certain == other.certain


def test_no_pairs_are_no_measurement():
    """n is 0, which no verdict can rest on."""
    for measurement in measurements(pairs(0)):
        assert (measurement.value, measurement.n, measurement.where) == (0, 0, "")


def test_nan_is_the_answer_to_nan():
    """A box that is not finite is no sample to be left out: a NaN is within no limit."""
    measured = pairs()
    measured.candidate.boxes[7, 0] = np.nan
    assert math.isnan(by_name(measured)["x"].value)
    assert math.isnan(by_name(measured)["size"].value)
    assert by_name(measured)["y"].value == 0
    measured.candidate.boxes[level_of(measured) == 2] += 4
    where = by_name(measured)["x"].where
    assert where.startswith("all levels: median +nan"), f"a shift of another level hides it: {where}"


@pytest.mark.parametrize("side", ["reference", "candidate"])
@pytest.mark.parametrize(("width", "without"), [(0.0, 1), (-1.0, 1), (0.03, 0)])
def test_boxes_without_area_have_no_size_ratio(side, width, without):
    """They count for the centre only; a box of half a pixel's area has one."""
    measured = pairs()
    boxes = getattr(measured, side).boxes
    boxes[3, 2] = boxes[3, 0] + width
    biases = by_name(measured)
    assert biases["size"].n == biases["x"].n - without


def test_details_are_ready_for_json():
    """Also where an interval is infinite."""
    assert json.dumps([measurement.details for measurement in measurements(pairs(2))], allow_nan=False)


def test_each_bias_is_for_a_gate_of_its_own():
    """In its own unit, in the order that the page reads."""
    assert [(each.name, each.unit, each.gate) for each in measurements(pairs(2))] == [
        ("size bias", "log ratio", "bias.size"),
        ("centre x bias", "px", "bias.centre_x"),
        ("centre y bias", "px", "bias.centre_y"),
        ("score bias", "score", "bias.score"),
    ]


def test_proposals_say_which_level_a_detection_comes_from():
    """The row of the identical proposal; -1 if there is none. One in the same place, or of the same score, is another."""
    measured = pairs(1)
    boxes = np.zeros((1, COCO_R50.proposals, 4), np.float32)
    scores = np.zeros((1, COCO_R50.proposals, len(COCO_R50.classes)), np.float32)
    rows = [999, 1000, 2000, COCO_R50.proposals - 1]
    boxes[0, rows], scores[0, rows, 0] = measured.reference.boxes[:4], measured.reference.scores[:4]
    boxes[0, [1500, 3]], scores[0, [2500, 4], 0] = measured.reference.boxes[[0, 1]], measured.reference.scores[[0, 1]]
    boxes[0, 5], scores[0, 5, 1] = measured.reference.boxes[2], measured.reference.scores[2]
    levels = levels_of(measured, boxes, scores, COCO_R50)
    assert levels.tolist() == [0, 1, 2, 4, -1]
    size = bias(measured, levels, COCO_R50)[0]
    assert (size.details["all levels"]["n"], list(size.details)) == (5, ["all levels", "P3", "P4", "P5", "P7"])
