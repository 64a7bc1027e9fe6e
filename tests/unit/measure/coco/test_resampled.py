"""A bootstrap is computed once for equal content, and again for anything that could change it."""

from dataclasses import replace

import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.measure.coco import resampled
from fcos_lib.measure.coco.metrics import averages
from fcos_lib.measure.coco.paired import paired_difference
from fcos_lib.measure.coco.resampled import resample
from fcos_lib.measure.coco.truth import read_truth
from fcos_lib.stream.dataset import open_dataset
from fcos_lib.stream.sessions import Detections
from fixtures.options import EMBEDDED

RESAMPLES = 20


@pytest.fixture(scope="module")
def truth():
    """The objects of the embedded default's first pictures."""
    truth = read_truth(open_dataset(EMBEDDED))
    return truth.only(truth.picture_ids[:12].tolist())


@pytest.fixture
def found(truth):
    """Every object, found with a score of its own."""
    index = truth.label_categories(SHAPES).tolist()
    random = np.random.default_rng(0)
    detections = {}
    for position, number in enumerate(truth.picture_ids.tolist()):
        boxes = truth.boxes[rows := truth.pictures == position].astype(np.float32)
        boxes[:, 2:] += boxes[:, :2]
        labels = np.array([index.index(kind) for kind in truth.categories[rows]], np.int64)
        detections[number] = Detections(boxes, random.random(len(boxes)).astype(np.float32), labels)
    return detections


@pytest.fixture
def computed(monkeypatch):
    """What was matched: one entry for each side that was really computed."""
    sides = []
    whole = resampled.match

    def match(truth, contract, detections):
        sides.append(detections)
        return whole(truth, contract, detections)

    monkeypatch.setattr(resampled, "match", match)
    resampled._KEPT.clear()
    return sides


def copied(found):
    """The same content in other objects."""
    return {number: Detections(one.boxes.copy(), one.scores.copy(), one.labels.copy()) for number, one in found.items()}


def shifted(found):
    """Another side."""
    return {number: replace(one, boxes=one.boxes + 2) for number, one in found.items()}


def test_six_batch_sizes_that_find_the_same_are_two_sides(computed, truth, found):
    """The reference and one candidate; it was twelve times the same bootstrap before."""
    differences = [
        paired_difference(truth, SHAPES, copied(found), copied(shifted(found)), resamples=RESAMPLES) for _ in range(6)
    ]
    assert len(computed) == 2, f"{len(computed)} sides were computed, there are 2"
    assert all(difference == differences[0] for difference in differences)


def test_what_is_kept_is_what_would_be_computed(computed, truth, found):
    """Bit for bit, and against the plain averages."""
    resample(truth, SHAPES, found, RESAMPLES, 0)
    kept = resample(truth, SHAPES, copied(found), RESAMPLES, 0)
    resampled._KEPT.clear()
    again = resample(truth, SHAPES, found, RESAMPLES, 0)
    np.testing.assert_array_equal(kept.drawn, again.drawn)
    np.testing.assert_array_equal(kept.whole[:12], averages(again.matches).twelve[:, 0])


def test_how_many_are_drawn_at_once_changes_nothing(monkeypatch, truth, found):
    """Only the memory that they need; numpy adds up a single column in another order, which moves the last bit."""
    resampled._KEPT.clear()
    together = resample(truth, SHAPES, found, RESAMPLES, 0).drawn
    resampled._KEPT.clear()
    monkeypatch.setattr(resampled, "_VALUES_AT_ONCE", 1)
    np.testing.assert_allclose(resample(truth, SHAPES, found, RESAMPLES, 0).drawn, together, rtol=0, atol=1e-12)


CHANGES = {
    "one bit of one score": lambda one: replace(one, scores=np.nextafter(one.scores, np.float32(0))),
    "one bit of one box": lambda one: replace(one, boxes=np.nextafter(one.boxes, np.float32(0))),
    "a label": lambda one: replace(one, labels=(one.labels + 1) % len(SHAPES.classes)),
    "a detection fewer": lambda one: Detections(one.boxes[1:], one.scores[1:], one.labels[1:]),
    "another order": lambda one: Detections(one.boxes[::-1], one.scores[::-1], one.labels[::-1]),
    "the type of the boxes": lambda one: replace(one, boxes=one.boxes.astype(np.float64)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_other_detections_are_computed_again(computed, truth, found, change):
    """A result that belongs to other detections would be a verdict on them."""
    resample(truth, SHAPES, found, RESAMPLES, 0)
    number = next(number for number, one in found.items() if len(one) > 1)
    resample(truth, SHAPES, found | {number: change(found[number])}, RESAMPLES, 0)
    assert len(computed) == 2, "changed detections got the numbers of the unchanged ones"


def test_detections_that_change_places_are_computed_again(computed, truth, found):
    """What is found in one picture belongs to no other."""
    resample(truth, SHAPES, found, RESAMPLES, 0)
    first, second, *_ = found
    resample(truth, SHAPES, found | {first: found[second], second: found[first]}, RESAMPLES, 0)
    assert len(computed) == 2


@pytest.mark.parametrize("name", ["boxes", "areas", "crowd", "numbered", "categories"])
def test_other_objects_are_computed_again(computed, truth, found, name):
    """A change of the annotations changes every number."""
    resample(truth, SHAPES, found, RESAMPLES, 0)
    values = getattr(truth, name).copy()
    values[0] = not values[0] if values.dtype == bool else values[0] + 1
    resample(replace(truth, **{name: values}), SHAPES, found, RESAMPLES, 0)
    assert len(computed) == 2, f"other {name} of an object got the numbers of the unchanged ones"


@pytest.mark.parametrize(("resamples", "seed"), [(RESAMPLES + 1, 0), (RESAMPLES, 1)])
def test_other_drawings_are_computed_again(computed, truth, found, resamples, seed):
    """More of them, or by another seed."""
    resample(truth, SHAPES, found, RESAMPLES, 0)
    resample(truth, SHAPES, found, resamples, seed)
    assert len(computed) == 2


def test_nobody_can_change_what_is_kept(truth, found):
    """The next to ask would get it."""
    kept = resample(truth, SHAPES, found, RESAMPLES, 0)
    with pytest.raises(ValueError, match="read-only"):
        kept.drawn[0, 0] = 1
