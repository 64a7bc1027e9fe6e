"""Export: a torch detector becomes the trunk ONNX, from the picture tensor to the proposals before NMS.

The trunk has the contract's input and two outputs, per picture and level the proposals in order of level:
`boxes` float32[N, M, 4] (x1, y1, x2, y2 in network pixels) and `scores` float32[N, M, C] (class x centerness). The
head's own tensors keep the names `class_p3`, `distance_p3`, `centerness_p3`, ... inside the graph, so that they can be
tapped. Opset 11 through the TorchScript exporter, because `BatchMultiClassNMS` is registered for opsets 8-13 only and
torch's newer exporter cannot write opsets below 18.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from fcos_lib.contract import ModelContract
from fcos_lib.errors import ExportError
from fcos_lib.model.npu_operators import operator_counts, tensor_shape

if TYPE_CHECKING:
    import torch

OPSET = 11
HEAD_TENSORS = ("class", "distance", "centerness")

_PINNED = "use the pinned torch (constraints.txt); another exporter writes another graph"


def head_names(contract: ModelContract) -> list[str]:
    """Names of the head's tensors inside the trunk, level by level: `class_p3`, ..., `centerness_p7`."""
    first = contract.strides[0].bit_length() - 1
    return [f"{kind}_p{first + level}" for kind in HEAD_TENSORS for level in range(len(contract.strides))]


def _trunk_module(detector: torch.nn.Module, contract: ModelContract) -> torch.nn.Module:
    """The detector followed by the decoding of its proposals, as one module that traces without a single dynamic shape."""
    import torch

    class Trunk(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.detector = detector

        def forward(self, picture: torch.Tensor) -> tuple[torch.Tensor, ...]:
            classes, distances, centernesses = self.detector.bbox_head(  # type: ignore[operator]
                self.detector.neck(self.detector.backbone(picture))  # type: ignore[operator]
            )
            boxes, scores = [], []
            for level, (rows, columns) in enumerate(contract.level_shapes):
                level_boxes, level_scores = self.decode(
                    level, rows, columns, classes[level], distances[level], centernesses[level]
                )
                boxes.append(level_boxes)
                scores.append(level_scores)
            return (torch.cat(boxes, 1), torch.cat(scores, 1), *classes, *distances, *centernesses)

        def decode(
            self,
            level: int,
            rows: int,
            columns: int,
            classes: torch.Tensor,
            distances: torch.Tensor,
            centerness: torch.Tensor,
        ) -> tuple[torch.Tensor, torch.Tensor]:
            """Boxes [N, k, 4] and scores [N, k, C] of one level's best points."""
            points = rows * columns

            def flat(tensor: torch.Tensor, channels: int) -> torch.Tensor:
                return tensor.permute(0, 2, 3, 1).reshape(-1, points, channels)

            scores = flat(classes, len(contract.classes)).sigmoid() * flat(centerness, 1).sigmoid()
            distance = flat(distances, 4)
            stride = contract.strides[level]
            y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
            centre_x = torch.from_numpy((x.reshape(1, -1, 1) * stride + stride // 2).astype(np.float32))
            centre_y = torch.from_numpy((y.reshape(1, -1, 1) * stride + stride // 2).astype(np.float32))
            left, top, right, bottom = torch.split(distance, 1, 2)
            x1, y1 = (centre_x - left).clamp(0, contract.width), (centre_y - top).clamp(0, contract.height)
            x2, y2 = (centre_x + right).clamp(0, contract.width), (centre_y + bottom).clamp(0, contract.height)
            boxes = torch.cat([x1, y1, x2, y2], 2)
            if points > contract.proposals_per_level:
                # Along the last axis, which is the one that a device sorts without turning the tensor first.
                best = scores.max(2).values.topk(contract.proposals_per_level, 1).indices.unsqueeze(2)
                boxes = boxes.gather(1, best.repeat(1, 1, 4))
                scores = scores.gather(1, best.repeat(1, 1, len(contract.classes)))
            return boxes, scores

    return Trunk().eval()


def export_trunk(detector: torch.nn.Module, contract: ModelContract) -> onnx.ModelProto:
    """The trunk of a detector as a checked ONNX model."""
    import torch

    names = [*contract.proposal_names, *head_names(contract)]
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the TorchScript exporter and mmdet's tracing are deprecated but exact
        torch.onnx.export(
            _trunk_module(detector, contract),
            (torch.zeros(contract.input_shape(1)),),
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=[contract.input_name],
            output_names=names,
            dynamic_axes={name: {0: "batch"} for name in (contract.input_name, *names)},
        )
    model = onnx.load_from_string(buffer.getvalue())
    del model.graph.output[len(contract.proposal_names) :]
    model = with_inferred_shapes(model)
    check_trunk(model, contract)
    return model


def with_inferred_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with output shapes as onnx infers them; the exporter loses them behind TopK. Axis 0 is `batch`."""
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def check_trunk(model: onnx.ModelProto, contract: ModelContract, advice: str = _PINNED) -> None:
    """`ExportError`, with the advice, unless opset, names, shapes and operator counts are what the contract implies."""
    classes, proposals = len(contract.classes), contract.proposals
    cut_levels = sum(rows * columns > contract.proposals_per_level for rows, columns in contract.level_shapes)
    counts = operator_counts(model)
    shapes = {"boxes": ["batch", proposals, 4], "scores": ["batch", proposals, classes]}
    checks: dict[str, tuple[Any, Any]] = {
        "opset": ([(entry.domain, entry.version) for entry in model.opset_import], [("", OPSET)]),
        "inputs": (_shapes(model.graph.input), {contract.input_name: ["batch", *contract.input_shape(1)[1:]]}),
        "outputs": (_shapes(model.graph.output), shapes),
        "TopK": (counts.get("TopK", 0), cut_levels),
        "NonMaxSuppression": (counts.get("NonMaxSuppression", 0), 0),
        "BatchNormalization": (counts.get("BatchNormalization", 0), 0),
        "functions": (len(model.functions), 0),
    }
    wrong = [f"{what} {given}, expected {wanted}" for what, (given, wanted) in checks.items() if given != wanted]
    if wrong:
        raise ExportError(
            f"the exported trunk is not what contract '{contract.name}' promises: {'; '.join(wrong)}",
            advice,
        )
    onnx.checker.check_model(model, full_check=True)


def _shapes(values: Iterable[onnx.ValueInfoProto]) -> dict[str, list[int | str]]:
    return {value.name: tensor_shape(value) for value in values}
