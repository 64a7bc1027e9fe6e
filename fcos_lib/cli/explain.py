"""The verbs that find out once more why a run is red: `explain` from a stored run and its OM, `replay` from a bundle of somebody else."""

from __future__ import annotations

import json
import math
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from fcos_lib.ascend.atc_command import AtcOptions
from fcos_lib.cli.shared import choose_device, device_held, note, open_stored_run
from fcos_lib.cli.terminal import say
from fcos_lib.contract import InputLayout
from fcos_lib.diagnosis.blame import blame, explained
from fcos_lib.diagnosis.layers import keep_dtype_list, search_layers
from fcos_lib.diagnosis.stages import KINDS, MOST_PICTURES
from fcos_lib.diagnosis.stages import explain as find_out
from fcos_lib.diagnosis.tapped import Case
from fcos_lib.errors import UsageError
from fcos_lib.evidence.results import read_results
from fcos_lib.files import one_line, printable, write_whole
from fcos_lib.measure.coco.truth import Truth, read_truth
from fcos_lib.sharing.bundle import Bundle, read_bundle
from fcos_lib.sharing.checking import Check
from fcos_lib.sharing.envelope import read_statement
from fcos_lib.sharing.replay import models_of, picture_of, replay_bundle, with_statement
from fcos_lib.store.artifacts import Store
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
        case, run.references().detections(pictures), judged=_judged(document, run.subject), layers=args.layers, say=note
    )
    subject = run.subject
    records = [{**record, "subject": subject} for record in records]
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


def replay(args: Namespace) -> int:
    """Compute what is in a bundle again, and say what is the same here; 1 if anything differs."""
    opened = read_bundle(args.bundle)
    manifest = opened.manifest
    word = ", STAND-IN: the candidate is the emulator's" if manifest.stand_in else ""
    say(
        one_line(
            f"{len(manifest.pictures)} pictures of {manifest.subject}, run {manifest.started_at or 'unknown'}{word}"
        )
    )
    for line in manifest.explanation:
        say(one_line(f"the run said: {line}"))
    checks = replay_bundle(opened, args.onnx)
    if args.statement:
        checks = chain(checks, with_statement(opened, read_statement(args.statement)[0]))
    if args.layers:
        checks = chain(checks, _layers_here(args, opened))
    false = 0
    for check in checks:
        say(one_line(check.line))
        false += bool(check.differs)
    print(f"{false} checks differ" if false else "nothing that could be checked differs")
    return int(false > 0)


def _layers_here(args: Namespace, bundle: Bundle) -> Iterator[Check]:
    """Whether the network compiled here from the bundle's ONNX differs from the reference by more than rounding, and where first."""
    with tempfile.TemporaryDirectory(prefix="fcos-replay-") as name:
        folder = Path(name)
        args.artifacts = folder
        models = models_of(bundle, args.onnx, folder)
        pictures = [picture_of(bundle, picture, folder)[0] for picture in bundle.manifest.pictures]
        shown = tuple(picture for picture in pictures if picture is not None)
        if models is None or not shown:
            raise UsageError(
                "--layers needs an ONNX and a picture that is neither blurred nor left out",
                "ask for a bundle that was made --with onnx and with pictures",
            )
        device = choose_device(args)
        options = AtcOptions(
            device.soc_version, 1, precision_mode=bundle.manifest.precision_mode,
            aipp=bundle.manifest.layout is InputLayout.UINT8_NHWC,
        )  # fmt: skip
        case = Case(
            bundle.contract, _nothing_annotated(), shown, Store(folder / "store"), models, device.toolkit, options,
            lambda: device_held(args, device),
        )  # fmt: skip
        search = search_layers(case, shown)
    on = f"{device.soc_version}, STAND-IN: the emulator's" if device.stand_in else device.soc_version
    what = f"{len(search.layers)} layers compiled here for {on}"
    first = search.first
    if first is None:
        yield Check(f"{what}: none differs from the reference by more than rounding")
    else:
        far = f"{first.ratio:.0f} times" if first.ratio < 1e9 else "infinitely more than"
        yield Check(
            what, differs=f"the first that differs from the reference is {first.name}, {far} what fp16 explains"
        )


def _nothing_annotated() -> Truth:
    """A bundle has no annotations, and layers need none."""
    numbers, flags = np.zeros(0, np.int64), np.zeros(0, np.bool_)
    return Truth(numbers, {}, np.zeros((0, 4)), np.zeros(0), flags, flags, numbers, numbers, numbers, "")
