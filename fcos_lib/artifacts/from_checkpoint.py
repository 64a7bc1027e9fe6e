"""The ONNX of a checkpoint: exported, held against mmdet's own layers, and given both endings."""

from __future__ import annotations

from pathlib import Path

from fcos_lib.artifacts import ASCEND, PORTABLE
from fcos_lib.contract import ModelContract
from fcos_lib.model.checkpoint import verify_name
from fcos_lib.store.artifacts import Artifact, Store


def onnx_artifact(store: Store, contract: ModelContract, checkpoint: Path) -> Artifact:
    """Both endings of a checkpoint's ONNX. Needs torch and mmdet only if they are not in the store yet."""
    inputs = {"contract": contract.as_dict(), "checkpoint": verify_name(checkpoint)}

    def build(folder: Path) -> None:
        import onnx

        from fcos_lib.artifacts.export_check import check_export
        from fcos_lib.model import detector, export
        from fcos_lib.model import endings as nms

        network = detector.load_detector(contract, checkpoint)
        trunk = export.export_trunk(network, contract)
        check_export(trunk, network, contract)
        onnx.save(nms.portable(trunk, contract), folder / PORTABLE)
        onnx.save(nms.ascend(trunk, contract), folder / ASCEND)

    return store.get("onnx", inputs, build)
