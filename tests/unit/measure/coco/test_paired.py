"""The paired difference is candidate minus reference on the same pictures, with an interval that can be judged."""

import json
import math
from dataclasses import asdict, replace
from statistics import NormalDist, stdev

import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.errors import DatasetError
from fcos_lib.measure import Measurement
from fcos_lib.measure.coco.metrics import TWELVE, evaluate
from fcos_lib.measure.coco.paired import Interval, PairedDifference, difference_of, intervals_of, paired_difference
from fcos_lib.measure.coco.resampled import resample
from fcos_lib.stream.sessions import Detections
from tests.unit.measure.builders import found_objects, objects, shaken

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
    again = paired_difference(truth, SHAPES, reference, worse, resamples=RESAMPLES, seed=0)
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


BY_HAND = PairedDifference(
    n=99,
    numbers={
        "mAP": Interval(-0.2, -0.25, -0.15, 90),
        "AP50": Interval(0.01, -0.04, 0.06, 90),
        "AP75": Interval(-0.3, -0.5, -0.1, 90),
        "APs": Interval(0.4, 0.2, 0.6, 30),
        "APl": Interval(0.03, 0.01, 0.05, 20),
        "AR1": Interval(0.9, 0.89, 0.91, 90),
    },
    per_class={
        "bird": Interval(-0.05, -0.07, -0.03, 12),
        "cat": Interval(-0.6, -0.9, -0.3, 7),
        "dog": Interval(0.5, 0.2, 0.8, 5),
    },
    reference={"mAP": 0.5},
    candidate={"mAP": 0.3},
    resamples=60,
    seed=3,
    annotations_sha256="ab" * 32,
    category_ids={"bird": 16, "cat": 17, "dog": 18},
)
"""Numbers that are all different, without any for medium objects."""


def test_the_measurement_has_every_interval_and_says_where():
    """results.json gets all of them, both sides' numbers and what they were computed from."""
    measured = BY_HAND.measurement()
    assert replace(measured, details={}) == Measurement(
        name="mAP difference",
        value=-0.2,
        unit="AP",
        n=99,
        where="95 % interval -0.2500 to -0.1500; lowest class: cat -0.6000 (-0.9000 to -0.3000, 7 pictures)",
        interval=(-0.25, -0.15),
        gate="paired.loss",
    )
    numbers = {name: asdict(each) for name, each in BY_HAND.numbers.items()}
    assert json.loads(json.dumps(measured.details, allow_nan=False)) == {
        "numbers": numbers,
        "per_class": {name: asdict(each) for name, each in BY_HAND.per_class.items()},
        "per_size": {"small": numbers["APs"], "large": numbers["APl"]},
        "per_iou": {"0.50": numbers["AP50"], "0.75": numbers["AP75"]},
        "low": -0.25,
        "high": -0.15,
        "confidence": 0.95,
        "interval": "±1.96 x 1.06 standard deviations of a bootstrap over pictures",
        "reference": {"mAP": 0.5},
        "candidate": {"mAP": 0.3},
        "pictures": 99,
        "resamples": 60,
        "seed": 3,
        "annotations_sha256": "ab" * 32,
        "category_ids": {"bird": 16, "cat": 17, "dog": 18},
    }
    assert BY_HAND.measurement("paired.gain").gate == "paired.gain"


def test_without_objects_nothing_was_measured(truth, reference):
    """n is 0, so that no verdict can be built on it."""
    empty = int(np.setdiff1d(truth.picture_ids, truth.picture_ids[truth.pictures])[0])
    one = {empty: reference[empty]}
    nothing = paired_difference(truth, SHAPES, one, one, pictures=[empty], resamples=RESAMPLES)
    assert math.isnan(nothing.value)
    assert nothing.numbers == nothing.per_class == {}
    measured = nothing.measurement()
    assert replace(measured, details={}) == Measurement(
        "mAP difference", 0.0, "AP", 0, "no class has an object", gate="paired.loss"
    )
    assert (measured.details["low"], measured.details["high"]) == (None, None)
    assert json.dumps(measured.details, allow_nan=False)
    for change in nothing.certain_changes():
        assert (change.value, change.n, change.where) == (0.0, 0, "no object counts"), change.name


def test_one_resample_is_no_interval(few):
    """A mistake in the call, said at once. Two make one, and without a word there are 1,000."""
    truth, detected = few
    with pytest.raises(ValueError, match="1 resamples make no interval"):
        paired_difference(truth, SHAPES, detected, detected, resamples=1)
    assert paired_difference(truth, SHAPES, detected, detected, resamples=2).resamples == 2
    found = paired_difference(truth, SHAPES, detected, detected)
    assert (found.n, found.resamples, found.seed) == (5, 1000, 0)
    assert (found.annotations_sha256, found.category_ids) == (truth.annotations_sha256, truth.category_ids)


@pytest.fixture
def few():
    """Objects in four of five pictures: small ones in two, medium ones in three, a large one in one; and all of them detected."""
    sides, kinds, pictures = [20, 25, 30, 50, 60, 70, 200], [0, 0, 0, 4, 4, 4, 4], np.array([0, 0, 1, 1, 2, 3, 3])
    truth = objects([[5, 5, 5 + side, 5 + side] for side in sides], kinds, SHAPES, pictures, count=5)
    return truth, found_objects(truth, SHAPES)


def test_intervals_say_how_many_pictures_are_behind_them(few):
    """Those with an object of this size or class; of a single one the interval holds every number there can be."""
    truth, detected = few
    found = paired_difference(truth, SHAPES, detected, detected, resamples=2)
    sizes = {"s": 2, "m": 3, "l": 1}
    assert {name: each.n for name, each in found.numbers.items()} == {name: sizes.get(name[-1], 4) for name in TWELVE}
    assert {name: each.n for name, each in found.per_class.items()} == {SHAPES.classes[0]: 2, SHAPES.classes[4]: 3}
    assert found.numbers["APl"] == Interval(0.0, -1.0, 1.0, 1)
    assert found.numbers["APs"] == Interval(0.0, 0.0, 0.0, 2), "two pictures are drawn like many"
    alone, _ = intervals_of(resample(truth, SHAPES, detected, 2, 0))
    assert (alone["APl"].low, alone["APl"].high, alone["APl"].n) == (0.0, 1.0, 1)


def test_drawings_without_an_object_do_not_widen_the_interval(few):
    """Deviations are of the others, and none of a single one. No interval goes beyond a difference of 1."""
    first = resample(few[0], SHAPES, few[1], 3, 0)
    first = replace(first, whole=np.zeros(len(first.whole)), drawn=np.zeros_like(first.drawn))
    whole, drawn = np.full_like(first.whole, 0.2), np.zeros_like(first.drawn)
    drawn[:4] = [[0.1, np.nan, 0.4], [np.nan, 0.3, np.nan], [np.nan] * 3, [0.1, 0.7, -0.7]]
    found = difference_of(first, replace(first, whole=whole, drawn=drawn), 0, {}).numbers
    margin = 1.96 * 1.06 * stdev([0.1, 0.4])
    assert (found["mAP"].low, found["mAP"].high) == pytest.approx((0.2 - margin, 0.2 + margin), abs=1e-4)
    assert (found["AP50"].low, found["AP50"].high) == (0.2, 0.2)
    assert (found["AP75"].low, found["AP75"].high) == (0.2, 0.2)
    assert (found["APs"].low, found["APs"].high) == (-1.0, 1.0)


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


def test_the_most_certain_change_is_named():
    """Of each kind, for its own gate. Two sizes and two thresholds hold at once, and so do three classes: both are stretched."""
    four, three = (NormalDist().inv_cdf(1 - 0.025 / among) / NormalDist().inv_cdf(0.975) for among in (4, 3))
    expected = [
        ("certain loss by size or IoU", 0.3 - 0.2 * four, "0.75: -0.3000 (-0.5000 to -0.1000, 90 pictures)", "paired.loss_size"),
        ("certain gain by size or IoU", 0.4 - 0.2 * four, "small: +0.4000 (+0.2000 to +0.6000, 30 pictures)", "paired.gain_size"),
        ("certain loss in a class", 0.6 - 0.3 * three, "cat: -0.6000 (-0.9000 to -0.3000, 7 pictures)", "paired.loss_class"),
        ("certain gain in a class", 0.5 - 0.3 * three, "dog: +0.5000 (+0.2000 to +0.8000, 5 pictures)", "paired.gain_class"),
    ]  # fmt: skip
    for change, (name, value, where, gate) in zip(BY_HAND.certain_changes(), expected, strict=True):
        assert change == Measurement(name, pytest.approx(value, abs=1e-9), "AP", 99, where, gate=gate)


def test_a_class_in_one_picture_proves_nothing():
    """Its resamples are all the same, which is not certainty."""
    assert Interval(-0.9, -1.0, 1.0, 1).certain(-1, among=1) == 0
    assert Interval(-0.5, -0.6, -0.4, 50).certain(-1, among=1) == pytest.approx(0.4)
    among_many = Interval(-0.5, -0.6, -0.4, 50).certain(-1, among=80)
    assert 0 < among_many < 0.4, f"of 80 classes {among_many} is certain, of one 0.4"
    assert Interval(-0.5, -0.6, -0.4, 50).certain(1, among=1) == 0
    assert Interval(-0.5, -0.6, -0.4, 2).certain(-1, among=1) == pytest.approx(0.4), "two pictures say something"
    for low, high in ((-0.9, -0.45), (-0.55, -0.1)):
        assert Interval(-0.5, low, high, 50).certain(-1, among=1) == pytest.approx(0.1), "the wider side counts"
