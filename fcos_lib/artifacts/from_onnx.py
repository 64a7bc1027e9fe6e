"""ONNX made of another ONNX: of a file that was exported elsewhere, and with tensors of the inside as further outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fcos_lib.artifacts import ASCEND, PORTABLE
from fcos_lib.contract import ModelContract
from fcos_lib.errors import ExportError, FcosError, UsageError
from fcos_lib.files import sha256_of
from fcos_lib.store.artifacts import Artifact, Store


def foreign_onnx_artifact(store: Store, contract: ModelContract, model: Path) -> Artifact:
    """An ONNX that was exported elsewhere: unchanged for `atc`, and a portable ending made from its trunk.

    One that this package exported is known as such, and its OMs are those of `onnx_for_atc`.
    """
    if not model.is_file():
        raise UsageError(f"there is no ONNX at {model}", "pass --onnx FILE.onnx")
    inputs = {"contract": contract.as_dict(), "onnx": sha256_of(model)}

    def build(folder: Path) -> None:
        import onnx

        from fcos_lib.model import endings as nms
        from fcos_lib.model.npu_operators import NMS_OPERATOR

        try:
            loaded = onnx.load(model, load_external_data=False)
        except Exception as error:  # protobuf's DecodeError and more
            raise ExportError(f"{model} is not a readable ONNX ({error})", "pass another file to --onnx") from error
        try:
            onnx.save(nms.portable(nms.trunk_of(loaded, contract), contract), folder / PORTABLE)
            onnx.save(loaded, folder / ASCEND)
        except FcosError:
            raise
        except Exception as error:  # what onnx's checker and shape inference raise, and what crooked graphs cause
            raise ExportError(
                f"{model} is no graph that leads to {NMS_OPERATOR} ({type(error).__name__}: {str(error)[:200]})",
                "pass the ONNX that atc is given (--onnx)",
            ) from error

    return store.get("onnx", inputs, build)


def proposals_onnx_artifact(store: Store, onnx_models: Artifact, contract: ModelContract) -> Artifact:
    """The same ONNX for `atc` with two more outputs: what reaches NMS."""
    inputs = {"contract": contract.as_dict(), "onnx": onnx_models.files[ASCEND]}

    def build(folder: Path) -> None:
        import onnx

        from fcos_lib.model import endings as nms

        onnx.save(nms.with_proposals(onnx.load(onnx_models.path / ASCEND), contract), folder / ASCEND)

    return store.get("onnx-proposals", inputs, build)


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
