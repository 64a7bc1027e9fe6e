"""The trunk's two endings, which turn proposals into detections, over the same weights.

*portable*: standard operators only, for onnxruntime and any batch size; the proposals stay available as further outputs.
*ascend*: one `BatchMultiClassNMS`, the operator that Ascend's ONNX plugin registers in the default domain, with fp16
inputs as the recipe's patch has it. onnxruntime cannot load this one, and `onnx.checker` does not know the operator.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fcos_lib.contract import ModelContract
from fcos_lib.errors import ExportError
from fcos_lib.model.export import check_trunk, with_inferred_shapes
from fcos_lib.model.fixed_batch import mark_open
from fcos_lib.model.foreign import ELSEWHERE, check_detections, check_foreign
from fcos_lib.model.npu_operators import NMS_OPERATOR, operator_counts, with_needed_nodes_only


class _Graph:
    """Appends nodes and constants to a copy of a trunk; every name it makes begins with `nms/`."""

    def __init__(self, trunk: onnx.ModelProto) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(trunk)
        self.nodes = self.model.graph.node

    def constant(self, name: str, value: object, dtype: type[np.generic]) -> str:
        array = np.asarray(value, dtype=dtype)
        self.model.graph.initializer.append(numpy_helper.from_array(array, f"nms/{name}"))
        return f"nms/{name}"

    def add(self, operator: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        """Append a node and return its first output."""
        name = f"nms/{operator}_{outputs[0]}" if len(outputs) == 1 else f"nms/{operator}"
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))
        return outputs[0]

    def finish(self, contract: ModelContract, nms: str, extra: tuple[str, ...] = ()) -> onnx.ModelProto:
        """Declare `labels` and `dets` (then `extra`) as the outputs; `ExportError` unless `nms` is the one operator for NMS."""
        rows = contract.max_detections
        labels, dets = contract.output_names
        kept = [value for value in self.model.graph.output if value.name in extra]
        outputs = [
            helper.make_tensor_value_info(labels, TensorProto.INT64, ["batch", rows]),
            helper.make_tensor_value_info(dets, TensorProto.FLOAT, ["batch", rows, 5]),
            *kept,
        ]
        del self.model.graph.output[:]
        self.model.graph.output.extend(outputs)
        counts = operator_counts(self.model)
        wrong = [
            f"{operator} x{counts.get(operator, 0)}, expected x{int(operator == nms)}"
            for operator in ("NonMaxSuppression", NMS_OPERATOR)
            if counts.get(operator, 0) != (operator == nms)
        ]
        names = [value.name for value in outputs]
        if names != [labels, dets, *extra]:
            wrong.append(f"outputs {names}, expected {[labels, dets, *extra]}")
        if wrong:
            raise ExportError(f"an ending of contract '{contract.name}' came out wrong: {'; '.join(wrong)}")
        return self.model


def portable(trunk: onnx.ModelProto, contract: ModelContract) -> onnx.ModelProto:
    """The trunk with NMS from standard operators: outputs `labels`, `dets`, `boxes`, `scores`.

    Per class NMS keeps at most 100 boxes, which loses nothing, since 100 are kept in all; survivors are scattered into a
    zero matrix over (class, proposal) and the 100 highest taken, so that unused rows come out as score 0 and box 0.
    """
    graph = _Graph(trunk)
    labels, dets = contract.output_names
    rows, proposals, classes = contract.max_detections, contract.proposals, len(contract.classes)
    by_class = graph.add("Transpose", ["scores"], "nms/by_class", perm=[0, 2, 1])
    most = graph.constant("max_per_class", [rows], np.int64)
    iou = graph.constant("iou", [contract.iou_threshold], np.float32)
    score = graph.constant("score", [contract.score_threshold], np.float32)
    graph.add("NonMaxSuppression", ["boxes", by_class, most, iou, score], "nms/selected")
    graph.add("GatherND", [by_class, "nms/selected"], "nms/selected_scores")
    graph.add("Shape", [by_class], "nms/shape")
    graph.add("ConstantOfShape", ["nms/shape"], "nms/zeros", value=numpy_helper.from_array(np.zeros(1, np.float32)))
    graph.add("ScatterND", ["nms/zeros", "nms/selected", "nms/selected_scores"], "nms/survivors")
    flat = graph.constant("flat", [-1, classes * proposals], np.int64)
    graph.add("Reshape", ["nms/survivors", flat], "nms/flat_scores")
    count = graph.constant("rows", [rows], np.int64)
    graph.add("TopK", ["nms/flat_scores", count], "nms/best_scores", "nms/best", axis=1)
    count = graph.constant("proposals", proposals, np.int64)
    graph.add("Div", ["nms/best", count], labels)
    graph.add("Mul", [labels, count], "nms/class_start")
    graph.add("Sub", ["nms/best", "nms/class_start"], "nms/index")
    graph.add("Unsqueeze", ["nms/index"], "nms/index_column", axes=[2])
    graph.add("Tile", ["nms/index_column", graph.constant("four", [1, 1, 4], np.int64)], "nms/indices")
    graph.add("GatherElements", ["boxes", "nms/indices"], "nms/best_boxes", axis=1)
    graph.add("Unsqueeze", ["nms/best_scores"], "nms/score_column", axes=[2])
    graph.add("Sign", ["nms/score_column"], "nms/used")
    graph.add("Mul", ["nms/best_boxes", "nms/used"], "nms/used_boxes")
    graph.add("Concat", ["nms/used_boxes", "nms/score_column"], dets, axis=2)
    model = graph.finish(contract, "NonMaxSuppression", extra=contract.proposal_names)
    onnx.checker.check_model(model, full_check=True)
    return model


def ascend(trunk: onnx.ModelProto, contract: ModelContract) -> onnx.ModelProto:
    """The trunk with `BatchMultiClassNMS`: outputs `labels` and `dets`, for `atc` only.

    Its batch size is open, as one OM for several batch sizes needs it; for any other OM, `with_fixed_batch` follows.
    """
    graph = _Graph(trunk)
    labels, dets = contract.output_names
    graph.add("Unsqueeze", ["boxes"], "nms/boxes_shared", axes=[2])
    graph.add("Cast", ["nms/boxes_shared"], "nms/boxes_half", to=TensorProto.FLOAT16)
    graph.add("Cast", ["scores"], "nms/scores_half", to=TensorProto.FLOAT16)
    graph.add(
        NMS_OPERATOR,
        ["nms/boxes_half", "nms/scores_half"],
        *("nms/nmsed_boxes", "nms/nmsed_scores", "nms/nmsed_classes", "nms/nmsed_num"),
        score_threshold=contract.score_threshold,
        iou_threshold=contract.iou_threshold,
        max_size_per_class=contract.max_detections,
        max_total_size=contract.max_detections,
    )
    graph.add("Cast", ["nms/nmsed_classes"], labels, to=TensorProto.INT64)
    graph.add("Cast", ["nms/nmsed_boxes"], "nms/boxes_full", to=TensorProto.FLOAT)
    graph.add("Cast", ["nms/nmsed_scores"], "nms/scores_full", to=TensorProto.FLOAT)
    graph.add("Unsqueeze", ["nms/scores_full"], "nms/score_column", axes=[2])
    graph.add("Concat", ["nms/boxes_full", "nms/score_column"], dets, axis=2)
    return mark_open(graph.finish(contract, NMS_OPERATOR))


def trunk_of(model: onnx.ModelProto, contract: ModelContract) -> onnx.ModelProto:
    """The trunk of an ONNX that was exported elsewhere, such as by the recipe: everything before its NMS operator.

    The casts to fp16 in front of the operator are left out, so that the reference computes in float32. `ExportError` if
    there is no `BatchMultiClassNMS`, or it, what leads to it or what comes of it is not the contract's.
    """
    check_foreign(model)
    operator = _nms_of(model)
    graph = _Graph(model)
    behind = set(operator.output)
    for node in list(graph.nodes):
        if node.name == operator.name and node.op_type == NMS_OPERATOR:
            graph.nodes.remove(node)
        elif behind & set(node.input):
            behind |= set(node.output)
            graph.nodes.remove(node)
    outputs = _named_proposals(graph, operator, contract)
    del graph.model.graph.output[:]
    graph.model.graph.output.extend(outputs)
    trunk = with_inferred_shapes(with_needed_nodes_only(graph.model))
    check_trunk(trunk, contract, ELSEWHERE)
    check_detections(model, operator, contract)
    return trunk


def with_proposals(model: onnx.ModelProto, contract: ModelContract) -> onnx.ModelProto:
    """An ONNX for `atc` that returns what its NMS gets as well, before the casts to fp16: `boxes` and `scores`.

    `ExportError` if there is no `BatchMultiClassNMS`.
    """
    operator = _nms_of(model)
    graph = _Graph(model)
    count = len(graph.nodes)
    outputs = _named_proposals(graph, operator, contract)
    added = list(graph.nodes)[count:]
    del graph.nodes[count:]
    position = next(index for index, node in enumerate(graph.nodes) if node.op_type == NMS_OPERATOR)
    for node in reversed(added):
        graph.nodes.insert(position, node)
    graph.model.graph.output.extend(outputs)
    return graph.model


def _nms_of(model: onnx.ModelProto) -> onnx.NodeProto:
    operators: list[onnx.NodeProto] = [node for node in model.graph.node if node.op_type == NMS_OPERATOR]
    advice = "pass the ONNX that atc is given (--onnx)"
    if len(operators) != 1:
        raise ExportError(f"the ONNX has {len(operators)} nodes {NMS_OPERATOR}, expected 1", advice)
    if len(operators[0].input) < 2:
        raise ExportError(f"the ONNX's {NMS_OPERATOR} has no boxes and scores", advice)
    return operators[0]


def _named_proposals(graph: _Graph, operator: onnx.NodeProto, contract: ModelContract) -> list[onnx.ValueInfoProto]:
    """Give what leads to the operator the names and shapes of the contract's proposals, and declare both."""
    made_by = {name: node for node in graph.nodes for name in node.output}
    rows = contract.proposals
    shapes = dict(zip(contract.proposal_names, ([-1, rows, 4], [-1, rows, len(contract.classes)]), strict=True))
    for (name, shape), source in zip(shapes.items(), operator.input[:2], strict=True):
        start, seen = source, {""}
        while start in made_by and made_by[start].op_type == "Cast" and start not in seen:
            seen.add(start)
            start = made_by[start].input[0]
        if start != name:
            if name in made_by and "Unsqueeze" in made_by[start].op_type and made_by[start].input[0] == name:
                continue  # our own ascend ending: the proposals have their names already
            graph.add("Reshape", [start, graph.constant(f"{name}_shape", shape, np.int64)], name)
    return [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape[1:]]) for name, shape in shapes.items()
    ]
