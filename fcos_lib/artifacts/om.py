"""The OM of an ONNX, and the graph in it as `atc` describes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fcos_lib.artifacts import ASCEND, FIXED_BATCH
from fcos_lib.ascend.atc import Progress, compile_om, om_json
from fcos_lib.ascend.atc_command import AtcOptions, aipp_config
from fcos_lib.ascend.toolkit import Toolkit
from fcos_lib.contract import ModelContract
from fcos_lib.files import sha256_of
from fcos_lib.store.artifacts import Artifact, Store, key_of

GRAPH = "model.json"
_SPARE_S = 600.0
"""For what a build does besides `atc`."""


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

    `timeout_s` and `progress` are for `compile_om`, if it has to be built. Of the graph for a fixed batch size the key holds the ONNX
    that it is made of, the batch size, and the code that makes it.
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
        "extra files": _files_of(options.extra),
        "input_layout": options.layout.value,
        "aipp": aipp_config(contract) if options.aipp else None,
        "proposals": options.proposals,
        "taps": list(options.taps),
        "cann": toolkit.cann_version,
    }

    def build(folder: Path) -> None:
        log = store.root / "logs" / f"atc-{key_of(folder)}.log"  # a failed build keeps no folder
        onnx = onnx_for_atc(onnx_models.path / ASCEND, folder, options)
        compile_om(toolkit, onnx, folder, contract, options, timeout_s, log, progress)

    return store.get("om", inputs, build, wait_s=timeout_s + _SPARE_S)


def onnx_for_atc(onnx_model: Path, folder: Path, options: AtcOptions) -> Path:
    """The ONNX that `atc` is given: for one batch size that of `with_fixed_batch`, written to `folder` as `FIXED_BATCH`.

    For several batch sizes, and if it was made elsewhere, it is `onnx_model` itself; what cannot be read is left to `atc`,
    which says what is wrong. `ExportError` if the graph is none of ours for all that it says.
    """
    import onnx

    from fcos_lib.model.fixed_batch import is_open, with_fixed_batch

    fixed = folder / FIXED_BATCH
    if onnx_model.absolute() != fixed.absolute():
        fixed.unlink(missing_ok=True)  # of another OM that was compiled into the same folder
    if options.dynamic_batches:
        return onnx_model
    try:
        model = onnx.load(onnx_model, load_external_data=False)
    except Exception:  # protobuf's DecodeError and more
        return onnx_model
    if not is_open(model):
        return onnx_model
    onnx.save(with_fixed_batch(model, options.batch), fixed)
    return fixed


def om_json_artifact(store: Store, om: Path, om_sha256: str, toolkit: Toolkit) -> Artifact:
    """The graph in an OM as `GRAPH`, by atc's converter; `AtcError` if it cannot be had."""
    inputs = {"om": om_sha256, "cann": toolkit.cann_version}
    return store.get("om-json", inputs, lambda folder: om_json(toolkit, om, folder / GRAPH))


def om_path(artifact: Artifact) -> Path:
    """The `.om` inside an OM artifact, whatever suffix atc gave it."""
    return artifact.path / next(name for name in sorted(artifact.files) if name.endswith(".om"))


def _files_of(options: Sequence[str]) -> dict[str, str]:
    """SHA-256 of each file that an option names, by the option: its content decides what atc does, not its name."""
    named = ((option, Path(option.partition("=")[2])) for option in options)
    return {option: sha256_of(path) for option, path in named if path.is_file()}
