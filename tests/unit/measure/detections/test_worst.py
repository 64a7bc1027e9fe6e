"""The pictures that differ most are found and shown as they are: boxes in picture pixels, and each difference's cause."""

import base64
import json

import cv2
import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.measure.detections.worst import WIDEST, objects_of, score_loss, show, to_network, worst
from fcos_lib.stream.letterbox import geometry, to_picture
from fcos_lib.stream.sessions import Detections
from tests.unit.measure.builders import detections

A, B = (10, 10, 60, 60, 0.9, 0), (100, 20, 150, 80, 0.4, 1)


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


def test_numbers_that_are_none_are_the_worst():
    """NaN must not sort a picture out of sight."""
    broken = Detections(np.full((1, 4), np.nan, np.float32), np.array([np.nan], np.float32), np.zeros(1, np.int64))
    order = worst([detections(A), detections(A)], [detections(), broken])
    assert [index for index, _ in order] == [1, 0]


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


def test_a_picture_is_shown_with_boxes_causes_and_jpeg(dataset, truth):
    """Rows of differences lead to the boxes they are about; lengths are picture pixels; the JPEG is no wider than it may be."""
    picture = next(one for one in dataset.pictures if one.width > WIDEST)
    letterbox = geometry(picture.width, picture.height, SHAPES)
    reference = detections((100, 60, 160, 120, 0.9, 0), (200, 60, 260, 120, 0.6, 1))
    candidate = detections((100, 60, 160, 120, 0.9, 0), (200, 60, 260, 120, 0.6, 2))
    data = show([picture], [reference], [candidate], [1.2], truth, SHAPES)
    json.dumps(data, allow_nan=False)
    (shown,) = data["pictures"]
    assert data["names"] == list(SHAPES.classes)
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(shown["jpeg"]), np.uint8), cv2.IMREAD_COLOR)
    assert pixels.shape[1] == WIDEST
    assert shown["scale"] == pytest.approx(WIDEST / picture.width, abs=1e-4)
    assert shown["reference"][0][:4] == pytest.approx(to_picture(reference.boxes[:1], letterbox)[0], abs=0.06)
    (difference,) = shown["differences"]
    assert (difference["kind"], difference["cause"], difference["side"]) == ("class", "unexplained", "reference")
    assert shown["reference"][difference["row"]][5] == 1
    assert shown["candidate"][difference["other_row"]][5] == 2


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
