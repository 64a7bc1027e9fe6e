"""An ONNX that was exported elsewhere: what it has to be before it is taken for the contract's."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from fcos_lib.contract import ModelContract
from fcos_lib.errors import ExportError
from fcos_lib.model.npu_operators import NMS_OPERATOR

ELSEWHERE = "export it as the contract says, or pass the contract that it was exported for (--contract)"


def check_foreign(model: onnx.ModelProto) -> None:
    """`ExportError` for what no exported FCOS has: weights in other files, and loops, which may never end."""
    graphs, elsewhere, loops = [model.graph], 0, set[str]()
    while graphs:
        graph = graphs.pop()
        sparse = [part for tensor in graph.sparse_initializer for part in (tensor.values, tensor.indices)]
        tensors = [*graph.initializer, *sparse]
        for node in graph.node:
            loops |= {node.op_type} & {"Loop", "Scan"}
            for attribute in node.attribute:
                graphs += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
                tensors += [*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors]
        elsewhere += sum(
            tensor.data_location == TensorProto.EXTERNAL or bool(tensor.external_data) for tensor in tensors
        )
    if elsewhere:
        raise ExportError(
            f"the ONNX keeps {elsewhere} of its weights in other files, which are not part of what is tested",
            "save it as one file: onnx.save(onnx.load(FILE), NEW), which works up to 2 GiB",
        )
    if loops:
        raise ExportError(
            f"the ONNX has {' and '.join(sorted(loops))}, which an exported FCOS has not", "export it again"
        )


def check_detections(model: onnx.ModelProto, operator: onnx.NodeProto, contract: ModelContract) -> None:
    """`ExportError` for outputs of other names, and for an NMS, the `operator`, with other settings than the reference's.

    Nobody but the file is to blame for them; atc or the device would be.
    """
    outputs = [value.name for value in model.graph.output]
    if not set(contract.output_names) <= set(outputs):
        raise ExportError(f"the ONNX has the outputs {outputs}, expected {list(contract.output_names)}", ELSEWHERE)
    rows = contract.max_detections
    given = {entry.name: helper.get_attribute_value(entry) for entry in operator.attribute}
    if given.get("max_size_per_class", 0) > rows:  # no class has more than there are in all
        given["max_size_per_class"] = rows
    wanted = {
        "score_threshold": contract.score_threshold, "iou_threshold": contract.iou_threshold,
        "max_size_per_class": rows, "max_total_size": rows,
    }  # fmt: skip
    wrong = [
        f"{name} {f'{given[name]:g}' if name in given else 'not set'}, expected {value:g}"
        for name, value in wanted.items()
        if name not in given or np.float32(given[name]) != np.float32(value)
    ]
    if wrong:
        raise ExportError(
            f"the ONNX's {NMS_OPERATOR} is not what contract '{contract.name}' promises: {'; '.join(wrong)}", ELSEWHERE
        )
