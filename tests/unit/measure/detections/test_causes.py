"""Every difference has a cause, and each cause ends where its band ends."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcos_lib.contract import COCO_R50
from fcos_lib.measure import Measurement
from fcos_lib.measure.detections.bands import box_band, iou_band, score_band
from fcos_lib.measure.detections.causes import explain
from fcos_lib.measure.detections.differences import Cause, Difference, Kind
from fcos_lib.measure.detections.matching import iou_of
from fcos_lib.stream.sessions import Detections
from tests.unit.measure.builders import NOTHING, detections

ROWS = COCO_R50.max_detections
THRESHOLD = COCO_R50.score_threshold


def causes_of(reference, candidate, before_nms=None, contract=COCO_R50):
    """Kinds and causes of one picture's differences."""
    tensors = None if before_nms is None else lambda index: before_nms
    comparison = explain([reference], [candidate], ["a.jpg"], contract, tensors)
    return sorted((one.kind.value, one.cause) for one in comparison.differences)


ONE = detections((100, 100, 200, 200, 0.8, 3))
KEPT = (100, 100, 200, 200, 0.8, 3)
"""Suppresses what overlaps it."""


def shifted(iou, score=0.5):
    """A box like KEPT, moved to the right until the IoU is this."""
    shift = 100 * (1 - iou) / (1 + iou)
    return (100 + shift, 100, 200 + shift, 200, score, 3)


@st.composite
def pictures(draw):
    """Up to eight detections on a coarse grid, so that overlaps, ties and equal boxes are frequent."""
    rows = []
    for _ in range(draw(st.integers(0, 8))):
        x, y = draw(st.integers(0, 6)) * 10, draw(st.integers(0, 3)) * 10
        width, height = draw(st.integers(1, 4)) * 10, draw(st.integers(1, 4)) * 10
        rows.append((x, y, x + width, y + height, draw(st.sampled_from((0.051, 0.3, 0.7))), draw(st.integers(0, 1))))
    return detections(*rows)


def turned(picture, order):
    """The same detections in another order."""
    return Detections(picture.boxes[order], picture.scores[order], picture.labels[order])


@settings(max_examples=40, deadline=None)
@given(pictures())
def test_a_picture_does_not_differ_from_itself(picture):
    """Nothing is a difference, and everything is a pair."""
    comparison = explain([picture], [picture], ["a"], COCO_R50)
    assert comparison.differences == ()
    assert len(comparison.pairs) == comparison.compared == len(picture)


@settings(max_examples=60, deadline=None)
@given(pictures(), pictures(), st.randoms(use_true_random=False))
def test_order_changes_nothing(one, other, random):
    """Whatever the order of rows, the same differences have the same causes."""
    order = random.sample(range(len(other)), len(other))
    assert causes_of(one, turned(other, order)) == causes_of(one, other)


@settings(max_examples=60, deadline=None)
@given(pictures(), pictures())
def test_missing_is_extra_the_other_way_round(one, other):
    """Exchanging the sides exchanges missing and extra and nothing else."""
    names = {"missing": "extra", "extra": "missing"}
    there = explain([one], [other], ["a"], COCO_R50)
    back = explain([other], [one], ["a"], COCO_R50)
    mirrored = sorted(names.get(d.kind.value, d.kind.value) for d in back.differences)
    assert mirrored == sorted(d.kind.value for d in there.differences)
    assert there.compared == back.compared


@pytest.mark.parametrize("side", ["missing", "extra"])
@pytest.mark.parametrize(("share", "cause"), [(0.95, Cause.THRESHOLD), (1.1, Cause.UNEXPLAINED)])
def test_a_score_at_the_threshold_may_come_or_go(side, share, cause):
    """Just inside the band it is explained, just outside it is not."""
    faint = detections((300, 300, 400, 400, THRESHOLD + share * score_band(THRESHOLD), 1))
    sides = (faint, NOTHING) if side == "missing" else (NOTHING, faint)
    assert causes_of(*sides) == [(side, cause)]


@pytest.mark.parametrize("side", ["missing", "extra"])
@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize(("share", "cause"), [(0.995, Cause.SUPPRESSION), (1.005, Cause.UNEXPLAINED)])
@pytest.mark.parametrize("limit", [0.5, 0.6])
def test_an_overlap_at_the_limit_may_suppress(side, direction, share, cause, limit):
    """From both sides of the contract's limit, just inside and just outside the band, which is a little wider at 0.6."""
    iou = limit
    for _ in range(9):  # the band is that of the box which it ends at
        iou = limit + direction * share * float(iou_band(np.array(KEPT[:4]), np.array(shifted(iou)[:4]), limit))
    both, alone, contract = detections(KEPT, shifted(iou)), detections(KEPT), replace(COCO_R50, iou_threshold=limit)
    assert causes_of(*((both, alone) if side == "missing" else (alone, both)), None, contract) == [(side, cause)]


@pytest.mark.parametrize("other", [(0.5, 4), (0.3, 3)])
def test_only_a_better_box_of_the_same_class_suppresses(other):
    """Neither another class nor a lower score explains a missing box."""
    score, label = other
    rival = (*KEPT[:4], score, label)
    box = shifted(0.5, score=0.45)
    assert causes_of(detections(rival, box), detections(rival)) == [("missing", Cause.UNEXPLAINED)]


@pytest.mark.parametrize(("share", "cause"), [(0.95, Cause.SUPPRESSION), (1.05, Cause.UNEXPLAINED)])
def test_a_box_of_the_same_score_within_a_band_may_rank_first(share, cause):
    """Which of two comes first is then a matter of rounding."""
    rival, box = (*KEPT[:4], 0.45 - share * float(score_band(np.float32(0.45))), 3), shifted(0.5, score=0.45)
    assert causes_of(detections(rival, box), detections(rival)) == [("missing", cause)]


def test_what_follows_from_an_explained_difference_is_explained():
    """The first box goes at the limit; the one that it suppressed comes back, overlapping it by far more than 0.5."""
    first, second = shifted(0.5, 0.5), (150, 100, 262, 200, 0.4, 3)
    overlaps = [float(iou_of(np.array(box[:4]), np.array(second[:4]))) for box in (first, KEPT)]
    assert overlaps[0] > 0.6 > 0.4 > overlaps[1], (
        f"it overlaps the first box by {overlaps[0]}, the kept one by {overlaps[1]}"
    )
    reference, candidate = detections(KEPT, first), detections(KEPT, second)
    result = causes_of(reference, candidate)
    assert result == [("extra", Cause.SUPPRESSION), ("missing", Cause.SUPPRESSION)]
    comparison = explain([reference], [candidate], ["a.jpg"], COCO_R50)
    assert (len(comparison.pairs), comparison.compared) == (1, 3), "the two boxes count as one that moved"


def test_the_same_exchange_without_a_reason_is_a_moved_box():
    """Without the box at the limit nothing explains why one gave way to the other."""
    result = causes_of(detections(shifted(0.5, 0.5)), detections((150, 100, 262, 200, 0.4, 3)))
    assert result == [("moved", Cause.UNEXPLAINED)]


def grid(count, *more):
    """Detections that do not touch each other, with falling scores, and some more."""
    rows = [(12 * i, 0, 12 * i + 10, 10, 0.9 - 0.005 * i, 1) for i in range(count)]
    return detections(*rows, *more)


@pytest.mark.parametrize(("share", "cause"), [(0.9, Cause.CUT), (1.1, Cause.UNEXPLAINED)])
def test_the_last_row_may_go_to_another(share, cause):
    """With all rows used, what ranks behind the last one within a band is cut; what ranks before it is not."""
    last = 0.9 - 0.005 * (ROWS - 1)
    missing = (600, 600, 700, 700, last + share * score_band(last), 2)
    reference = grid(ROWS - 1, missing)
    assert ("missing", cause) in causes_of(reference, grid(ROWS))


def test_no_row_is_cut_while_some_are_unused():
    """One free row is enough for the box to be unexplained."""
    box = (600, 600, 700, 700, 0.3, 2)
    assert causes_of(grid(ROWS - 2, box), grid(ROWS - 1)) == [
        ("extra", Cause.UNEXPLAINED),
        ("missing", Cause.UNEXPLAINED),
    ]


@pytest.mark.parametrize(("share", "result"), [(0.95, []), (1.05, [("moved", Cause.UNEXPLAINED)])])
@pytest.mark.parametrize("x", [40.0, 520.0, 1290.0])
def test_a_box_may_move_by_its_band(x, share, result):
    """One coordinate, just inside and just outside what rounding and noise allow there."""
    row = np.array([x - 30, 300, x, 330])
    moved = row + np.array([0, 0, share * box_band(row)[2], 0])
    assert causes_of(detections((*row, 0.5, 0)), detections((*moved, 0.5, 0))) == result


@pytest.mark.parametrize(("share", "result"), [(0.95, []), (1.05, [("score", Cause.UNEXPLAINED)])])
@pytest.mark.parametrize("score", [0.08, 0.44, 0.95])
def test_a_score_may_change_by_its_band(score, share, result):
    """Just inside and just outside."""
    changed = (*KEPT[:4], score + share * float(score_band(np.float32(score))), 3)
    assert causes_of(detections((*KEPT[:4], score, 3)), detections(changed)) == result


def tensors(*rows, label=3):
    """Proposals before NMS: rows of x1, y1, x2, y2, score of one class."""
    table = np.array(rows, np.float32)
    scores = np.zeros((len(rows), len(COCO_R50.classes)), np.float32)
    scores[:, label] = table[:, 4]
    return table[:, :4], scores


@pytest.mark.parametrize(("share", "cause"), [(0.95, Cause.TIE), (1.1, Cause.UNEXPLAINED)])
def test_of_two_boxes_with_one_score_either_may_stay(share, cause):
    """The reference had both, with scores within a band: which one NMS keeps is a matter of rounding."""
    rival = (110, 100, 210, 200, 0.8 - share * float(score_band(np.float32(0.8))), 3)
    before = tensors(KEPT[:5], rival[:5])
    assert causes_of(ONE, detections(rival), before) == [("moved", cause)]


def test_a_moved_box_that_the_reference_never_had_is_no_tie():
    """The score is the same, but no proposal of the reference lies there."""
    rival = (110, 100, 210, 200, 0.8, 3)
    assert causes_of(ONE, detections(rival), tensors(KEPT[:5])) == [("moved", Cause.UNEXPLAINED)]
    assert causes_of(ONE, detections(rival)) == [("moved", Cause.UNEXPLAINED)], "without proposals nobody can know"


def test_a_tie_is_with_the_box_that_gave_way():
    """The one that stayed has the score of another of the reference's boxes, far away."""
    rival, far = (110, 100, 210, 200, 0.5, 3), (500, 100, 600, 200, 0.5, 3)
    found = causes_of(detections(KEPT, far), detections(rival, far), tensors(KEPT[:5], rival[:5], far[:5]))
    assert found == [("moved", Cause.UNEXPLAINED)]


@pytest.mark.parametrize("label", [0, 3, len(COCO_R50.classes) - 1])
def test_an_extra_box_that_the_reference_never_had_is_unexplained(label):
    """An overlap at the limit explains nothing if there was no such proposal to suppress."""
    kept, ghost = (*KEPT[:5], label), (*shifted(0.5)[:5], label)
    sides = detections(kept), detections(kept, ghost)
    assert causes_of(*sides, tensors(kept[:5], ghost[:5], label=label)) == [("extra", Cause.SUPPRESSION)]
    assert causes_of(*sides, tensors(kept[:5], label=label)) == [("extra", Cause.UNEXPLAINED)]


def test_another_class_in_the_same_place_is_one_difference():
    """Not a missing and an extra one."""
    elsewhere, half = (600, 100, 700, 200, 0.9, 3), (100, 100, 200, 150, 0.5, 7)
    comparison = explain([detections(elsewhere, KEPT)], [detections(half, elsewhere)], ["a.jpg"], COCO_R50)
    text = (
        "class (unexplained): label 3 score 0.8000 at [100.0, 100.0, 200.0, 200.0] "
        "became label 7 score 0.5000 at [100.0, 100.0, 200.0, 150.0] in a.jpg"
    )
    difference = Difference(Kind.CLASS, Cause.UNEXPLAINED, "a.jpg", 1, 0, text)
    assert (comparison.differences, comparison.unexplained) == ((difference,), (difference,))


@pytest.mark.parametrize(
    "row", [(*KEPT[:4], np.nan, 3), (np.nan, *KEPT[1:]), (*KEPT[:4], np.inf, 3), (-np.inf, *KEPT[1:])]
)
def test_a_value_that_is_not_finite_is_never_explained(row):
    """NaN compares with nothing: neither a NaN score nor a NaN box finds a partner or an excuse."""
    causes = {cause for _, cause in causes_of(ONE, detections(row))}
    assert causes == {Cause.UNEXPLAINED}


def test_pictures_keep_their_place():
    """Empty pictures count, and a difference carries the name and the rows of its own."""
    two = detections(KEPT, (300, 300, 400, 400, 0.7, 1))
    sides = [NOTHING, two, NOTHING], [NOTHING, ONE, NOTHING]
    for (reference, candidate), rows in ((sides, (1, None)), (sides[::-1], (None, 1))):
        comparison = explain(reference, candidate, ["a", "b", "c"], COCO_R50)
        (difference,) = comparison.differences
        assert (difference.picture, difference.reference_row, difference.candidate_row) == ("b", *rows)
        assert comparison.pictures == 3
        pairs = comparison.pairs
        assert (pairs.pictures.tolist(), pairs.reference.labels.tolist(), pairs.candidate.labels.tolist()) == (
            [1],
            [3],
            [3],
        )
        assert comparison.compared == 2


def test_exchanged_pictures_are_all_unexplained():
    """Two pictures of a batch in each other's place."""
    other = detections((600, 300, 640, 420, 0.6, 5))
    comparison = explain([ONE, other], [other, ONE], ["a", "b"], COCO_R50)
    assert [one.cause for one in comparison.differences] == [Cause.UNEXPLAINED] * 4


def test_measurements_say_how_many_where_and_why():
    """The number of unexplained differences with the first in words, the share of explained ones, counts by cause."""
    faint, rescored = (300, 300, 400, 400, THRESHOLD, 1), (*KEPT[:4], 0.6, 3)
    reference, candidate = [detections(KEPT, faint), ONE], [ONE, detections(rescored)]
    comparison = explain(reference, candidate, ["a.jpg", "b.jpg"], COCO_R50)
    lost = "missing (score threshold): label 1 score 0.0500 at [300.0, 300.0, 400.0, 400.0] in a.jpg"
    place = "at [100.0, 100.0, 200.0, 200.0]"
    changed = f"score (unexplained): label 3 score 0.8000 {place} became label 3 score 0.6000 {place} in b.jpg"
    counts = {"missing: score threshold": 1, "score: unexplained": 1}
    details = {"pictures": 2, "pairs": 2, "counts": counts, "pictures_with_unexplained": 1, "unexplained": [changed]}
    names = "unexplained differences batch 8", "explained differences batch 8"
    gates = "consistency.unexplained", "consistency.explained"
    assert comparison.measurements("batch 8") == (
        Measurement(names[0], 1.0, "detections", 3, changed, details, gate=gates[0]),
        Measurement(names[1], 1 / 3, "share", 3, lost, {"counts": counts}, gate=gates[1]),
    )
    assert comparison.listing() == f"{changed}\n{lost}\n", "the unexplained ones come first"


def test_twenty_unexplained_differences_are_told_and_all_are_counted():
    """results.json does not grow with what went wrong."""
    unexplained, explained = explain([grid(21)], [NOTHING], ["a"], COCO_R50).measurements()
    assert (unexplained.value, len(unexplained.details["unexplained"])) == (21, 20)
    assert (explained.value, explained.where) == (0, "")


def test_nothing_found_is_nothing_measured():
    """No detections on either side: n is 0, which no verdict can rest on."""
    details = {"pictures": 1, "pairs": 0, "counts": {}, "pictures_with_unexplained": 0, "unexplained": []}
    assert explain([NOTHING], [NOTHING], ["a"], COCO_R50).measurements() == (
        Measurement("unexplained differences", 0.0, "detections", 0, "", details, gate="consistency.unexplained"),
        Measurement("explained differences", 0.0, "share", 0, "", {"counts": {}}, gate="consistency.explained"),
    )
    nowhere = explain([], [], [], COCO_R50)
    assert (nowhere.compared, nowhere.pairs.candidate.boxes.shape, len(nowhere.pairs.candidate.labels)) == (
        0,
        (0, 4),
        0,
    )


def test_lists_of_different_length_are_refused():
    """A missing picture would shift all others."""
    with pytest.raises(ValueError, match="2 reference and 1 candidate"):
        explain([ONE, ONE], [ONE], ["a", "b"], COCO_R50)


@pytest.mark.parametrize("label", [-1, len(COCO_R50.classes)])
def test_a_label_beyond_the_classes_is_an_unexplained_difference(label):
    """Labels that count from one ended in an IndexError as soon as proposals were looked at; no score excuses them."""
    foreign = detections((100, 100, 200, 200, THRESHOLD, label))
    proposals = foreign.boxes, np.full((1, len(COCO_R50.classes)), THRESHOLD, np.float32)
    causes = {cause for _, cause in causes_of(ONE, foreign, proposals)}
    assert causes == {Cause.UNEXPLAINED}, f"a label that is no class is said to be {causes}"


def nothing_in(pictures, **raw):
    """Where the unexplained differences are said to be, if the candidate finds nothing in any of so many pictures."""
    reference = [detections((10, 10, 60, 60, 0.9, 1)) for _ in range(pictures)]
    comparison = explain(reference, [NOTHING] * pictures, [f"{number}.jpg" for number in range(pictures)], COCO_R50)
    return comparison.measurements(**raw)[0].where


def test_a_model_that_runs_well_and_finds_nothing_has_a_sentence_of_its_own():
    """The usual causes, which no single lost detection would lead to."""
    said = nothing_in(3)
    assert said.startswith("0 detections on 3 pictures, in which 3 are expected")
    for check in ("AIPP", "mean and std", "fp16 overflow"):
        assert check in said
    for highest in (0.012, THRESHOLD):  # a score has to be above the threshold
        assert f"the highest score that reaches NMS is {highest}; three things" in nothing_in(3, highest=highest)


def test_scores_that_reach_nms_clear_the_network():
    """Then neither input nor head is to be looked at."""
    said = nothing_in(3, highest=0.8)
    assert said.startswith("0 detections on 3 pictures, in which 3 are expected, although scores up to 0.8 reach NMS")
    assert "AIPP" not in said


def test_one_detection_elsewhere_is_no_such_case():
    """A model that finds anything at all is told of by what it lost."""
    reference = [detections((10, 10, 60, 60, 0.9, 1))] * 2
    comparison = explain(reference, [NOTHING, reference[1]], ["a.jpg", "b.jpg"], COCO_R50)
    assert comparison.measurements()[0].where.startswith("missing (unexplained): label 1 score 0.9000")
