"""The choice of NPUs, described by what this machine says of them; an emulator never counts as hardware."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fcos_lib.ascend.toolkit import UNKNOWN, Toolkit
from fcos_lib.device import npus
from fcos_lib.device.npus import find_devices, hardware_or_why_not
from fcos_lib.emulator import STAND_IN
from fcos_lib.emulator.install import environment, install, is_own_aclruntime, version
from fcos_lib.errors import DeviceError
from fixtures import devices

TABLE = (Path(__file__).parents[1] / "ascend" / "tables" / "310P3.txt").read_text()


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A software CANN that this process's environment means."""
    made = install(tmp_path)
    for name, value in environment(made).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(sys.modules, "aclruntime", raising=False)
    monkeypatch.syspath_prepend(str(made / "python"))
    return made


def test_an_emulator_on_the_path_is_still_one(root):
    """Its version says so, and what is required is hardware."""
    assert all(device.stand_in for device in find_devices())
    with pytest.raises(DeviceError, match="the CANN found here is the emulator"):
        hardware_or_why_not("required")


@pytest.mark.parametrize("imported", [False, True])
def test_the_emulators_runtime_in_front_of_a_real_cann_is_no_npu(root, imported, monkeypatch):
    """A PYTHONPATH that was left behind: what that runtime computes would be PASS on hardware."""
    file = root / "ascend-toolkit" / "latest" / "version.cfg"
    file.write_text(file.read_text().replace(version(), "8.0.0"))
    assert STAND_IN not in file.read_text()
    if imported:
        import fcos_lib.emulator.aclruntime

        monkeypatch.setitem(sys.modules, "aclruntime", fcos_lib.emulator.aclruntime)
    with pytest.raises(
        DeviceError, match=r"aclruntime is the emulator's \(.*aclruntime\.py\), and CANN 8\.0\.0 is not"
    ):
        find_devices()
    devices, why = hardware_or_why_not("auto")
    assert devices == ()
    assert "is the emulator's" in why, "and the emulator takes over as a whole"


def test_a_real_runtime_is_not_taken_for_the_emulators(tmp_path):
    """It is a library; a Python file of somebody else's is none of ours either."""
    library, other = tmp_path / "aclruntime.cpython-311-x86_64-linux-gnu.so", tmp_path / "aclruntime.py"
    library.write_bytes(b"\x7fELF fcos_lib.emulator")
    other.write_text("from _aclruntime import *\n")
    assert not any(map(is_own_aclruntime, (library, other, tmp_path / "absent.py")))


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A machine whose npu-smi prints this table, and whose files name this driver."""

    def server(table, driver):
        smi = tmp_path / "npu-smi"
        smi.write_text(f"#!/bin/sh\ncat <<'END'\n{table}\nEND\n")
        smi.chmod(0o755)
        toolkit = Toolkit(tmp_path / "atc", smi, cann_version="8.0.0", driver_version=driver)
        monkeypatch.setattr(npus, "discover", lambda environ: toolkit)
        monkeypatch.setattr(npus, "has_aclruntime", lambda: True)
        monkeypatch.setattr(npus, "aclruntime_file", lambda: None)
        monkeypatch.delenv("ASCEND_RT_VISIBLE_DEVICES", raising=False)
        return npus.find_devices()

    return server


@pytest.mark.parametrize(("driver", "expected"), [(UNKNOWN, "22.0.4"), ("24.1.0", "24.1.0")])
def test_a_driver_without_files_is_what_npu_smi_says(server, driver, expected):
    """In a container, or installed elsewhere: two unknown drivers would be the same one, for cluster and history."""
    table = f"| npu-smi 22.0.2                  Version: 22.0.4 |\n{TABLE}"
    first, *_ = server(table, driver)
    assert first.as_dict()["driver_version"] == expected


def test_the_header_names_driver_and_health(server):
    """A card that npu-smi does not call OK is used, and said: what it returns may be its own fault."""
    found = server(TABLE.replace("| OK ", "| Alarm ", 1), "24.1.0")
    config = SimpleNamespace(stash={devices._CHOICE: devices.Choice(found, "")})
    assert devices.pytest_report_header(config) == (
        "fcos: device 0 (NPU 0 chip 0) with health Alarm, 1 (NPU 1 chip 0) Ascend310P3, CANN 8.0.0, driver 24.1.0"
    )
