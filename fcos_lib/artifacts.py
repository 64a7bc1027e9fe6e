"""How do checkpoint, ONNX and OM hang together in the store? What each is made from, and how it is made."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fcos_lib.ascend.aipp import aipp_config
from fcos_lib.ascend.atc import Progress, compile_om
from fcos_lib.ascend.atc_command import AtcOptions
from fcos_lib.ascend.toolkit import Toolkit
from fcos_lib.contract import ModelContract
from fcos_lib.errors import ExportError, FcosError, UsageError
from fcos_lib.model.checkpoint import verify_name
from fcos_lib.store import Artifact, Store, content_key, sha256_of, sources_key
from fcos_lib.stream.dataset import Picture

PORTABLE, ASCEND = "portable.onnx", "ascend.onnx"
_MODEL = Path(__file__).parent / "model"
_CHECK = Path(__file__).parent / "exported.py"
_WITNESS = (
    Path(__file__).parent / "witness.py",
    Path(__file__).parent / "measure" / "inputs.py",
    *(_MODEL / name for name in ("detector.py", "checkpoint.py", "checkpoint_file.py")),
)


def onnx_artifact(store: Store, contract: ModelContract, checkpoint: Path) -> Artifact:
    """Both endings of a checkpoint's ONNX. Needs torch and mmdet only if they are not in the store yet."""
    inputs = {
        "contract": contract.as_dict(),
        "checkpoint": verify_name(checkpoint),
        "exporter": sources_key(_CHECK, *(path for path in _MODEL.glob("*.py") if path.name != "taps.py")),
        "torch": _version("torch"),
        "mmdet": _version("mmdet"),
        "onnx": _version("onnx"),
    }

    def build(folder: Path) -> None:
        import onnx

        from fcos_lib.exported import check_export
        from fcos_lib.model import detector, export, nms

        network = detector.load_detector(contract, checkpoint)
        trunk = export.export_trunk(network, contract)
        check_export(trunk, network, contract)
        onnx.save(nms.portable(trunk, contract), folder / PORTABLE)
        onnx.save(nms.ascend(trunk, contract), folder / ASCEND)

    return store.get("onnx", inputs, build)


def witness_artifact(store: Store, contract: ModelContract, checkpoint: Path, pictures: Sequence[Picture]) -> Artifact:
    """What mmdet itself finds in these pictures. Needs torch and mmdet only if it is not in the store yet."""
    inputs = {
        "contract": contract.as_dict(),
        "checkpoint": verify_name(checkpoint),
        "pictures": [[picture.id, picture.width, picture.height, sha256_of(picture.path)] for picture in pictures],
        "sources": sources_key(*_WITNESS),
        **{
            package: _version(package)
            for package in ("torch", "mmdet", "mmengine", "mmcv", "mmcv-lite", "opencv-python")
        },
    }

    def build(folder: Path) -> None:
        from fcos_lib.witness import write_witness

        write_witness(folder, contract, checkpoint, pictures)

    return store.get("witness", inputs, build)


def foreign_onnx_artifact(store: Store, contract: ModelContract, model: Path) -> Artifact:
    """An ONNX that was exported elsewhere: unchanged for `atc`, and a portable ending made from its trunk."""
    if not model.is_file():
        raise UsageError(f"there is no ONNX at {model}", "pass --onnx FILE.onnx")
    inputs = {
        "contract": contract.as_dict(),
        "onnx": sha256_of(model),
        "exporter": sources_key(_MODEL / "nms.py", _MODEL / "export.py"),
    }

    def build(folder: Path) -> None:
        import onnx

        from fcos_lib.model import nms

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
                f"{model} is no graph that leads to {nms.NMS_OPERATOR} ({type(error).__name__}: {str(error)[:200]})",
                "pass the ONNX that atc is given (--onnx)",
            ) from error

    return store.get("onnx", inputs, build)


def candidates_onnx_artifact(store: Store, onnx_models: Artifact, contract: ModelContract) -> Artifact:
    """The same ONNX for `atc` with two more outputs: what reaches NMS."""
    inputs = {
        "contract": contract.as_dict(),
        "onnx": onnx_models.files[ASCEND],
        "exporter": sources_key(_MODEL / "nms.py"),
    }

    def build(folder: Path) -> None:
        import onnx

        from fcos_lib.model import nms

        onnx.save(nms.with_candidates(onnx.load(onnx_models.path / ASCEND), contract), folder / ASCEND)

    return store.get("onnx-candidates", inputs, build)


def tapped_onnx_artifact(
    store: Store, onnx_models: Artifact, contract: ModelContract, tensors: Sequence[str]
) -> Artifact:
    """The same ONNX for `atc` that returns what reaches NMS and then `tensors` of its inside (see `model.taps`)."""
    inputs = {
        "contract": contract.as_dict(),
        "onnx": onnx_models.files[ASCEND],
        "exporter": sources_key(_MODEL / "nms.py", _MODEL / "taps.py"),
        "taps": list(tensors),
    }

    def build(folder: Path) -> None:
        import onnx

        from fcos_lib.model import taps

        onnx.save(taps.with_taps(onnx.load(onnx_models.path / ASCEND), contract, tensors), folder / ASCEND)

    return store.get("onnx-taps", inputs, build)


def om_artifact(
    store: Store,
    onnx_models: Artifact,
    contract: ModelContract,
    toolkit: Toolkit,
    options: AtcOptions,
    timeout_s: float = 3600,
    progress: Progress | None = None,
) -> Artifact:
    """The OM of one batch size, or of several with profiles, with atc's log and any AIPP configuration beside it.

    `timeout_s` and `progress` are for `compile_om`, if it has to be built.
    """
    inputs: dict[str, Any] = {
        "contract": contract.as_dict(),
        "onnx": onnx_models.files[ASCEND],
        "soc_version": options.soc_version,
        "batch": options.batch,
        "dynamic_batches": sorted(options.dynamic_batches),
        "precision_mode": options.precision_mode,
        "op_select_implmode": options.op_select_implmode,
        "extra": list(options.extra),
        "input_layout": options.layout.value,
        "aipp": aipp_config(contract) if options.aipp else None,
        "candidates": options.candidates,
        "cann": toolkit.cann_version,
    }
    if options.taps:  # an OM without them has the key that it always had
        inputs["taps"] = list(options.taps)

    def build(folder: Path) -> None:
        log = store.root / "logs" / f"atc-{content_key('om', inputs)}.log"  # a failed build keeps no folder
        compile_om(toolkit, onnx_models.path / ASCEND, folder, contract, options, timeout_s, log, progress)

    return store.get("om", inputs, build)


def om_path(artifact: Artifact) -> Path:
    """The `.om` inside an OM artifact, whatever suffix atc gave it."""
    return artifact.path / next(name for name in sorted(artifact.files) if name.endswith(".om"))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
