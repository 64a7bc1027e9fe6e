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


def test_different_results_for_each_picture_are_fine_and_so_are_empty_ones():
    """Two empty pictures are alike without being one."""
    found = coverage(PICTURES, {1: one(0.5), 2: NOTHING, 3: NOTHING})
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
    found = coverage(PICTURES, detections)
    assert (found.value, found.where) == (1, words)
