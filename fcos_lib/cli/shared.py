"""Steps that several verbs share: the device and its lease, the contract, what an OM says about itself, completion."""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from fcos_lib.ascend.atc import om_info
from fcos_lib.ascend.provenance import batch_sizes, command_options
from fcos_lib.ascend.toolkit import Toolkit
from fcos_lib.contract import CONTRACTS, ModelContract, contract_for
from fcos_lib.device.lease import lease, lock_folder
from fcos_lib.device.npus import Device, hardware_or_why_not, use_emulator
from fcos_lib.errors import AtcError, UsageError
from fcos_lib.options.converters import path
from fcos_lib.stream.dataset import Dataset

NAME = "fcos_lib"
"""What is completed. A shell completes commands, and `python -m fcos_lib` is one of python's."""


def completion(args: argparse.Namespace) -> int:
    """Print the script: a function that stands for `python -m fcos_lib` with this Python, and its completion."""
    try:
        import shtab
    except ModuleNotFoundError as error:
        raise UsageError("the package shtab, which writes the script, is not installed", "pip install shtab") from error
    from fcos_lib.cli.parser import build_parser

    parser = build_parser()
    parser.prog = NAME
    for action in _actions(parser):
        if action.type is path:  # shtab reads an attribute that argparse does not declare
            action.complete = shtab.DIRECTORY if action.metavar == "FOLDER" else shtab.FILE  # type: ignore[attr-defined]
    script = shtab.complete(parser, shell=args.shell)
    function = f'{NAME}() {{ {shlex.quote(sys.executable)} -m {NAME} "$@"; }}\n'
    # zsh wants its #compdef line first.
    head, newline, rest = script.partition("\n") if args.shell == "zsh" else ("", "", script)
    print(head + newline + function + rest)
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every option and operand of a parser and of the parsers below it."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)


def note(text: str) -> None:
    """Say something that is no result: on stderr, so that stdout stays parseable."""
    print(f"note: {text}", file=sys.stderr)


def choose_device(args: Namespace) -> Device:
    """The device that `--npu` and `--device-id` mean; the emulator is laid out below `--artifacts` and said to be it."""
    devices, why_not = hardware_or_why_not(args.npu, (args.device_id,))
    if not devices:
        if args.npu != "emulated":
            note(f"{why_not}; the emulator is used, results are STAND-IN")
        devices = use_emulator(args.artifacts / "emulator", (args.device_id,))
    return devices[0]


@contextlib.contextmanager
def device_held(args: Namespace, device: Device) -> Iterator[None]:
    """Hold the device against everybody else on this machine, the test suite included."""
    with lease([device], lock_folder(device, args.artifacts), say=note):
        yield


def dataset_contract(args: Namespace, dataset: Dataset) -> ModelContract:
    """The contract named by `--contract`, otherwise the one of the dataset's categories.

    `UsageError` if the named one has classes that the dataset lacks.
    """
    if args.contract is None:
        return contract_for(tuple(dataset.category_ids))
    contract = CONTRACTS[args.contract]
    missing = sorted(set(contract.classes) - set(dataset.category_ids))
    if missing:
        raise UsageError(
            f"contract '{contract.name}' has {len(missing)} classes that {dataset.annotations} lacks ({missing[0]}, ...)",
            "leave --contract out: the dataset's categories say which it is",
        )
    return contract


def shape_contract(name: str | None, height: int, width: int, what: str) -> ModelContract:
    """The contract with this name, otherwise the only one whose input has this size; `UsageError` if that is none."""
    if name is not None:
        return CONTRACTS[name]
    fitting = [contract for contract in CONTRACTS.values() if (contract.height, contract.width) == (height, width)]
    if len(fitting) != 1:
        known = ", ".join(f"{contract.name} {contract.height} x {contract.width}" for contract in CONTRACTS.values())
        raise UsageError(
            f"{what} has an input of {height} x {width}, which {len(fitting)} contracts have ({known})",
            "name one with --contract",
        )
    return fitting[0]


def om_input(toolkit: Toolkit, om: Path) -> tuple[tuple[int, ...], int, int] | None:
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
