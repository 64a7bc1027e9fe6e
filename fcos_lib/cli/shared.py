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
from fcos_lib.model.zoo import named_contract
from fcos_lib.stream.dataset import Dataset, open_dataset, turned_by_exif
from fcos_lib.stream.naming import naming


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


def chosen_dataset(args: Namespace, *, decoded: bool = False) -> Dataset:
    """The checked dataset of `--dataset`, with `--contract` and `--category` where the verb has them.

    What is unusual about it is said; if its pictures will be `decoded`, what is unusual about them as well.
    """
    said = getattr(args, "contract", None), getattr(args, "category", ()), getattr(args, "checkpoint", None)
    dataset = open_dataset(args.dataset, naming(*said))
    for remark in (*dataset.remarks, *(turned_by_exif(dataset.pictures) if decoded else ())):
        note(f"{dataset.annotations} has {remark}")
    return dataset


def shape_contract(name: str | None, height: int, width: int, what: str) -> ModelContract:
    """The contract with this name, otherwise one whose input has this size; `UsageError` if none has, or if those that have differ.

    They may differ in what is inside the network: this is for what is outside it, tensors and classes.
    """
    if name is not None:
        return named_contract(name)
    fitting = [contract for contract in CONTRACTS.values() if (contract.height, contract.width) == (height, width)]
    if len({(contract.input_name, contract.output_names, contract.classes) for contract in fitting}) != 1:
        known = ", ".join(f"{contract.name} {contract.height} x {contract.width}" for contract in CONTRACTS.values())
        raise UsageError(
            f"{what} has an input of {height} x {width}, which {len(fitting)} contracts have ({known})",
            "name one with --contract",
        )
    return fitting[0]
