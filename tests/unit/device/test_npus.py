"""The NPUs of a run are described by what this machine says of them."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from fcos_lib.ascend.toolkit import UNKNOWN, Toolkit
from fcos_lib.device import npus
from fixtures import devices

TABLE = (Path(__file__).parents[1] / "ascend" / "tables" / "310P3.txt").read_text()


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
