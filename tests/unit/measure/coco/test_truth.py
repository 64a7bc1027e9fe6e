"""The objects of an annotation file are pycocotools', and what they cannot be is refused."""

import re
from dataclasses import fields

import numpy as np
import pytest

from fcos_lib.errors import DatasetError
from fcos_lib.measure.coco.matching import match
from fcos_lib.measure.coco.metrics import twelve_numbers
from fcos_lib.measure.coco.truth import read_truth
from tests.unit.measure.builders import CONTRACT, annotation, detections, write_dataset
from tests.unit.measure.result_files import by_pycocotools


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"area": None}, "area None and iscrowd 0"),
        ({"area": True}, "area True and iscrowd 0"),
        ({"area": float("nan")}, "area nan and iscrowd 0"),
        ({"area": 1e18}, "area 1e+18 and iscrowd 0"),
        ({"area": "9" * 50}, f"area '{'9' * 39} and iscrowd 0"),
        ({"iscrowd": 2}, "area 81 and iscrowd 2"),
        ({"iscrowd": "0"}, "area 81 and iscrowd '0'"),
        ({"iscrowd": None}, "area 81 and iscrowd None"),
    ],
)
def test_an_odd_area_or_crowd_flag_is_refused(tmp_path, more, words):
    """pycocotools would stop in the middle, or sort the object into no size."""
    opened = write_dataset(tmp_path / "coco", [annotation(1, 7, "cat", [0, 0, 9, 9], **more)], [7])
    with pytest.raises(DatasetError, match=f"^{re.escape(f'{opened.annotations}: annotation 1 has the {words}')}\n"):
        read_truth(opened)


def test_without_an_area_or_crowd_flag_an_object_has_the_usual_ones(tmp_path):
    """Its box's area, and it is no crowd; a negative area is one of no size, but is taken."""
    objects = [annotation(1, 7, "cat", [0, 0, 5, 9]), annotation(2, 7, "cat", [0, 0, 2, 4], area=-3.5, iscrowd=1)]
    del objects[0]["area"], objects[0]["iscrowd"]
    truth = read_truth(write_dataset(tmp_path / "coco", objects, [7]))
    assert (truth.areas.tolist(), truth.crowd.tolist()) == ([45.0, -3.5], [False, True])


def test_annotations_that_changed_meanwhile_are_refused(tmp_path):
    """Results would be judged by other objects than those that were shown at the start."""
    opened = write_dataset(tmp_path / "coco", [annotation(1, 7, "cat", [0, 0, 9, 9])], [7])
    opened.annotations.write_text(opened.annotations.read_text() + " ")
    with pytest.raises(DatasetError, match="changed since the dataset was opened"):
        read_truth(opened)


@pytest.mark.parametrize("pictures", [[1, 2], [1], [2]])
def test_of_objects_with_one_id_the_last_counts_for_each(tmp_path, pictures):
    """As in pycocotools, which finds an object of a picture by its id: here the one in picture 2, twice."""
    objects = [annotation(5, 1, "cat", [0, 0, 20, 20]), annotation(5, 2, "cat", [50, 50, 30, 30]), annotation(6, 1, "dog", [9, 9, 40, 40])]  # fmt: skip
    opened = write_dataset(tmp_path / "coco", objects, [1, 2])
    found = {1: detections([0, 0, 20, 20, 0.9, 0], [9, 9, 49, 49, 0.8, 1]), 2: detections([50, 50, 80, 80, 0.7, 0])}
    rows = [[1, 0, 0, 20, 20, 0.9, 18], [1, 9, 9, 40, 40, 0.8, 3], [2, 50, 50, 30, 30, 0.7, 18]]
    expected = by_pycocotools(opened.annotations, np.array(rows), pictures).stats.tolist()
    some = {number: found[number] for number in pictures}
    measured = twelve_numbers(match(read_truth(opened).only(pictures), CONTRACT, some))
    assert list(measured.values()) == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize(
    ("pictures", "words"),
    [
        ([], "0 pictures were chosen, 0 of them twice and 0 that the annotation file does not list (first: [])"),
        ([1007, 1007], "2 pictures were chosen, 1 of them twice and 0 that"),
        ([8, 5, 1007, 7, 6], "5 pictures were chosen, 0 of them twice and 4 that the annotation file does not list (first: [5, 6, 7])"),
    ],
)  # fmt: skip
def test_a_choice_of_pictures_must_be_one(dataset, pictures, words):
    """None, the same one twice, or one that is not there."""
    with pytest.raises(DatasetError, match=f"^{re.escape(words)}"):
        read_truth(dataset).only(pictures)


def test_part_of_a_part_is_a_part(dataset):
    """Every object stays with its picture."""
    whole = read_truth(dataset)
    some, few = whole.picture_ids[40:200:3].tolist(), whole.picture_ids[61:150:9].tolist()
    once, twice = whole.only(few), whole.only(some).only(few)
    rows = np.isin(whole.picture_ids[whole.pictures], few)
    assert rows.sum() > 5, f"only {rows.sum()} objects are in them"
    for name in ("boxes", "areas", "crowd", "numbered", "categories"):
        np.testing.assert_array_equal(getattr(once, name), getattr(whole, name)[rows], err_msg=name)
    for field in fields(once):
        np.testing.assert_array_equal(getattr(twice, field.name), getattr(once, field.name), err_msg=field.name)
