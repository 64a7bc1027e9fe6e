"""The compiler, from an ONNX to the OM's graphs: static shapes, the outputs that were asked for, and two parts, before and after NMS.

`BatchMultiClassNMS` is no ONNX operator, so nothing but the NPU can run the whole graph. It is cut out: what leads to it
is one graph, what follows from it another, and the kernel stands between them. Without the node everything is in the first, of
which `split` cuts off what can be run picture by picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx
from onnx import TensorProto, helper

from fcos_lib.emulator.atc_errors import AtcError
from fcos_lib.emulator.kernels import NMS_OPERATOR, NmsSettings
from fcos_lib.emulator.om import DYNAMIC, Interface, TensorDesc
from fcos_lib.emulator.operators import dims, is_static, measure_shapes, operator, part, split
from fcos_lib.emulator.precision import round_to_half

OPSETS = range(8, 19)
NMS_OPSETS = range(8, 16)
"""Opsets for which the NMS plugin is registered; a newer export of FCOS fails with `No operator plugin is registered`."""
_NMS_TYPES = (TensorProto.FLOAT16, TensorProto.FLOAT16, TensorProto.FLOAT16, TensorProto.INT32)


Graphs = tuple[onnx.ModelProto | None, onnx.ModelProto | None, onnx.ModelProto | None]
"""As an OM has them: for one picture, up to the NMS, and what follows it."""


def compile_onnx(
    model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]], out_nodes: Sequence[str], half: bool
) -> tuple[Graphs, Interface]:
    """Compile `model` for the input `shapes` and the outputs `out_nodes` (all of the model's if empty).

    -1 on axis 0 leaves the batch size open; it then has to be open on axis 0 of every output and nowhere else. `half` rounds to
    fp16 wherever the device computes; the NMS does so in any case. `AtcError` if atc would refuse.
    """
    if not model.graph.node:
        raise AtcError("E16004")
    work = onnx.ModelProto()
    work.CopyFrom(model)
    _check_operators(work)
    _set_shapes(work, shapes)
    names, tensors = _outputs(work.graph, out_nodes)
    nodes = _needed(list(work.graph.node), tensors)
    cut = [node for node in nodes if node.op_type == NMS_OPERATOR]
    if len(cut) > 1:
        raise AtcError("E10055", f"the stand-in runs one {NMS_OPERATOR}, the model has {len(cut)}")
    later = _followers(nodes, cut[0]) if cut else []
    early = [node for node in nodes if node not in later and node not in cut]
    made_early = {name for node in early for name in node.output} | {value.name for value in work.graph.input}
    wanted = [name for name in [*(cut[0].input if cut else ()), *tensors] if name in made_early]
    wanted += [name for node in later for name in node.input if name in made_early]
    before = _graph(work, early, list(work.graph.input), wanted)
    after = None
    if cut:
        known = {value.name: value for value in before.graph.output}
        batch = known[cut[0].input[1]].type.tensor_type.shape.dim[0]
        given = [known[name] for name in dict.fromkeys(wanted) if any(name in node.input for node in later)]
        given += _nms_values(cut[0], batch)
        after = _graph(work, later, given, [name for node in later for name in node.output if name in tensors])
    dynamic = any(DYNAMIC in shape for shape in shapes.values())
    graphs = [model.graph for model in (before, after) if model]
    values = {value.name: value for graph in graphs for value in (*graph.input, *graph.output)}
    each, rest = split(round_to_half(before) if half else before)
    interface = Interface(
        inputs=tuple(_desc(value, value.name, dynamic) for value in work.graph.input),
        outputs=tuple(_desc(values[tensor], name, dynamic) for name, tensor in zip(names, tensors, strict=True)),
        tensors=tuple(tensors),
        nms=_settings(cut[0]) if cut else None,
        nms_inputs=tuple(cut[0].input[:2]) if cut else (),
        nms_outputs=tuple(cut[0].output) if cut else (),
    )
    return (each, rest, round_to_half(after) if half and after else after), interface


def _check_operators(model: onnx.ModelProto) -> None:
    """E13010 for the operators that no plugin of this CANN is registered for; all but the first stand under TraceBack."""
    unknown = []
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    for node in model.graph.node:
        if node.op_type == NMS_OPERATOR and not node.domain:
            known = opset in NMS_OPSETS
        else:
            known = node.domain in ("", "ai.onnx") and opset in OPSETS and onnx.defs.has(node.op_type, opset, "")
        if not known:
            unknown.append((node.name, f"{node.domain or 'ai.onnx'}::{opset}::{node.op_type}"))
    if unknown:
        error = AtcError("E13010", *unknown[0])
        error.trace = [f"No parser is registered for Op [{name}, optype [{kind}]]." for name, kind in unknown[1:]]
        raise error


def _set_shapes(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]]) -> None:
    """Write `--input_shape` into the model and forget every shape that followed from the old one."""
    initialised = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initialised]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for name in shapes:
        if name not in [value.name for value in inputs]:
            raise AtcError("E10016", name, "input_shape")
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        shape = shapes.get(value.name)
        if shape is None:
            if not all(dim.dim_value > 0 for dim in dims):
                raise AtcError("E10055", f"the stand-in compiles static shapes only, set --input_shape of {value.name}")
            continue
        if len(shape) != len(dims):
            raise AtcError("E10049", len(shape), len(dims))
        for dim, size in zip(dims, shape, strict=True):
            if size == DYNAMIC:
                dim.dim_param = "batch"
            else:
                dim.dim_value = size
    del model.graph.value_info[:]


def _outputs(graph: onnx.GraphProto, out_nodes: Sequence[str]) -> tuple[list[str], list[str]]:
    """(names as the runtime will show them, graph tensors), in the order asked for; E11017 for an unknown node."""
    makers = {name: (node, index) for node in graph.node for index, name in enumerate(node.output)}
    nodes = {node.name: node for node in graph.node if node.name}
    outputs = [value.name for value in graph.output]
    names, tensors = [], []
    for spelling in out_nodes or outputs:
        node_name, _, index = spelling.rpartition(":")
        if spelling in outputs and spelling in makers:
            node, position = makers[spelling]
            names.append(f"{node.name or node.op_type}:{position}:{spelling}")
            tensors.append(spelling)
        elif node_name in nodes and index.isdigit() and int(index) < len(nodes[node_name].output):
            names.append(spelling)
            tensors.append(nodes[node_name].output[int(index)])
        else:
            raise AtcError("E11017", spelling)
    return names, tensors


def _needed(nodes: list[onnx.NodeProto], tensors: Iterable[str]) -> list[onnx.NodeProto]:
    wanted, kept = set(tensors), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]


def _followers(nodes: list[onnx.NodeProto], first: onnx.NodeProto) -> list[onnx.NodeProto]:
    reached, followers = {name for name in first.output if name}, []
    for node in nodes:
        if reached.intersection(node.input):
            followers.append(node)
            reached.update(node.output)
    return followers


def _graph(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto], outputs: Sequence[str]
) -> onnx.ModelProto:
    """A model of these nodes with inferred types and shapes of its outputs; E19999 if they do not fit together."""
    used = {name for node in nodes for name in node.input}
    made = {name for node in nodes for name in node.output}
    given = [value for value in inputs if value.name in used or value.name in outputs]
    inner = part(
        model, nodes, given, [onnx.ValueInfoProto(name=name) for name in dict.fromkeys(outputs) if name in made]
    )
    try:
        inferred = onnx.shape_inference.infer_shapes(inner, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise AtcError("E19999") from error
    del inferred.graph.value_info[:]
    fixed = all(map(is_static, inferred.graph.input)) and not any(operator(node).size_from_values for node in nodes)
    if fixed and not all(map(is_static, inferred.graph.output)):  # onnx does not follow every size that is computed
        try:
            measure_shapes(inferred)
        except Exception as error:  # onnxruntime raises its own hierarchy, RuntimeError and ValueError
            raise AtcError("E19999") from error
    return inferred


def _nms_values(node: onnx.NodeProto, batch: onnx.TensorShapeProto.Dimension) -> list[onnx.ValueInfoProto]:
    rows, first = _settings(node).max_total_size, batch.dim_value or "batch"
    shapes = ([first, rows, 4], [first, rows], [first, rows], [first])
    return [
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in zip(node.output, _NMS_TYPES, shapes, strict=False)
        if name
    ]


def _settings(node: onnx.NodeProto) -> NmsSettings:
    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    try:
        return NmsSettings(
            score_threshold=float(values["score_threshold"]),
            iou_threshold=float(values["iou_threshold"]),
            max_size_per_class=int(values["max_size_per_class"]),
            max_total_size=int(values["max_total_size"]),
        )
    except KeyError as error:
        raise AtcError("E19999") from error


def _desc(value: onnx.ValueInfoProto, name: str, dynamic: bool) -> TensorDesc:
    dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name
    shape = dims(value)
    if dynamic and (shape[:1] != (DYNAMIC,) or DYNAMIC in shape[1:]):
        raise AtcError("E10055", f"the stand-in leaves only the batch size open, {name} has shape {shape}")
    if not dynamic and DYNAMIC in shape:
        raise AtcError("E10055", f"the stand-in compiles static shapes only, {name} has shape {shape}")
    return TensorDesc(name, dtype, shape)
