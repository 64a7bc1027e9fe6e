"""COCO's numbers are pycocotools', over every picture exactly once."""

import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.errors import DatasetError
from fcos_lib.measure.coco_metrics import TWELVE, evaluate
from fcos_lib.sessions import Detections
from fcos_lib.stream.dataset import open_dataset
from fixtures.options import EMBEDDED


@pytest.fixture(scope="module")
def dataset():
    """The embedded default."""
    return open_dataset(EMBEDDED)


def none():
    """Nothing found."""
    return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


@pytest.fixture(scope="module")
def perfect(dataset):
    """The truth, as detections with score 1."""
    from pycocotools.coco import COCO

    truth = COCO(str(dataset.annotations))
    labels = {category: label for label, category in enumerate(dataset.label_ids(SHAPES))}
    found = {}
    for picture in dataset.pictures:
        rows = [a for a in truth.imgToAnns[picture.id] if not a["iscrowd"]]
        boxes = np.array([a["bbox"] for a in rows], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        found[picture.id] = Detections(
            boxes, np.ones(len(rows), np.float32), np.array([labels[a["category_id"]] for a in rows], np.int64)
        )
    return found


def test_the_truth_scores_one(dataset, perfect):
    """And every class has its number."""
    measured = evaluate(dataset, SHAPES, perfect)
    assert measured.value == pytest.approx(1.0)
    assert measured.n == len(dataset.pictures)
    assert set(measured.details["numbers"]) == set(TWELVE)
    assert set(measured.details["per_class"]) == set(SHAPES.classes)


def test_labels_shifted_by_one_score_nothing(dataset, perfect):
    """The category map matters: ids are neither contiguous nor alphabetical."""
    shifted = {
        number: Detections(found.boxes, found.scores, (found.labels + 1) % len(SHAPES.classes))
        for number, found in perfect.items()
    }
    assert evaluate(dataset, SHAPES, shifted).value < 0.05


def test_nothing_found_is_zero_and_not_a_crash(dataset):
    """An untrained model may find nothing at all."""
    assert evaluate(dataset, SHAPES, {picture.id: none() for picture in dataset.pictures}).value == 0


def test_a_missing_picture_is_refused(dataset, perfect):
    """An average over fewer pictures is another number."""
    fewer = dict(list(perfect.items())[1:])
    with pytest.raises(DatasetError, match=f"1 of {len(perfect)} pictures have no result"):
        evaluate(dataset, SHAPES, fewer)


def test_an_unknown_picture_is_refused(dataset, perfect):
    """Results of another dataset."""
    with pytest.raises(DatasetError, match="1 results belong to no picture"):
        evaluate(dataset, SHAPES, {**perfect, 999_999: none()})
