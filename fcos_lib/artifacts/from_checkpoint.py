"""The ONNX of a checkpoint: exported, held against mmdet's own layers, and given both endings.

The graph has to compute what the checkpoint's network does. What follows mmdet's head is plain arithmetic (`model.decoding`),
written apart from the exporter: a graph that lost a stride or the centerness would otherwise be compared with nothing but
itself. An error that is in both shows in the accuracy run, where mmdet's own detections are compared with the reference's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fcos_lib.artifacts import ASCEND, PORTABLE
from fcos_lib.contract import ModelContract
from fcos_lib.errors import ExportError
from fcos_lib.measure.proposals.comparison import LevelDifference, compare_proposals
from fcos_lib.model.checkpoint import verify_name
from fcos_lib.model.decoding import Proposals, decode
from fcos_lib.model.detector import head_of
from fcos_lib.store.artifacts import Artifact, Store

if TYPE_CHECKING:
    import onnx
    import torch

BOUNDS = {"scores": 1e-4, "boxes": 0.05}
"""Score and px, in the order in which they are looked at; several times what float32 in torch and in onnxruntime makes of a
full-size network (`pytest -s tests/unit/test_full_size.py` prints how far they are apart)."""
_PINNED = "use the pinned torch, mmdet and onnx (constraints.txt)"


def onnx_artifact(store: Store, contract: ModelContract, checkpoint: Path) -> Artifact:
    """Both endings of a checkpoint's ONNX. Needs torch and mmdet only if they are not in the store yet."""
    inputs = {"contract": contract.as_dict(), "checkpoint": verify_name(checkpoint)}

    def build(folder: Path) -> None:
        import onnx

        from fcos_lib.model import detector, export
        from fcos_lib.model import endings as nms

        network = detector.load_detector(contract, checkpoint)
        trunk = export.export_trunk(network, contract)
        check_export(trunk, network, contract)
        onnx.save(nms.portable(trunk, contract), folder / PORTABLE)
        onnx.save(nms.ascend(trunk, contract), folder / ASCEND)

    return store.get("onnx", inputs, build)


def check_export(trunk: onnx.ModelProto, detector: torch.nn.Module, contract: ModelContract) -> dict[str, float]:
    """The largest difference (score, px) of the trunk's proposals from the detector's in one picture of noise, by output.

    First every point of every level as it is before the TopK, where point meets point; then what the TopK leaves, whose rows
    have to be brought together first. `ExportError` beyond `BOUNDS` names the output that is off: scores before boxes.
    """
    picture = _noise(contract)
    head = head_of(detector, picture, contract)
    whole = replace(contract, proposals_per_level=max(rows * columns for rows, columns in contract.level_shapes))
    try:
        uncut = _run(without_cuts(trunk, contract), picture, contract)
    except ExportError:  # something behind the TopK counts on its rows, which no export of ours does
        _compared(_run(trunk, picture, contract), decode(head, contract), contract, "after")
        raise
    largest = _compared(uncut, decode(head, whole), whole, "before")
    kept = _compared(_run(trunk, picture, contract), decode(head, contract), contract, "after")
    return {output: max(largest[output], kept[output]) for output in BOUNDS}


def _noise(contract: ModelContract) -> NDArray[np.float32]:
    """One input, float32[1, 3, H, W], that spreads as pictures do once they are normalised."""
    deviation = np.empty((3, 1, 1))
    deviation[list(contract.planes_bgr), 0, 0] = contract.std_bgr
    noise: NDArray[np.float32] = (
        np.random.default_rng(0).normal(0, 60 / deviation, contract.input_shape(1)).astype(np.float32)
    )
    return noise


def without_cuts(trunk: onnx.ModelProto, contract: ModelContract) -> onnx.ModelProto:
    """A copy of the trunk for one picture whose levels keep all of their points, in order, instead of those a TopK takes."""
    import onnx
    from onnx import numpy_helper

    model = onnx.ModelProto()
    model.CopyFrom(trunk)
    nodes = model.graph.node
    points = [rows * columns for rows, columns in contract.level_shapes]
    cut = [count for count in points if count > contract.proposals_per_level]
    for node, count in zip([node for node in nodes if node.op_type == "TopK"], cut, strict=True):
        everything = np.arange(count, dtype=np.int64).reshape(1, count)
        model.graph.initializer.append(numpy_helper.from_array(everything, node.output[1]))
        nodes.remove(node)
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    return model


def _run(model: onnx.ModelProto, picture: NDArray[np.float32], contract: ModelContract) -> Proposals:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        boxes, scores = session.run(list(contract.proposal_names), {contract.input_name: picture})
    except Exception as error:  # onnxruntime raises its own hierarchy, RuntimeError and ValueError
        raise ExportError(
            f"the exported ONNX, as it is or without its TopK, does not run ({str(error)[:200]})", _PINNED
        ) from error
    return boxes, scores


def _compared(exported: Proposals, expected: Proposals, contract: ModelContract, when: str) -> dict[str, float]:
    """The largest difference by output; `ExportError` if one is beyond its bound."""
    try:
        levels = compare_proposals(expected, exported, ("noise",), contract)
    except ValueError as error:
        raise ExportError(
            f"the exported ONNX has other proposals than the checkpoint's network: {error}", _PINNED
        ) from error
    whole = {
        f"P{stride.bit_length() - 1}"
        for stride, (rows, columns) in zip(contract.strides, contract.level_shapes, strict=True)
        if rows * columns <= contract.proposals_per_level
    }
    for part in (  # in a level that was cut, rows are brought together by both, so either may look off for the other
        [level for level in levels if level.level in whole],
        [level for level in levels if level.level not in whole],
    ):
        _refuse_beyond(part, when)
    return {output: max(level.largest for level in levels if level.output == output) for output in BOUNDS}


def _refuse_beyond(levels: Sequence[LevelDifference], when: str) -> None:
    """`ExportError` for the first level in which an output is beyond its bound, scores of all levels before boxes."""
    beyond = {
        output: [level for level in levels if level.output == output and not level.largest <= bound]
        for output, bound in BOUNDS.items()
    }
    for output in (output for output, off in beyond.items() if off):
        worst, (other,) = beyond[output][0], (name for name in BOUNDS if name != output)
        raise ExportError(
            f"the exported ONNX does not compute what the checkpoint does: {when} the TopK, {output} of {worst.level} differ "
            f"by up to {worst.largest:.3g} ({worst.where}); {other} {'differ as well' if beyond[other] else 'are right'}",
            _PINNED,
        )
