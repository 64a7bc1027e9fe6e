"""Matching is independent of the order of detections, pairs as well as possible, and says what differs."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcos_lib.measure import Measurement
from fcos_lib.measure.detections.bands import box_band
from fcos_lib.measure.detections.matching import PAIR_IOU, compare, iou_matrix, iou_of, pair
from fcos_lib.stream.sessions import Detections
from tests.unit.measure.builders import NOTHING, detections

TWO = detections((0, 0, 10, 10, 0.9, 1), (50, 50, 80, 90, 0.4, 2))


def by_name(measurements):
    """Measurements by the first word that tells them apart."""
    return dict(zip(("unmatched", "score", "box"), measurements, strict=True))


def test_iou_of_known_boxes():
    """Half of a square against the whole; touching boxes; an empty box."""
    boxes = np.array([(0, 0, 10, 10), (0, 0, 10, 5), (10, 0, 20, 10), (3, 3, 3, 3)], np.float32)
    np.testing.assert_allclose(iou_matrix(boxes[:1], boxes)[0], [1, 0.5, 0, 0])


def test_boxes_apart_have_no_overlap_and_small_ones_have_theirs():
    """Apart in one direction, in the other, in both; thinner than a pixel; smaller than one; empty and equal among others."""
    boxes = [(0, 0, 10, 10), (30, 0, 40, 10), (0, 30, 10, 40), (30, 30, 40, 40)]
    np.testing.assert_array_equal(
        iou_matrix(np.array(boxes[:1], np.float32), np.array(boxes, np.float32)), [[1, 0, 0, 0]]
    )
    pairs = [
        ((0, 0, 1, 10), (0, 0, 0.5, 10), 0.5),
        ((0, 0, 10, 1), (0, 0, 10, 0.5), 0.5),
        ((0, 0, 0.5, 0.5), (0, 0, 0.5, 0.25), 0.5),
        ((3, 3, 3, 3), (3, 3, 3, 3), 1.0),
        ((3, 3, 3, 3), (4, 4, 4, 4), 0.0),
    ]
    overlaps = iou_of(np.array([one for one, _, _ in pairs]), np.array([other for _, other, _ in pairs]))
    np.testing.assert_allclose(overlaps, [iou for _, _, iou in pairs])


def test_the_iou_of_float32_boxes_is_computed_in_float64():
    """Areas of a megapixel have no decimals left in float32; a limit of 0.5 needs them."""
    first, second = np.array([[0.1, 0.2, 1300.3, 700.7], [7.7, 0.9, 1290.1, 780.3]], np.float32)
    (x0, y0, x1, y1), (u0, v0, u1, v1) = first.tolist(), second.tolist()
    inter = (min(x1, u1) - max(x0, u0)) * (min(y1, v1) - max(y0, v0))
    expected = inter / ((x1 - x0) * (y1 - y0) + (u1 - u0) * (v1 - v0) - inter)
    assert iou_of(first, second) == pytest.approx(expected, rel=1e-14)
    assert iou_of(second, first) == pytest.approx(expected, rel=1e-14)


def test_an_empty_box_is_equal_to_itself():
    """Rounding can leave a box without area; it still is where it was."""
    point = detections((3, 3, 3, 3, 0.9, 1))
    assert compare([point], [point], ["a"])[0].value == 0


def test_order_does_not_matter():
    """A permutation has no differences."""
    turned = Detections(TWO.boxes[::-1], TWO.scores[::-1], TWO.labels[::-1])
    assert all(measurement.value == 0 for measurement in compare([TWO], [turned], ["a"]))


def test_another_class_is_no_partner():
    """Same box, other label: one missing, one extra."""
    other = Detections(TWO.boxes, TWO.scores, np.array([1, 3]))
    measured = by_name(compare([TWO], [other], ["a.jpg"]))
    assert measured["unmatched"].details["unmatched"] == 2
    assert "missing label 2" in measured["unmatched"].where
    assert "a.jpg" in measured["unmatched"].where


def test_a_lost_detection_just_above_the_threshold_is_not_counted():
    """Below twice the threshold one rounding step decides."""
    more = detections((0, 0, 10, 10, 0.9, 1), (50, 50, 80, 90, 0.4, 2), (5, 60, 20, 80, 0.051, 1))
    assert by_name(compare([more], [TWO], ["a"]))["unmatched"].value == 0


def test_a_comparison_says_how_much_where_and_over_how_many():
    """Three pictures with everything in them: all of the three measurements, as results.json and a failure show them."""
    reference = [
        detections((0, 0, 10, 10, 0.9, 1), (50, 50, 80, 90, 0.4, 2), (200, 200, 220, 220, 0.1, 3)),
        detections((0, 0, 10, 10, 0.8, 1), (100, 0, 140, 40, 0.1, 1), (400, 400, 440, 440, 0.35, 1)),
        detections((0, 0, 10, 10, 0.7, 1)),
    ]
    candidate = [
        detections((0, 0, 10, 12, 0.9, 1), (50, 50, 80, 90, 0.45, 2)),
        detections(
            (0, 0, 10, 10, 0.8, 1), (100, 0, 140, 43, 0.3, 1), (400, 400, 440, 440, 0.1, 1), (9, 9, 19, 19, 0.1, 2)
        ),
        detections((0, 0, 10, 10, 0.7, 1)),
    ]
    counts = {"pictures": 3, "pairs": 6, "clear": 14, "unmatched": 2}
    lost = "missing label 3 score 0.1000 at [200.0, 200.0, 220.0, 220.0] in a.jpg"
    score = "label 1 score 0.3500 at [400.0, 400.0, 440.0, 440.0] became label 1 score 0.1000 at [400.0, 400.0, 440.0, 440.0] in b.jpg"
    box = "label 1 score 0.1000 at [100.0, 0.0, 140.0, 40.0] became label 1 score 0.3000 at [100.0, 0.0, 140.0, 43.0] in b.jpg"
    names, gates = ["a.jpg", "b.jpg", "c.jpg"], ("first gate", "second gate", "third gate")
    assert compare(reference, candidate, names, "batch 8", gates) == (
        Measurement("unmatched detections batch 8", 2 / 14, "share", 14, lost, counts, gate="first gate"),
        Measurement(
            "largest score difference batch 8",
            pytest.approx(0.25, abs=1e-6),
            "score",
            6,
            score,
            counts,
            gate="second gate",
        ),
        Measurement("largest box difference batch 8", 3.0, "px", 6, box, counts, gate="third gate"),
    )


def test_no_difference_is_nowhere():
    """Without a difference no detection is named, and without words for what was compared the names end."""
    counts = {"pictures": 2, "pairs": 4, "clear": 8, "unmatched": 0}
    assert compare([TWO, TWO], [TWO, TWO], ["a", "b"]) == (
        Measurement("unmatched detections", 0.0, "share", 8, "", counts),
        Measurement("largest score difference", 0.0, "score", 4, "", counts),
        Measurement("largest box difference", 0.0, "px", 4, "", counts),
    )


def test_the_first_of_equal_differences_is_named():
    """The same loss, score and box in two pictures: whoever looks, looks into the first."""
    moved = detections((0, 0, 10, 12, 0.5, 1))
    for measurement in compare([TWO, TWO], [moved, moved], ["first.jpg", "second.jpg"]):
        assert measurement.where.endswith("in first.jpg"), measurement


def test_an_extra_detection_is_called_extra():
    """So that nobody looks for it in the reference."""
    assert compare([NOTHING], [TWO], ["a"])[0].where == "extra label 1 score 0.9000 at [0.0, 0.0, 10.0, 10.0] in a"


@pytest.mark.parametrize("faint", ["reference", "candidate"])
def test_a_detection_below_the_threshold_is_paired_but_not_measured(faint):
    """A box that barely made it is paired with whatever replaced it: neither its place nor its score is a difference."""
    sides = [detections((0, 0, 10, 10, 0.099, 1)), detections((0, 0, 10, 14, 0.9, 1))]
    if faint == "candidate":
        sides.reverse()
    unmatched, score, box = compare(sides[:1], sides[1:], ["a"])
    assert (unmatched.value, unmatched.n) == (0, 1), "one of the two is clear, and it has a partner"
    assert (score.value, box.value, box.n) == (0, 0, 1)


@pytest.mark.parametrize(
    ("row", "values"),
    [
        ((0, 0, 10, 10, np.nan, 1), (0, np.inf, 0)),
        ((0, 0, 10, 10, np.inf, 1), (0, np.inf, 0)),
        ((np.inf, 0, np.inf, 10, 0.9, 1), (1, 0, 0)),
        ((np.nan, 0, 10, 10, 0.9, 1), (1, 0, 0)),
    ],
    ids=["score_nan", "score_inf", "box_inf", "box_nan"],
)
def test_what_is_not_finite_is_no_small_difference(row, values):
    """A device that overflows in one slot: the other's detection has no partner, or another score; and nobody is warned."""
    usual, broken = detections((0, 0, 10, 10, 0.9, 1)), detections(row)
    for sides in ((usual, broken), (broken, usual)):
        assert tuple(each.value for each in compare(sides[:1], sides[1:], ["a"])) == values


@pytest.mark.parametrize("row", [(0, 0, 10, 10, np.inf, 1), (np.inf, 0, np.inf, 10, 0.9, 1), (0, 0, 9, 9, np.nan, 1)])
def test_what_is_infinite_on_both_sides_is_not_the_same(row):
    """Both slots overflow: the difference is unknown, or there is no pair; no limit allows either."""
    values = [each.value for each in compare([detections(row)], [detections(row)], ["a"])]
    assert max(values) >= 1, f"nothing differs: {values}"


def test_empty_pictures_keep_their_place():
    """Nothing against nothing is no difference, nothing against something is all extra."""
    none = NOTHING
    assert compare([none], [none], ["a"])[0].value == 0
    assert compare([none, TWO], [none, none], ["a", "b"])[0].value == 1


def test_lists_of_different_length_are_refused():
    """A missing picture would shift all others."""
    with pytest.raises(ValueError, match="2 reference and 1 candidate"):
        compare([TWO, TWO], [TWO], ["a", "b"])


def test_the_best_of_all_ways_to_pair_is_taken():
    """Whoever takes the highest IoU first leaves two detections without a partner."""
    reference = detections((0, 0, 100, 10, 0.9, 1), (20, 0, 120, 10, 0.8, 1))
    candidate = detections((12, 0, 112, 10, 0.9, 1), (45, 0, 145, 10, 0.8, 1))
    iou = iou_matrix(reference.boxes, candidate.boxes)
    assert iou.argmax() == 2, "the second box overlaps the first candidate most"
    assert pair(reference, candidate).pairs.tolist() == [[0, 0], [1, 1]]


def test_no_overlap_is_overlooked():
    """A thousand boxes of all places and shapes, each of a class of its own: a pair is whatever has half an overlap."""
    random = np.random.default_rng(2)
    corner, size = random.uniform(0, 1200, (1000, 2)), random.uniform(60, 600, (1000, 2))
    boxes = np.concatenate([corner, corner + size], axis=1)
    moved = boxes + random.uniform(-0.4, 0.4, (1000, 4)) * np.tile(size, 2)
    first, second = (
        Detections(side.astype(np.float32), np.full(1000, 0.5, np.float32), np.arange(1000)) for side in (boxes, moved)
    )
    near = np.flatnonzero(iou_of(first.boxes, second.boxes) >= PAIR_IOU)
    assert 200 < len(near) < 800, f"{len(near)} of 1000 have half an overlap, which tries only one side"
    for reference, candidate in ((first, second), (second, first)):
        assert pair(reference, candidate).pairs.tolist() == np.stack([near, near], axis=1).tolist()


def row(x, score=0.9):
    """A box of 100 x 10 pixels, this far to the right."""
    return (x, 0, x + 100, 10, score, 1)


BOX = (0, 0, 10, 10, 0.9, 1)


@pytest.mark.parametrize(
    ("reference", "candidate", "pairs"),
    [
        ([BOX], [(0, 0, 10, 5, 0.9, 1)], [[0, 0]]),
        ([BOX], [(0, 0, 10, 4.99, 0.9, 1)], []),
        ([BOX], [BOX, (0, 0, 10, 9, 0.8, 1)], [[0, 0]]),
        ([row(0), row(33)], [row(1), row(-31)], [[0, 0]]),
        ([row(0, 1.0), row(29.06, 1.0)], [row(9.06, 0.0), row(-20, 0.0)], [[0, 0]]),
        ([row(0, 0.9)], [row(5, 0.1), row(5.6, 0.9)], [[0, 0]]),
        ([row(0), row(500)], [row(500), row(0), row(2)], [[0, 1], [1, 0]]),
    ],
    ids=[
        "half_an_overlap_is_enough",
        "less_is_not",
        "no_box_twice_and_the_better_one",
        "one_good_pair_rather_than_two_bad_ones",
        "scores_that_could_not_differ_more_add_nothing",
        "an_equal_score_does_not_make_up_for_a_worse_box",
        "in_the_order_of_the_reference",
    ],
)
def test_who_is_paired_with_whom(reference, candidate, pairs):
    """What exceeds the limit of IoU is summed, scores decide between equal boxes; all others are missing or extra."""
    pairing = pair(detections(*reference), detections(*candidate))
    assert pairing.pairs.tolist() == pairs
    rows, columns = {one for one, _ in pairs}, {other for _, other in pairs}
    assert pairing.missing.tolist() == [one for one in range(len(reference)) if one not in rows]
    assert pairing.extra.tolist() == [one for one in range(len(candidate)) if one not in columns]


def test_of_equal_boxes_the_nearest_score_is_the_partner():
    """And a score that is no number is the last choice."""
    reference = detections((0, 0, 10, 10, 0.9, 1))
    for scores, partner in (((0.5, 0.8), 1), ((0.8, 0.5), 0), ((np.nan, 0.2), 1), ((0.2, np.nan), 0)):
        pairing = pair(reference, detections(*((0, 0, 10, 10, score, 1) for score in scores)))
        assert pairing.pairs.tolist() == [[0, partner]], scores


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
@pytest.mark.parametrize("swapped", [False, True], ids=["as reference", "as candidate"])
def test_an_even_choice_has_the_same_answer_whatever_the_order(order, swapped):
    """One box in the middle between two: neither the order nor the side decides which of them is its partner."""
    two, one = detections(row(0), row(20)), detections(row(10))
    two = Detections(two.boxes[order], two.scores[order], two.labels[order])
    found = pair(one, two) if swapped else pair(two, one)
    assert two.boxes[found.pairs[0, 1 if swapped else 0]].tolist() == [0, 0, 100, 10]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), max_size=5),
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), max_size=5),
)
def test_no_other_way_to_pair_agrees_better(one, other):
    """Against all ways to pair, tried one by one."""
    reference, candidate = (
        detections(*((5 * x, 5 * y, 5 * x + 40, 5 * y + 40, 0.9 - 0.01 * i, 1) for i, (x, y) in enumerate(side)))
        for side in (one, other)
    )
    excess = iou_matrix(reference.boxes, candidate.boxes) - PAIR_IOU
    gaps = np.abs(reference.scores[:, None] - candidate.scores[None])
    gain = np.where(excess >= 0, excess + 1e-3 * (1 - gaps), 0)
    if len(one) > len(other):
        gain = gain.T
    best = max(
        sum(gain[row, column] for row, column in enumerate(columns))
        for columns in permutations(range(gain.shape[1]), len(gain))
    )
    rows, columns = pair(reference, candidate).pairs.T
    if len(one) > len(other):
        rows, columns = columns, rows
    assert gain[rows, columns].sum() == pytest.approx(best)


@pytest.mark.parametrize(
    "box",
    [[5, 200, 40, 200], [100, 500, 100, 780], [7, 7, 7, 7], [300, 20, 300.4, 60], [640, 700, 700, 700.3]],
    ids=["no height", "no width", "a point", "narrow", "low"],
)
def test_a_box_with_next_to_no_area_is_paired_by_its_corners(box):
    """Rounding decides what the IoU of such boxes is; both sides have them where fp16 does not tell the corners apart."""
    other, line = (10, 10, 60, 60, 0.9, 1), (1000, 10, 1000, 60, 0.7, 1)
    reference = detections((*box, 0.8, 1), other, line)
    moved = box_band(reference.boxes)[0] * [0.9, -0.9, -0.9, 0.9]
    candidate = detections(other, (*(box + moved), 0.8, 1), line)
    assert iou_of(reference.boxes[0], candidate.boxes[1]) < PAIR_IOU, "this box would be paired by its IoU"
    for first, second in ((reference, candidate), (candidate, reference)):
        assert pair(first, second).pairs.tolist() == [[0, 1], [1, 0], [2, 2]]
    farther = detections(other, (*(box + 3 * moved), 0.8, 1), line)
    assert pair(reference, farther).pairs.tolist() == [[1, 0], [2, 2]]
    of_another_class = detections((*box, 0.8, 2))
    assert len(pair(reference, of_another_class).pairs) == 0
