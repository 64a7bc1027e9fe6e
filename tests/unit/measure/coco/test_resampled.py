"""A bootstrap is computed once for equal content, and again for anything that could change it."""

from dataclasses import replace

import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.measure.coco import resampled
from fcos_lib.measure.coco.matching import match
from fcos_lib.measure.coco.metrics import averages
from fcos_lib.measure.coco.paired import paired_difference
from fcos_lib.measure.coco.resampled import resample, resample_matches
from fcos_lib.stream.sessions import Detections
from tests.unit.measure.builders import NOTHING, found_objects, objects, with_own_scores

RESAMPLES = 20


@pytest.fixture(scope="module")
def truth(truth):
    """The objects of the embedded default's first pictures."""
    return truth.only(truth.picture_ids[:12].tolist())


@pytest.fixture
def detected(truth):
    """Every object, found with a score of its own."""
    return with_own_scores(found_objects(truth, SHAPES))


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


def copied(detected):
    """The same content in other objects."""
    return {
        number: Detections(one.boxes.copy(), one.scores.copy(), one.labels.copy()) for number, one in detected.items()
    }


def test_six_batch_sizes_that_find_the_same_are_two_sides(computed, truth, detected):
    """The reference and one candidate; it was twelve times the same bootstrap before."""
    shifted = {number: replace(one, boxes=one.boxes + 2) for number, one in detected.items()}
    differences = [
        paired_difference(truth, SHAPES, copied(detected), copied(shifted), resamples=RESAMPLES) for _ in range(6)
    ]
    assert len(computed) == 2, f"{len(computed)} sides were computed, there are 2"
    assert all(difference == differences[0] for difference in differences)


def test_what_is_kept_is_what_would_be_computed(computed, truth, detected):
    """Bit for bit, and against the plain averages; nobody can change it for who asks next."""
    resample(truth, SHAPES, detected, RESAMPLES, 0)
    kept = resample(truth, SHAPES, copied(detected), RESAMPLES, 0)
    resampled._KEPT.clear()
    again = resample(truth, SHAPES, detected, RESAMPLES, 0)
    np.testing.assert_array_equal(kept.drawn, again.drawn)
    np.testing.assert_array_equal(kept.whole[:12], averages(again.matches).twelve[:, 0])
    for numbers in (kept.drawn, kept.whole):
        with pytest.raises(ValueError, match="read-only"):
            numbers[..., 0] = 1


def test_no_more_sides_are_kept_than_a_run_compares(computed, truth, detected):
    """Of more than four the one that was asked for longest ago is computed again."""
    for seed in (0, 1, 2, 3, 0, 4, 0):
        resample(truth, SHAPES, detected, RESAMPLES, seed)
    assert (len(computed), len(resampled._KEPT)) == (5, 4)
    resample(truth, SHAPES, detected, RESAMPLES, 1)
    assert len(computed) == 6, "the second seed was to be the one that is gone"


def test_how_many_are_drawn_at_once_changes_nothing(monkeypatch, truth, detected):
    """Only the memory that they need; numpy adds up a single column in another order, which moves the last bit."""
    resampled._KEPT.clear()
    together = resample(truth, SHAPES, detected, RESAMPLES, 0).drawn
    resampled._KEPT.clear()
    monkeypatch.setattr(resampled, "_VALUES_AT_ONCE", 1)
    np.testing.assert_allclose(resample(truth, SHAPES, detected, RESAMPLES, 0).drawn, together, rtol=0, atol=1e-12)


def test_few_are_drawn_at_once_where_many_detections_overlap_an_object(monkeypatch, truth, detected):
    """200 in each picture: tables of a category have a row for each of them, and a column for each resample."""
    many = {number: one if not len(one) else _repeated(one, 200) for number, one in detected.items()}
    matches = match(truth, SHAPES, many)
    largest = int(np.diff(np.searchsorted(matches.rows, matches.starts)).max())
    assert largest > 40 * len(truth.names), f"only {largest} overlap an object"
    assert parts_of(matches, 4 * largest, monkeypatch) == [4] * 5, f"{largest} detections in the largest category"


def test_few_are_drawn_at_once_where_there_are_many_categories_or_pictures(monkeypatch, truth, detected):
    """Each category has 40 curves; a drawing says how often each picture is there. What is left over comes last."""
    matches = match(truth, SHAPES, detected)
    assert parts_of(matches, 7 * 40 * len(truth.names), monkeypatch) == [7, 7, 6]
    wide = objects([[5, 5, 40, 40]], [0], SHAPES, count=500)
    matches = match(wide, SHAPES, dict.fromkeys(range(500), NOTHING))
    assert parts_of(matches, 6 * 500, monkeypatch) == [6, 6, 6, 2]
    assert parts_of(matches, 1 << 23, monkeypatch) == [20]
    assert parts_of(matches, 1, monkeypatch) == [1] * 20, "one is the least"


def parts_of(matches, values_at_once, monkeypatch):
    """How many drawings are counted together, of 20."""
    drawn = []
    monkeypatch.setattr(
        resampled, "averages", lambda matches, weights: drawn.append(weights) or averages(matches, weights)
    )
    monkeypatch.setattr(resampled, "_VALUES_AT_ONCE", values_at_once)
    resample_matches(matches, RESAMPLES, 0)
    return [len(each) for each in drawn if each is not None]


def _repeated(one, times):
    """The same detections so many times, as a detector without NMS has them."""
    parts = (np.repeat(values, times, axis=0) for values in (one.boxes, one.scores, one.labels))
    return Detections(*parts)


def in_one_picture(change):
    """Change what is found in a picture with several detections."""

    def changed(truth, detected):
        number = next(number for number, one in detected.items() if len(one) > 1)
        return truth, detected | {number: change(detected[number])}

    return changed


def of_an_object(name):
    """Change one value of the first object."""

    def changed(truth, detected):
        values = getattr(truth, name).copy()
        values[0] = not values[0] if values.dtype == bool else values[0] + 1
        return replace(truth, **{name: values}), detected

    return changed


def exchanged(truth, detected):
    """What is found in one picture belongs to no other."""
    first, second, *_ = detected
    return truth, detected | {first: detected[second], second: detected[first]}


CHANGES = {
    "one bit of one score": in_one_picture(lambda one: replace(one, scores=np.nextafter(one.scores, np.float32(0)))),
    "one bit of one box": in_one_picture(lambda one: replace(one, boxes=np.nextafter(one.boxes, np.float32(0)))),
    "a label": in_one_picture(lambda one: replace(one, labels=(one.labels + 1) % len(SHAPES.classes))),
    "a detection fewer": in_one_picture(lambda one: Detections(one.boxes[1:], one.scores[1:], one.labels[1:])),
    "another order": in_one_picture(lambda one: Detections(one.boxes[::-1], one.scores[::-1], one.labels[::-1])),
    "the type of the boxes": in_one_picture(lambda one: replace(one, boxes=one.boxes.astype(np.float64))),
    "places": exchanged,
    **{
        f"{name} of an object": of_an_object(name)
        for name in ("boxes", "areas", "crowd", "numbered", "pictures", "categories")
    },
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_other_content_is_computed_again(computed, truth, detected, change):
    """A result that belongs to other detections or objects would be a verdict on them."""
    resample(truth, SHAPES, detected, RESAMPLES, 0)
    other_truth, other_found = change(truth, detected)
    resample(other_truth, SHAPES, other_found, RESAMPLES, 0)
    assert len(computed) == 2, "what was changed got the numbers of what was not"


def test_another_order_of_classes_is_computed_again(computed, truth, detected):
    """The same labels are then other classes; nor may categories be other ones by the same numbers."""
    first, second, *others = SHAPES.classes
    resample(truth, SHAPES, detected, RESAMPLES, 0)
    resample(truth, replace(SHAPES, classes=(second, first, *others)), detected, RESAMPLES, 0)
    ids = dict(truth.category_ids) | {first: truth.category_ids[second], second: truth.category_ids[first]}
    resample(replace(truth, category_ids=ids), SHAPES, detected, RESAMPLES, 0)
    assert len(computed) == 3, "what was changed got the numbers of what was not"


@pytest.mark.parametrize(("resamples", "seed"), [(RESAMPLES + 1, 0), (RESAMPLES, 1)])
def test_other_drawings_are_computed_again(computed, truth, detected, resamples, seed):
    """More of them, or by another seed."""
    resample(truth, SHAPES, detected, RESAMPLES, 0)
    resample(truth, SHAPES, detected, resamples, seed)
    assert len(computed) == 2
