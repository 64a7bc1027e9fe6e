"""Decoding in numpy gives the proposals that the ONNX gives, but for the last bit."""

import numpy as np
import onnx
import onnxruntime
import pytest

from fcos_lib.artifacts import PORTABLE
from fcos_lib.artifacts.from_checkpoint import onnx_artifact
from fcos_lib.contract import SHAPES
from fcos_lib.measure.proposals.replay import replay
from fcos_lib.model.decoding import decode
from fcos_lib.model.export import head_names
from fcos_lib.model.taps import tapped_trunk
from fcos_lib.store.artifacts import Store
from fcos_lib.stream.dataset import open_dataset
from fcos_lib.stream.feed import load_batch
from fixtures.settings import EMBEDDED, EMBEDDED_CHECKPOINT


@pytest.fixture(scope="module")
def tensors(exported):
    """The head's tensors and the proposals of four pictures."""
    names = [*head_names(SHAPES), *SHAPES.proposal_names]
    models = onnx_artifact(Store(exported), SHAPES, EMBEDDED_CHECKPOINT)
    trunk = tapped_trunk(onnx.load(models.path / PORTABLE), names)
    session = onnxruntime.InferenceSession(trunk.SerializeToString(), providers=["CPUExecutionProvider"])
    batch = load_batch(open_dataset(EMBEDDED).pictures[:4], SHAPES, 4).tensor
    return dict(zip(names, session.run(names, {SHAPES.input_name: batch}), strict=True))


def test_every_row_of_a_whole_level_is_the_same(tensors):
    """Levels that no TopK cuts come in the order of their points."""
    boxes, scores = decode(tensors, SHAPES)
    cut = SHAPES.proposals_by_level[0]
    assert boxes.dtype == scores.dtype == np.float32
    np.testing.assert_allclose(boxes[:, cut:], tensors["boxes"][:, cut:], atol=1e-4)
    np.testing.assert_allclose(scores[:, cut:], tensors["scores"][:, cut:], atol=1e-6)


def test_the_best_of_a_cut_level_are_the_same(tensors):
    """Equal scores may be ordered otherwise where the last bit of a sigmoid decides; the sorted scores are the same."""
    cut = SHAPES.proposals_by_level[0]
    ours, theirs = (np.sort(scores[:, :cut].max(axis=2)) for scores in (decode(tensors, SHAPES)[1], tensors["scores"]))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_nms_finds_the_same_in_both(tensors):
    """Which is what decoding is for."""
    ours, theirs = replay(*decode(tensors, SHAPES), SHAPES), replay(tensors["boxes"], tensors["scores"], SHAPES)
    assert any(map(len, theirs)), "nothing was found, so nothing is compared"
    for in_numpy, in_onnx in zip(ours, theirs, strict=True):
        assert len(in_numpy) == len(in_onnx)
        np.testing.assert_allclose(in_numpy.scores, in_onnx.scores, atol=1e-6)


def test_nan_decodes_to_nan(tensors):
    """A broken head must not look whole, and must not fail."""
    broken = {name: tensor.copy() for name, tensor in tensors.items()}
    broken["class_p3"][:] = np.nan
    _, scores = decode(broken, SHAPES)
    assert np.isnan(scores[:, : SHAPES.proposals_by_level[0]]).all()
