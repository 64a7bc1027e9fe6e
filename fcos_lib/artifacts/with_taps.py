"""ONNX that return what reaches NMS and tensors of the network's inside, to find where a drop comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fcos_lib.artifacts import ASCEND
from fcos_lib.contract import ModelContract
from fcos_lib.store.artifacts import Artifact, Store


def tapped_onnx_artifact(
    store: Store, onnx_models: Artifact, contract: ModelContract, tensors: Sequence[str]
) -> Artifact:
    """The same ONNX for `atc` that returns what reaches NMS and then `tensors` of its inside (see `model.taps`)."""
    inputs = {"contract": contract.as_dict(), "onnx": onnx_models.files[ASCEND], "taps": list(tensors)}

    def build(folder: Path) -> None:
        import onnx

        from fcos_lib.model import taps

        onnx.save(taps.with_taps(onnx.load(onnx_models.path / ASCEND), contract, tensors), folder / ASCEND)

    return store.get("onnx-taps", inputs, build)
