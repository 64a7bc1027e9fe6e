"""The network of one batch size: the ascend ending without a shape that is computed, as `atc` wants it for the 310P.

An open batch size leaves operators in the graph that compute shapes (Shape, ConstantOfShape, Expand, Tile) and a
GatherElements with int64 indices, which fall back to a device's AI CPU or break `atc` (ModelZoo's patches avoid them). With
the size given they are constants, and the best points of a level are taken as the recipe's patch takes them: by a Gather
with int32 indices on the points of all pictures in one row. The values stay the same, bit for bit. One OM for several batch
sizes (`--dynamic-batch`) is the one that is still made of the open graph.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from fcos_lib.errors import ExportError
from fcos_lib.model.npu_operators import NMS_OPERATOR, undocumented, with_needed_nodes_only

_MARK, _OPEN = "fcos_lib.batch", "open"
_SMALL = 64
"""Elements of the largest constant that may be sizes, axes or the like."""
_INDEX_STEPS = ("Unsqueeze", "Expand", "Tile")
"""What lies between a TopK and the GatherElements that reads its indices."""


def mark_open(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, marked as a graph of this package whose batch size is open."""
    helper.set_model_props(model, {_MARK: _OPEN})
    return model


def is_open(model: onnx.ModelProto) -> bool:
    """True for a graph of this package whose batch size is open; one that was made elsewhere goes to `atc` as it is."""
    return any(entry.key == _MARK and entry.value == _OPEN for entry in model.metadata_props)


def with_fixed_batch(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """The ascend ending, with whatever further outputs it has, for `batch` pictures at a time.

    Every shape in it is known, and every operator is one of `npu_operators`; `ExportError` where that cannot be had.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    helper.set_model_props(result, {_MARK: str(batch)})
    del result.graph.value_info[:]
    for value in (*result.graph.input, *result.graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims and dims[0].dim_param:
            dims[0].dim_value = batch
    try:
        while _fold(result):
            pass
        _remove_idle(result)
        _gather_rows(result)
        with_needed_nodes_only(result)
        tensors = _tensors(result)
    except Exception as error:  # what onnx's inference and evaluator raise, and what crooked graphs cause
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        raise ExportError(f"the ONNX cannot be given batch size {batch} ({reason})", "export it again") from error
    made = [name for node in result.graph.node for name in node.output if name]
    wrong = [f"{name} has no fixed shape" for name in made if name not in tensors or tensors[name].shape is None]
    wrong += undocumented(result, {name: tensor.kind for name, tensor in tensors.items()})
    if wrong:
        raise ExportError(
            f"the network for batch size {batch} is not what is documented for the NPU: {'; '.join(wrong[:5])}",
            "use the pinned torch (constraints.txt), or decide on it in fcos_lib/model/npu_operators.py",
        )
    return result


@dataclass(frozen=True, slots=True)
class _Tensor:
    """What is known of a tensor of the graph."""

    kind: int
    """Element type, as in `TensorProto`."""
    shape: tuple[int, ...] | None
    """None if not every axis has a size."""


def _tensors(model: onnx.ModelProto) -> dict[str, _Tensor]:
    """Type and shape of every tensor that onnx can infer; it does not know the NMS, whose outputs follow from its inputs."""
    constants = [tensor for tensor in model.graph.initializer if math.prod(tensor.dims) <= _SMALL]
    weights = [  # without their values, which decide nothing and would be copied several times
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in model.graph.initializer
        if math.prod(tensor.dims) > _SMALL
    ]
    detections = [
        value for node in model.graph.node if node.op_type == NMS_OPERATOR for value in _nms_outputs(node, model)
    ]
    given = [*model.graph.input, *weights]
    graph = helper.make_graph(model.graph.node, "shapes", given, model.graph.output, constants, value_info=detections)
    known = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    graph = onnx.shape_inference.infer_shapes(known, data_prop=True).graph
    tensors = {tensor.name: _Tensor(tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        kind = value.type.tensor_type
        sizes = [dim.dim_value for dim in kind.shape.dim if dim.HasField("dim_value")]
        fixed = kind.HasField("shape") and len(sizes) == len(kind.shape.dim)
        tensors[value.name] = _Tensor(kind.elem_type, tuple(sizes) if fixed else None)
    return tensors


def _nms_outputs(node: onnx.NodeProto, model: onnx.ModelProto) -> Iterator[onnx.ValueInfoProto]:
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    rows = next(helper.get_attribute_value(entry) for entry in node.attribute if entry.name == "max_total_size")
    kinds = (TensorProto.FLOAT16, TensorProto.FLOAT16, TensorProto.FLOAT16, TensorProto.INT32)
    for name, kind, shape in zip(
        node.output, kinds, ([batch, rows, 4], [batch, rows], [batch, rows], [batch]), strict=True
    ):
        yield helper.make_tensor_value_info(name, kind, shape)


def _fold(model: onnx.ModelProto) -> bool:
    """Turn what depends on constants and known shapes only into constants; False if there was nothing of the kind.

    Each turn lets onnx infer shapes that were not known before.
    """
    graph, tensors = model.graph, _tensors(model)
    constants: dict[str, onnx.TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
    kept = []
    for node in graph.node:
        read = [name for name in node.input if name]
        if node.op_type == "Shape" and (shape := _shape(tensors, node.input[0])) is not None:
            arrays: list[NDArray[Any]] = [np.array(shape, np.int64)]
        elif all(name in constants for name in read):
            arrays = _computed(node, [constants[name] for name in read], model)
        else:
            kept.append(node)
            continue
        constants |= {
            name: numpy_helper.from_array(np.asarray(array), name)
            for name, array in zip(node.output, arrays, strict=True)
        }
    folded = len(kept) < len(graph.node)
    if folded:
        added = [
            tensor for name, tensor in constants.items() if name not in {known.name for known in graph.initializer}
        ]
        del graph.node[:]
        graph.node.extend(kept)
        graph.initializer.extend(added)
    return folded


def _shape(tensors: Mapping[str, _Tensor], name: str) -> tuple[int, ...] | None:
    return tensors[name].shape if name in tensors else None


def _computed(node: onnx.NodeProto, constants: list[onnx.TensorProto], model: onnx.ModelProto) -> list[NDArray[Any]]:
    """What a node makes of constants."""
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    graph = helper.make_graph([node], "constants", [], outputs, constants)
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return list(ReferenceEvaluator(alone).run(None, {}))


def _remove_idle(model: onnx.ModelProto) -> None:
    """Remove the Casts to the type that a tensor has, and the Expands to its shape."""
    tensors, kept = _tensors(model), []
    outputs = {value.name for value in model.graph.output}
    renamed: dict[str, str] = {}
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        source, target = tensors.get(node.input[0] if node.input else ""), tensors.get(node.output[0])
        idle = node.op_type in ("Cast", "Expand") and source is not None and source == target
        if idle and node.output[0] not in outputs:
            renamed[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _gather_rows(model: onnx.ModelProto) -> None:
    """Replace each GatherElements along the points by a Gather of whole rows, with int32 indices over all pictures."""
    graph, tensors, kept = model.graph, _tensors(model), []
    made_by = {name: node for node in graph.node for name in node.output}
    indices: dict[str, str] = {}
    for node in list(graph.node):
        if node.op_type != "GatherElements":
            kept.append(node)
            continue
        data, best = node.input
        while made_by[best].op_type in _INDEX_STEPS:  # they only repeat an index for each value of its row
            best = made_by[best].input[0]
        pictures, points, values = _shape(tensors, data) or ()
        if best not in indices:
            indices[best] = f"{best}/rows"
            starts = np.arange(pictures, dtype=np.int32).reshape(-1, 1) * np.int32(points)
            graph.initializer.append(numpy_helper.from_array(starts, f"{best}/starts"))
            kept.append(helper.make_node("Cast", [best], [f"{best}/int32"], name=f"{best}/int32", to=TensorProto.INT32))
            kept.append(
                helper.make_node("Add", [f"{best}/int32", f"{best}/starts"], [indices[best]], name=indices[best])
            )
        shape = np.array([pictures * points, values], np.int64)
        graph.initializer.append(numpy_helper.from_array(shape, f"{data}/row_shape"))
        kept.append(helper.make_node("Reshape", [data, f"{data}/row_shape"], [f"{data}/rows"], name=f"{data}/rows"))
        kept.append(helper.make_node("Gather", [f"{data}/rows", indices[best]], node.output, name=node.name, axis=0))
    del graph.node[:]
    graph.node.extend(kept)
