"""The verbs from pictures to results: network inputs as files, what an OM finds in them, and how fast it is."""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np

from fcos_lib.ascend.atc import om_info
from fcos_lib.ascend.om_session import OmSession
from fcos_lib.ascend.provenance import batch_sizes, command_options
from fcos_lib.ascend.toolkit import Toolkit
from fcos_lib.cli.shared import choose_device, chosen_dataset, device_held, shape_contract
from fcos_lib.cli.terminal import say
from fcos_lib.contract import ModelContract
from fcos_lib.device.npus import Device
from fcos_lib.errors import AtcError, UsageError
from fcos_lib.files import write_whole
from fcos_lib.model.zoo import named_contract
from fcos_lib.recipe.ais_bench import infer_bins, performance_lines, performance_summary, summary_path, write_summary
from fcos_lib.recipe.bins import bin_bytes, list_bins, write_bins
from fcos_lib.stream.sessions import usable_cpus


def preprocess(args: Namespace) -> int:
    """Write one `.bin` per picture, as `fcos_pth_preprocess.py` does."""
    dataset = chosen_dataset(args, decoded=True)
    contract = dataset.contract
    done = write_bins(dataset, contract, args.output, jobs=args.jobs or usable_cpus(), fresh=args.fresh)
    print(
        f"{done.written + done.kept} pictures in {done.folder} ({done.written} written, {done.kept} kept), "
        f"{done.bytes_each:,} bytes each, contract {contract.name}"
    )
    return 0


def info(args: Namespace) -> int:
    """Write the list of pictures and sizes that `get_info.py jpg` writes, sizes from the annotation file."""
    dataset = chosen_dataset(args)
    folder = str(dataset.pictures[0].path.parent)
    names = [picture.path.name for picture in dataset.pictures if len(picture.path.name.split()) != 1]
    if len(folder.split()) != 1 or names:
        raise UsageError(
            f"'{folder if len(folder.split()) != 1 else names[0]}' has a blank in it",
            "the recipe's scripts cut these lines at blanks: use a folder and pictures without them",
        )
    lines = [
        f"{index} {picture.path} {picture.width} {picture.height}\n" for index, picture in enumerate(dataset.pictures)
    ]
    output: Path = args.output.resolve()
    if output in {path.resolve() for path in (dataset.annotations, *(picture.path for picture in dataset.pictures))}:
        raise UsageError(f"{args.output} is part of the dataset", "name another file")
    write_whole(output, "".join(lines).encode())
    print(f"{len(lines)} pictures in {args.output}")
    return 0


def infer(args: Namespace) -> int:
    """Run a folder of network inputs through an OM and write its results as ais_bench does."""
    device = choose_device(args)
    batch, contract = _om_facts(args, device)
    bins = list_bins(args.input, contract)
    folder: Path = args.output / args.output_dirname
    _make_room(folder, args.fresh, contract)
    size = bin_bytes(contract)
    print(
        f"[INFO] get filesperbatch files0 size:{size} tensor0size:{size * batch} filesperbatch:{batch} "
        f"runcount:{-(-len(bins) // batch)}"
    )
    with device_held(args, device), OmSession(args.om, contract, batch, device.device_id) as session:
        _warm_up(session, batch)
        filesinfo = infer_bins(session, bins, contract, batch, folder)
        times, stand_in = session.compute_ms(), session.stand_in
    summary = {
        "filesinfo": filesinfo,
        "args": sys.argv,
        **performance_summary(batch, times),
        "pid": os.getpid(),
        "stand_in": stand_in,
        "device": device.as_dict(),
    }
    say("\n".join(performance_lines(batch, times, stand_in)))
    print(f"{len(bins)} pictures in {folder}, summary in {write_summary(folder, summary)}")
    return 0


def bench(args: Namespace) -> int:
    """Run an OM on zeros, as ais_bench does without `--input`, and print its throughput."""
    device = choose_device(args)
    batch, contract = _om_facts(args, device)
    with device_held(args, device), OmSession(args.om, contract, batch, device.device_id) as session:
        print(f"[INFO] try get model batchsize:{batch}")
        _warm_up(session, batch)
        zeros = np.zeros(contract.input_shape(batch), np.float32)
        for _ in range(args.loop):
            session.run(zeros)
        lines = performance_lines(batch, session.compute_ms(), session.stand_in)
    say("\n".join(lines))
    return 0


def _warm_up(session: OmSession, batch: int) -> None:
    session.run(np.zeros(session.contract.input_shape(batch), np.float32))
    session.reset_timings()
    print("[INFO] warm up 1 done")


def _om_facts(args: Namespace, device: Device) -> tuple[int, ModelContract]:
    """Batch size and contract: what the OM says, or the options where it does not; `UsageError` if they disagree."""
    compiled_for = _om_input(device.toolkit, args.om)
    named = _named_contract(args)
    if compiled_for is None:
        if args.batch_size is None or named is None:
            raise UsageError(
                f"{args.om} does not say what it was compiled for", "pass --batch-size and --contract with it"
            )
        return args.batch_size, named
    batches, height, width = compiled_for
    if len(batches) > 1 and args.batch_size not in batches:
        sizes = ", ".join(map(str, batches))
        raise UsageError(
            f"{args.om} has profiles for batch sizes {sizes}{f', not for {args.batch_size}' if args.batch_size else ''}",
            "pass one of them with --batch-size",
        )
    batch: int = args.batch_size if len(batches) > 1 else batches[0]
    if args.batch_size not in (None, batch):
        raise UsageError(
            f"{args.om} has batch size {batch}, not {args.batch_size}; ais_bench would take the word for it and print "
            f"1000 x {args.batch_size} / mean time, {args.batch_size / batch:g} x the true throughput",
            f"pass --batch-size {batch}, or an OM compiled for {args.batch_size}",
        )
    return batch, named or shape_contract(None, height, width, str(args.om))


def _named_contract(args: Namespace) -> ModelContract | None:
    if args.dataset is not None:
        return chosen_dataset(args).contract
    return named_contract(args.contract) if args.contract else None


def _make_room(folder: Path, fresh: bool, contract: ModelContract) -> None:
    """Empty the result folder if that is wished, or refuse: results of another run that stay there would be evaluated as this one's."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", "pass another --output-dirname")
    present = sorted(folder.iterdir()) if folder.is_dir() else []
    others = [path.name for path in present if not _is_result(path, contract)]
    if others:
        raise UsageError(
            f"{folder} holds files that are no results ({others[0]}; {len(others)} in all)",
            "pass another --output-dirname",
        )
    if present and not fresh:
        raise UsageError(
            f"{folder} already holds {len(present)} results ({present[0].name}, ...)",
            "pass --fresh to replace them, or another --output-dirname",
        )
    for path in present:
        path.unlink()
    summary_path(folder).unlink(missing_ok=True)


def _is_result(path: Path, contract: ModelContract) -> bool:
    """True if a file may be removed as a result of `infer`: by its name and, since inputs are .bin too, by its size."""
    name = re.fullmatch(r".+_[01]\.bin", path.name)
    return name is not None and path.is_file() and path.stat().st_size <= contract.max_detections * 20


def _om_input(toolkit: Toolkit, om: Path) -> tuple[tuple[int, ...], int, int] | None:
    """(batch sizes, height, width) that an OM was compiled for, from its own atc command line; None if it does not say."""
    if not om.is_file():
        raise UsageError(f"there is no OM at {om}", "compile it first, or pass another --om")
    try:
        command_line = om_info(toolkit, om)["command_line"]
    except AtcError:
        return None
    options = command_options(command_line)
    shape = re.search(r":(-1|\d{1,5}),3,(\d{1,5}),(\d{1,5})$", options.get("input_shape", ""))
    batches = batch_sizes(options) if shape else ()
    return (batches, int(shape[2]), int(shape[3])) if shape and batches else None
