"""Every kind of mistake is recognised as what it is, and AP is COCO's."""

from pathlib import Path

import numpy as np
import pytest

from fcos_lib.contract import COCO_R50, SHAPES
from fcos_lib.diagnosis.error_types import TYPES, error_types, level_by_size, reach_of
from fcos_lib.measure.coco.matching import match
from fcos_lib.measure.coco.metrics import twelve_numbers
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.sessions import Detections
from tests.unit.measure.builders import detections, objects

OBJECT = (100.0, 100.0, 140.0, 140.0)


def pictures(count=1):
    """Records of pictures that nobody opens."""
    return [Picture(number, Path(f"{number}.jpg"), 427, 256) for number in range(count)]


def sorted_by_type(truth, *found):
    """How often each type occurs; detections are (box, score, label)."""
    rows = [(*box, score, label) for box, score, label in found]
    result = error_types(truth, SHAPES, {0: detections(*rows)}, pictures())
    counts = {}
    for kinds in result.counts["class"].values():
        for kind, count in kinds.items():
            counts[kind] = counts.get(kind, 0) + count
    return counts, result


@pytest.mark.parametrize(
    ("kind", "box", "label"),
    [
        ("class", OBJECT, 1),
        ("location", (120.0, 100.0, 160.0, 140.0), 0),
        ("both", (120.0, 100.0, 160.0, 140.0), 1),
        ("background", (300.0, 10.0, 340.0, 50.0), 0),
    ],
)
def test_each_mistake_is_recognised(kind, box, label):
    """A box of 40 px, moved by half of itself, overlaps its object by a third."""
    counts, result = sorted_by_type(objects([OBJECT], [0], SHAPES), (box, 0.9, label))
    missed = {"missed": 1} if kind in ("both", "background") else {}
    assert counts == {kind: 1} | missed, "an object that another mistake accounts for is not missed as well"
    mended = "missed" if missed else kind
    assert result.ap50 == 0
    assert result.lost[mended] == (0 if missed else 1)


def test_a_second_box_is_a_duplicate():
    """The better one has the object; without the worse one nothing would be lost, as it ranks behind."""
    counts, result = sorted_by_type(objects([OBJECT], [0], SHAPES), (OBJECT, 0.9, 0), (OBJECT, 0.8, 0))
    assert counts == {"duplicate": 1}
    assert result.ap50 == 1
    assert result.lost["duplicate"] == 0


def test_what_is_mended_gains_what_it_cost():
    """Of two objects one is taken for the other class: mending that gives all of its AP back."""
    two = objects([OBJECT, (200.0, 100.0, 240.0, 140.0)], [0, 0], SHAPES)
    _, result = sorted_by_type(two, (OBJECT, 0.9, 0), ((200.0, 100.0, 240.0, 140.0), 0.8, 1))
    assert result.lost["class"] == pytest.approx(1 - result.ap50)
    assert result.lost["missed"] == 0
    assert set(result.lost) == set(TYPES)


def test_where_mistakes_lie_is_counted():
    """By class, by size of the object, and by the level that such an object belongs to."""
    _, result = sorted_by_type(objects([OBJECT, (10.0, 10.0, 210.0, 210.0)], [0, 3], SHAPES), (OBJECT, 0.9, 1))
    assert result.counts["class"] == {SHAPES.classes[1]: {"class": 1}, SHAPES.classes[3]: {"missed": 1}}
    assert result.counts["size"] == {"medium": {"class": 1}, "large": {"missed": 1}}
    assert result.counts["level"] == {"P3": {"class": 1}, "P4": {"missed": 1}}


def test_a_box_belongs_to_the_level_of_its_size():
    """64 px from the centre are P3's last, 512 px the beginning of P7."""
    sides = np.array([0, 128, 129, 256, 257, 1024, 1025], np.float32)
    boxes = np.stack([0 * sides, 0 * sides, sides, sides / 2], axis=1)
    assert level_by_size(boxes, 8, COCO_R50).tolist() == [0, 0, 1, 1, 2, 3, 4]


def test_levels_are_told_by_what_they_found():
    """A network that was trained with other ranges than mmdet's gives its objects to other levels."""
    sizes = np.array([16.0, 40, 80, 160, 300])
    boxes = np.stack([np.zeros(5), np.zeros(5), sizes, sizes], axis=1)
    assert reach_of(boxes, np.array([0, 1, 2, 3, 4]), SHAPES) == 2
    assert reach_of(boxes, np.array([0, 0, 0, 1, 2]), SHAPES) == 8
    assert reach_of(boxes[:0], np.zeros(0, int), SHAPES) == 8


@pytest.mark.parametrize("seed", range(5))
def test_ap_is_cocos(seed):
    """Whatever the detections, with crowds and pictures without an object."""
    random = np.random.default_rng(seed)
    count, size = 12, 60
    corners = random.uniform(0, 150, (size, 4))
    corners[:, 2:] = corners[:, :2] + random.uniform(10, 60, (size, 2))
    places = random.integers(0, count - 2, size)
    labels = random.integers(0, 3, size)
    truth = objects(corners, labels, SHAPES, places, count, random.random(size) < 0.1)
    detections = {}
    for picture in range(count):
        rows = np.flatnonzero(places == picture)
        boxes = np.concatenate([corners[rows], corners[rows] + 3, random.uniform(0, 80, (3, 4))])
        boxes[-3:, 2:] += boxes[-3:, :2]
        kinds = np.concatenate([labels[rows], labels[rows], [0, 1, 2]])
        kinds[random.random(len(kinds)) < 0.1] = 1
        scores = random.uniform(0.05, 1, len(boxes)).astype(np.float32)
        detections[picture] = Detections(boxes.astype(np.float32), scores, kinds.astype(np.int64))
    measured = error_types(truth, SHAPES, detections, pictures(count)).ap50
    assert measured == pytest.approx(twelve_numbers(match(truth, SHAPES, detections))["AP50"], abs=1e-9)
