"""The published figure's own arithmetic, held to the recipe's steps as its script takes them, and to pycocotools."""

from dataclasses import replace

import numpy as np
import pytest

from fcos_lib.contract import COCO_R50, SHAPES
from fcos_lib.errors import DatasetError
from fcos_lib.measure import Measurement
from fcos_lib.measure.coco.as_published import as_published, recipe_detections, recipe_pictures
from fcos_lib.measure.coco.metrics import evaluate
from fcos_lib.measure.coco.ruler import Ruler
from fcos_lib.stream.dataset import Dataset, Picture
from fcos_lib.stream.letterbox import geometry, in_picture
from fcos_lib.stream.sessions import Detections
from fixtures.settings import EMBEDDED


@pytest.fixture(scope="module")
def detected(dataset, truth):
    """Every object, found where it is in the network's input but for a little, and beyond the picture's border by as much."""
    random, detected = np.random.default_rng(0), {}
    label = {kind: index for index, kind in enumerate(truth.label_categories(SHAPES).tolist())}
    for position, picture in enumerate(dataset.pictures):
        place, rows = geometry(picture.width, picture.height, SHAPES), np.flatnonzero(truth.pictures == position)
        boxes = truth.boxes[rows] + np.pad(truth.boxes[rows, :2], ((0, 0), (2, 0)))
        boxes = boxes * ([place.scale_x, place.scale_y] * 2) + ([place.left, place.top] * 2)
        boxes = (boxes + random.normal(0, 2, boxes.shape)).astype(np.float32)
        labels = np.array([label[kind] for kind in truth.categories[rows].tolist()], np.int64)
        seen = Detections(boxes, random.random(len(rows)).astype(np.float32), labels)
        detected[picture.id] = in_picture(seen, place)
    return detected


def by_hand(box, width, height, contract):
    """`postprocess_bboxes` of the recipe for one box, in Python's own numbers."""
    scale = min(contract.width / width, contract.height / height)
    left, top = (contract.width - width * scale) // 2, (contract.height - height * scale) // 2
    return [(value - border) / scale for value, border in zip(box, (left, top, left, top), strict=True)]


@pytest.mark.parametrize("size", [(640, 480), (481, 640), (500, 375), (333, 500), (1333, 800), (37, 611)])
def test_boxes_come_back_as_in_the_recipe(dataset, size):
    """Not floored, not clipped: at 640 x 480 the two ways agree but for the border, at odd sizes they do not."""
    picture = Picture(7, EMBEDDED / "7.jpg", *size)
    one = Dataset(EMBEDDED, dataset.annotations, "", (picture,), {})
    boxes = np.array([[-3.0, 5.0, 1200.5, 799.0], [400.25, 300.5, 420.75, 333.0]], np.float32)
    seen = Detections(boxes, np.ones(2, np.float32), np.zeros(2, np.int64))
    there = in_picture(seen, geometry(*size, COCO_R50))
    (back,) = recipe_detections(one, COCO_R50, {7: there}).values()
    np.testing.assert_allclose(
        back.boxes, [by_hand(box, *size, COCO_R50) for box in boxes.tolist()], rtol=2e-6, atol=1e-4
    )
    assert (back.scores is seen.scores, back.labels is seen.labels) == (True, True)
    assert not np.allclose(back.boxes, there.boxes, atol=0.01), "they would be the exact inverse, clipped"


def test_the_border_is_that_of_the_picture_before_flooring(dataset):
    """533.75 columns leave 399 on the left, and the 533 that there really are leave 400."""
    picture = Picture(7, EMBEDDED / "7.jpg", 427, 640)
    one = Dataset(EMBEDDED, dataset.annotations, "", (picture,), {})
    zero = Detections(
        np.zeros((1, 4), np.float32), np.ones(1, np.float32), np.zeros(1, np.int64), np.zeros((1, 4), np.float32)
    )
    (back,) = recipe_detections(one, COCO_R50, {7: zero}).values()
    place = geometry(427, 640, COCO_R50)
    assert place.left == 400, "(1333 - 533) // 2"
    assert back.boxes[0, 0] * -1.25 == pytest.approx(399), "(1333 - 533.75) // 2: a pixel further left"


def test_pictures_without_an_annotation_are_left_out(dataset, truth):
    """And tiny ones; a crowd is an annotation."""
    chosen = recipe_pictures(dataset, truth)
    annotated = {int(truth.picture_ids[position]) for position in truth.pictures}
    assert chosen == sorted(annotated)
    assert len(chosen) == 228
    first, *others = [picture for picture in dataset.pictures if picture.id in annotated]
    for size, counts in (({"width": 31}, False), ({"height": 31}, False), ({"width": 32, "height": 32}, True)):
        tiny = replace(dataset, pictures=(replace(first, **size), *others))
        expected = chosen if counts else chosen[1:]
        assert recipe_pictures(tiny, truth) == expected, f"{size} counts: {counts}"


def test_the_numbers_are_pycocotools_on_the_recipes_boxes(dataset, truth, detected):
    """All twelve, over the recipe's pictures; what is found in the others, which the recipe does not see, costs nothing."""
    empty = next(picture.id for picture in dataset.pictures if not len(detected[picture.id]))
    wrong = {**detected, empty: next(one for one in detected.values() if len(one) > 3)}
    measured = as_published(dataset, truth, SHAPES, wrong)
    expected = Ruler(dataset.annotations, SHAPES).numbers(
        recipe_detections(dataset, SHAPES, detected), recipe_pictures(dataset, truth)
    )
    assert measured.details["numbers"] == pytest.approx(
        {name: expected[name] for name in measured.details["numbers"]}, abs=1e-12
    )
    classes = {name.removeprefix("AP of "): value for name, value in expected.items() if name.startswith("AP of ")}
    lowest = min(classes, key=classes.get)
    left_out = "12 pictures without an annotation are left out, as in the recipe"
    assert replace(measured, details={}) == Measurement(
        "mAP as published", measured.details["numbers"]["mAP"], "AP", 228,
        f"lowest class: {lowest} {classes[lowest]:.3f}; {left_out}", gate="accuracy.mAP_as_published",
    )  # fmt: skip
    assert measured.details["data_set"]["count"] == 240, "the dataset that a limit is for is the whole one"


def test_ours_is_higher_on_the_same_detections(dataset, truth, detected):
    """Which is why the published figure must not judge ours: a worse model would pass."""
    ours, published = evaluate(dataset, SHAPES, detected).value, as_published(dataset, truth, SHAPES, detected).value
    assert 0.001 < ours - published < 0.05, f"ours {ours:.4f}, as published {published:.4f}"


def test_without_the_models_own_boxes_those_in_the_picture_are_taken(dataset, truth, detected):
    """Clipped, so not quite the recipe's."""
    clipped = {number: replace(one, network=None) for number, one in detected.items()}
    exact, near = (as_published(dataset, truth, SHAPES, each).value for each in (detected, clipped))
    assert exact != near
    assert exact == pytest.approx(near, abs=0.02)


def test_no_annotation_is_nothing_measured(dataset, truth, detected):
    """n 0, which is NO VERDICT. The same if each is a crowd, which nobody has to find."""
    bare = replace(truth, pictures=truth.pictures[:0])
    assert as_published(dataset, bare, SHAPES, detected, gate="of another kind") == Measurement(
        "mAP as published", 0.0, "AP", 0, "no picture has an annotation", gate="of another kind"
    )
    crowds = as_published(dataset, replace(truth, crowd=np.ones_like(truth.crowd)), SHAPES, detected)
    assert (crowds.n, crowds.details["per_class"]) == (0, {})


def test_a_picture_without_a_result_is_an_error(dataset, truth, detected):
    """As in our own evaluation: fewer pictures have another average."""
    lost = recipe_pictures(dataset, truth)[1]
    with pytest.raises(DatasetError, match=rf"1 of 228 pictures have no result \(first: \[{lost}\]\)"):
        as_published(dataset, truth, SHAPES, {number: one for number, one in detected.items() if number != lost})
