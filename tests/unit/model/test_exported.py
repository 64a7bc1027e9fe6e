"""A graph that is not the checkpoint's network is refused where it is exported, before anything is compared with it."""

from functools import partial

import onnx
import pytest

from fcos_lib.artifacts.from_checkpoint import check_export
from fcos_lib.contract import SHAPES
from fcos_lib.errors import ExportError
from tests.gateproof.defects import network

pytest.importorskip("torch", reason="needs the extra 'export'")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (network.half_stride, "after the TopK, boxes of P4 .*; scores are right"),
        (network.centerness_lost, "before the TopK, scores of P3 .*; boxes are right"),
        (network.head_untrained, "before the TopK, scores of P3 .*; boxes differ as well"),
        (partial(network.level_scale, 1.01, 4), "after the TopK, boxes of P7 .*; scores are right"),
        (partial(network.score_factor, 0.999), "before the TopK, scores of P. .*; boxes are right"),
        (network.class_rolled, "before the TopK, scores of P3 .*; boxes are right"),
        (network.one_bit, "before the TopK, scores of P3 .*; boxes differ as well"),
        (lambda model, _: set_attribute(topk_of(model), "largest", 0), "after the TopK, scores of P3 "),
    ],
    ids=[
        "half_stride", "centerness_lost", "head_untrained", "level_scale", "score_factor", "class_rolled", "one_bit", "worst",
    ],
)  # fmt: skip
def test_another_network_is_refused(detector, trunk, edit, said):
    """One sentence says which of scores and boxes is off, in which level and by how much, and that the other is not.

    Both were called boxes before: behind a TopK rows with other scores are other rows, and their boxes differ.
    """
    model = onnx.ModelProto()
    model.CopyFrom(trunk)
    edit(model, SHAPES)
    with pytest.raises(ExportError, match=f"does not compute what the checkpoint does: {said}"):
        check_export(model, detector, SHAPES)


def topk_of(model):
    """The node that cuts the only level with more points than reach NMS."""
    (node,) = (node for node in model.graph.node if node.op_type == "TopK")
    return node


def set_attribute(node, name, value):
    """Change a whole number, or add it."""
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])


def test_a_graph_that_loses_points_is_refused(detector, trunk):
    """A level that comes short is no error of scores or boxes, and is said as what it is."""
    model = onnx.ModelProto()
    model.CopyFrom(trunk)
    for node in model.graph.node:
        if set(node.output) & set(SHAPES.proposal_names):
            del node.input[-1]
    with pytest.raises(ExportError, match="has other proposals than the checkpoint's network"):
        check_export(model, detector, SHAPES)


def test_the_network_itself_is_not(detector, trunk, record_property):
    """The same weights in torch and onnxruntime differ by rounding only; at full size, tests/unit/test_full_size.py exports one."""
    shown(check_export(trunk, detector, SHAPES), record_property)


def shown(largest, record_property):
    """On the terminal with -s, and in JUnit."""
    for output, value in largest.items():
        record_property(f"largest difference of {output}", value)
        print(f"\nlargest difference of {output}: {value:.2g}")
