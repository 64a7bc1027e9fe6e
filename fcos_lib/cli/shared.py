"""Steps that several verbs share: the device and its lease, and the contract."""

from __future__ import annotations

import contextlib
import sys
from argparse import Namespace
from collections.abc import Iterator

from fcos_lib.contract import CONTRACTS, ModelContract
from fcos_lib.device.lease import lease, lock_folder
from fcos_lib.device.npus import Device, hardware_or_why_not, use_emulator
from fcos_lib.errors import UsageError
from fcos_lib.model.zoo import chosen_contract, named_contract
from fcos_lib.stream.dataset import Dataset


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
def device_held(args: Namespace, device: Device) -> Iterator[int]:
    """Hold the device against everybody else on this machine, the test suite included; gives its id."""
    with lease([device], lock_folder(device, args.artifacts), say=note):
        yield device.device_id


def dataset_contract(args: Namespace, dataset: Dataset) -> ModelContract:
    """The contract named by `--contract`, otherwise the one of the dataset's categories and, where it is given, the checkpoint.

    `UsageError` if the named one has classes that the dataset lacks.
    """
    return chosen_contract(tuple(dataset.category_ids), args.contract, getattr(args, "checkpoint", None))


def shape_contract(name: str | None, height: int, width: int, what: str) -> ModelContract:
    """The contract with this name, otherwise the only one whose input has this size; `UsageError` if that is none."""
    if name is not None:
        return named_contract(name)
    fitting = [contract for contract in CONTRACTS.values() if (contract.height, contract.width) == (height, width)]
    if len(fitting) != 1:
        known = ", ".join(f"{contract.name} {contract.height} x {contract.width}" for contract in CONTRACTS.values())
        raise UsageError(
            f"{what} has an input of {height} x {width}, which {len(fitting)} contracts have ({known})",
            "name one with --contract",
        )
    return fitting[0]
