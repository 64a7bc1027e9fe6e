"""What is known of each ONNX operator, parts of a graph with their shapes, and the part that treats each picture by itself.

That part is cut off, so that it can be run picture by picture. A picture at a time stays in the processor's cache, and each core can
have one of its own; a batch of 64 then takes half the time and gives the same bits. That pictures do not mix follows from the kinds
of operators, and from the shapes of all that they make of one and of two pictures. Where it does not follow, as at a Reshape or where
sizes are computed, the cut is made: the rest runs on the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from fcos_lib.emulator.om import DYNAMIC

_AXES = 4
"""Of a tensor of pictures: batch, channel, row, column."""
_SIZES = 3
"""The input of a Resize that holds the sizes of its result."""


@dataclass(frozen=True, slots=True)
class Operator:
    """What the emulator has to know of one kind of operator."""

    moves: bool = False
    """Its float outputs hold only values of its inputs, or exact ones: there is nothing new to round."""
    pictures: Literal["", "window", "resize", "element"] = ""
    """How it treats each picture by itself, if it does: it reads pictures first and then constants, a size of the result perhaps
    among them, or pictures and constants in any order. A constant with values for each slot shows in the shape that it makes of a single picture."""
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
    import onnxruntime

    zeros = {
        value.name: np.zeros(dims(value), helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
        for value in model.graph.input
    }
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for value, array in zip(model.graph.output, session.run(None, zeros), strict=True):
        if not is_static(value):
            value.CopyFrom(helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, array.shape))


def split(model: onnx.ModelProto) -> tuple[onnx.ModelProto | None, onnx.ModelProto | None]:
    """Cut `model`, whose inputs hold a batch of pictures each, of fixed size or with axis 0 open, into two that compute the same.

    The first is for one picture, and its outputs of all pictures, one after the other, are inputs of the second, for the whole
    batch. One of them is None if nothing is left for it.
    """
    graph, parts = model.graph, _Parts(model)
    if not any(node.op_type == "Conv" for node in parts.each):  # nothing that would take long
        return None, model
    read = {name for node in parts.rest for name in node.input} | {value.name for value in graph.output}
    inputs = [with_batch(value, 1) for value in _read_by(parts.each, graph.input)]
    tensors = [name for node in parts.each for name in node.output if name in parts.pictures]
    values = _shapes_of_one(part(model, parts.each, inputs, []), tensors)
    if values is None:
        return None, model
    made = [name for name in tensors if name in read]
    by_picture = _resized_for(part(model, parts.each, inputs, [values[name] for name in made]), 1)
    if not parts.rest:
        return by_picture, None
    batch = graph.input[0].type.tensor_type.shape.dim[0]
    whole = [with_batch(value, batch.dim_value or batch.dim_param) for value in by_picture.graph.output]
    inputs = _read_by(parts.rest, [*graph.input, *whole])
    outputs = [value for value in graph.output if value.name not in made]
    return by_picture, part(model, parts.rest, inputs, outputs)


def _read_by(nodes: list[onnx.NodeProto], values: Iterable[onnx.ValueInfoProto]) -> list[onnx.ValueInfoProto]:
    read = {name for node in nodes for name in node.input}
    return [value for value in values if value.name in read]


class _Parts:
    """The nodes of the two graphs, in order. What is made of constants only is in each that reads it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        shapes = [value.type.tensor_type.shape.dim for value in graph.input]
        batches = {(shape[0].dim_value, shape[0].dim_param) for shape in shapes if len(shape) == _AXES}
        alike = len(batches) == 1 and all(len(shape) == _AXES for shape in shapes)
        self.pictures = {value.name for value in graph.input if alike}
        self._constants = {tensor.name for tensor in graph.initializer} | {""}
        self._batch = next((batch for batch, _ in batches), 0) if alike else 0
        self._sizes = _resized(graph)
        kinds = [self._kind(node) for node in graph.node]
        outputs = {value.name for value in graph.output} - self.pictures
        self.each = _with_shared("picture", kinds, graph, set())
        self.rest = _with_shared("batch", kinds, graph, outputs)

    def _kind(self, node: onnx.NodeProto) -> str:
        """The part that a node belongs to, and what it makes entered in the sets."""
        if self._constants.issuperset(node.input):
            self._constants.update(node.output)
            return "shared"
        if not self._is_by_picture(node):
            return "batch"
        self.pictures.update(node.output)
        return "picture"

    def _is_by_picture(self, node: onnx.NodeProto) -> bool:
        first, *others = node.input
        kind = operator(node).pictures
        if kind in ("window", "resize"):
            sizes = self._sizes.get(node.name or node.output[0])
            of_the_batch = sizes is None or (len(sizes) == _AXES and sizes[0] == self._batch)
            alone = first in self.pictures and self._constants.issuperset(others) and len(node.output) == 1
            return alone and of_the_batch
        return kind == "element" and (self.pictures | self._constants).issuperset(node.input)


def _with_shared(kind: str, kinds: list[str], graph: onnx.GraphProto, wanted: set[str]) -> list[onnx.NodeProto]:
    """The nodes of a kind, with the shared ones that they read or that make what is `wanted`."""
    chosen: list[onnx.NodeProto] = []
    nodes = list(zip(graph.node, kinds, strict=True))
    read = {name for node, node_kind in nodes if node_kind == kind for name in node.input} | wanted
    for node, node_kind in reversed(nodes):
        if node_kind == kind or (node_kind == "shared" and read.intersection(node.output)):
            chosen.append(node)
            read.update(node.input)
    return chosen[::-1]


def _shapes_of_one(by_picture: onnx.ModelProto, tensors: list[str]) -> dict[str, onnx.ValueInfoProto] | None:
    """These tensors with types and shapes for one picture; None unless two pictures give twice as much of the same shape."""
    single, double = (_inferred(by_picture, batch) for batch in (1, 2))
    for name in tensors:
        if name not in single or name not in double or not is_static(single[name]):
            return None
        first, *others = dims(single[name])
        if first != 1 or dims(double[name]) != (2, *others):
            return None
    return single


def _inferred(by_picture: onnx.ModelProto, batch: int) -> dict[str, onnx.ValueInfoProto]:
    """What onnx infers for a batch."""
    inputs = [with_batch(value, batch) for value in by_picture.graph.input]
    model = _resized_for(part(by_picture, list(by_picture.graph.node), inputs, []), batch)
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {value.name: value for value in (*graph.value_info, *graph.output)}


def _resized(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    """The sizes of the Resizes that have constant ones, by the name of the node."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    return {
        node.name or node.output[0]: numpy_helper.to_array(constants[node.input[_SIZES]])
        for node in graph.node
        if node.op_type == "Resize" and len(node.input) > _SIZES and node.input[_SIZES] in constants
    }


def _resized_for(by_picture: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """The graph with its Resizes to constant sizes made for so many pictures; they name those of the whole batch."""
    sizes_of = _resized(by_picture.graph)
    for node in by_picture.graph.node:
        name = node.name or node.output[0]
        if name in sizes_of:
            sizes = np.concatenate([[batch], sizes_of[name][1:]]).astype(sizes_of[name].dtype)
            node.input[_SIZES] = f"{name}/sizes for {batch}"
            by_picture.graph.initializer.append(numpy_helper.from_array(sizes, node.input[_SIZES]))
    return by_picture
