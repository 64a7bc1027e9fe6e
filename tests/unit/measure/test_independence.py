"""A copy of the reference is recognised, rounded, permuted or in part; results that were computed are not taken for one."""

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.judge.gate import Scope
from fcos_lib.judge.roll_call import State
from fcos_lib.judge.verdict import Outcome, judge_gate
from fcos_lib.measure.detections.matching import Pairs
from fcos_lib.measure.independence import (
    FEWEST_PAIRS,
    ROUNDINGS,
    SMALLEST,
    bits_of,
    identical,
    identical_parts,
    identical_proposals,
    telling_edges,
    to_fp16,
)
from fcos_lib.stream.sessions import Detections
from fixtures.verdicts import about_copies

CONTRACT = replace(SHAPES, height=128, width=256)
"""Levels of 512, 128, 32, 8 and 2 points."""
LEVELS = {"P3": slice(0, 512), "P4": slice(512, 640), "P5": slice(640, 672)}
NAMES = ("a.jpg", "b.jpg")
PER_PICTURE = 20


def proposals():
    """Boxes [2, 682, 4] and scores [2, 682, 8] as a network hands them to NMS: long boxes, most scores small."""
    random = np.random.default_rng(0)
    rows = (2, CONTRACT.proposals)
    boxes = np.stack(
        [random.uniform(low, high, rows) for low, high in ((1, 40), (1, 20), (150, 250), (60, 120))], axis=2
    )
    scores = 10 ** random.uniform(-6, -0.1, (*rows, len(CONTRACT.classes)))
    return boxes.astype(np.float32), scores.astype(np.float32)


def computed(boxes, scores):
    """The same in fp16, with the errors that rounding in every layer leaves: a few steps of fp16."""
    random = np.random.default_rng(1)
    longer = np.abs(boxes[..., 2:] - boxes[..., :2]).max(axis=-1, keepdims=True)
    moved = boxes + longer * random.normal(0, 0.001, boxes.shape)
    return to_fp16(moved.astype(np.float32)), to_fp16(scores * random.normal(1, 0.002, scores.shape).astype(np.float32))


def rounded(how, boxes, scores):
    """Both after one rounding."""
    return ROUNDINGS[how].boxes(boxes), ROUNDINGS[how].scores(scores)


def of_proposals(candidate):
    """Whether each gate of the proposals, boxes and scores, is red with the real limits, and what it says."""
    return verdicts(identical_proposals(proposals(), candidate, NAMES, CONTRACT))


def verdicts(measured):
    """By the last word of each gate's key, whether it is red, and where."""
    outcomes = {}
    for each in measured:
        verdict = judge_gate(each, Scope("shapes"), "batch4", stand_in=True)
        outcomes[each.gate.rpartition("identical")[2].strip("_")] = (verdict.outcome is Outcome.FAIL, each.where)
    return outcomes


def red(outcomes):
    """The gates that are red."""
    return {name for name, (failed, _) in outcomes.items() if failed}


def pairs_of(boxes, scores, count=2 * PER_PICTURE):
    """Detections, the same number in each of both pictures, from the first rows and their best scores."""
    return Detections(boxes[0, :count], scores[0, :count].max(axis=1), np.zeros(count, np.int64))


def of_detections(candidate, pictures=None):
    """Which gates of the detections are red."""
    numbers = np.repeat(np.arange(len(NAMES)), PER_PICTURE) if pictures is None else pictures
    pairs = Pairs(numbers, pairs_of(*proposals(), len(numbers)), candidate)
    return verdicts((*identical(pairs, NAMES), *identical_parts(pairs, CONTRACT)))


def test_results_that_were_computed_are_no_copy():
    """Rounding in every layer leaves few numbers that one rounding would give."""
    assert red(of_proposals(computed(*proposals()))) == set()
    assert red(of_detections(pairs_of(*computed(*proposals())))) == set()


@pytest.mark.parametrize("how", ROUNDINGS)
def test_a_copy_is_recognised_however_it_was_rounded(how):
    """Before NMS and behind it. Scores of whole numbers are 0 or 1, which tells nothing and is red elsewhere."""
    expected = {"boxes", "scores"} - ({"scores"} if how == "rounded to 0 decimals" else set())
    verdict_of = of_proposals(rounded(how, *proposals()))
    assert red(verdict_of) >= expected, verdict_of
    verdict_of = of_detections(pairs_of(*rounded(how, *proposals())))
    assert red(verdict_of) >= {"", "pictures", "boxes", "scores"}, verdict_of


def towards_zero(values, kind):
    """The nearest numbers of a type that are no larger."""
    near = values.astype(kind)
    return np.where(np.abs(near.astype(np.float32)) > np.abs(values), np.nextafter(near, kind(0)), near)


def kernel(boxes):
    """The NMS operator's steps, each in fp16."""
    tenth = boxes.astype(np.float16) * np.float16(0.1)
    tenth[:, 2:] = (tenth[:, 2:] - np.float16(1)) + np.float16(1)
    return tenth * np.float16(10)


PLAIN = {
    "as they are": lambda boxes: boxes,
    "rounded to fp16": lambda boxes: boxes.astype(np.float16),
    "cut to fp16": lambda boxes: towards_zero(boxes, np.float16),
    "rounded to bf16": lambda boxes: boxes.astype(ml_dtypes.bfloat16),
    "cut to bf16": lambda boxes: towards_zero(boxes, ml_dtypes.bfloat16),
    "rounded by the NMS operator": kernel,
    "rounded to fp16 at a tenth of the size": lambda boxes: (boxes * np.float32(0.1)).astype(np.float16).astype(np.float32) * np.float32(10),
    **{f"rounded to {digits} decimals": lambda boxes, digits=digits: np.vectorize(lambda value: round(float(value), digits))(boxes) for digits in range(7)},
}  # fmt: skip
"""Every rounding once more, by numpy's and ml_dtypes' own types and by Python's round."""


@pytest.mark.parametrize("how", ROUNDINGS)
def test_each_rounding_is_what_its_name_says(how):
    """To the bit, halves between two numbers of fp16 and of bf16 included; of scores, NMS and a tenth of the size make fp16."""
    halves = [[1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-8, 1 + 3 * 2**-8], [-300.25, -1.3, 2.5, 1000.3]]
    boxes = np.concatenate([np.array(halves, np.float32), proposals()[0][0]])
    assert np.array_equal(ROUNDINGS[how].boxes(boxes), PLAIN[how](boxes).astype(np.float32))
    plain = PLAIN["rounded to fp16" if how.startswith("rounded by") or how.endswith("size") else how]
    assert np.array_equal(ROUNDINGS[how].scores(boxes[:, 0]), plain(boxes)[:, 0].astype(np.float32))


def test_numbers_next_to_zero_are_zero_and_last_bits_do_not_count():
    """From fp16's smallest normal number on, a difference in the 19th binary digit tells two numbers apart."""
    below = np.nextafter(SMALLEST, np.float32(0))
    assert bits_of(np.array([0, below, -below, SMALLEST], np.float32)).tolist()[:3] == [0, 0, 0]
    one, near, far = bits_of(np.array([1, 1 + 2**-19, 1 + 2**-16], np.float32)).tolist()
    assert (bool(bits_of(SMALLEST[None])[0]), one == near, one == far) == (True, True, False)
    middle = bits_of(np.array([1 + 40 * 2**-23, 1 + 70 * 2**-23], np.float32))
    assert middle[0] == middle[1], "a step lies in the middle between two that are kept, not at one of them"


@pytest.mark.parametrize(
    "way",
    [
        lambda values: values.astype(np.float64).astype(np.float32),
        lambda values: values / np.float32(255) * np.float32(255),
        lambda values: values * np.float32(0.1) / np.float32(0.1),
        lambda values: np.where(np.abs(to_fp16(values)) < 6.1e-5, np.float32(0), to_fp16(values)),
    ],
    ids=["float64", "divided_by_255_and_back", "a_tenth_and_back", "fp16_without_its_smallest_numbers"],
)
def test_a_copy_that_went_a_detour_is_a_copy(way):
    """Its last bits may differ."""
    verdict_of = of_proposals(tuple(way(part) for part in proposals()))
    assert red(verdict_of) == {"boxes", "scores"}, verdict_of


def test_a_copy_in_another_order_is_a_copy():
    """Rows are told by their numbers: a TopK orders a level anew."""
    order = np.random.default_rng(2).permutation(CONTRACT.proposals)
    boxes, scores = rounded("rounded to fp16", *proposals())
    assert red(of_proposals((boxes[:, order], scores[:, order]))) == {"boxes", "scores"}


@pytest.mark.parametrize("part", ["boxes", "scores"])
def test_a_copy_of_one_output_is_found(part):
    """The other one was computed."""
    own, copy = (dict(zip(("boxes", "scores"), make, strict=True)) for make in (
        computed(*proposals()), rounded("rounded to fp16", *proposals()),
    ))  # fmt: skip
    mixed = tuple((own | {part: copy[part]}).values())
    assert red(of_proposals(mixed)) == {part}
    assert red(of_detections(pairs_of(*mixed))) == {part}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ((1, slice(None)), "in b.jpg"),
        ((slice(None), LEVELS["P4"]), "of level P4"),
        ((0, LEVELS["P5"]), "of level P5 in a.jpg"),
        ((slice(None), slice(0, None, 2)), "are the reference's, rounded to fp16"),
    ],
    ids=["picture", "level", "level_of_a_picture", "every_other_row"],
)
def test_a_copy_of_a_part_is_found_and_named(rows, words):
    """Chance would need one row in ten."""
    copy, own = rounded("rounded to fp16", *proposals()), computed(*proposals())
    for whole, part in zip(own, copy, strict=True):
        whole[rows] = part[rows]
    verdict_of = of_proposals(own)
    assert red(verdict_of) == {"boxes", "scores"}, verdict_of
    assert all(words in where for _, where in verdict_of.values()), verdict_of


def test_one_picture_of_copied_detections_is_found():
    """A slot that a cache fills; the share over all pictures may stay small."""
    own, copy = (
        pairs_of(*computed(*proposals()), 45),
        pairs_of(*rounded("rounded by the NMS operator", *proposals()), 45),
    )
    last = slice(45 - FEWEST_PAIRS, 45)
    own.boxes[last], own.scores[last] = copy.boxes[last], copy.scores[last]
    verdict_of = of_detections(own, np.repeat([0, 1], [40, FEWEST_PAIRS]))
    assert red(verdict_of) == {"pictures"}, verdict_of
    assert verdict_of["pictures"][1] == "b.jpg"


def test_numbers_that_agree_by_nature_are_left_out():
    """Edges at 0, at the border or far out, and scores next to 0: the rest was computed, and nothing is red."""
    boxes, scores = proposals()
    boxes[:, ::2] = (0, 0, CONTRACT.width, CONTRACT.height)
    scores[:, ::2] = np.float32(1e-9)
    own = computed(boxes, scores)
    own[0][:, ::2], own[1][:, ::2] = boxes[:, ::2], 0
    measured = identical_proposals((boxes, scores), own, NAMES, CONTRACT)
    seen = int((scores[:, 1::2].max(axis=2) > 1e-3).sum())
    assert [each.n for each in measured] == [seen] * 2, f"only the {seen} rows between them count"
    assert red(verdicts(measured)) == set()


def test_an_edge_tells_where_fp16_is_finer_than_the_network():
    """Steps of fp16: 0.016 px at 20, 0.125 px at 200; a border, 0 and what lies outside never tell."""
    boxes = np.array([[20, 20, 200, 60], [20, 20, 30, 30], [0, -3, 256, 128], [np.nan, np.inf, 5, 5]], np.float32)
    assert telling_edges(boxes, CONTRACT).tolist() == [
        [True] * 4,
        [False] * 4,
        [False, True, False, False],
        [False] * 4,
    ]


def test_a_device_that_keeps_float32_is_compared_as_it_is():
    """Its NMS rounds once what the reference computes as well; handing out the reference's own bits is still found."""
    same = pairs_of(*proposals())
    once = pairs_of(*rounded("rounded by the NMS operator", *proposals()))
    numbers = np.repeat([0, 1], PER_PICTURE)
    assert red(verdicts(identical(Pairs(numbers, same, once), NAMES, rounded=False))) == set()
    assert red(verdicts(identical(Pairs(numbers, same, same), NAMES, rounded=False))) == {"", "pictures"}


def test_a_copy_is_told_by_its_pictures_and_its_share():
    """Three pictures by name; of four, that there are more."""
    side, numbers = pairs_of(*proposals(), 4 * FEWEST_PAIRS), np.repeat(np.arange(4), FEWEST_PAIRS)
    names, mixed = [f"{letter}.jpg" for letter in "abcd"], pairs_of(*computed(*proposals()), 4 * FEWEST_PAIRS)
    for part, of_side in ((mixed.boxes, side.boxes), (mixed.scores, side.scores)):
        part[: 3 * FEWEST_PAIRS] = of_side[: 3 * FEWEST_PAIRS]
    some, pictures = identical(Pairs(numbers, side, mixed), names)
    assert (some.name, some.unit, some.value, some.n) == ("identical detections", "share", 0.75, 20)
    assert some.where == "15 of 20 pairs are the reference's, as they are, in all five numbers"
    assert (pictures.name, pictures.unit, pictures.value, pictures.n) == (
        "pictures of identical detections",
        "pictures",
        3,
        4,
    )
    assert pictures.where == "a.jpg, b.jpg, c.jpg"
    assert identical(Pairs(numbers, side, side), names)[1].where == "a.jpg, b.jpg, c.jpg, ..."
    boxes, scores = identical_proposals(proposals(), proposals(), NAMES, CONTRACT)
    told = [(each.name, each.unit, each.value, each.where) for each in (boxes, scores)]
    assert told == [
        (f"identical {what} before NMS", "share", 1, f"100% of the {what} of level P3 are the reference's, as they are")
        for what in ("boxes", "scores")
    ]


def test_without_pairs_nothing_was_measured():
    """n says so, and the gates say NO VERDICT."""
    nothing = Pairs(np.zeros(0, np.int64), *[pairs_of(*proposals(), 0)] * 2)
    measured = (*identical(nothing, NAMES), *identical_parts(nothing, CONTRACT))
    assert [(each.value, each.n) for each in measured] == [(0.0, 0)] * 4


def test_few_detections_are_compared_as_they_are():
    """Of three detections all may agree by chance after a rounding, and never to the last bit."""
    few = np.zeros(3, np.int64)
    side, once = pairs_of(*proposals(), 3), pairs_of(*rounded("rounded by the NMS operator", *proposals()), 3)
    pairs = Pairs(few, side, once)
    assert [each.value for each in identical(pairs, NAMES)] == [0, 0]
    assert [each.n for each in identical_parts(pairs, CONTRACT)] == [0, 0]
    assert identical(Pairs(few, side, side), NAMES)[0].value == 1


def test_what_cannot_be_judged_is_said_and_never_green():
    """Too few detections block a gate; a float32 OM excuses those whose limits were measured on fp16, and no other."""
    side = pairs_of(*proposals(), 3)
    pairs = Pairs(np.zeros(3, np.int64), side, side)
    measured = (*identical(pairs, NAMES), *identical_parts(pairs, CONTRACT))
    kept, absent = about_copies(measured, False)
    assert [each.gate for each in kept] == ["consistency.identical"]
    assert {absence.state for absence in absent.values()} == {State.BLOCKED}
    full = Pairs(np.zeros(40, np.int64), *[pairs_of(*proposals(), 40)] * 2)
    kept, absent = about_copies((*identical(full, NAMES), *identical_parts(full, CONTRACT)), True)
    assert [each.gate for each in kept] == ["consistency.identical", "consistency.identical_pictures"]
    assert {absence.state for absence in absent.values()} == {State.DOES_NOT_APPLY}
