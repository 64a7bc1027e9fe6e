"""The embedded default, its objects, and detections of all of them."""

import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.measure.coco.truth import read_truth
from fcos_lib.stream.dataset import open_dataset
from fixtures.settings import EMBEDDED
from tests.unit.measure.builders import found_objects


@pytest.fixture(scope="session")
def dataset():
    """The pictures and annotations of the embedded default."""
    return open_dataset(EMBEDDED)


@pytest.fixture(scope="session")
def truth(dataset):
    """Its objects."""
    return read_truth(dataset)


@pytest.fixture(scope="session")
def perfect(truth):
    """A detection of score 1 for every object."""
    return found_objects(truth, SHAPES)
