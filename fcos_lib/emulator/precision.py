"""The rounding of fp16: a graph rewritten so that a float32 runtime gives the values of `force_fp16`.

Weights and constants become fp16 numbers, and each activation is cast to fp16 and back after every operator that
computes new values. Operators that only move or select values need no rounding of their own; a Relu that alone follows a
Conv or an Add is rounded in its stead, which gives the same values and lets onnxruntime fuse the two.

The real device differs in what it does inside an operator: how it orders sums, and which neighbours it fuses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fcos_lib.emulator.operators import operator

_FUSES_WITH_RELU = ("Conv", "Add")
_SMALL = 16
"""Elements up to which a rounded constant stays float32: a Cast would cost more than it saves."""


def round_to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` that computes in fp16 values. Names of inputs, outputs and inner tensors stay.

    Tensors without a type that onnx can infer, and the bodies of If and Loop, are left alone.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    nodes = list(graph.node)
    del graph.node[:]
    rounded = _Rounding(model)
    graph.node.extend(rounded.constants(graph, nodes))
    for value in graph.input:
        if rounded.is_float(value.name):
            graph.node.extend(_casts(value.name, f"{value.name}/half", f"{value.name}/rounded"))
            rounded.renamed[value.name] = f"{value.name}/rounded"
    for node in nodes:
        if node.op_type != "Constant" or node.output[0] not in rounded.constant_names:
            graph.node.extend(rounded.node(node))
    return result


def _casts(source: str, half: str, target: str) -> Iterator[onnx.NodeProto]:
    yield helper.make_node("Cast", [source], [half], name=half, to=TensorProto.FLOAT16)
    yield helper.make_node("Cast", [half], [target], name=f"{half}/back", to=TensorProto.FLOAT)


class _Rounding:
    """What must be known of the whole graph while its nodes are rewritten one by one."""

    def __init__(self, model: onnx.ModelProto) -> None:
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self.types = {
            value.name: value.type.tensor_type.elem_type
            for value in (*inferred.input, *inferred.output, *inferred.value_info)
        }
        self.outputs = {value.name for value in model.graph.output}
        self.readers: dict[str, list[tuple[onnx.NodeProto, int]]] = defaultdict(list)
        for node in model.graph.node:
            for position, name in enumerate(node.input):
                self.readers[name].append((node, position))
        self.renamed: dict[str, str] = {}
        self.constant_names: set[str] = set()
        self.left_to_relu: set[str] = set()

    def is_float(self, name: str) -> bool:
        return self.types.get(name) == TensorProto.FLOAT

    def constants(self, graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
        """Turn float weights and Constant nodes into fp16 initialisers of `graph`; yields the Casts back to float."""
        arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        arrays |= {
            node.output[0]: numpy_helper.to_array(attribute.t)
            for node in nodes
            for attribute in node.attribute
            if node.op_type == "Constant" and attribute.name == "value"
        }
        for name, array in arrays.items():
            if array.dtype == np.float32 and not self._only_parameters(name):
                self.constant_names.add(name)
        kept = [tensor for tensor in graph.initializer if tensor.name not in self.constant_names]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        for name in sorted(self.constant_names):
            half = _to_half(arrays[name])
            if half.size <= _SMALL:
                graph.initializer.append(numpy_helper.from_array(half.astype(np.float32), name))
                continue
            graph.initializer.append(numpy_helper.from_array(half, f"{name}/half"))
            yield helper.make_node("Cast", [f"{name}/half"], [name], name=f"{name}/back", to=TensorProto.FLOAT)

    def _only_parameters(self, name: str) -> bool:
        """Whether a constant is only ever the scale or region of a Resize, which the host computes with."""
        readers = self.readers[name]
        return name in self.outputs or all(
            operator(node).pictures == "resize" and position > 0 for node, position in readers
        )

    def node(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """The node itself, followed by the rounding of what it computed."""
        for position, name in enumerate(node.input):
            if name in self.renamed:
                node.input[position] = self.renamed[name]
        rounds = self._computes(node)
        wanted = [name for name in node.output if rounds and name and self.is_float(name)]
        if wanted and self._goes_to_relu_only(node):
            self.left_to_relu.add(node.output[0])
            wanted = []
        for position, name in enumerate(node.output):
            if name in wanted:
                node.output[position] = f"{name}/full"
        yield node
        for name in wanted:
            yield from _casts(f"{name}/full", f"{name}/half", name)

    def _computes(self, node: onnx.NodeProto) -> bool:
        if node.op_type == "Relu":
            return node.input[0] in self.left_to_relu
        if node.op_type == "Cast":
            return self.types.get(node.input[0]) not in (TensorProto.FLOAT, TensorProto.FLOAT16)
        if operator(node).pictures == "resize":
            modes = [attribute.s for attribute in node.attribute if attribute.name == "mode"]
            return bool(modes) and modes[0] != b"nearest"
        return not operator(node).moves

    def _goes_to_relu_only(self, node: onnx.NodeProto) -> bool:
        readers = self.readers[node.output[0]]
        return (
            node.op_type in _FUSES_WITH_RELU
            and node.output[0] not in self.outputs
            and [reader.op_type for reader, _ in readers] == ["Relu"]
        )


def _to_half(array: NDArray[Any]) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        return array.astype(np.float16)
