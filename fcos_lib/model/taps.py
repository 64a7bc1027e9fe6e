"""Taps: layers of a network as tensors, ONNX files that return them, and what fp16 does to them.

A layer is what a device runs as one: a convolution with the addition and the ReLU behind it. Returning the tensor behind a
layer leaves the layer whole, so that the OM which shows it computes what the OM under test computes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fcos_lib.contract import ModelContract
from fcos_lib.errors import ExportError
from fcos_lib.model.endings import with_proposals
from fcos_lib.model.export import head_names
from fcos_lib.model.npu_operators import NMS_OPERATOR, with_needed_nodes_only

NETWORK_INPUT = "network_input"
"""The output that shows what the network is given: with AIPP what that made of the picture."""
_LAYERS = frozenset({"Conv", "Add", "Relu"})


@dataclass(frozen=True, slots=True)
class Tap:
    """One layer and the tensor behind it."""

    name: str
    """The name of its convolution, or of the addition if it has several or none: `/backbone/layer1/layer1.0/conv1/Conv`."""
    tensor: str
    operators: tuple[str, ...]
    """Its nodes in their order: `("Conv", "Relu")`."""
    nodes: tuple[str, ...]
    """Their names."""

    @property
    def operator(self) -> str:
        """The operators in a word: `Conv+Relu`."""
        return "+".join(self.operators)


def taps_of(model: onnx.ModelProto, contract: ModelContract) -> tuple[Tap, ...]:
    """Every layer up to the head's tensors, in the order of the graph; what follows from them is decoding.

    `ExportError` if nothing in there is a layer.
    """
    nodes = list(model.graph.node)
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in nodes:
        for name in node.input:
            readers[name].append(node)
    heads = set(head_names(contract))
    inside = _network(nodes, heads)
    waiting: dict[str, list[onnx.NodeProto]] = {}
    taps = []
    for node in nodes:
        if node.output[0] not in inside or (node.op_type not in _LAYERS and node.output[0] not in heads):
            continue
        group = [earlier for name in node.input for earlier in waiting.pop(name, [])] + [node]
        following = [reader.op_type for reader in readers[node.output[0]]]
        fused = (node.op_type == "Conv" and following in (["Relu"], ["Add"])) or (
            node.op_type == "Add" and following == ["Relu"]
        )
        if fused and node.output[0] not in heads:
            waiting[node.output[0]] = group
            continue
        weighted = [member for member in group if member.op_type == "Conv"]
        summing = [member for member in group if member.op_type != "Relu"]
        if not summing:  # a ReLU of what was tapped already
            continue
        named = weighted[0] if len(weighted) == 1 else summing[-1]
        operators = tuple(member.op_type for member in group)
        names = tuple(member.name or member.output[0] for member in group)
        taps.append(Tap(named.name or named.output[0], node.output[0], operators, names))
    if not taps:
        raise ExportError("the ONNX has no convolution", "pass the ONNX of the network, not of a part of it")
    return tuple(taps)


def _network(nodes: Sequence[onnx.NodeProto], heads: set[str]) -> set[str]:
    """The tensors that are part of the network: all that a convolution needs or gives, with its ReLU, and the head's own."""
    inside = set(heads)
    for node in reversed(nodes):
        if node.op_type == "Conv" or inside.intersection(node.output):
            inside.update(node.input)
            inside.update(node.output)
    for node in nodes:
        if node.op_type == "Relu" and node.input[0] in inside:
            inside.update(node.output)
    return inside


def tensors_of(model: onnx.ModelProto, names: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that a node of the model gives; an ONNX that was exported elsewhere has names of its own."""
    made = {name for node in model.graph.node for name in node.output}
    return tuple(name for name in names if name in made)


def with_taps(model: onnx.ModelProto, contract: ModelContract, tensors: Sequence[str]) -> onnx.ModelProto:
    """An ONNX for `atc` that returns what reaches NMS, and `tensors` after that; `NETWORK_INPUT` may be among them.

    `ExportError` if there is no `BatchMultiClassNMS`, or no node that gives one of the tensors.
    """
    result = with_proposals(model, contract)
    if NETWORK_INPUT in tensors:
        position = next(index for index, node in enumerate(result.graph.node) if node.op_type == NMS_OPERATOR)
        node = helper.make_node("Identity", [contract.input_name], [NETWORK_INPUT], name=NETWORK_INPUT)
        result.graph.node.insert(position, node)
    _declare(result, tensors)
    return result


def tapped_trunk(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """The part of a float32 ONNX that gives `tensors`, for onnxruntime; `ExportError` if a node is missing for one."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.output[:]
    _declare(result, tensors)
    return with_needed_nodes_only(result)


def _declare(model: onnx.ModelProto, tensors: Sequence[str]) -> None:
    """Make `tensors`, float32 of any shape, outputs of the model."""
    missing = sorted(set(tensors) - set(tensors_of(model, tensors)))
    if missing:
        raise ExportError(
            f"the ONNX has no node that gives {missing[0]} ({len(missing)} of {len(tensors)} are missing)",
            "the reference's ONNX and the one for atc must be two endings of one network",
        )
    there = {value.name for value in model.graph.output}
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors if name not in there
    )


def rounded(model: onnx.ModelProto, taps: Sequence[Tap]) -> onnx.ModelProto:
    """A float32 ONNX that rounds as fp16 does, for onnxruntime: the input, every weight, and the tensor behind every tap.

    Within a layer nothing is rounded, as a device sums in float32. Names of outputs stay.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    used = {name for node in graph.node for name in node.input}
    for index, tensor in enumerate(graph.initializer):
        if tensor.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor)
            with np.errstate(over="ignore"):
                half = array.astype(np.float16).astype(np.float32)
            graph.initializer[index].CopyFrom(numpy_helper.from_array(half, tensor.name))
    tapped = {tap.tensor for tap in taps}
    nodes = list(graph.node)
    del graph.node[:]
    renamed = {value.name: f"{value.name}/rounded" for value in graph.input}
    for name in sorted(renamed.keys() & used):
        graph.node.extend(_casts(name, renamed[name]))
    for node in nodes:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        rounded_here = [name for name in node.output if name in tapped]
        node.output[:] = [f"{name}/exact" if name in tapped else name for name in node.output]
        graph.node.append(node)
        for name in rounded_here:
            graph.node.extend(_casts(f"{name}/exact", name))
    return result


def _casts(source: str, target: str) -> Iterator[onnx.NodeProto]:
    half = f"{target}/half"
    yield helper.make_node("Cast", [source], [half], name=half, to=TensorProto.FLOAT16)
    yield helper.make_node("Cast", [half], [target], name=f"{half}/back", to=TensorProto.FLOAT)
