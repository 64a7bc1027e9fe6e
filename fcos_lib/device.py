"""Which NPU is under test, a real one or the emulator's? The one place that knows both."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from fcos_lib.ascend.npu_smi import Npu, read_board, read_npus, soc_version
from fcos_lib.ascend.toolkit import Toolkit, discover, has_aclruntime
from fcos_lib.emulator.install import environment, install
from fcos_lib.errors import DeviceError


@dataclass(frozen=True, slots=True)
class Device:
    """The device under test: facts, not a handle."""

    npu: Npu
    device_id: int
    soc_version: str
    toolkit: Toolkit
    stand_in: bool
    """True for the emulator: nothing measured on it says anything about hardware."""

    def as_dict(self) -> dict[str, object]:
        """JSON-ready facts for the results."""
        return {
            "stand_in": self.stand_in,
            "device_id": self.device_id,
            "name": self.npu.name,
            "soc_version": self.soc_version,
            "health": self.npu.health,
            "cann_version": self.toolkit.cann_version,
            "driver_version": self.toolkit.driver_version,
        }


def find_device(device_id: int) -> Device:
    """The NPU with this id as the environment has it; `DeviceError` says in one sentence what is missing."""
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
    npus = read_npus(toolkit)
    by_id = {position if npu.device_id is None else npu.device_id: npu for position, npu in enumerate(npus)}
    if device_id not in by_id:
        found = ", ".join(f"{number} ({npu.name})" for number, npu in by_id.items()) or "none"
        raise DeviceError(f"npu-smi does not list device {device_id}; it lists {found}", "pass another --device-id")
    npu = by_id[device_id]
    board = read_board(toolkit, npu) if npu.name.startswith("Ascend") else None  # A3 and later say it there only
    # An emulator that was put on the PATH by hand is still an emulator: its version says so.
    return Device(npu, device_id, soc_version(npu, board), toolkit, stand_in="STAND-IN" in toolkit.cann_version)


def use_emulator(folder: Path, device_id: int = 0) -> Device:
    """Lay out the software CANN below `folder`, put it first in this process's environment and find its device."""
    root = install(folder)
    os.environ.update(environment(root))
    sys.path.insert(0, str(root / "python"))
    device = find_device(device_id)
    if not device.stand_in:
        raise DeviceError(
            f"the emulator was installed in {root}, but the CANN found is {device.toolkit.cann_version}",
            "unset ASCEND_TOOLKIT_HOME and try again",
        )
    return device
