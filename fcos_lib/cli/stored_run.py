"""A stored run as verbs go back to it: its settings, dataset, models and device, each held to what the run says of it."""

from __future__ import annotations

import re
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcos_lib.artifacts import ASCEND, PORTABLE
from fcos_lib.artifacts.from_checkpoint import onnx_artifact
from fcos_lib.artifacts.from_onnx import foreign_onnx_artifact
from fcos_lib.ascend.atc_command import AtcOptions
from fcos_lib.cli.shared import choose_device, note
from fcos_lib.contract import ModelContract
from fcos_lib.device.npus import Device
from fcos_lib.errors import UsageError
from fcos_lib.options.option import as_json
from fcos_lib.options.table import OPTIONS
from fcos_lib.store.artifacts import Artifact, Store
from fcos_lib.stream.dataset import Dataset, open_dataset
from fcos_lib.stream.naming import naming
from fcos_lib.stream.references import References
from fcos_lib.stream.sessions import OnnxSession


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What a verb needs to run one OM of a stored run again."""

    settings: dict[str, Any]
    subject: str
    """`batch8`, with `-aipp` or `-dynamic`."""
    batch: int
    dataset: Dataset
    contract: ModelContract
    store: Store
    models: Artifact
    """Both endings of the run's ONNX."""
    device: Device
    options: AtcOptions
    """How the OM was compiled, with a fixed batch size."""

    def references(self) -> References:
        """The reference's results, in the run's folder if it is here."""
        folder = _existing(self.settings["references"]) or self.store.root / "references"
        session = OnnxSession(self.models.path / PORTABLE, self.contract)
        return References(folder, session, self.contract, self.models.files[PORTABLE])


def open_stored_run(args: Namespace, document: dict[str, Any]) -> StoredRun:
    """The run behind `args.results`, for `args.batch` or what failed first; `UsageError` if what is here is not what ran."""
    settings, verb = _settings(document, args.results), args.verb
    subject, batch = _subject(document, settings, args.batch)
    args.artifacts = args.artifacts or _existing(settings["artifacts"]) or Path(".artifacts")
    said = naming(settings["contract"], settings["category"], _existing_file(settings["checkpoint"]))
    dataset = open_dataset(args.dataset or Path(settings["dataset"]), said)
    if settings["annotations_sha256"] not in (None, dataset.annotations_sha256):
        raise UsageError(
            f"{dataset.annotations} is not the annotation file of the run", "pass the run's dataset with --dataset"
        )
    contract = dataset.contract
    store = Store(args.artifacts)
    models = _models(store, contract, settings, document, verb)
    device = choose_device(args)
    _check_device(device, document, verb)
    options = _options(settings, document, device, batch)
    return StoredRun(settings, subject, batch, dataset, contract, store, models, device, options)


def _settings(document: dict[str, Any], path: Path) -> dict[str, Any]:
    """What the run was told, every name that is used here present; `UsageError` for a file that does not say."""
    settings = document["run"].get("settings")
    defaults = {option.key: as_json(option.default) for option in OPTIONS.values()} | {"annotations_sha256": None}
    if not isinstance(settings, dict) or not {"dataset", "artifacts"} <= settings.keys():
        raise UsageError(f"{path} does not say with which settings it was made", "run the suite again, it writes them")
    whole: dict[str, Any] = defaults | settings
    texts = [text for text in (*whole.values(), *whole["atc_option"]) if isinstance(text, str)]
    counts = [whole["pictures"] or 1, whole["atc_time_limit"]]
    if not all(text.isprintable() for text in texts) or whole["pictures"] == 0 or min(counts) < 1:
        raise UsageError(f"{path} has settings that no run has", "pass the results.json that a run wrote")
    return whole


def _existing(folder: str | None) -> Path | None:
    """A folder of the run, if this machine has it: what a file names is not made."""
    return Path(folder) if folder and Path(folder).is_dir() else None


def _existing_file(path: str | None) -> Path | None:
    """A file of the run, if this machine has it."""
    return Path(path) if path and Path(path).is_file() else None


def _subject(document: dict[str, Any], settings: dict[str, Any], batch: int | None) -> tuple[str, int]:
    """(subject, batch size): the one asked for, else the first whose accuracy failed, else the first that was judged."""
    ending = ("-aipp" if settings["aipp"] else "") + ("-dynamic" if settings["dynamic_batch"] else "")
    judged: dict[int, bool] = {}
    for entry in document["verdicts"]:
        match = re.fullmatch(rf"batch([1-9]\d{{0,3}}){ending}", entry["subject"])
        if match and entry["promise"] == "accuracy":
            size = int(match[1])
            judged[size] = judged.get(size, False) or entry["outcome"] == "FAIL"
    if not judged:
        raise UsageError(
            "the accuracy of no OM was judged in this run",
            "pass those of a run that did; previous.json beside it is the run before",
        )
    if batch is not None and batch not in judged:
        raise UsageError(
            f"the accuracy of batch size {batch} was not judged in this run",
            f"pass --batch with one of {', '.join(map(str, sorted(judged)))}",
        )
    chosen = batch or min(judged, key=lambda size: (not judged[size], size))
    return f"batch{chosen}{ending}", chosen


def _models(
    store: Store, contract: ModelContract, settings: dict[str, Any], document: dict[str, Any], verb: str
) -> Artifact:
    """The run's ONNX, made again if it is gone; `UsageError` if what its settings give now is another one."""
    if settings["onnx"]:
        models = foreign_onnx_artifact(store, contract, Path(settings["onnx"]))
    elif settings["checkpoint"]:
        models = onnx_artifact(store, contract, Path(settings["checkpoint"]))
    else:
        raise UsageError("the results name neither a checkpoint nor an ONNX", "run the suite again, it writes them")
    then = {entry["files"].get(ASCEND) for entry in document["artifacts"] if entry["kind"] == "onnx"}
    if then and models.files[ASCEND] not in then:
        raise UsageError(
            f"the ONNX of the run is gone: {settings['onnx'] or settings['checkpoint']} now gives another one",
            f"{verb} it with the release and the packages that ran it",
        )
    return models


def _check_device(device: Device, document: dict[str, Any], verb: str) -> None:
    """`UsageError` if the run was on something else: its results must not come to hold another device's."""
    then = document["environment"].get("device") or {}
    if then and then["stand_in"] != device.stand_in:
        raise UsageError(
            f"the run was on {'the emulator' if then['stand_in'] else 'an NPU'}, this is "
            f"{'the emulator' if device.stand_in else 'an NPU'}",
            f"{verb} it where it ran" + (", or pass --npu emulated" if then["stand_in"] else ""),
        )
    if then.get("soc_version") not in (None, device.soc_version):
        raise UsageError(
            f"the run was on {then['soc_version']}, this is {device.soc_version}", f"{verb} it where it ran"
        )


def _options(settings: dict[str, Any], document: dict[str, Any], device: Device, batch: int) -> AtcOptions:
    precision = settings["precision_mode"]
    if settings["om"]:
        note(
            "the OM under test was compiled elsewhere; what is done here is done with one compiled here from the same ONNX"
        )
        modes = [om["provenance"].get("precision_mode") for om in document["artifacts"] if om["kind"] == "om"]
        precision = next((mode for mode in modes if isinstance(mode, str)), precision)
    return AtcOptions(
        device.soc_version, batch, precision_mode=precision, op_select_implmode=settings["op_select_implmode"],
        extra=tuple(settings["atc_option"]), aipp=settings["aipp"],
    )  # fmt: skip
