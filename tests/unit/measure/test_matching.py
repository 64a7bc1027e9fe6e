"""Matching does not care about order, and says what differs."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcos_lib.measure.matching import PAIR_IOU, compare, iou_matrix, pair
from fcos_lib.sessions import Detections


def detections(*rows):
    """Rows of x1, y1, x2, y2, score, label."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(table[:, :4].astype(np.float32), table[:, 4].astype(np.float32), table[:, 5].astype(np.int64))


TWO = detections((0, 0, 10, 10, 0.9, 1), (50, 50, 80, 90, 0.4, 2))


def by_name(measurements):
    """Measurements by the first word that tells them apart."""
    return dict(zip(("unmatched", "score", "box"), measurements, strict=True))


def test_iou_of_known_boxes():
    """Half of a square against the whole; touching boxes; an empty box."""
    boxes = np.array([(0, 0, 10, 10), (0, 0, 10, 5), (10, 0, 20, 10), (3, 3, 3, 3)], np.float32)
    np.testing.assert_allclose(iou_matrix(boxes[:1], boxes)[0], [1, 0.5, 0, 0])


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
    found = by_name(compare([TWO], [other], ["a.jpg"]))
    assert found["unmatched"].details["unmatched"] == 2
    assert "missing label 2" in found["unmatched"].where
    assert "a.jpg" in found["unmatched"].where


def test_a_lost_detection_just_above_the_threshold_is_not_counted():
    """Below twice the threshold one rounding step decides."""
    more = detections((0, 0, 10, 10, 0.9, 1), (50, 50, 80, 90, 0.4, 2), (5, 60, 20, 80, 0.051, 1))
    assert by_name(compare([more], [TWO], ["a"]))["unmatched"].value == 0


def test_moved_boxes_and_scores_are_measured():
    """The worst of each, with its place."""
    moved = detections((0, 0, 10, 12, 0.9, 1), (50, 50, 80, 90, 0.45, 2))
    found = by_name(compare([TWO], [moved], ["a"]))
    assert found["box"].value == 2
    assert found["score"].value == pytest.approx(0.05, abs=1e-6)


def test_one_box_is_never_paired_twice():
    """Two candidates on one reference: the better one wins, the other is extra."""
    double = detections((0, 0, 10, 10, 0.9, 1), (0, 0, 10, 9, 0.8, 1))
    pairing = pair(detections((0, 0, 10, 10, 0.9, 1)), double)
    assert pairing.pairs.tolist() == [[0, 0]]
    assert pairing.extra.tolist() == [1]


def test_empty_pictures_keep_their_place():
    """Nothing against nothing is no difference, nothing against something is all extra."""
    none = detections()
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
