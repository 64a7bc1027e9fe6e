"""The OM of an ONNX, and the graph in it as `atc` describes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fcos_lib.artifacts import ASCEND
from fcos_lib.ascend.atc import Progress, compile_om, om_json
from fcos_lib.ascend.atc_command import AtcOptions, aipp_config
from fcos_lib.ascend.toolkit import Toolkit
from fcos_lib.contract import ModelContract
from fcos_lib.store.artifacts import Artifact, Store, key_of, sha256_of

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
        "extra files": _files_of(options.extra),
        "input_layout": options.layout.value,
        "aipp": aipp_config(contract) if options.aipp else None,
        "candidates": options.candidates,
        "taps": list(options.taps),
        "cann": toolkit.cann_version,
    }

    def build(folder: Path) -> None:
        log = store.root / "logs" / f"atc-{key_of(folder)}.log"  # a failed build keeps no folder
        compile_om(toolkit, onnx_models.path / ASCEND, folder, contract, options, timeout_s, log, progress)

    return store.get("om", inputs, build, wait_s=timeout_s + _SPARE_S)


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
