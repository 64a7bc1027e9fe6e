"""The network for one batch size: no shape in it is computed, the NPU's documents list all of it, and its bits are the same."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from fcos_lib.contract import SHAPES
from fcos_lib.emulator import atc, scenario
from fcos_lib.emulator.processor import Model
from fcos_lib.errors import ExportError
from fcos_lib.model.endings import ascend, portable
from fcos_lib.model.fixed_batch import is_open, with_fixed_batch
from fcos_lib.model.npu_operators import OPERATORS, operator_counts
from fcos_lib.model.taps import NETWORK_INPUT, tapped_trunk, with_taps
from fcos_lib.stream.dataset import open_dataset
from fcos_lib.stream.feed import load_batch
from fixtures.settings import EMBEDDED

pytest.importorskip("torch", reason="needs the extra 'export'")

BATCHES = (1, 4)


@pytest.fixture(scope="session")
def open_network(trunk):
    """The ascend ending as it is exported."""
    return ascend(trunk, SHAPES)


@pytest.fixture(scope="session", params=BATCHES, ids=[f"batch{batch}" for batch in BATCHES])
def fixed(request, open_network):
    """A batch size and the network for it."""
    return request.param, with_fixed_batch(open_network, request.param)


@pytest.fixture(scope="session")
def pictures():
    """Embedded pictures in which something is detected, as the network takes them: float32[4, 3, H, W]."""
    return load_batch(open_dataset(EMBEDDED).pictures[1:5], SHAPES, 4).tensor


def inferred(model):
    """Element type and dimensions of every tensor before the NMS, by name."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: value.type.tensor_type for value in values}


def test_no_shape_is_computed_and_every_one_is_known(fixed):
    """What computed shapes is gone; the batch size is a number, at the outputs too."""
    batch, model = fixed
    computing = {"Shape", "ConstantOfShape", "Expand", "Tile", "Slice", "GatherElements", "Constant"}
    assert not computing & operator_counts(model).keys(), "shapes are still computed in the graph"
    for name, kind in inferred(model).items():
        sizes = [dim.dim_value for dim in kind.shape.dim]
        assert all(sizes), f"{name} has the shape {sizes}"
    firsts = {
        value.name: value.type.tensor_type.shape.dim[0].dim_value for value in (*model.graph.input, *model.graph.output)
    }
    assert firsts == {"input": batch, "labels": batch, "dets": batch}


def test_the_sizes_of_a_resize_are_constants(fixed):
    """atc refuses others (the vendor's page on Resize)."""
    batch, model = fixed
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    sizes = [constants[node.input[3]].tolist() for node in model.graph.node if node.op_type == "Resize"]
    channels = SHAPES.feature_channels
    assert sizes == [[batch, channels, *shape] for shape in (SHAPES.level_shapes[1], SHAPES.level_shapes[0])]


def test_int64_is_left_where_onnx_wants_it_only(fixed):
    """A TopK's indices, which are cast at once, and the labels; whatever else computes with int64 is the AI CPU's."""
    _, model = fixed
    wide = {name for name, kind in inferred(model).items() if kind.elem_type == TensorProto.INT64} - {"labels"}
    (topk,) = (node for node in model.graph.node if node.op_type == "TopK")
    assert wide == {topk.output[1]}
    readers = [node for node in model.graph.node if topk.output[1] in node.input]
    assert [(node.op_type, node.attribute[0].i) for node in readers] == [("Cast", TensorProto.INT32)]


def test_the_table_holds_what_the_networks_consist_of(open_network, fixed):
    """And no more: an entry that nothing needs says nothing. A new operator has to be looked up and added by hand."""
    batch, model = fixed
    tapped = with_fixed_batch(with_taps(open_network, SHAPES, ["class_p3", NETWORK_INPUT]), batch)
    used = operator_counts(model).keys() | operator_counts(tapped).keys()
    assert used == OPERATORS.keys() - {"InstanceNormalization"}, (
        "which a GroupNorm in the head needs (test_zoo_proof.py)"
    )
    assert all(entry.source.startswith("https://www.hiascend.com/") for entry in OPERATORS.values())


def run(model, batch):
    """labels, dets, boxes and scores of a portable ending in onnxruntime."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["labels", "dets", "boxes", "scores"], {SHAPES.input_name: batch})


def test_onnxruntime_gives_the_same_bits(trunk, fixed, pictures):
    """The network for a fixed batch with the portable ending, against the one that the reference uses."""
    batch, model = fixed
    cut = tapped_trunk(model, SHAPES.proposal_names)
    del cut.graph.output[:]
    cut.graph.output.extend(trunk.graph.output)
    expected = run(portable(trunk, SHAPES), pictures[:batch])
    assert (expected[1][..., 4] > 0).any(), "nothing is detected, so nothing is compared"
    for one, other in zip(run(portable(cut, SHAPES), pictures[:batch]), expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("precision", ["force_fp16", "force_fp32"])
def test_the_emulator_gives_the_same_bits(open_network, fixed, pictures, precision, tmp_path, monkeypatch):
    """The same OM but for its graph, with proposals as further outputs, rounded to fp16 or not."""
    batch, model = fixed
    monkeypatch.setenv(scenario.VARIABLE, "")
    monkeypatch.chdir(tmp_path)
    shape = ",".join(map(str, SHAPES.input_shape(batch)))
    results = []
    for name, graph in (("open", open_network), ("fixed", model)):
        onnx.save(graph, f"{name}.onnx")
        status = atc.main([
            "--framework=5", f"--model={name}.onnx", f"--output={name}", f"--input_shape={SHAPES.input_name}:{shape}",
            "--soc_version=Ascend310P3", "--out_nodes=labels;dets", f"--precision_mode={precision}",
        ])  # fmt: skip
        assert status == 0, f"atc refuses the {name} network"
        results.append(Model(tmp_path / f"{name}.om").execute([pictures[:batch]]))
    assert (results[0][1][..., 4] > 0).any(), "nothing is detected, so nothing is compared"
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_an_open_graph_of_ours_is_changed(trunk, open_network, fixed):
    """What was exported elsewhere is what is to be tested, and a fixed one is fixed."""
    _, model = fixed
    assert is_open(open_network)
    assert not is_open(model)
    assert not is_open(trunk)


def with_operator(model, kind, **attributes):
    """The network with one more operator behind its scores."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    place, node = next((at, node) for at, node in enumerate(changed.graph.node) if "scores" in node.output)
    node.output[0] = "before"
    changed.graph.node.insert(place + 1, helper.make_node(kind, ["before"], ["scores"], name="new", **attributes))
    return changed


@pytest.mark.parametrize(
    ("kind", "attributes", "words"),
    [
        ("Erf", {}, r"Erf \(new\) is not in the table"),
        ("Cast", {"to": TensorProto.DOUBLE}, r"nms/scores_half\) gets scores as DOUBLE"),
    ],
    ids=["operator", "type"],
)
def test_what_no_document_lists_is_refused(open_network, kind, attributes, words):
    """By name, and with the place where it can be decided on."""
    with pytest.raises(ExportError, match=words) as raised:
        with_fixed_batch(with_operator(open_network, kind, **attributes), 2)
    assert "npu_operators.py" in raised.value.advice


def test_a_shape_that_stays_open_is_refused(open_network):
    """Such as that of a result whose size depends on values."""
    changed = with_operator(open_network, "Identity")
    values = helper.make_node("NonZero", ["before"], ["places"], name="values")
    changed.graph.node.append(values)
    changed.graph.output.append(helper.make_tensor_value_info("places", TensorProto.INT64, None))
    with pytest.raises(ExportError, match="places has no fixed shape"):
        with_fixed_batch(changed, 2)
