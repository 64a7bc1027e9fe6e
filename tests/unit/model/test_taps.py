"""Layers are found where a device has them, and an ONNX that shows them computes what it did before."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest

from fcos_lib.artifacts import ASCEND, PORTABLE
from fcos_lib.artifacts.from_checkpoint import onnx_artifact
from fcos_lib.contract import SHAPES
from fcos_lib.errors import ExportError
from fcos_lib.model.export import head_names
from fcos_lib.model.taps import NETWORK_INPUT, rounded, tapped_trunk, taps_of, with_taps
from fcos_lib.store.artifacts import Store
from fixtures.settings import EMBEDDED_CHECKPOINT


@pytest.fixture(scope="module")
def endings(exported):
    """The embedded model's two endings."""
    path = onnx_artifact(Store(exported), SHAPES, EMBEDDED_CHECKPOINT).path
    return onnx.load(path / PORTABLE), onnx.load(path / ASCEND)


def run(model, names, batch):
    """A part of the network in onnxruntime."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(list(names), {SHAPES.input_name: batch}), strict=True))


def test_every_convolution_is_in_one_layer(endings):
    """And both endings have the same layers, whose last are the head's tensors."""
    taps = taps_of(endings[0], SHAPES)
    convolutions = Counter(node for tap in taps for node in tap.nodes if node.endswith("Conv"))
    assert convolutions == {node.name: 1 for node in endings[0].graph.node if node.op_type == "Conv"}
    assert taps == taps_of(endings[1], SHAPES)
    assert set(head_names(SHAPES)) <= {tap.tensor for tap in taps}


def test_a_layer_ends_where_a_device_ends_it(endings):
    """A convolution, the sum with the shortcut and the ReLU are one; two convolutions that meet in a sum are named by it."""
    by_name = {tap.name: tap.operator for tap in taps_of(endings[0], SHAPES)}
    assert by_name["/backbone/layer1/layer1.1/conv3/Conv"] == "Conv+Add+Relu"
    assert by_name["/backbone/layer1/layer1.0/Add"] == "Conv+Conv+Add+Relu"
    assert by_name["/neck/fpn_convs.0/conv/Conv"] == "Conv"


def test_the_onnx_for_atc_returns_them_last(endings):
    """In the order asked for, behind what it returned before; the network's input can be among them."""
    model = with_taps(endings[1], SHAPES, ["class_p3", NETWORK_INPUT])
    outputs = [value.name for value in model.graph.output]
    assert outputs == [*SHAPES.output_names, *SHAPES.proposal_names, "class_p3", NETWORK_INPUT]
    with pytest.raises(ExportError, match="no node that gives nowhere"):
        with_taps(endings[1], SHAPES, ["nowhere"])


def test_rounding_is_that_of_fp16(endings):
    """Every tensor behind a layer holds fp16 values, near those of float32 and not equal to them."""
    taps = taps_of(endings[0], SHAPES)
    names = [tap.tensor for tap in taps[:5]]
    batch = np.random.default_rng(1).uniform(-100, 100, SHAPES.input_shape(1)).astype(np.float32)
    trunk = tapped_trunk(endings[0], names)
    exact, half = run(trunk, names, batch), run(rounded(trunk, taps), names, batch)
    for name in names:
        assert (half[name] == half[name].astype(np.float16)).all()
        ratio = np.linalg.norm(half[name] - exact[name]) / np.linalg.norm(exact[name])
        assert 0 < ratio < 0.002, (
            f"fp16 moves {name} by {ratio:.2g} of its size, more than none and less than 0.002 expected"
        )


def test_a_graph_without_layers_is_refused(endings):
    """Such as one that only has the end of a network."""
    model = onnx.ModelProto()
    model.CopyFrom(endings[0])
    nodes = [node for node in model.graph.node if node.op_type != "Conv"]
    del model.graph.node[:]
    model.graph.node.extend(node for node in nodes if not set(node.output) & set(head_names(SHAPES)))
    with pytest.raises(ExportError, match="no convolution"):
        taps_of(model, SHAPES)
