"""The paired difference is candidate minus reference on the same pictures, with an interval that can be judged."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.errors import DatasetError
from fcos_lib.measure.coco.metrics import TWELVE, evaluate
from fcos_lib.measure.coco.paired import Interval, paired_difference
from fcos_lib.stream.sessions import Detections
from tests.unit.measure.builders import shaken

RESAMPLES = 60


@pytest.fixture(scope="module")
def reference(perfect):
    """The truth, moved a little, one in ten lost."""
    return shaken(perfect, len(SHAPES.classes), 0)


@pytest.fixture(scope="module")
def worse(reference):
    """Every box moved by three pixels, and no disc of label 1 found at all."""
    return {
        number: Detections((one.boxes + 3)[one.labels != 1], one.scores[one.labels != 1], one.labels[one.labels != 1])
        for number, one in reference.items()
    }


@pytest.fixture(scope="module")
def difference(truth, reference, worse):
    """Over all pictures."""
    return paired_difference(truth, SHAPES, reference, worse, resamples=RESAMPLES)


def test_a_candidate_equal_to_the_reference_differs_by_exactly_nothing(truth, reference):
    """Every resample has the same pictures on both sides, so there is no noise left."""
    same = paired_difference(truth, SHAPES, reference, reference, resamples=RESAMPLES)
    ends = {(one.value, one.low, one.high) for one in (*same.numbers.values(), *same.per_class.values())}
    assert ends == {(0.0, 0.0, 0.0)}


def test_the_value_is_the_difference_of_the_two_evaluations(dataset, reference, worse, difference):
    """All twelve numbers of both sides are recorded, and the differences are theirs."""
    before = evaluate(dataset, SHAPES, reference).details
    after = evaluate(dataset, SHAPES, worse).details
    assert (difference.reference, difference.candidate) == (before["numbers"], after["numbers"])
    assert {name: one.value for name, one in difference.numbers.items()} == pytest.approx(
        {name: after["numbers"][name] - before["numbers"][name] for name in TWELVE}
    )
    assert {name: one.value for name, one in difference.per_class.items()} == pytest.approx(
        {name: after["per_class"][name] - before["per_class"][name] for name in SHAPES.classes}
    )


def test_a_clear_loss_is_an_interval_below_zero(difference):
    """Overall, and most of all for the class that was lost."""
    ends = (difference.low, difference.value, difference.high)
    assert ends[0] < ends[1] < ends[2] < 0, f"low, value and high are {ends}"
    lost = difference.per_class[SHAPES.classes[1]]
    assert lost.high < -0.2, f"the class that was lost fell by at least {-lost.high}"
    assert lost.value == min(one.value for one in difference.per_class.values())


def test_swapping_the_sides_swaps_the_sign(truth, reference, worse, difference):
    """Positive means that the candidate is better."""
    swapped = paired_difference(truth, SHAPES, worse, reference, resamples=RESAMPLES)
    assert (swapped.value, swapped.low, swapped.high) == pytest.approx(
        (-difference.value, -difference.high, -difference.low)
    )


def test_the_same_seed_gives_the_same_interval(truth, reference, worse, difference):
    """And another seed nearly the same."""
    again = paired_difference(truth, SHAPES, reference, worse, resamples=RESAMPLES)
    other = paired_difference(truth, SHAPES, reference, worse, resamples=RESAMPLES, seed=1)
    assert again == difference
    assert (other.low, other.high) != (difference.low, difference.high)
    assert (other.low, other.high) == pytest.approx((difference.low, difference.high), abs=0.02)


def test_part_of_the_pictures_is_enough(truth, reference, worse, difference):
    """The interval is wider there and still holds the difference over all pictures."""
    chosen = truth.picture_ids[::3].tolist()
    some = [{number: side[number] for number in chosen} for side in (reference, worse)]
    part = paired_difference(truth, SHAPES, *some, pictures=chosen, resamples=RESAMPLES)
    assert part.n == len(chosen)
    widths = (part.high - part.low, difference.high - difference.low)
    assert part.low < difference.value < part.high, (
        f"{difference.value} over all, {part.low} to {part.high} over a third"
    )
    assert widths[0] > widths[1], f"the interval is {widths[0]} wide over a third of the pictures, {widths[1]} over all"


def test_one_picture_says_nothing_about_others(truth, reference, worse):
    """All its resamples are equal, which must not pass for certainty."""
    number = int(truth.picture_ids[truth.pictures[~truth.crowd][0]])
    alone = paired_difference(
        truth, SHAPES, {number: reference[number]}, {number: worse[number]}, pictures=[number], resamples=RESAMPLES
    )
    assert {(one.low, one.high, one.n) for one in alone.numbers.values()} == {(-1, 1, 1)}


def test_both_sides_must_have_exactly_the_pictures(truth, reference, worse):
    """Otherwise it would not be paired."""
    chosen = truth.picture_ids[:10].tolist()
    some = {number: reference[number] for number in chosen}
    with pytest.raises(DatasetError, match=f"{len(worse) - 10} results belong to no picture"):
        paired_difference(truth, SHAPES, some, worse, pictures=chosen)
    with pytest.raises(DatasetError, match="1 of 10 pictures have no result"):
        paired_difference(truth, SHAPES, some, dict(list(some.items())[1:]), pictures=chosen)


def test_the_measurement_is_json_and_says_where(difference, truth):
    """results.json gets every interval, both sides' numbers and what they were computed from."""
    measured = difference.measurement()
    assert (measured.name, measured.unit, measured.n) == ("mAP difference", "AP", len(truth.picture_ids))
    assert measured.value == difference.value
    assert f"lowest class: {SHAPES.classes[1]}" in measured.where
    details = json.loads(json.dumps(measured.details, allow_nan=False))
    assert set(details["per_size"]) == {"small", "medium", "large"}
    assert set(details["per_iou"]) == {"0.50", "0.75"}
    assert set(details["reference"]) == set(details["candidate"]) == set(details["numbers"]) == set(TWELVE)
    assert details["annotations_sha256"] == truth.annotations_sha256
    pictures = details["per_class"][SHAPES.classes[0]]["n"]
    assert pictures > 0, f"{pictures} pictures are behind the first class"


def test_without_objects_nothing_was_measured(truth, reference):
    """n is 0, so that no verdict can be built on it."""
    empty = int(np.setdiff1d(truth.picture_ids, truth.picture_ids[truth.pictures])[0])
    one = {empty: reference[empty]}
    nothing = paired_difference(truth, SHAPES, one, one, pictures=[empty], resamples=RESAMPLES)
    assert math.isnan(nothing.value)
    assert nothing.numbers == nothing.per_class == {}
    assert nothing.measurement().n == 0
    assert json.dumps(nothing.measurement().details, allow_nan=False)


def test_one_resample_is_no_interval(truth, reference):
    """A mistake in the call, said at once."""
    with pytest.raises(ValueError, match="1 resamples make no interval"):
        paired_difference(truth, SHAPES, reference, reference, resamples=1)


def test_rescoring_alone_moves_average_precision_but_not_recall(truth, reference):
    """AR100 looks at no order, AP at nothing else."""
    flipped = {number: replace(one, scores=1 - one.scores) for number, one in reference.items()}
    wrong = {number: replace(one, labels=(one.labels + (one.scores < 0.3)) % 8) for number, one in reference.items()}
    worse = {number: replace(one, scores=flipped[number].scores) for number, one in wrong.items()}
    changed = paired_difference(truth, SHAPES, wrong, worse, resamples=RESAMPLES)
    assert changed.high < 0, f"AP fell by at least {-changed.high}"
    assert changed.numbers["AR100"].value == 0


def test_what_is_certain_is_what_chance_cannot_explain(difference):
    """The class that was lost is named with most of its loss, and nothing is a gain."""
    loss_size, gain_size, loss_class, gain_class = difference.certain_changes()
    lost = difference.per_class[SHAPES.classes[1]]
    assert -lost.high > loss_class.value > 0.1, "the intervals of all classes hold at once, so they are wider"
    assert loss_class.where.startswith(SHAPES.classes[1])
    assert loss_size.value > 0, f"the certain loss by size or IoU is {loss_size.value}"
    assert gain_size.value == gain_class.value == 0
    assert gain_class.where == "nothing certain"


def test_a_class_in_one_picture_proves_nothing():
    """Its resamples are all the same, which is not certainty."""
    assert Interval(-0.9, -1.0, 1.0, 1).certain(-1, among=1) == 0
    assert Interval(-0.5, -0.6, -0.4, 50).certain(-1, among=1) == pytest.approx(0.4)
    among_many = Interval(-0.5, -0.6, -0.4, 50).certain(-1, among=80)
    assert 0 < among_many < 0.4, f"of 80 classes {among_many} is certain, of one 0.4"
    assert Interval(-0.5, -0.6, -0.4, 50).certain(1, among=1) == 0
