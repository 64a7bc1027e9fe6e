"""Pictures reach a session in the layout that it takes."""

import cv2
import numpy as np
import pytest

from fcos_lib.contract import SHAPES, InputLayout
from fcos_lib.sessions import Outputs
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.feed import batches, detect, load_batch

UINT8 = InputLayout.UINT8_NHWC


class Recorder:
    """A session that finds nothing and remembers what it was given."""

    contract = SHAPES

    def __init__(self, layout):
        self.layout, self.batches = layout, []

    def run(self, batch):
        """Outputs without a detection."""
        self.batches.append(batch)
        return Outputs(np.zeros((len(batch), 100), np.int64), np.zeros((len(batch), 100, 5), np.float32))


@pytest.fixture
def pictures(tmp_path):
    """Three pictures of one colour each."""
    found = []
    for number, colour in enumerate([(10, 20, 30), (200, 100, 50), (0, 0, 0)]):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), np.full((30, 40, 3), colour, np.uint8))
        found.append(Picture(number, path, 40, 30))
    return found


@pytest.mark.parametrize("layout", list(InputLayout), ids=lambda layout: layout.name)
def test_batches_have_the_sessions_layout(pictures, layout):
    """Type and shape are the layout's, and every picture gets its result."""
    session = Recorder(layout)
    assert sorted(detect(session, pictures, SHAPES, 2)) == [0, 1, 2]
    assert [batch.shape for batch in session.batches] == [SHAPES.input_shape(2, layout)] * 2
    assert {batch.dtype for batch in session.batches} == {np.dtype(layout.dtype)}


def test_both_layouts_show_the_same_pictures(pictures):
    """Bytes minus the mean are the floats, and both know where the picture lies."""
    floats, pixels = load_batch(pictures, SHAPES, 3), load_batch(pictures, SHAPES, 3, UINT8)
    assert floats.places == pixels.places
    centred = pixels.tensor.astype(np.float32) - np.array(SHAPES.mean_bgr, np.float32)
    np.testing.assert_allclose(centred.transpose(0, 3, 1, 2), floats.tensor, atol=0.25)  # 0.23 is the padding's rest


def test_unused_slots_of_bytes_hold_the_mean(pictures):
    """A slot of zeros would be a black picture, which is no padding."""
    *_, last = batches(pictures, SHAPES, 2, UINT8)
    assert len(last.pictures) == 1
    assert (last.tensor[1] == SHAPES.padding_bgr).all()
