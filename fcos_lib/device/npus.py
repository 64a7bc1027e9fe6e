"""The NPU under test, a real one or the emulator's. This is the one module that knows both."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fcos_lib.ascend.npu_smi import (
    VARIABLE,
    device_index,
    read_board,
    read_info,
    read_logical_ids,
    soc_version,
    visible_ids,
)
from fcos_lib.ascend.npu_tables import Npu, parse_info, parse_versions
from fcos_lib.ascend.toolkit import UNKNOWN, Toolkit, aclruntime_file, discover, has_aclruntime
from fcos_lib.emulator.install import environment, install, is_own_aclruntime
from fcos_lib.errors import DeviceError


@dataclass(frozen=True, slots=True)
class Device:
    """The device under test: facts, not a handle."""

    npu: Npu | None
    """None if the chip is only compiled for and need not be here."""
    device_id: int
    """ACL's index, which as text says which chip that is, too; -1 if it need not be here."""
    soc_version: str
    toolkit: Toolkit
    stand_in: bool
    """True for the emulator: nothing measured on it says anything about hardware."""
    logical_id: int = -1
    """The number that it has among all of the host, whatever ASCEND_RT_VISIBLE_DEVICES leaves visible."""

    def as_dict(self) -> dict[str, object]:
        """JSON-ready facts for the results."""
        return {
            "stand_in": self.stand_in,
            "device_id": int(self.device_id),
            "logical_id": self.logical_id,
            "npu_id": self.npu.npu_id if self.npu else None,
            "chip_id": self.npu.chip_id if self.npu else None,
            "name": self.npu.name if self.npu else None,
            "soc_version": self.soc_version,
            "health": self.npu.health if self.npu else None,
            "cann_version": self.toolkit.cann_version,
            "driver_version": self.toolkit.driver_version,
            "firmware_version": self.toolkit.firmware_version,
        }


def find_device(device_id: int) -> Device:
    """The NPU with this id as the environment has it; `DeviceError` says in one sentence what is missing."""
    return find_devices((device_id,))[0]


def find_devices(device_ids: Sequence[int] = ()) -> tuple[Device, ...]:
    """The NPUs with these ids, or all that are the same chip as the first. `DeviceError` says what is missing, or mixed."""
    toolkit = discover(os.environ)
    missing = [
        name
        for name, there in (
            ("npu-smi", toolkit.npu_smi),
            ("atc", toolkit.atc),
            ("the Python module aclruntime", has_aclruntime()),
        )
        if not there
    ]
    if missing:
        raise DeviceError(
            f"no NPU can be used here: {' and '.join(missing)} not found", "source CANN's set_env.sh first"
        )
    # An emulator that was put on the PATH by hand is still an emulator: its version says so.
    stand_in = "STAND-IN" in toolkit.cann_version
    _refuse_half_emulated(toolkit, stand_in)
    table = read_info(toolkit)
    npus = parse_info(table)
    if toolkit.driver_version == UNKNOWN:  # its files are not where they usually are, or not in this container
        toolkit = replace(toolkit, driver_version=parse_versions(table)[1])
    by_logical_id = dict(zip(read_logical_ids(toolkit, npus), npus, strict=True))
    visible = visible_ids(os.environ, list(by_logical_id)) if npus else []
    listed = ", ".join(f"{index} ({by_logical_id[number].name})" for index, number in enumerate(visible)) or "none"
    unknown = [number for number in device_ids if number >= len(visible)]
    if unknown or not visible:
        which = f"device {unknown[0]}" if unknown else "any device"
        masked = f", and {VARIABLE} leaves {len(visible)} of {len(npus)} visible" if len(visible) < len(npus) else ""
        raise DeviceError(f"npu-smi does not list {which}; it lists {listed}{masked}", "pass another --device-id")
    devices: list[Device] = []
    for number in device_ids or range(len(visible)):
        npu = by_logical_id[visible[number]]
        board = read_board(toolkit, npu) if npu.name.startswith("Ascend") else None  # A3 and later say it there only
        index = device_index(number, visible[number], npu)
        device = Device(npu, index, soc_version(npu, board), toolkit, stand_in, visible[number])
        if not devices or device.soc_version == devices[0].soc_version:
            devices.append(device)
        elif device_ids:
            raise DeviceError(
                f"device {number} is an {device.soc_version}, device {devices[0].device_id} an {devices[0].soc_version}",
                "test one kind of chip at a time: an OM is compiled for one",
            )
    return tuple(devices)


def _refuse_half_emulated(toolkit: Toolkit, stand_in: bool) -> None:
    """`DeviceError` if the emulator's runtime was left in front of a real CANN: what it computes would count as hardware's."""
    file = aclruntime_file()
    if not stand_in and file and is_own_aclruntime(file):
        raise DeviceError(
            f"the Python module aclruntime is the emulator's ({file}), and CANN {toolkit.cann_version} is not",
            f"take {file.parent} off PYTHONPATH",
        )


def use_emulator(folder: Path, device_ids: Sequence[int] = ()) -> tuple[Device, ...]:
    """Lay out the software CANN below `folder`, put it first in this process's environment and find its devices."""
    root = install(folder)
    os.environ.update(environment(root))
    sys.path.insert(0, str(root / "python"))
    devices = find_devices(device_ids)
    if not devices[0].stand_in:
        raise DeviceError(
            f"the emulator was installed in {root}, but the CANN found is {devices[0].toolkit.cann_version}",
            "unset ASCEND_TOOLKIT_HOME and try again",
        )
    return devices


def hardware_or_why_not(npu: str, device_ids: Sequence[int] = ()) -> tuple[tuple[Device, ...], str]:
    """The NPUs that `--npu auto`, `required` or `emulated` means, or none and why the emulator has to do.

    `DeviceError` if they are required and missing, or if there are NPUs and not those with these ids.
    """
    if npu == "emulated":
        return (), "asked for with --npu emulated"
    try:
        devices = find_devices(device_ids)
    except DeviceError as error:
        if npu == "required" or (device_ids and _has_others()):
            raise
        return (), error.found
    if npu == "required" and devices[0].stand_in:
        raise DeviceError("the CANN found here is the emulator (STAND-IN)", "source the set_env.sh of a real CANN")
    return devices, ""


def _has_others() -> bool:
    try:
        return bool(find_devices())
    except DeviceError:
        return False


def target_or_why_not(npu: str, soc_version: str) -> tuple[tuple[Device, ...], str]:
    """The chip to compile for, which need not be here, or none and why the emulator's `atc` has to do.

    `soc_version` such as `Ascend310P3`; empty for that of an NPU that is here. `DeviceError` if there is neither, or `atc`
    is required and missing.
    """
    if npu == "emulated":
        return (), "asked for with --npu emulated"
    toolkit = discover(os.environ)
    stand_in = "STAND-IN" in toolkit.cann_version
    if not toolkit.atc or (npu == "required" and stand_in):
        if npu == "required":
            raise DeviceError("atc of a real CANN was not found", "source CANN's set_env.sh first")
        return (), "atc not found"
    if soc_version:
        return (Device(None, -1, soc_version, toolkit, stand_in),), ""
    try:
        return find_devices(), ""
    except DeviceError as error:
        raise DeviceError(
            f"nothing says which chip to compile for: {error.found}", "pass --soc-version, such as Ascend310P3"
        ) from error
