"""Contributions of pictures to a difference in mAP add up to it, and name the pictures that moved it."""

import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.measure.coco.contributions import Contributions, contributions
from fcos_lib.measure.coco.matching import match, match_rows
from fcos_lib.measure.coco.metrics import averages
from fcos_lib.measure.coco.result_file import read_detections
from fcos_lib.measure.coco.truth import read_annotation_file
from tests.unit.measure.builders import NOTHING, detections, objects
from tests.unit.measure.result_files import draw


def matched(drawn):
    """Both result files, matched."""
    truth = read_annotation_file(drawn.instances).truth
    return [match_rows(truth, read_detections(path, truth)) for path in (drawn.a, drawn.b)]


@pytest.mark.parametrize("seed", range(8))
def test_they_add_up_to_the_difference(tmp_path, seed):
    """Exactly, ties and crowds and classes without an object included."""
    sides = matched(draw(tmp_path / "coco", seed))
    first, second = (averages(side).twelve[0, 0] for side in sides)
    total = contributions(*sides).shares.sum()
    assert abs(second - first) > 1e-3, f"the sides differ by {second - first}, too little to tell"
    assert total == pytest.approx(second - first, rel=0, abs=1e-12)


def test_what_is_the_same_has_no_share_of_its_own(tmp_path):
    """One file against itself: no picture is better or worse, and none decides."""
    first, second = matched(draw(tmp_path / "coco", 1))
    found = contributions(first, first)
    assert (found.better, found.worse, found.deciding(5), found.same.all()) == (0, 0, [], True)
    mirrored = contributions(second, first)
    np.testing.assert_allclose(mirrored.shares, -contributions(first, second).shares, atol=1e-15)
    assert (mirrored.better, mirrored.worse) == (lambda one: (one.worse, one.better))(contributions(first, second))


def test_the_largest_shares_decide_first():
    """Of either sign, of equal ones the first; never a picture that is the same on both sides, nor one without a share."""
    pictures = np.zeros((2, 6), np.int64)
    shares, same = np.array([0.1, -0.4, 0.2, -0.2, 0.0, 0.9]), np.array([False] * 5 + [True])
    found = Contributions(shares, same, pictures, pictures)
    assert (found.deciding(9), found.deciding(2), found.deciding(0)) == ([1, 2, 3, 0], [1, 2], [])
    assert (found.better, found.worse) == (2, 2)
    mirrored = Contributions(-shares, same, pictures, pictures)
    assert mirrored.deciding(9) == [1, 2, 3, 0], "a gain decides as a loss does"
    equal = np.full(300, 0.25)
    assert Contributions(equal, equal < 0, pictures, pictures).deciding(300) == list(range(300))


def sides(first, second):
    """Two sides of three pictures with an object of the first class each."""
    box = [10, 10, 60, 60]
    truth = objects([box] * 3, [0] * 3, SHAPES, pictures=np.arange(3), count=3)
    return [match(truth, SHAPES, dict(enumerate(side))) for side in (first, second)]


def hit(score):
    """The object found."""
    return detections([10, 10, 60, 60, score, 0])


def test_a_share_is_how_much_each_detection_moves_the_precision_of_others():
    """Right, wrong and right again, where nothing was found: recall reaches 34 of 101 recalls, then 33 more at a precision of 2/3.

    That is (a + c) / (a + b + c) by the weights of the three, so that its derivatives are 1/9, -2/9 and 1/9.
    """
    found = contributions(*sides([NOTHING] * 3, [hit(0.9), detections([200, 200, 260, 260, 0.8, 0]), hit(0.7)]))
    first, then = 34 / 101, 33 / 101
    assert found.shares == pytest.approx([first + then / 9, -then * 2 / 9, then * 2 / 3 + then / 9], abs=1e-12)


def test_the_picture_that_lost_its_object_decides():
    """And is the only one that is worse."""
    found = contributions(*sides([hit(0.9), hit(0.8), hit(0.7)], [hit(0.9), NOTHING, hit(0.7)]))
    assert (found.deciding(9), found.better, found.worse) == ([1], 0, 1)
    assert found.right[:, 1].tolist() == [1, 0]
    assert found.shares[1] < -0.3, f"the share is {found.shares[1]}, and a third of all objects is gone"


def test_a_wrong_detection_counts_for_the_picture_that_has_it():
    """Not for those whose precision it lowers, which found the same as before."""
    wrong = detections([10, 10, 60, 60, 0.9, 0], [200, 200, 260, 260, 0.85, 0])
    found = contributions(*sides([hit(0.9), hit(0.8), hit(0.7)], [wrong, hit(0.8), hit(0.7)]))
    assert (found.deciding(9), found.better, found.worse) == ([0], 0, 1)
    assert found.wrong[:, 0].tolist() == [0, 1]
    assert found.shares[0] < 0


def test_a_wrong_detection_below_all_right_ones_costs_nothing():
    """Precision is highest before it, so that the picture is neither better nor worse, though it is not the same."""
    wrong = detections([10, 10, 60, 60, 0.9, 0], [200, 200, 260, 260, 0.1, 0])
    found = contributions(*sides([hit(0.9), hit(0.8), hit(0.7)], [wrong, hit(0.8), hit(0.7)]))
    assert (found.better, found.worse, found.same.tolist()) == (0, 0, [False, True, True])


def test_a_class_that_no_picture_shows_moves_nothing():
    """Wrong detections of it are counted, and AP has no place for them."""
    other = detections([10, 10, 60, 60, 0.9, 0], [10, 10, 60, 60, 0.95, 3])
    found = contributions(*sides([hit(0.9)] * 3, [other, hit(0.9), hit(0.9)]))
    assert (found.better, found.worse) == (0, 0)
    assert found.wrong[:, 0].tolist() == [0, 1]


def test_right_and_wrong_ones_are_counted_at_an_iou_of_a_half():
    """Of each side by itself; what is found of a crowd is neither."""
    box, low, crowd = [10, 10, 60, 60], [10, 10, 60, 37], [300, 300, 400, 400]
    boxes, pictures, crowds = [box, box, box, crowd], np.array([0, 1, 2, 2]), [False, False, False, True]
    truth = objects(boxes, [0] * 4, SHAPES, pictures, count=3, crowd=crowds)
    wrong, in_crowd = [200, 200, 260, 260, 0.5, 0], [310, 310, 350, 350, 0.9, 0]
    first = [detections([*low, 0.9, 0]), detections(wrong, wrong), detections([*box, 0.7, 0], in_crowd, wrong)]
    second = [detections([*box, 0.9, 0], wrong, wrong, wrong), detections([*box, 0.8, 0]), detections(in_crowd)]
    found = contributions(*(match(truth, SHAPES, dict(enumerate(side))) for side in (first, second)))
    assert found.right.tolist() == [[1, 0, 1], [1, 1, 0]]
    assert found.wrong.tolist() == [[0, 2, 1], [3, 0, 0]]


BESIDE, AWAY, CROWD = [10, 10, 60, 45], [200, 200, 260, 260], [300, 300, 400, 400]
OTHERWISE = {
    "another score": ([*BESIDE, 0.5, 0], [*BESIDE, 0.6, 0], False),
    "another class": ([*AWAY, 0.5, 2], [*AWAY, 0.5, 3], False),
    "a box that is right for fewer thresholds": ([*BESIDE, 0.5, 0], [10, 10, 60, 40, 0.5, 0], False),
    "a crowd instead of nothing": ([310, 310, 350, 350, 0.5, 0], [*AWAY, 0.5, 0], False),
    "a wrong box elsewhere": ([*AWAY, 0.5, 0], [100, 200, 160, 260, 0.5, 0], True),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_a_picture_is_the_same_if_its_detections_count_alike(name):
    """By number, class, score and outcome. The others stay the same, whatever comes before them."""
    before, after, same = OTHERWISE[name]
    box, hits = [10, 10, 60, 60], hit(0.9)
    truth = objects(
        [box, box, CROWD, box], [0] * 4, SHAPES, np.array([0, 1, 1, 2]), count=3, crowd=[False, False, True, False]
    )
    sides = [match(truth, SHAPES, {0: hits, 1: detections(row), 2: hits}) for row in (before, after)]
    assert contributions(*sides).same.tolist() == [True, same, True]
    more = [sides[0], match(truth, SHAPES, {0: hits, 1: detections(before, before), 2: hits})]
    assert contributions(*more).same.tolist() == [True, False, True], "one more is not the same"
