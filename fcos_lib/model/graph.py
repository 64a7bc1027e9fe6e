"""Small operations on ONNX graphs: the nodes that are needed, the number of each operator, the shape that a value declares."""

from __future__ import annotations

from collections import Counter

import onnx

NMS_OPERATOR = "BatchMultiClassNMS"
"""The operator that Ascend's ONNX plugin registers in the default domain; onnx does not know it."""


def with_needed_nodes_only(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without nodes and weights that no output needs."""
    needed = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    weights = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)
    return model


def operator_counts(model: onnx.ModelProto) -> dict[str, int]:
    """How often each operator occurs in the graph."""
    return dict(sorted(Counter(node.op_type for node in model.graph.node).items()))


def tensor_shape(value: onnx.ValueInfoProto) -> list[int | str]:
    """Declared shape: numbers, or the name of a dynamic axis."""
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
