"""The verb `bundle`: pictures of a stored run for somebody else, with all that both sides computed in them."""

from __future__ import annotations

import contextlib
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcos_lib.errors import UsageError
from fcos_lib.options.option import Option, number
from fcos_lib.options.option import path as to_path

if TYPE_CHECKING:
    from fcos_lib.ascend.om_session import OmSession
    from fcos_lib.cli.stored_run import StoredRun
    from fcos_lib.sharing.pack import Computed
    from fcos_lib.stream.dataset import Picture

NAME = "bundle.zip"
_MODELS = ("onnx", "om")


def add_options(bundle: ArgumentParser) -> None:
    """The options of the verb, but for the run and those of the table."""
    which = bundle.add_mutually_exclusive_group(required=True)
    of_the_run = "the pictures that lost most, of those in the run's evidence"
    Option("--pictures", "pictures by their ids in the annotations", "ID", number(0, 2**63 - 1), nargs="+").add_to(
        which
    )
    Option("--worst", of_the_run, "N", number(1, 100)).add_to(which)
    Option("--output", "", "FILE.zip", to_path, default_words=f"{NAME} beside RESULTS", short="-o").add_to(bundle)
    Option("--batch", "the batch size", "N", number(1, 1024), default_words="the first that failed").add_to(bundle)
    bundle.add_argument(
        "--with", dest="models", type=_models, default=(), metavar="onnx,om",
        help="put the models in, as far as they fit",
    )  # fmt: skip
    shown = bundle.add_mutually_exclusive_group()
    Option("--no-pictures", "leave the pictures out, and keep what was computed", default=False).add_to(shown)
    Option("--blur", "put the pictures in blurred", default=False).add_to(shown)


def _models(text: str) -> tuple[str, ...]:
    import argparse

    names = tuple(text.split(","))
    if not set(names) <= set(_MODELS) or len(set(names)) != len(names):
        raise argparse.ArgumentTypeError(f"{text!r} is not onnx, om, or both")
    return names


def bundle(args: Namespace) -> int:
    """Compute the pictures once more on both sides, and write them; whole or not at all."""
    from fcos_lib.artifacts import ASCEND
    from fcos_lib.cli.shared import note
    from fcos_lib.cli.stored_run import open_stored_run
    from fcos_lib.evidence.results import has_stand_in, read_results
    from fcos_lib.sharing.bundle import OM, ONNX
    from fcos_lib.sharing.pack import pack_picture, said_of, worst_of, write_bundle
    from fcos_lib.sharing.statement import machine_of
    from fcos_lib.stream.reference_record import cpu_name

    document = read_results(args.results)
    run = open_stored_run(args, document)
    if args.worst:
        pictures = worst_of(document, run.subject, run.dataset.pictures, args.worst)
        if len(pictures) < args.worst:
            note(f"the run's evidence shows {len(pictures)} pictures of {run.subject}, not {args.worst}")
    else:
        pictures = _named(run, args.pictures)
    om, om_sha256 = _om_under_test(run, document)
    layers, computed = _compute(args, run, om, pictures)
    shown = "left out" if args.no_pictures else "blurred" if args.blur else "whole"
    entries: list[dict[str, Any]] = []
    members: dict[str, bytes] = {}
    for both_sides in computed:
        entry, files = pack_picture(both_sides, run.contract, shown, document, run.subject)
        entries.append(entry)
        members |= files
    models = {"onnx": (ONNX, run.models.path / ASCEND), "om": (OM, om)}
    members |= {name: path.read_bytes() for name, path in (models[kind] for kind in args.models)}
    environment = document["environment"]
    manifest = {
        "format": 1, "subject": run.subject, "batch": run.batch, "layout": run.options.layout.value,
        "contract": run.contract.as_dict(), "stand_in": run.device.stand_in or has_stand_in(document),
        "device": machine_of(environment.get("device")),
        "cpu": cpu_name(), "sources": environment.get("sources"), "started_at": document["run"].get("started_at", ""),
        "onnx": run.models.files[ASCEND], "om": om_sha256, "precision_mode": run.options.precision_mode,
        "explanation": said_of(document, run.subject), "layers": list(layers), "pictures": entries,
    }  # fmt: skip
    output = args.output or args.results.with_name(NAME)
    write_bundle(output, manifest, members)
    kept = sum(entry["proof"] is not None for entry in entries)
    note(f"{len(entries)} pictures of {run.subject}, {kept} of them as the run found them, pictures {shown}")
    print(output)
    return 0


def _named(run: StoredRun, ids: Sequence[int]) -> list[Picture]:
    by_id = {picture.id: picture for picture in run.dataset.pictures}
    if missing := [number for number in ids if number not in by_id]:
        raise UsageError(
            f"{run.dataset.annotations} has no picture {missing[0]}", "name pictures by their ids in the annotations"
        )
    return [by_id[number] for number in dict.fromkeys(ids)]


def _om_under_test(run: StoredRun, document: dict[str, Any]) -> tuple[Path, str]:
    """The OM that the run tested, if it is here, else one compiled like it; with its SHA-256."""
    from fcos_lib.artifacts.om import om_artifact, om_path
    from fcos_lib.evidence.results import batches_of
    from fcos_lib.files import sha256_of

    for artifact in document["artifacts"]:
        made_from = artifact["provenance"]
        if artifact["kind"] != "om" or run.batch not in batches_of(made_from):
            continue
        for name, sha256 in artifact["files"].items():
            foreign = made_from.get("path")
            path = Path(foreign) if isinstance(foreign, str) else run.store.root / "om" / artifact["key"] / name
            with contextlib.suppress(OSError):
                if name.endswith(".om") and Path(name).name == name and sha256_of(path) == sha256:
                    return path, sha256
    compiled = om_artifact(run.store, run.models, run.contract, run.device.toolkit, run.options)
    path = om_path(compiled)
    return path, compiled.files[path.name]


def _compute(
    args: Namespace, run: StoredRun, om: Path, pictures: Sequence[Picture]
) -> tuple[tuple[str, ...], list[Computed]]:
    """(names of the reference's layers if the ONNX goes with it, what both sides make of each picture)."""
    from fcos_lib.artifacts import PORTABLE
    from fcos_lib.sharing.pack import Computed, reference_layers, tensors_of
    from fcos_lib.stream.feed import load_batch
    from fcos_lib.stream.sessions import OnnxSession

    portable = run.models.path / PORTABLE
    reference = OnnxSession(portable, run.contract)
    inputs = {picture.id: load_batch([picture], run.contract, 1).tensor for picture in pictures}
    layers: tuple[str, ...] = ()
    kept = {}
    if "onnx" in args.models:
        for number_, tensor in inputs.items():
            layers, kept[number_] = reference_layers(portable, run.contract, tensor)
    of_candidate = {}
    with _sessions(args, run, om) as (tested, proposing):
        for picture in pictures:
            outputs = tested.run(load_batch([picture], run.contract, run.batch, tested.layout).tensor)
            batch = load_batch([picture], run.contract, 1, proposing.layout)
            _, boxes, scores = proposing.run_and_proposals(batch.tensor)
            of_candidate[picture.id] = tensors_of(outputs, boxes, scores)
    return layers, [
        Computed(
            picture, inputs[picture.id], tensors_of(*reference.run_and_proposals(inputs[picture.id])), of_candidate[picture.id],
            kept.get(picture.id),
        )
        for picture in pictures
    ]  # fmt: skip


@contextlib.contextmanager
def _sessions(args: Namespace, run: StoredRun, om: Path) -> Iterator[tuple[OmSession, OmSession]]:
    """The OM under test, and one like it for one picture that returns what reaches NMS as well; the device is held."""
    from fcos_lib.artifacts.from_onnx import proposals_onnx_artifact
    from fcos_lib.artifacts.om import om_artifact, om_path
    from fcos_lib.ascend.om_session import OmSession
    from fcos_lib.cli.shared import device_held

    options = replace(run.options, batch=1, dynamic_batches=(), proposals=True)
    source = proposals_onnx_artifact(run.store, run.models, run.contract)
    proposing = om_path(om_artifact(run.store, source, run.contract, run.device.toolkit, options))
    layout = run.options.layout
    with (
        device_held(args, run.device) as device_id,
        OmSession(om, run.contract, run.batch, device_id, layout) as tested,
        OmSession(proposing, run.contract, 1, device_id, layout) as with_proposals,
    ):
        yield tested, with_proposals
