"""The part of a graph that treats each picture of a batch by itself, cut off so that it can be run picture by picture.

A picture at a time stays in the processor's cache, and each core can have one of its own; a batch of 64 then takes half the
time and gives the same bits. That pictures do not mix follows from the kinds of operators, and from the shapes of all that they
make of one and of two pictures. Where it does not follow, as at a Reshape, the cut is made: the rest runs on the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

_WINDOWS = frozenset({"AveragePool", "BatchNormalization", "Conv", "MaxPool"})
"""Read pictures first, then constants."""
_RESIZES = frozenset({"Resize", "Upsample"})
_ELEMENTWISE = frozenset((
    "Abs", "Add", "Cast", "Clip", "Div", "Exp", "LeakyRelu", "Max", "Min", "Mul", "Neg", "Relu", "Sigmoid", "Sub",
))  # fmt: skip
"""Read pictures and constants; one that has values for each slot shows in the shape that it makes of a single picture."""
_AXES = 4
"""Of a tensor of pictures: batch, channel, row, column."""


@dataclass(frozen=True, slots=True)
class Split:
    """Two graphs that together compute what one did; one of them is None if nothing is left for it."""

    each: onnx.ModelProto | None
    """For one picture. Its outputs of all pictures, one after the other, are inputs of `rest`."""
    rest: onnx.ModelProto | None
    """For the whole batch."""


def split(model: onnx.ModelProto) -> Split:
    """Cut `model`, whose inputs hold a batch of pictures each, of fixed size or with axis 0 open."""
    graph, parts = model.graph, _Parts(model)
    if not any(node.op_type == "Conv" for node in parts.each):  # nothing that would take long
        return Split(None, model)
    read = {name for node in parts.rest for name in node.input} | {value.name for value in graph.output}
    inputs = [_with_batch(value, 1) for value in graph.input]
    tensors = [name for node in parts.each for name in node.output if name in parts.pictures]
    made = read.intersection(tensors)
    found = _shapes_of_one(_part(model, parts.each, inputs, [onnx.ValueInfoProto(name=name) for name in tensors]))
    if found is None:
        return Split(None, model)
    shapes = [value for value in found if value.name in made]
    each = _part(model, parts.each, inputs, shapes)
    if not parts.rest:
        return Split(each, None)
    batch = graph.input[0].type.tensor_type.shape.dim[0]
    whole = [_with_batch(value, batch.dim_value or batch.dim_param) for value in shapes]
    rest = _part(model, parts.rest, [*graph.input, *whole], [value for value in graph.output if value.name not in made])
    return Split(each, rest)


class _Parts:
    """The nodes of the two graphs, in order. What is made of constants and shapes only is in each that reads it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        shapes = [value.type.tensor_type.shape.dim for value in graph.input]
        batches = {(shape[0].dim_value, shape[0].dim_param) for shape in shapes if len(shape) == _AXES}
        alike = len(batches) == 1 and all(len(shape) == _AXES for shape in shapes)
        self.pictures = {value.name for value in graph.input if alike}
        self._constants, self._sizes = {tensor.name for tensor in graph.initializer} | {""}, set[str]()
        kinds = [self._kind(node) for node in graph.node]
        outputs = {value.name for value in graph.output} - self.pictures
        self.each = _with_shared("picture", kinds, graph, set())
        self.rest = _with_shared("batch", kinds, graph, outputs)

    def _kind(self, node: onnx.NodeProto) -> str:
        """The part that a node belongs to, and what it makes entered in the sets."""
        read = set(node.input)
        if read <= self._constants:
            self._constants.update(node.output)
            return "shared"
        if read <= self._constants | self._sizes or (node.op_type == "Shape" and read <= self.pictures):
            self._sizes.update(node.output)
            return "shared"
        if not self._is_by_picture(node):
            return "batch"
        self.pictures.update(node.output)
        return "picture"

    def _is_by_picture(self, node: onnx.NodeProto) -> bool:
        first, *others = node.input
        if node.op_type in _WINDOWS:
            return first in self.pictures and self._constants.issuperset(others) and len(node.output) == 1
        if node.op_type in _RESIZES:
            return first in self.pictures and (self._constants | self._sizes).issuperset(others)
        return node.op_type in _ELEMENTWISE and (self.pictures | self._constants).issuperset(node.input)


def _with_shared(kind: str, kinds: list[str], graph: onnx.GraphProto, wanted: set[str]) -> list[onnx.NodeProto]:
    """The nodes of a kind, with the shared ones that they read or that make what is `wanted`."""
    chosen: list[onnx.NodeProto] = []
    read = {name for node, its in zip(graph.node, kinds, strict=True) if its == kind for name in node.input} | wanted
    for node, its in zip(reversed(graph.node), reversed(kinds), strict=True):
        if its == kind or (its == "shared" and read.intersection(node.output)):
            chosen.append(node)
            read.update(node.input)
    return chosen[::-1]


def _part(
    model: onnx.ModelProto,
    nodes: list[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    """A model of some of the nodes, with the inputs and initialisers that they read."""
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        model.graph.name,
        [value for value in inputs if value.name in read],
        outputs,
        [tensor for tensor in model.graph.initializer if tensor.name in read],
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _shapes_of_one(each: onnx.ModelProto) -> list[onnx.ValueInfoProto] | None:
    """The outputs for one picture; None unless two pictures give twice as many of the same shape."""
    try:
        one, two = (run_on_zeros(_with_inputs(each, batch)) for batch in (1, 2))
    except (
        Exception
    ):  # onnxruntime raises its own hierarchy, RuntimeError and ValueError: it may need its own batch size
        return None
    if any((len(half), both.shape) != (1, (2, *half.shape[1:])) for half, both in zip(one, two, strict=True)):
        return None
    return [
        helper.make_tensor_value_info(value.name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for value, array in zip(each.graph.output, one, strict=True)
    ]


def run_on_zeros(model: onnx.ModelProto) -> list[NDArray[Any]]:
    """The outputs of `model`, whose inputs have fixed shapes, for zeros; whatever onnxruntime raises if it cannot run."""
    import onnxruntime

    zeros = {
        value.name: np.zeros(_dims(value), helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
        for value in model.graph.input
    }
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, zeros))


def _with_inputs(each: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    inputs = [_with_batch(value, batch) for value in each.graph.input]
    return _part(each, list(each.graph.node), inputs, list(each.graph.output))


def _with_batch(value: onnx.ValueInfoProto, batch: int | str) -> onnx.ValueInfoProto:
    kind, shape = value.type.tensor_type.elem_type, _dims(value)
    return helper.make_tensor_value_info(value.name, kind, [batch, *shape[1:]])


def _dims(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
