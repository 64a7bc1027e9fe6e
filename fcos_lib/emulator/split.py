"""The part of a graph that treats each picture of a batch by itself.

That part is cut off, so that it can be run picture by picture. A picture at a time stays in the processor's cache, and each core can
have one of its own; a batch of 64 then takes half the time and gives the same bits. That pictures do not mix follows from the kinds
of operators, and from the shapes of all that they make of one and of two pictures. Where it does not follow, as at a Reshape, the
cut is made: the rest runs on the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from fcos_lib.emulator.operators import dims, is_static, operator, part, run_on_zeros, with_batch

_AXES = 4
"""Of a tensor of pictures: batch, channel, row, column."""
_SIZES = 3
"""The input of a Resize that holds the sizes of its result."""


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
    inputs = [with_batch(value, 1) for value in _read_by(parts.each, graph.input)]
    tensors = [name for node in parts.each for name in node.output if name in parts.pictures]
    values = _shapes_of_one(part(model, parts.each, inputs, []), tensors)
    if values is None:
        return Split(None, model)
    made = [name for name in tensors if name in read]
    by_picture = _resized_for(part(model, parts.each, inputs, [values[name] for name in made]), 1)
    if not parts.rest:
        return Split(by_picture, None)
    batch = graph.input[0].type.tensor_type.shape.dim[0]
    whole = [with_batch(value, batch.dim_value or batch.dim_param) for value in by_picture.graph.output]
    inputs = _read_by(parts.rest, [*graph.input, *whole])
    return Split(
        by_picture, part(model, parts.rest, inputs, [value for value in graph.output if value.name not in made])
    )


def _read_by(nodes: list[onnx.NodeProto], values: Iterable[onnx.ValueInfoProto]) -> list[onnx.ValueInfoProto]:
    read = {name for node in nodes for name in node.input}
    return [value for value in values if value.name in read]


class _Parts:
    """The nodes of the two graphs, in order. What is made of constants and shapes only is in each that reads it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        shapes = [value.type.tensor_type.shape.dim for value in graph.input]
        batches = {(shape[0].dim_value, shape[0].dim_param) for shape in shapes if len(shape) == _AXES}
        alike = len(batches) == 1 and all(len(shape) == _AXES for shape in shapes)
        self.pictures = {value.name for value in graph.input if alike}
        self._constants, self._sizes = {tensor.name for tensor in graph.initializer} | {""}, set[str]()
        self._batch = next((batch for batch, _ in batches), 0) if alike else 0
        self._fixed_sizes = _resized(graph)
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
        kind = operator(node).pictures
        if kind == "window":
            return first in self.pictures and self._constants.issuperset(others) and len(node.output) == 1
        if kind == "resize":
            sizes = self._fixed_sizes.get(node.name or node.output[0])
            of_the_batch = sizes is None or (len(sizes) == _AXES and sizes[0] == self._batch)
            return first in self.pictures and (self._constants | self._sizes).issuperset(others) and of_the_batch
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
    try:
        single, double = (_inferred(by_picture, batch) for batch in (1, 2))
    except Exception:  # onnxruntime raises its own hierarchy; the graph may need the batch size of its compilation
        return None
    for name in tensors:
        if name not in single or name not in double or not is_static(single[name]):
            return None
        first, *others = dims(single[name])
        if first != 1 or dims(double[name]) != (2, *others):
            return None
    return single


def _inferred(by_picture: onnx.ModelProto, batch: int) -> dict[str, onnx.ValueInfoProto]:
    """What onnx infers for a batch, after the sizes that the graph computes for a Resize have been computed."""
    inputs = [with_batch(value, batch) for value in by_picture.graph.input]
    made = {name for node in by_picture.graph.node for name in node.output}
    resizes = [node for node in by_picture.graph.node if operator(node).pictures == "resize"]
    sizes = sorted({name for node in resizes for name in node.input[1:] if name in made})
    if sizes:
        outputs = [onnx.ValueInfoProto(name=name) for name in sizes]
        typed = onnx.shape_inference.infer_shapes(part(by_picture, list(by_picture.graph.node), inputs, outputs))
        fixed = [numpy_helper.from_array(value, name) for name, value in zip(sizes, run_on_zeros(typed), strict=True)]
        nodes = [node for node in by_picture.graph.node if not set(sizes).intersection(node.output)]
        model = part(by_picture, nodes, inputs, [])
        model.graph.initializer.extend(fixed)
    else:
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
