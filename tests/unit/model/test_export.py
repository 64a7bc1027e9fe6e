"""The exported graphs are the ones that were promised, and a graph that is not is refused."""

import numpy as np
import onnx
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.errors import ExportError
from fcos_lib.model.endings import ascend, portable, trunk_of, with_proposals
from fcos_lib.model.export import OPSET, check_trunk, head_names
from fcos_lib.model.npu_operators import NMS_OPERATOR, operator_counts, tensor_shape
from fcos_lib.stream.sessions import OnnxSession

pytest.importorskip("torch", reason="needs the extra 'export'")


def copy(model):
    """A model to damage."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    return other


def test_the_trunk_has_opset_11_and_a_dynamic_batch(trunk):
    """Names, shapes and opset; the head's tensors keep their names inside."""
    assert [(entry.domain, entry.version) for entry in trunk.opset_import] == [("", OPSET)]
    assert [tensor_shape(value) for value in trunk.graph.input] == [["batch", 3, 256, 427]]
    assert {value.name: tensor_shape(value) for value in trunk.graph.output} == {
        "boxes": ["batch", 1580, 4],
        "scores": ["batch", 1580, 8],
    }
    made = {name for node in trunk.graph.node for name in node.output}
    assert not set(head_names(SHAPES)) - made, "the head's tensors, class_p3 to centerness_p7, cannot be tapped by name"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda m: setattr(m.opset_import[0], "version", 13), "opset"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 1), "inputs"),
        (lambda m: m.graph.output.pop(), "outputs"),
    ],
    ids=["opset", "static-batch", "output"],
)
def test_a_trunk_that_breaks_the_promise_is_refused(trunk, damage, words):
    """Each part of the check can fail."""
    broken = copy(trunk)
    damage(broken)
    with pytest.raises(ExportError, match=words):
        check_trunk(broken, SHAPES)


def test_the_portable_ending_uses_standard_operators_only(trunk):
    """onnx.checker accepts it; labels and dets come first."""
    model = portable(trunk, SHAPES)
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.output] == ["labels", "dets", "boxes", "scores"]


def test_the_ascend_ending_has_the_operator_as_the_recipes_patch_writes_it(trunk):
    """Default domain, fp16 inputs, four outputs, the contract's settings."""
    model = ascend(trunk, SHAPES)
    (node,) = [node for node in model.graph.node if node.op_type == NMS_OPERATOR]
    attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    assert node.domain == ""
    assert len(node.output) == 4
    assert attributes == {
        "score_threshold": pytest.approx(0.05),
        "iou_threshold": pytest.approx(0.5),
        "max_size_per_class": 100,
        "max_total_size": 100,
    }
    made_by = {name: n for n in model.graph.node for name in n.output}
    for name in node.input:
        cast = made_by[name]
        assert (cast.op_type, cast.attribute[0].i) == ("Cast", onnx.TensorProto.FLOAT16)
    assert [value.name for value in model.graph.output] == ["labels", "dets"]


def test_both_endings_share_the_trunks_weights(trunk):
    """Same initialisers, byte for byte."""
    weights = {tensor.name: tensor.raw_data for tensor in trunk.graph.initializer}
    for ending in (portable(trunk, SHAPES), ascend(trunk, SHAPES)):
        assert weights.items() <= {tensor.name: tensor.raw_data for tensor in ending.graph.initializer}.items()


def test_one_picture_alone_or_in_a_batch_is_the_same(session):
    """The portable ending is right for any batch size, blank slots included."""
    batch = np.random.default_rng(2).normal(0, 60, SHAPES.input_shape(3)).astype(np.float32)
    batch[1] = 0
    together = session.run(batch)
    for slot in range(3):
        alone = session.run(batch[slot : slot + 1])
        np.testing.assert_allclose(together.dets[slot], alone.dets[0], atol=1e-3)


def test_operator_counts_are_what_a_resnet_50_with_fpn_has(trunk):
    """53 backbone convolutions, 8 in the FPN, 11 head convolutions on each of five levels; batch norm folded away."""
    counts = operator_counts(trunk)
    assert counts["Conv"] == 53 + 8 + 11 * 5
    assert "BatchNormalization" not in counts


def test_the_trunk_is_found_again_in_an_ascend_ending(trunk):
    """Cutting the ending off gives the graph it was put on."""
    again = trunk_of(ascend(trunk, SHAPES), SHAPES)
    assert operator_counts(again) == operator_counts(trunk)


def test_the_trunk_of_a_graph_with_names_of_its_own_is_the_same_network(trunk, tmp_path):
    """As the recipe exports it: other tensor names, boxes with an axis of one, casts to fp16 in front of the NMS."""
    foreign = copy(ascend(trunk, SHAPES))
    for node in foreign.graph.node:
        for names in (node.input, node.output):
            for position, name in enumerate(names):
                if name in ("boxes", "scores"):
                    names[position] = f"onnx::{name}_17"
    outputs = []
    batch = np.random.default_rng(3).normal(0, 50, SHAPES.input_shape(2)).astype(np.float32)
    for number, model in enumerate((trunk, trunk_of(foreign, SHAPES))):
        onnx.save(portable(model, SHAPES), tmp_path / f"{number}.onnx")
        outputs.append(OnnxSession(tmp_path / f"{number}.onnx", SHAPES).run_and_proposals(batch)[1:])
    np.testing.assert_array_equal(outputs[0][0], outputs[1][0])
    np.testing.assert_array_equal(outputs[0][1], outputs[1][1])


def test_a_graph_without_the_operator_has_no_trunk(trunk):
    """`--onnx` wants the file that atc is given; the portable ending has another NMS, so it has no proposals to return either."""
    with pytest.raises(ExportError, match="0 nodes BatchMultiClassNMS"):
        trunk_of(portable(trunk, SHAPES), SHAPES)
    with pytest.raises(ExportError, match="0 nodes BatchMultiClassNMS"):
        with_proposals(portable(trunk, SHAPES), SHAPES)


def set_nms(model, **settings):
    """Give its NMS other settings; None takes one away."""
    (node,) = [node for node in model.graph.node if node.op_type == NMS_OPERATOR]
    kept = [entry for entry in node.attribute if entry.name not in settings]
    del node.attribute[:]
    node.attribute.extend(
        [*kept, *(onnx.helper.make_attribute(*each) for each in settings.items() if each[1] is not None)]
    )


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda m: set_nms(m, iou_threshold=0.7), "iou_threshold 0.7, expected 0.5"),
        (lambda m: set_nms(m, score_threshold=None), "score_threshold not set, expected 0.05"),
        (lambda m: set_nms(m, max_size_per_class=5), "max_size_per_class 5, expected 100"),
        (lambda m: set_nms(m, max_total_size=200), "max_total_size 200, expected 100"),
        (lambda m: m.graph.output.pop(0), r"has the outputs \['dets'\], expected \['labels', 'dets'\]"),
        (lambda m: setattr(m.graph.input[0], "name", "images"), "inputs {'images'"),
    ],
    ids=["iou", "no-score", "per-class", "rows", "outputs", "input"],
)
def test_an_onnx_from_elsewhere_that_is_of_another_contract_is_to_blame_itself(trunk, damage, words):
    """Not the device, not atc, and not the torch of this project, which did not export it."""
    foreign = copy(ascend(trunk, SHAPES))
    for node in foreign.graph.node if words.startswith("inputs") else ():
        node.input[:] = ["images" if name == SHAPES.input_name else name for name in node.input]
    damage(foreign)
    with pytest.raises(ExportError, match=words) as error:
        trunk_of(foreign, SHAPES)
    assert error.value.advice.startswith("export it as the contract says")


def test_more_rows_of_a_class_than_there_are_in_all_are_no_other_contract(trunk):
    """They change nothing."""
    foreign = copy(ascend(trunk, SHAPES))
    set_nms(foreign, max_size_per_class=1000)
    assert operator_counts(trunk_of(foreign, SHAPES)) == operator_counts(trunk)


def test_an_ascend_ending_can_return_what_its_nms_gets(trunk):
    """Two more outputs of the same graph, which is otherwise left alone."""
    before = ascend(trunk, SHAPES)
    model = with_proposals(before, SHAPES)
    assert [value.name for value in model.graph.output] == ["labels", "dets", "boxes", "scores"]
    assert tensor_shape(model.graph.output[2]) == ["batch", 1580, 4]
    assert [node.name for node in model.graph.node] == [node.name for node in before.graph.node]
    assert len(before.graph.output) == 2, "the model that was given stays as it was"
