"""`doctor` tells on one screen what is here, what the recipe named and what is missing."""

import os
import sys

import pytest

from fcos_lib.cli.main import main
from fcos_lib.device import doctor
from fcos_lib.device.doctor import as_lines, examine
from fcos_lib.emulator.install import environment, install


@pytest.fixture
def bare(monkeypatch):
    """A machine without anything of Ascend, whatever this one has."""
    for name in [name for name in os.environ if name.startswith("ASCEND_")] + ["FCOS_EMULATOR"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("ASCEND_DRIVER_PATH", "/nonexistent")
    monkeypatch.setattr("fcos_lib.ascend.toolkit.TOOLKIT_FOLDERS", ())
    monkeypatch.setattr("fcos_lib.ascend.toolkit.NPU_SMI_FILES", ())
    monkeypatch.setitem(sys.modules, "aclruntime", None)


@pytest.fixture
def equipped(bare, tmp_path, monkeypatch):
    """A machine with an emulated server; returns a setter for its scenario."""
    for name, value in environment(install(tmp_path)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "aclruntime", sys)
    return lambda scenario: monkeypatch.setenv("FCOS_EMULATOR", scenario)


def test_a_bare_machine_is_told_what_it_lacks(bare, capsys, monkeypatch):
    """Exit 1; each missing thing with the way to get it; the recipe's versions beside what is here."""
    monkeypatch.setattr(doctor, "_NEWEST_WHEEL", sys.version_info[:2])
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    for words in (
        "npu-smi: comes with the NPU driver",
        "atc: install the CANN toolkit and source its set_env.sh",
        "aclruntime: pip install aclruntime-0.0.2-cp",
        "an NPU run is not possible here: no NPU can be used here: npu-smi and atc and the Python module aclruntime",
        "--npu emulated; its results are STAND-IN",
    ):
        assert words in text, f"'{words}' is not in:\n{text}"
    table = {line.split("  ")[0]: line.split()[-1] for line in text.splitlines() if line}
    assert (table["CANN"], table["driver"], table["NPU"]) == ("6.0.RC1", "22.0.3", "310P3")
    lines = len(text.splitlines())
    assert lines <= 24, f"{lines} lines are more than one screen"


def test_an_emulated_server_is_no_npu(equipped, capsys):
    """Everything is found and shown, and it is still no NPU run."""
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "NPU 0             310P3, OK, 1074 of 21534 MB used, Ascend310P3" in text
    assert "the CANN found here is the emulator (STAND-IN)" in text


def test_a_real_npu_is_enough(equipped, monkeypatch, capsys):
    """Exit 0, with the chip's name; the emulator's server stands for the real one, with its label taken off."""
    real = doctor.discover

    def unlabelled(environ):
        found = real(environ)
        return type(found)(found.atc, found.npu_smi, found.home, "8.0.0", found.driver_version)

    monkeypatch.setattr("fcos_lib.device.npus.discover", unlabelled)
    assert main(["doctor"]) == 0
    assert "an NPU run is possible: device 0 is an Ascend310P3, OK" in capsys.readouterr().out
    assert main(["doctor", "--device-id", "9"]) == 1
    assert "npu-smi does not list device 9; it lists 0 (310P3), 1 (310P3)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("npu_smi=187", "the NPU driver cannot be reached (dcmi -8005)"),
        ("npu_smi=none", "npu-smi lists none"),
        ("chip=A3", "Ascend910, OK, 3133 of 65536 MB used, Ascend910_93"),
    ],
)
def test_the_drivers_answer_is_shown(equipped, scenario, words):
    """A driver that fails, a server without cards, a chip whose name only its board tells."""
    equipped(scenario)
    text = "\n".join(as_lines(examine()))
    assert words in text


def test_many_npus_still_fit_the_screen(equipped, monkeypatch):
    """Four are shown, the rest counted."""
    real = doctor.parse_info
    monkeypatch.setattr(doctor, "parse_info", lambda text: real(text) * 5)
    npus = [line for line in as_lines(examine()) if line.startswith("NPU")]
    assert len(npus) == 4
    assert "and 6 more" in npus[-1]


def test_missing_packages_and_checkout_are_told(bare, monkeypatch, tmp_path):
    """A wheel without the extras and without fixtures/."""
    monkeypatch.setattr(doctor, "FOR_EXPORT", ("torch", "no-such-package"))
    monkeypatch.setattr(doctor, "EMBEDDED", tmp_path / "none")
    text = "\n".join(as_lines(examine()))
    assert "pip install -e '.[export]' -c constraints.txt, for " in text
    assert "no-such-package" in text
    assert "embedded default: it is in a checkout of the repository only" in text


def test_a_python_without_wheels_is_told(bare, monkeypatch):
    """ais_bench's wheels end at Python 3.12."""
    monkeypatch.setattr(doctor, "_NEWEST_WHEEL", (3, 9))
    assert "ais_bench has no wheel for this Python" in "\n".join(as_lines(examine()))
