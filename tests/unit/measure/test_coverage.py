"""Every picture counts exactly once, whatever was lost, invented or read twice."""

from pathlib import Path

import numpy as np
import pytest

from fcos_lib.measure.coverage import coverage
from fcos_lib.sessions import Detections
from fcos_lib.stream.dataset import Picture

PICTURES = [Picture(number, Path(f"{number}.jpg"), 10, 10) for number in (1, 2, 3)]


def one(score):
    """A single detection."""
    return Detections(np.ones((1, 4), np.float32), np.array([score], np.float32), np.zeros(1, np.int64))


NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def nobody(pictures):
    """A reference that must not be asked: it may take seconds for each picture."""
    raise AssertionError(f"the reference was asked about {len(pictures)} pictures that are not alike")


def test_different_results_for_each_picture_are_fine_and_so_are_empty_ones():
    """Two empty pictures are alike without being one."""
    found = coverage(PICTURES, {1: one(0.5), 2: NOTHING, 3: NOTHING}, nobody)
    assert (found.value, found.n, found.where, found.details["empty"]) == (0, 3, "", 2)


@pytest.mark.parametrize(
    ("detections", "words"),
    [
        ({1: one(0.5), 2: one(0.6)}, "1 without results: 3.jpg"),
        ({1: one(0.5), 2: one(0.6), 3: NOTHING, 9: one(0.7)}, "1 not asked for: picture 9"),
        ({1: one(0.5), 2: one(0.6), 3: one(0.6)}, "1 with the results of another picture: 3.jpg"),
    ],
)
def test_what_does_not_count_once_is_counted_and_named(detections, words):
    """Lost, invented, repeated."""
    found = coverage(PICTURES, detections, lambda pictures: {each.id: one(0.1 * each.id) for each in pictures})
    assert (found.value, found.where) == (1, words)


def test_pictures_that_are_alike_for_the_reference_too_are_counted_once_each():
    """The same picture twice in a data set, or two files that decode alike: nothing is wrong with the candidate."""
    found = coverage(
        PICTURES, {1: one(0.5), 2: one(0.6), 3: one(0.6)}, lambda pictures: {each.id: one(0.7) for each in pictures}
    )
    assert (found.value, found.where, found.details["alike"]) == (0, "", ["3.jpg"])


def test_a_copy_beside_twins_is_still_found():
    """Of three equal results two are of twins, and one was copied."""
    reference = {1: one(0.7), 2: one(0.7), 3: one(0.2)}
    found = coverage(
        PICTURES,
        dict.fromkeys((1, 2, 3), one(0.6)),
        lambda pictures: {each.id: reference[each.id] for each in pictures},
    )
    assert (found.value, found.details["alike"]) == (1, ["2.jpg"])
    assert "3.jpg" in found.where


def test_the_reference_is_not_asked_about_thousands_of_copies():
    """A device that returns one result for everything must not cost hours."""
    pictures = [Picture(number, Path(f"{number}.jpg"), 10, 10) for number in range(5000)]
    found = coverage(pictures, dict.fromkeys(range(5000), one(0.6)), nobody)
    assert found.value == 4999
