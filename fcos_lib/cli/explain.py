"""The verb `explain`: finds what lost the mAP of a stored run, from its OM, and writes it into the run's results."""

from __future__ import annotations

import json
import math
import shlex
from argparse import Namespace
from pathlib import Path
from typing import Any

from fcos_lib.cli.shared import device_held, note
from fcos_lib.cli.stored_run import open_stored_run
from fcos_lib.cli.terminal import say
from fcos_lib.diagnosis.blame import blame, near_the_reference
from fcos_lib.diagnosis.layers import keep_dtype_list
from fcos_lib.diagnosis.stages import KINDS, MOST_PICTURES
from fcos_lib.diagnosis.stages import explain as find_out
from fcos_lib.diagnosis.tapped import Case
from fcos_lib.evidence.explained import explained
from fcos_lib.evidence.results import read_results, stored_verdict
from fcos_lib.files import printable, write_whole
from fcos_lib.measure.coco.truth import read_truth
from fcos_lib.stream.dataset import spread

STAND_IN = "STAND-IN: the emulator computed this, it says nothing about hardware"


def explain(args: Namespace) -> int:
    """Explain the OM of one batch size, print it, and put it into the results, in place of an earlier explanation."""
    document = read_results(args.results)
    run = open_stored_run(args, document)
    pictures = spread(
        run.dataset.pictures, args.pictures or min(run.settings["pictures"] or MOST_PICTURES, MOST_PICTURES)
    )
    note(f"{run.subject}: {len(pictures)} pictures, reference first")
    case = Case(
        run.contract, read_truth(run.dataset), pictures, run.store, run.models, run.device.toolkit, run.options,
        lambda: device_held(args, run.device), 60 * run.settings["atc_time_limit"],
    )  # fmt: skip
    records = find_out(
        case, run.references().detections(pictures), judged=_judged(document, run.subject),
        layers=args.layers or _network_is_red(document), say=note,
    )  # fmt: skip
    subject = run.subject
    records = [{**record, "subject": subject} for record in records]
    if near_the_reference(stored_verdict(entry) for entry in document["verdicts"] if entry["subject"] == subject):
        records[0]["data"]["within"] = True
    say(f"{subject}, {STAND_IN}" if run.device.stand_in else subject)
    print(printable("\n".join(explained(records))))
    _suggest(records, args.results, subject)
    _keep(args.results, document, subject, records)
    print(f"written into {args.results}; python -m fcos_lib page {args.results} draws it")
    return 0


def _judged(document: dict[str, Any], subject: str) -> float | None:
    for entry in document["verdicts"]:
        measured = entry["measurement"]
        if entry["subject"] == subject and measured["name"] == "mAP difference":
            return float(measured["value"]) if math.isfinite(float(measured["value"])) else None
    return None


def _network_is_red(document: dict[str, Any]) -> bool:
    """True if a gate on what the network finds before NMS is red; all batch sizes have one network."""
    red = (verdict for verdict in map(stored_verdict, document["verdicts"]) if not verdict.green)
    return any(verdict.measurement.gate.startswith(("proposals.", "network.")) for verdict in red)


def _suggest(records: list[dict[str, Any]], results: Path, subject: str) -> None:
    """Say how to keep the first layer that differs in float32, in a file that atc reads, unless it cannot be rounding."""
    data = next((record["data"] for record in records if record["kind"] == "layers"), None)
    decided = blame(layers=data)
    if not data or not decided.layer or not decided.float32_may_help:
        return
    nodes: list[str] = data["mixed_precision"]
    path = results.absolute().with_name(f"keep_dtype-{subject}.cfg")
    write_whole(path, keep_dtype_list(nodes).encode())
    print("to keep in float32:\n" + "".join(f"    {printable(node)}\n" for node in nodes) + f"  in {path}")
    option = f"--keep_dtype={path}"
    print(f"  for atc: {shlex.quote(option)}; for the suite: {shlex.quote(f'--atc-option={option}')}")


def _keep(path: Path, document: dict[str, Any], subject: str, records: list[dict[str, Any]]) -> None:
    """Put the records into the file, whole or not at all."""
    others = [entry for entry in document["evidence"] if entry["kind"] not in KINDS or entry["subject"] != subject]
    text = json.dumps({**document, "evidence": [*others, *records]}, indent=1, allow_nan=False)
    write_whole(path, f"{text}\n".encode())
