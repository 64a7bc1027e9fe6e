"""An error on both sides of the check of the export is found by comparing with mmdet's own detections."""

from dataclasses import replace

import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.judge.gate import Scope
from fcos_lib.judge.verdict import Outcome, judge_gate
from fcos_lib.measure import Measurement
from fcos_lib.measure.detections.causes import against_mmdet
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.sessions import Detections
from fixtures.settings import EMBEDDED

CONTRACT = replace(SHAPES, classes=("cat", "dog"), proposals_per_level=100)
ROWS = CONTRACT.proposals
FEW = tuple(Picture(number, EMBEDDED / f"{number}.jpg", 427, 256) for number in (1, 2, 3))


def side(boxes, scores):
    """A reference's detections and proposals: the first rows are those that NMS keeps."""
    everything = np.zeros((ROWS, 4), np.float32), np.zeros((ROWS, 2), np.float32)
    everything[0][: len(boxes)], everything[1][: len(boxes), 1] = boxes, scores
    return Detections(boxes, scores, np.ones(len(boxes), np.int64)), *everything


@pytest.fixture
def reference():
    """Three pictures with a dozen boxes that do not overlap."""
    random, sides = np.random.default_rng(0), {}
    for picture in FEW:
        corners = np.stack([np.arange(12) * 34.0, np.full(12, 20.0)], axis=1)
        boxes = np.concatenate([corners, corners + random.uniform(15, 33, (12, 2))], axis=1).astype(np.float32)
        sides[picture.id] = side(boxes, np.sort(random.uniform(0.2, 0.9, 12))[::-1].astype(np.float32))
    return sides


def mmdets(reference, boxes=lambda boxes: boxes, scores=lambda scores: scores):
    """What mmdet finds: the same, but for what a test changes."""
    return {
        number: Detections(boxes(detections.boxes.copy()), scores(detections.scores.copy()), detections.labels)
        for number, (detections, *_) in reference.items()
    }


def outcomes(reference, mmdet, pictures=FEW, contract=CONTRACT):
    """The outcome by the gate's last name."""
    measured = against_mmdet(pictures, reference, mmdet, contract)
    verdicts = [judge_gate(each, Scope("shapes"), "reference", stand_in=False) for each in measured]
    return {verdict.measurement.gate.partition(".")[2]: verdict.outcome for verdict in verdicts}


GREEN = dict.fromkeys(("unexplained", "explained", "score", "box"), Outcome.PASS)


def test_the_same_but_for_float32_is_green(reference):
    """As torch and onnxruntime differ."""
    random = np.random.default_rng(1)
    mmdet = mmdets(
        reference,
        lambda boxes: boxes + random.normal(0, 1e-4, boxes.shape).astype(np.float32),
        lambda scores: scores + random.normal(0, 1e-7, scores.shape).astype(np.float32),
    )
    assert outcomes(reference, mmdet) == GREEN


@pytest.mark.parametrize(
    ("change", "red"),
    [
        ({"scores": lambda scores: 1 / (1 + np.exp(-scores))}, {"unexplained", "score"}),
        ({"scores": lambda scores: scores * np.float32(0.999)}, {"score"}),
        ({"boxes": lambda boxes: boxes + np.float32(4)}, {"unexplained", "box"}),
        ({"boxes": lambda boxes: boxes * np.float32(1.002)}, {"box"}),
        ({"boxes": lambda boxes: boxes[:, [1, 0, 3, 2]]}, {"unexplained"}),
    ],
    ids=["sigmoid_twice", "scores_0.1_percent_lower", "half_a_stride", "boxes_0.2_percent_larger", "x_and_y_exchanged"],
)
def test_an_error_of_the_exporter_and_its_check_is_seen(reference, change, red):
    """Errors that hide within the bands of fp16 show in the medians, since both sides are float32."""
    outcome_of = outcomes(reference, mmdets(reference, **change))
    assert {name for name, outcome in outcome_of.items() if outcome is Outcome.FAIL} >= red, outcome_of


@pytest.mark.parametrize("score", [0.03, CONTRACT.score_threshold])
def test_what_mmdet_finds_up_to_the_threshold_does_not_count(reference, score):
    """It compares the class score alone with the threshold, so its product with the centerness may be no more."""
    mmdet = mmdets(reference)
    for number, detections in mmdet.items():
        low = np.array([[1.0, 200, 40, 240]], np.float32)
        mmdet[number] = Detections(
            np.concatenate([detections.boxes, low]),
            np.append(detections.scores, np.float32(score)),
            np.append(detections.labels, 1),
        )
    assert outcomes(reference, mmdet) == GREEN
    assert against_mmdet(FEW, reference, mmdet, CONTRACT)[0].n == 36, "twelve in each of three pictures"


def test_one_that_it_alone_finds_counts(reference):
    """A detection that the reference lost."""
    mmdet = mmdets(reference)
    less = {number: side(detections.boxes[1:], detections.scores[1:]) for number, (detections, *_) in reference.items()}
    assert outcomes(less, mmdet)["unexplained"] is Outcome.FAIL


def test_a_picture_that_the_reference_cut_is_left_out(reference):
    """mmdet's levels are not cut, so only the reference lost points there; the others are still compared."""
    detections, boxes, scores = reference[2]
    scores = scores.copy()
    scores[: CONTRACT.proposals_by_level[0]] = np.float32(0.06)
    cut = {**reference, 2: (detections, boxes, scores)}
    mmdet = mmdets(reference)
    mmdet[2] = Detections(mmdet[2].boxes + np.float32(50), mmdet[2].scores, mmdet[2].labels)
    measured = against_mmdet(FEW, cut, mmdet, CONTRACT)
    assert measured[0].details["left_out"] == ["2.jpg"]
    assert measured[0].details["pictures"] == 2
    assert outcomes(cut, mmdet) == GREEN


@pytest.mark.parametrize(
    ("rows", "score", "cut"),
    [
        *[((0, 100), 0.06, True), ((100, 200), 0.06, True), ((200, 300), 0.06, True)],
        *[((0, 99), 0.06, False), ((1, 100), 0.06, False), ((0, 100), CONTRACT.score_threshold, False)],
        *[((300, 328), 0.06, False), ((328, 336), 0.06, False)],
    ],
    ids=["P3", "P4", "P5", "its_last_is_below", "its_first_is_below", "at_the_threshold", "P6_is_whole", "P7_is_whole"],
)
def test_a_level_is_cut_where_all_that_are_left_are_above_the_threshold(reference, rows, score, cut):
    """100 of 1,728, 432 and 112 points are left of the first three levels; the other two have 28 and 8, and keep them."""
    number = FEW[0].id
    scores = np.zeros_like(reference[number][2])
    scores[slice(*rows), 0] = score
    reference[number] = (*reference[number][:2], scores)
    left_out = against_mmdet(FEW, reference, mmdets(reference), CONTRACT)[0].details["left_out"]
    assert left_out == (["1.jpg"] if cut else [])


def test_what_usually_differs_is_the_median_of_all_pairs():
    """Of the scores, and of the coordinate of a box that is furthest off; the largest is told."""
    boxes = np.float32([[10, 20, 60, 70], [110, 20, 160, 70], [210, 20, 260, 70]])
    ours = side(boxes, np.float32([0.875, 0.75, 0.5]))
    theirs = boxes - np.float32([[1, 0, 0.5, 0], [0, 0, 0, 2], [0, -4, 1, 0]])
    mmdet = {1: Detections(theirs, np.float32([0.8125, 0.8125 + 1 / 32, 0.53125]), np.ones(3, np.int64))}
    unexplained, explained, score, box = against_mmdet(FEW[:1], {1: ours}, mmdet, CONTRACT)
    names = "unexplained differences from mmdet", "explained differences from mmdet"
    gates = "against_mmdet.unexplained", "against_mmdet.explained"
    assert ((unexplained.name, explained.name), (unexplained.gate, explained.gate)) == (names, gates)
    name, where = "usual difference of {} from mmdet", "the largest of 3 pairs is {}"
    assert (score, box) == (
        Measurement(
            name.format("scores"), 0.0625, "score", 3, where.format("0.0938 score"), gate="against_mmdet.score"
        ),
        Measurement(name.format("boxes"), 2.0, "px", 3, where.format("4 px"), gate="against_mmdet.box"),
    )


def test_a_tie_that_mmdet_broke_the_other_way_is_explained():
    """Its box is one of the reference's proposals, with the score of the one that the reference kept."""
    kept, rival = [10, 20, 60, 70], [16, 20, 66, 70]
    both = side(np.float32([kept, rival]), np.float32([0.75, 0.75]))
    ours, mmdet = (both[0].only(np.array([True, False])), *both[1:]), {1: both[0].only(np.array([False, True]))}
    unexplained, explained, *_ = against_mmdet(FEW[:1], {1: ours}, mmdet, CONTRACT)
    assert (unexplained.value, explained.value) == (0, 1), explained.where


def test_nothing_compared_is_no_verdict(reference):
    """No picture, or none with a detection, shows nothing."""
    nothing = dict.fromkeys(GREEN, Outcome.NO_VERDICT)
    assert outcomes(reference, mmdets(reference), ()) == nothing
    for each in against_mmdet((), reference, mmdets(reference), CONTRACT):
        assert (each.value, each.n, each.where) == (0, 0, ""), each
    empty = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    assert outcomes(dict.fromkeys((1, 2, 3), side(*empty)), dict.fromkeys((1, 2, 3), side(*empty)[0])) == nothing


def test_a_box_without_area_is_left_out_as_mmdet_leaves_it_out(reference):
    """`norm_on_bbox` cuts distances off at 0, so that a box may have no height; mmdet drops it, and its place is no difference."""
    mmdet = mmdets(reference)
    for number, (found, *_) in reference.items():
        flat = np.concatenate([found.boxes, [[5, 200, 40, 200]], [[7, 100, 7, 130]]]).astype(np.float32)
        reference[number] = side(flat, np.append(found.scores, [0.15, 0.1]).astype(np.float32))
    assert outcomes(reference, mmdet) == GREEN
    dropped = {
        number: replace(seen, boxes=seen.boxes[1:], scores=seen.scores[1:], labels=seen.labels[1:])
        for number, seen in mmdet.items()
    }
    assert outcomes(reference, dropped)["unexplained"] is Outcome.FAIL, (
        "a box with an area that mmdet lacks is a difference"
    )


def test_rows_that_boxes_without_area_took_are_missing_to_mmdets_last(reference):
    """A full output: mmdet, which drops such boxes, has room for as many more, and these had no row in the reference."""
    full = replace(CONTRACT, max_detections=14)
    mmdet = mmdets(reference)
    for number, (found, *_) in reference.items():
        flat = np.concatenate([[[5, 200, 40, 200]], [[7, 100, 7, 130]], found.boxes]).astype(np.float32)
        reference[number] = side(flat, np.append(np.float32([0.95, 0.93]), found.scores))
        more = np.float32([[300, 100, 340, 140], [300, 150, 340, 190]])
        mmdet[number] = Detections(
            np.concatenate([found.boxes, more]), np.append(found.scores, np.float32([0.1, 0.09])), np.ones(14, np.int64)
        )
    assert outcomes(reference, mmdet, contract=full) == GREEN
    assert outcomes(reference, mmdet)["unexplained"] is Outcome.FAIL, "where rows are left, both sides have them"
    first = {
        number: replace(seen, boxes=seen.boxes[1:], scores=seen.scores[1:], labels=seen.labels[1:])
        for number, seen in mmdet.items()
    }
    assert outcomes(reference, first, contract=full)["unexplained"] is Outcome.FAIL, "a strong box is missing to mmdet"
