"""What is known of each ONNX operator, and parts of a graph with their shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from fcos_lib.emulator.om import DYNAMIC


@dataclass(frozen=True, slots=True)
class Operator:
    """What the emulator has to know of one kind of operator."""

    moves: bool = False
    """Its float outputs hold only values of its inputs, or exact ones: there is nothing new to round."""
    pictures: Literal["", "window", "resize", "element"] = ""
    """How it treats each picture by itself, if it does: it reads pictures first and then constants, or sizes as well, or pictures
    and constants in any order. A constant with values for each slot shows in the shape that it makes of a single picture."""
    size_from_values: bool = False
    """Its results have sizes that depend on values, which is what the device refuses."""


_UNKNOWN = Operator()
_OPERATORS = {
    **dict.fromkeys(("Abs", "Clip", "Max", "Min", "Neg", "Relu"), Operator(moves=True, pictures="element")),
    **dict.fromkeys(("Add", "Cast", "Div", "Exp", "LeakyRelu", "Mul", "Sigmoid", "Sub"), Operator(pictures="element")),
    **dict.fromkeys(("AveragePool", "BatchNormalization", "Conv"), Operator(pictures="window")),
    "MaxPool": Operator(moves=True, pictures="window"),
    **dict.fromkeys(("Resize", "Upsample"), Operator(pictures="resize")),
    **dict.fromkeys((
        "Concat", "ConstantOfShape", "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "GatherElements", "GatherND",
        "GlobalMaxPool", "Identity", "Pad", "ReduceMax", "ReduceMin", "Reshape", "ScatterElements", "ScatterND", "Sign",
        "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "TopK", "Transpose", "Unsqueeze", "Where",
    ), Operator(moves=True)),
    "Compress": Operator(moves=True, size_from_values=True),
    **dict.fromkeys(
        ("If", "Loop", "NonMaxSuppression", "NonZero", "Range", "Scan", "Unique"), Operator(size_from_values=True)
    ),
}  # fmt: skip


def operator(node: onnx.NodeProto) -> Operator:
    """What is known of a node's kind; of most that is nothing but that they compute."""
    return _OPERATORS.get(node.op_type, _UNKNOWN)


def part(
    model: onnx.ModelProto,
    nodes: list[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    """A model of some of the nodes, with the initialisers that they read."""
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        model.graph.name or "graph",
        inputs,
        outputs,
        [tensor for tensor in model.graph.initializer if tensor.name in read],
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=min(model.ir_version, 10))


def dims(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """The shape, `DYNAMIC` where it is open."""
    return tuple(dim.dim_value or DYNAMIC for dim in value.type.tensor_type.shape.dim)


def is_static(value: onnx.ValueInfoProto) -> bool:
    """True if the shape is known and every axis of it has a size."""
    return value.type.tensor_type.HasField("shape") and DYNAMIC not in dims(value)


def with_batch(value: onnx.ValueInfoProto, batch: int | str) -> onnx.ValueInfoProto:
    """The same with another size of axis 0, or the name of an open one."""
    return helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, [batch, *dims(value)[1:]])


def measure_shapes(model: onnx.ModelProto) -> None:
    """Set the outputs' shapes to those of a run on zeros, where onnx cannot infer them; inputs are static.

    Raises whatever onnxruntime does if it cannot run.
    """
    for value, array in zip(model.graph.output, run_on_zeros(model), strict=True):
        if not is_static(value):
            value.CopyFrom(helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, array.shape))


def run_on_zeros(model: onnx.ModelProto) -> list[NDArray[Any]]:
    """The outputs for inputs of zeros, which have static shapes; raises whatever onnxruntime does if it cannot run."""
    import onnxruntime

    zeros = {
        value.name: np.zeros(dims(value), helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
        for value in model.graph.input
    }
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, zeros))
