"""What the compiler needs of ONNX graphs: parts of them, and the shapes of what goes in and comes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from fcos_lib.emulator.om import DYNAMIC


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
