"""The NMS is the kernel's: fp16 at every step, strict comparisons, classes apart, padding without a label."""

import numpy as np
import pytest

from fcos_lib.emulator.kernels import NmsSettings, batch_multi_class_nms

SETTINGS = NmsSettings(score_threshold=0.05, iou_threshold=0.5, max_size_per_class=100, max_total_size=100)


def run(boxes, scores, settings=SETTINGS):
    """One picture: (boxes[100, 4], scores[100], classes[100], count)."""
    outputs = batch_multi_class_nms(np.array([boxes], np.float32), np.array([scores], np.float32), settings)
    return tuple(array[0] for array in outputs)


def test_outputs_have_the_operators_types_and_shapes():
    """Boxes, scores and classes are fp16; only the count is an integer."""
    boxes, scores, classes, counts = batch_multi_class_nms(
        np.zeros((2, 5, 1, 4), np.float32), np.zeros((2, 5, 3), np.float32), SETTINGS
    )
    assert [array.shape for array in (boxes, scores, classes, counts)] == [(2, 100, 4), (2, 100), (2, 100), (2,)]
    assert [array.dtype for array in (boxes, scores, classes, counts)] == [np.float16] * 3 + [np.int32]


def test_a_score_must_be_above_the_threshold():
    """The score that rounds to the threshold in fp16 is out, the next fp16 number is in."""
    threshold = np.float16(0.05)
    above = np.nextafter(threshold, np.float16(1))
    _, scores, _, count = run([[0, 0, 10, 10], [50, 50, 60, 60]], [[threshold], [above]])
    assert count == 1, "equality with the threshold is not enough"
    assert scores[0] == above


@pytest.mark.parametrize(
    ("iou", "kept"),
    [(0.5, 1), (0.75, 2)],
)
def test_suppression_compares_with_the_sum_of_both_areas(iou, kept):
    """Two boxes of IoU 0.6 are one below a threshold of 0.5 and two below 0.75."""
    _, _, _, count = run([[0, 0, 80, 80], [0, 20, 80, 100]], [[0.9], [0.8]], NmsSettings(0.05, iou, 100, 100))
    assert count == kept


def test_overlap_equal_to_the_threshold_keeps_both():
    """Inter 50 of areas 100 and 100 at a factor that is exactly 1/4 in fp16: not above, so not suppressed."""
    iou = 1 / 3  # iou / (1 + iou) is 0.25
    pair = [[0, 0, 100, 100], [0, 50, 100, 150]]
    scores = [[0.9], [0.8]]
    assert run(pair, scores, NmsSettings(0.05, iou, 100, 100))[3] == 2, "equality does not suppress"
    assert run([pair[0], [0, 49, 100, 149]], scores, NmsSettings(0.05, iou, 100, 100))[3] == 1


def test_a_suppressed_box_suppresses_nothing():
    """Greedy: the third box overlaps the second only, and the second is gone."""
    boxes = [[0, 0, 100, 100], [0, 30, 100, 130], [0, 60, 100, 160]]
    _, scores, _, count = run(boxes, [[0.9], [0.8], [0.7]])
    assert count == 2
    np.testing.assert_array_equal(scores[:2], np.array([0.9, 0.7], np.float16))


def test_classes_do_not_see_each_other():
    """The same box in two classes comes out twice."""
    _, _, classes, count = run([[0, 0, 10, 10]], [[0.9, 0.8]])
    assert count == 2
    assert set(classes[:2]) == {0, 1}


def test_boxes_carry_the_quantisation_of_a_tenth():
    """x0.1 and x10 in fp16 move large coordinates, by no more than 1.25 pixels."""
    wanted = np.array([[1283.0, 613.0, 1331.0, 799.0]])
    boxes, _, _, _ = run(wanted, [[0.9]])
    difference = np.abs(boxes[0].astype(np.float64) - wanted[0])
    assert 0 < difference.max() <= 1.25, f"differences are {difference}"
    scaled = (wanted.astype(np.float16) * np.float16(0.1)).astype(np.float16)
    scaled[:, 2:] = (scaled[:, 2:] - np.float16(1)) + np.float16(1)
    np.testing.assert_array_equal(boxes[0], (scaled * np.float16(10))[0])


def test_unused_rows_have_a_class_that_means_nothing():
    """Box and score are 0, the class looks valid and is the same in every run."""
    boxes, scores, classes, count = run([[5, 5, 10, 10]], [[0.9, 0.0, 0.0]])
    again = run([[5, 5, 10, 10]], [[0.9, 0.0, 0.0]])
    assert count == 1
    assert not boxes[1:].any()
    assert not scores[1:].any()
    assert set(classes[1:]) == {0, 1, 2}, "a consumer that trusts the label must be found out"
    np.testing.assert_array_equal(classes, again[2])


def test_a_class_and_a_picture_have_their_caps():
    """max_size_per_class survivors of one class, max_total_size in all, the best ones."""
    positions = np.arange(300) * 3.0
    boxes = np.stack([positions, positions * 0, positions + 2, positions * 0 + 2], 1)
    first, second = np.linspace(0.9, 0.5, 300), np.linspace(0.85, 0.45, 300)
    _, _, classes, count = run(boxes, np.stack([first, second], 1), NmsSettings(0.05, 0.5, 7, 10))
    assert count == 10
    most = np.bincount(classes[:10].astype(int)).max()
    assert most <= 7, f"a class has {most} detections, at most 7 were asked for"
    _, scores, _, count = run(boxes, np.stack([first, second], 1))
    assert count == 100, "the cap in all is 100"
    assert (np.diff(scores[:100].astype(float)) <= 0).all(), "rows are sorted by score"


def test_ties_come_out_in_an_order_of_their_own():
    """Equal scores are ordered as no stable sort would, and always alike."""
    boxes = [[20 * i, 0, 20 * i + 10, 10] for i in range(40)]
    first, second = (run(boxes, [[0.5]] * 40)[0][:40, 0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert list(first) != sorted(first), "the order must not be the index's"
    assert list(first) != sorted(first, reverse=True), "the order must not be the reversed index's"


def test_every_class_may_have_boxes_of_its_own():
    """boxes[N, M, C, 4]: the class chooses its box."""
    boxes = np.array([[[[0, 0, 10, 10], [40, 40, 50, 50]]]], np.float32)
    out, _, classes, _ = batch_multi_class_nms(boxes, np.array([[[0.9, 0.8]]], np.float32), SETTINGS)
    assert list(classes[0, :2]) == [0, 1]
    np.testing.assert_allclose(out[0, :2, 0], [0, 40], atol=0.1)


def test_bursts_give_what_one_greedy_pass_gives():
    """More proposals than one burst of 128: the same survivors as the plain algorithm in float64 finds."""
    random = np.random.default_rng(3)
    corners = random.uniform(0, 200, (300, 2)).round()
    boxes = np.concatenate([corners, corners + random.integers(20, 60, (300, 2))], 1)
    scores = random.permutation(np.linspace(0.1, 0.9, 300)).astype(np.float16).astype(np.float64)
    kept = []
    for index in np.argsort(-scores):
        if all(_iou(boxes[index], boxes[other]) <= 0.5 for other in kept):
            kept.append(index)
    _, outputs, _, count = run(boxes, scores[:, None], NmsSettings(0.05, 0.5, 300, 300))
    missing = set(outputs[:count]) ^ set(scores[kept].astype(np.float16))
    assert len(kept) > 50, f"the plain algorithm keeps {len(kept)}, too few to compare"
    assert len(missing) <= 0.05 * len(kept), f"fp16 changes a few of {len(kept)} survivors, not {len(missing)}"


def _iou(first, second):
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    overlap = np.prod(np.maximum(sides, 0))
    areas = np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2])
    return overlap / (areas - overlap)
