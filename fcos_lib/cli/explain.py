"""The verb `explain`: finds what lost the mAP of a stored run, from its OM, and writes it into the run's results."""

from __future__ import annotations

import json
import math
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

from fcos_lib.artifacts import ASCEND, PORTABLE
from fcos_lib.artifacts.from_checkpoint import onnx_artifact
from fcos_lib.artifacts.from_onnx import foreign_onnx_artifact
from fcos_lib.ascend.atc_command import AtcOptions
from fcos_lib.cli.shared import choose_device, device_held, note
from fcos_lib.cli.terminal import say
from fcos_lib.contract import ModelContract
from fcos_lib.device.npus import Device
from fcos_lib.diagnosis.blame import blame
from fcos_lib.diagnosis.layers import keep_dtype_list
from fcos_lib.diagnosis.stages import KINDS, MOST_PICTURES
from fcos_lib.diagnosis.stages import explain as find_out
from fcos_lib.diagnosis.tapped import Case
from fcos_lib.errors import UsageError
from fcos_lib.evidence.explained import explained
from fcos_lib.evidence.results import read_results
from fcos_lib.files import printable, write_whole
from fcos_lib.measure.coco.truth import read_truth
from fcos_lib.model.zoo import chosen_contract
from fcos_lib.options.option import as_json
from fcos_lib.options.table import OPTIONS
from fcos_lib.store.artifacts import Artifact, Store
from fcos_lib.stream.dataset import open_dataset, spread
from fcos_lib.stream.references import References
from fcos_lib.stream.sessions import OnnxSession

STAND_IN = "STAND-IN: the emulator computed this, it says nothing about hardware"


def explain(args: Namespace) -> int:
    """Explain the OM of one batch size, print it, and put it into the results, in place of an earlier explanation."""
    document = read_results(args.results)
    settings = _settings(document, args.results)
    subject, batch = _subject(document, settings, args.batch)
    args.artifacts = args.artifacts or _existing(settings["artifacts"]) or Path(".artifacts")
    dataset = open_dataset(args.dataset or Path(settings["dataset"]))
    if settings["annotations_sha256"] not in (None, dataset.annotations_sha256):
        raise UsageError(
            f"{dataset.annotations} is not the annotation file of the run", "pass the run's dataset with --dataset"
        )
    checkpoint = _existing_file(settings["checkpoint"])
    contract = chosen_contract(tuple(dataset.category_ids), settings["contract"], checkpoint)
    store = Store(args.artifacts)
    models = _models(store, contract, settings, document)
    device = choose_device(args)
    _check_device(device, document)
    pictures = spread(dataset.pictures, args.pictures or min(settings["pictures"] or MOST_PICTURES, MOST_PICTURES))
    references = References(
        _existing(settings["references"]) or store.root / "references",
        OnnxSession(models.path / PORTABLE, contract), contract, models.files[PORTABLE],
    )  # fmt: skip
    note(f"{subject}: {len(pictures)} pictures, reference first")
    case = Case(
        contract, read_truth(dataset), pictures, store, models, device.toolkit,
        _options(settings, document, device, batch), lambda: device_held(args, device),
        60 * settings["atc_time_limit"],
    )  # fmt: skip
    records = find_out(
        case, references.detections(pictures), judged=_judged(document, subject), layers=args.layers, say=note
    )
    records = [{**record, "subject": subject} for record in records]
    say(f"{subject}, {STAND_IN}" if device.stand_in else subject)
    print(printable("\n".join(explained(records))))
    _suggest(records, args.results, subject)
    _keep(args.results, document, subject, records)
    print(f"written into {args.results}; python -m fcos_lib page {args.results} draws it")
    return 0


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
        raise UsageError("the accuracy of no OM was judged in this run", "pass the results of another run")
    if batch is not None and batch not in judged:
        raise UsageError(
            f"the accuracy of batch size {batch} was not judged in this run",
            f"pass --batch with one of {', '.join(map(str, sorted(judged)))}",
        )
    chosen = batch or min(judged, key=lambda size: (not judged[size], size))
    return f"batch{chosen}{ending}", chosen


def _models(store: Store, contract: ModelContract, settings: dict[str, Any], document: dict[str, Any]) -> Artifact:
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
            "explain it with the release and the packages that ran it",
        )
    return models


def _check_device(device: Device, document: dict[str, Any]) -> None:
    """`UsageError` if the run was on something else: its results must not come to hold another device's."""
    then = document["environment"].get("device") or {}
    if then and then["stand_in"] != device.stand_in:
        raise UsageError(
            f"the run was on {'the emulator' if then['stand_in'] else 'an NPU'}, this is "
            f"{'the emulator' if device.stand_in else 'an NPU'}",
            "explain it where it ran" + (", or pass --npu emulated" if then["stand_in"] else ""),
        )
    if then.get("soc_version") not in (None, device.soc_version):
        raise UsageError(
            f"the run was on {then['soc_version']}, this is {device.soc_version}", "explain it where it ran"
        )


def _options(settings: dict[str, Any], document: dict[str, Any], device: Device, batch: int) -> AtcOptions:
    precision = settings["precision_mode"]
    if settings["om"]:
        note("the OM under test was compiled elsewhere; it is explained by one compiled here from the same ONNX")
        modes = [om["provenance"].get("precision_mode") for om in document["artifacts"] if om["kind"] == "om"]
        precision = next((mode for mode in modes if isinstance(mode, str)), precision)
    return AtcOptions(
        device.soc_version, batch, precision_mode=precision, op_select_implmode=settings["op_select_implmode"],
        extra=tuple(settings["atc_option"]), aipp=settings["aipp"],
    )  # fmt: skip


def _judged(document: dict[str, Any], subject: str) -> float | None:
    for entry in document["verdicts"]:
        measured = entry["measurement"]
        if entry["subject"] == subject and measured["name"] == "mAP difference":
            return float(measured["value"]) if math.isfinite(float(measured["value"])) else None
    return None


def _suggest(records: list[dict[str, Any]], results: Path, subject: str) -> None:
    """Say how to keep the first layer that differs in float32, in a file that atc reads, unless it cannot be rounding."""
    data = next((record["data"] for record in records if record["kind"] == "layers"), None)
    decided = blame(layers=data)
    if not data or not decided.layer or not decided.float32_may_help:
        return
    nodes: list[str] = data["mixed_precision"]
    path = results.absolute().with_name(f"keep_dtype-{subject}.cfg")
    write_whole(path, keep_dtype_list(nodes).encode())
    print("".join(f"    {printable(node)}\n" for node in nodes) + f"  in {path}")
    print(f"  for atc: --keep_dtype={path}; for the suite: --atc-option=--keep_dtype={path}")


def _keep(path: Path, document: dict[str, Any], subject: str, records: list[dict[str, Any]]) -> None:
    """Put the records into the file, whole or not at all."""
    others = [entry for entry in document["evidence"] if entry["kind"] not in KINDS or entry["subject"] != subject]
    text = json.dumps({**document, "evidence": [*others, *records]}, indent=1, allow_nan=False)
    write_whole(path, f"{text}\n".encode())
