"""The choice of NPUs: an emulator is told by its version and by its runtime, and never counts as hardware."""

import sys

import pytest

from fcos_lib.device.npus import find_devices, hardware_or_why_not
from fcos_lib.emulator import STAND_IN
from fcos_lib.emulator.install import environment, install, is_own_aclruntime, version
from fcos_lib.errors import DeviceError


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
