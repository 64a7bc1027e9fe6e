"""What does `atc` report beside the OM? `fusion_result.json` of a compilation, and an OM as JSON (`--mode=1`).

Both have the fields of the ATC user guide (`--export_compile_stat`, `--om`). What they count is invented: one rule that
merges a Relu into the Conv before it, and a TransData behind each input that AIPP does not read. The numbers follow the
graph, so that they change when it does; they say nothing about CANN's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fcos_lib.emulator import STAND_IN
from fcos_lib.emulator.om import Om

if TYPE_CHECKING:
    import onnx

RULE = f"ConvRelu-{STAND_IN}"
_NMS = ("BatchMultiClassNMS", "BatchMultiClassNonMaxSuppression")
_TYPES = {"Conv": "Conv2D", "Constant": "Const"}


def fusion_result(*graphs: onnx.ModelProto | None) -> dict[str, Any]:
    """The content of `fusion_result.json`; times are text, as in the real one."""
    times = str(sum(len(_merged(list(model.graph.node))) for model in graphs if model))
    counts = {"effect_times": times, "match_times": times, "repository_hit_times": "0"}
    return {"session_and_graph_id_0_0": {"graph_fusion": {}, "ub_fusion": {RULE: counts}}}


def om_as_json(found: Om) -> dict[str, Any]:
    """What `--mode=1` writes: attributes of the model, and of each operator its name, type and engine."""
    import onnx

    header = found.header
    read = {step.rank for step in header.aipp}
    operators = [_operator(desc.name, "Data") for desc in header.inputs]
    operators += [
        _operator(f"aipp_{position}", "Aipp")
        if position in read
        else _operator(f"trans_TransData_{position}", "TransData")
        for position in range(len(header.inputs))
    ]
    for graph in filter(None, (found.each, found.before)):
        operators += _operators(onnx.load_from_string(graph))
    if header.nms:
        operators.append(_operator(*_NMS))
    if found.after:
        operators += _operators(onnx.load_from_string(found.after))
    operators.append(_operator("Node_Output", "NetOutput"))
    attributes = {
        "atc_version": header.atc_version,
        "opp_version": header.opp_version,
        "soc_version": header.soc_version,
        "atc_cmdline": header.command,
    }
    return {
        "name": f"{STAND_IN} model",
        "attr": [_attribute(key, {"s": value}) for key, value in attributes.items()],
        "graph": [{"name": "graph", "op": operators}],
    }


def _operators(model: onnx.ModelProto) -> Iterator[dict[str, Any]]:
    """The operators of one graph, without the Casts that only imitate fp16."""
    nodes = list(model.graph.node)
    merged = _merged(nodes)
    gone = {id(relu) for relu in merged.values()}
    for node in nodes:
        name = node.name or node.output[0]
        if id(node) in gone or (node.op_type == "Cast" and name.endswith(("/half", "/back"))):
            continue
        relu = merged.get(node.output[0])
        originals = [name, relu.name or relu.output[0]] if relu is not None else [name]
        yield _operator(name, _TYPES.get(node.op_type, node.op_type), originals)


def _merged(nodes: list[onnx.NodeProto]) -> dict[str, onnx.NodeProto]:
    """The Relu behind each Conv whose output nothing else reads, by the name of that output."""
    convolved = {node.output[0] for node in nodes if node.op_type == "Conv"}
    readers = Counter(name for node in nodes for name in node.input)
    return {
        node.input[0]: node
        for node in nodes
        if node.op_type == "Relu" and node.input[0] in convolved and readers[node.input[0]] == 1
    }


def _operator(name: str, kind: str, originals: list[str] | None = None) -> dict[str, Any]:
    engine = "DNN_VM_GE_LOCAL_OP_STORE" if kind in ("Data", "Const", "NetOutput") else "AIcoreEngine"
    attributes = [
        _attribute("_ge_attr_op_kernel_lib_name", {"s": engine}),
        _attribute("_datadump_original_op_names", {"list": {"s": originals or []}}),
    ]
    return {"name": name, "type": kind, "attr": attributes}


def _attribute(key: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"key": key, "value": value}
