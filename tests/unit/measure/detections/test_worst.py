"""The pictures that differ most are found and shown as they are: boxes in picture pixels, and each difference's cause."""

import base64
import json

import cv2
import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.measure.detections.worst import WIDEST, objects_of, score_loss, show, to_network, worst
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.letterbox import geometry, to_picture
from fcos_lib.stream.sessions import Detections
from tests.unit.measure.builders import NOTHING, detections, objects

A, B = (10, 10, 60, 60, 0.9, 0), (100, 20, 150, 80, 0.4, 1)
THRESHOLD = SHAPES.score_threshold


def drawn(folder, width, height):
    """A grey picture of this size."""
    path = folder / "drawn.jpg"
    cv2.imwrite(str(path), np.full((height, width, 3), 128, np.uint8))
    return Picture(0, path, width, height)


def decoded(jpeg):
    """The pixels that are shown."""
    return cv2.imdecode(np.frombuffer(base64.b64decode(jpeg), np.uint8), cv2.IMREAD_COLOR)


def told(kind, cause, side, row, other_row, what):
    """A difference as the page gets it."""
    text = f"{kind} ({cause}): {what} in drawn.jpg"
    return {"kind": kind, "cause": cause, "side": side, "row": row, "other_row": other_row, "text": text}


@pytest.mark.parametrize(
    ("candidate", "loss"),
    [
        (detections(A, B), 0.0),
        (detections(A), 0.4),
        (detections(A, B, (200, 10, 220, 30, 0.3, 2)), 0.3),
        (detections((*A[:4], 0.7, 0), B), 0.2),
        (detections((10, 10, 60, 35, 0.9, 0), B), 0.45),
        (detections((*A[:5], 3), B), 1.8),
    ],
    ids=["equal", "missing", "extra", "less sure", "half the box", "another class"],
)
def test_what_changed_counts_with_its_score(candidate, loss):
    """A certain detection that is gone counts 1, one that moved by the part that is not shared, an equal one nothing."""
    assert score_loss(detections(A, B), candidate) == pytest.approx(loss, abs=1e-6)
    if loss != 0.45:  # a pair counts with the reference's score
        assert score_loss(candidate, detections(A, B)) == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_the_worst(score):
    """NaN must not sort a picture out of sight, nor must infinity on one side or on both."""
    broken = detections((*B[:4], score, 1))
    for other in (detections(A), broken):
        assert worst([detections(A), other], [detections(), broken]) == [(1, 1e6), (0, pytest.approx(0.9))]


def test_the_worst_come_first_and_no_more_than_asked_for():
    """By loss; those that must be seen before all others, whatever their loss."""
    reference = [detections(A)] * 30
    candidate = [detections((*A[:4], 0.9 - number / 100, 0)) for number in range(30)]
    assert [index for index, _ in worst(reference, candidate, most=3)] == [29, 28, 27]
    assert [index for index, _ in worst(reference, candidate, [4], most=3)] == [4, 29, 28]
    assert len(worst(reference, candidate)) == 20


def test_boxes_find_their_way_back_into_the_network():
    """What `to_picture` did not clip comes back to where it was."""
    letterbox = geometry(500, 375, SHAPES)
    boxes = np.array([[100, 40, 200.5, 120.25]], np.float32)
    assert to_network(to_picture(boxes, letterbox), letterbox) == pytest.approx(boxes, abs=1e-3)


def test_a_picture_is_shown_with_boxes_causes_and_jpeg(tmp_path):
    """Lengths are picture pixels: 427 of the network's for 700, 183 for 301, below 36 of padding. The JPEG is small enough."""
    picture = drawn(tmp_path, 700, 301)
    box = (61, 97, 122, 158)
    other, third, fourth = ((x, 97, x + 61, 158) for x in (183, 244, 305))
    reference = detections((*other, THRESHOLD, 0), (*third, 0.3, 2), (*box, 0.61239, 1))
    candidate = detections((*box, 0.61239, 3), (*fourth, 0.8, 3))
    truth = objects([(10.26, 20, 30, 40.5)], [2], SHAPES)
    data = show([picture], [reference], [candidate], [1.23456], truth, SHAPES)
    json.dumps(data, allow_nan=False)
    (shown,) = data["pictures"]
    assert decoded(shown.pop("jpeg")).shape == (206, WIDEST, 3)
    y = [100.3, 200.7]
    text = "score {} at [{}.0, 97.0, {}.0, 158.0]"
    moved = f"label 1 {text.format(0.6124, 61, 122)} became label 3 {text.format(0.6124, 61, 122)}"
    assert (data["names"], shown) == (
        list(SHAPES.classes),
        {
            "name": "drawn.jpg",
            "width": 700,
            "height": 301,
            "scale": 0.68571,
            "score_loss": 1.2346,
            "truth": [[10.3, 20.0, 30.0, 40.5, 2]],
            "reference": [
                [300.0, y[0], 400.0, y[1], 0.05, 0],
                [400.0, y[0], 500.0, y[1], 0.3, 2],
                [100.0, y[0], 200.0, y[1], 0.6124, 1],
            ],
            "candidate": [[100.0, y[0], 200.0, y[1], 0.6124, 3], [500.0, y[0], 600.0, y[1], 0.8, 3]],
            "differences": [
                told("extra", "unexplained", "candidate", 1, None, f"label 3 {text.format('0.8000', 305, 366)}"),
                told("class", "unexplained", "reference", 2, 0, moved),
                told("missing", "unexplained", "reference", 1, None, f"label 2 {text.format('0.3000', 244, 305)}"),
                told("missing", "score threshold", "reference", 0, None, f"label 0 {text.format('0.0500', 183, 244)}"),
            ],
        },
    )


def test_a_tie_is_told_if_what_reached_nms_is_known(tmp_path):
    """Two boxes of one score, of which each side kept another."""
    picture, truth = drawn(tmp_path, 700, 301), objects([], [], SHAPES)
    kept, rival = (61, 97, 122, 158, 0.75, 1), (71, 97, 132, 158, 0.75, 1)
    both = detections(kept, rival)
    scores = np.zeros((2, len(SHAPES.classes)), np.float32)
    scores[:, 1] = both.scores
    sides = [detections(kept)], [detections(rival)]
    for before_nms, cause in ((lambda index: (both.boxes, scores), "tie"), (None, "unexplained")):
        (shown,) = show([picture], *sides, [0.1], truth, SHAPES, before_nms)["pictures"]
        assert [difference["cause"] for difference in shown["differences"]] == [cause]


@pytest.mark.parametrize(("size", "shape"), [((200, 3), (3, 200, 3)), ((1000, 1), (1, WIDEST, 3))])
def test_a_small_picture_is_not_made_larger_and_a_row_stays_one(tmp_path, size, shape):
    """Shown as it is, or at least a pixel high."""
    (shown,) = show([drawn(tmp_path, *size)], [NOTHING], [NOTHING], [0], objects([], [], SHAPES), SHAPES)["pictures"]
    assert (decoded(shown["jpeg"]).shape, shown["scale"]) == (shape, min(1, WIDEST / size[0]))


def test_a_thin_line_does_not_vanish_where_a_picture_is_made_smaller(tmp_path):
    """A white column of three is a third of the light."""
    picture = drawn(tmp_path, 3 * WIDEST, 30)
    pixels = np.zeros((30, 3 * WIDEST, 3), np.uint8)
    pixels[:, ::3] = 255
    cv2.imwrite(str(picture.path), pixels)
    (shown,) = show([picture], [NOTHING], [NOTHING], [0], objects([], [], SHAPES), SHAPES)["pictures"]
    assert decoded(shown["jpeg"]).mean() == pytest.approx(85, abs=3)


def test_what_is_shown_costs_no_more_than_it_must(tmp_path):
    """Noise, which nothing compresses, in a byte and a half per pixel: twenty pictures travel in one page."""
    picture = drawn(tmp_path, WIDEST, 300)
    cv2.imwrite(str(picture.path), np.random.default_rng(0).integers(0, 256, (300, WIDEST, 3), np.uint8))
    (shown,) = show([picture], [NOTHING], [NOTHING], [0], objects([], [], SHAPES), SHAPES)["pictures"]
    assert len(shown["jpeg"]) < 1.5 * 300 * WIDEST, f"{len(shown['jpeg'])} bytes of text for {WIDEST} x 300 pixels"


def test_objects_are_those_of_the_annotation_file(dataset, truth):
    """Corners, and the label of the contract, in the order of the file."""
    picture = dataset.pictures[7]
    records = json.loads(dataset.annotations.read_text())["annotations"]
    expected = [one for one in records if one["image_id"] == picture.id and not one["iscrowd"]]
    names = {number: name for name, number in dataset.category_ids.items()}
    (objects,) = objects_of([picture], truth, SHAPES)
    assert len(objects) == len(expected) > 0, f"{len(objects)} objects are shown, the file has {len(expected)}"
    for shown, record in zip(objects, expected, strict=True):
        x, y, width, height = record["bbox"]
        assert shown[:4] == pytest.approx([x, y, x + width, y + height], abs=0.06)
        assert SHAPES.classes[shown[4]] == names[record["category_id"]]


def test_what_is_not_finite_is_shown_and_is_json(dataset, truth):
    """A device that returns NaN is just the one whose pictures somebody wants to see."""
    broken = Detections(
        np.array([[np.nan, 0, np.inf, 9]], np.float32), np.array([np.inf], np.float32), np.zeros(1, np.int64)
    )
    data = show([dataset.pictures[0]], [detections(A)], [broken], [1e6], truth, SHAPES)
    json.dumps(data, allow_nan=False)
    assert len(data["pictures"][0]["differences"]) == 2
