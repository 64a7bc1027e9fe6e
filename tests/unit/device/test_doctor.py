"""`doctor` tells on one screen what is here, what the recipe named and what is missing."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fcos_lib.ascend.probe import Runtime
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
    assert "NPU 0 chip 0      device 0, 310P3, OK, 1074 of 21534 MB used, Ascend310P3" in text
    assert "the CANN found here is the emulator (STAND-IN)" in text


def test_a_real_npu_is_enough(equipped, monkeypatch, capsys):
    """Exit 0, with the chip's name; the emulator's server stands for the real one, with its label taken off."""
    real = doctor.discover

    def unlabelled(environ):
        toolkit = real(environ)
        return type(toolkit)(toolkit.atc, toolkit.npu_smi, toolkit.home, "8.0.0", toolkit.driver_version)

    monkeypatch.setattr("fcos_lib.device.npus.discover", unlabelled)
    assert main(["doctor"]) == 0
    assert "an NPU run is possible: device 0 (NPU 0 chip 0) is an Ascend310P3, OK" in capsys.readouterr().out
    assert main(["doctor", "--device-id", "9"]) == 1
    assert "npu-smi does not list device 9; it lists 0 (310P3), 1 (310P3)" in capsys.readouterr().out


@pytest.mark.parametrize(("seen", "status"), [(0, 1), (1, 1), (2, 0)])
def test_a_device_that_acl_does_not_see_is_no_npu(equipped, monkeypatch, capsys, seen, status):
    """npu-smi may list what a container was not given."""
    real = doctor.find_device
    monkeypatch.setattr(doctor, "find_device", lambda number: dataclasses.replace(real(number), stand_in=False))
    monkeypatch.setattr(doctor, "probe_runtime", lambda: Runtime(seen, "since 2024"))
    assert main(["doctor", "--device-id", "1"]) == status
    words = f"npu-smi lists device 1 (NPU 1 chip 0), and ACL sees {seen} devices"
    assert (words in capsys.readouterr().out) == bool(status)


@pytest.mark.parametrize(
    ("content", "because", "advice"),
    [
        (
            "raise ImportError('libascendcl.so: cannot open shared object file')",
            "libascendcl.so: cannot open",
            "set_env.sh",
        ),
        ("class InferenceSession: pass", "libascendcl.so", "set_env.sh"),
        ("import os; os.abort()", "ended the process with status -6", "set_env.sh"),
        ("raise RuntimeError('driver error:internal error')", "driver error", "wheel of this CANN"),
    ],
    ids=["library", "no library to count devices", "crash", "other"],
)
def test_an_aclruntime_that_is_there_and_does_not_work_is_no_npu(
    equipped, tmp_path, monkeypatch, capsys, content, because, advice
):
    """It is imported in a process of its own, with CANN's library: whether a file is there says nothing."""
    script = Path(os.environ["ASCEND_TOOLKIT_HOME"]) / "set_env.sh"
    script.touch()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "aclruntime.py").write_text(content)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "there, and cannot be used" in text
    last = text.rpartition("an NPU run is ")[2]
    assert last.startswith("not possible here: ")
    assert because in last
    assert f"source {script}; otherwise " in last
    assert advice in last


ACL = """
int aclInit(const char *path) { return INIT; }
int aclrtGetDeviceCount(unsigned *count) { *count = 2; return COUNT; }
"""


@pytest.mark.parametrize(
    ("init", "count", "words"),
    [
        ("0", "0", "aclruntime        no version, since 2024, sees 2 devices"),
        ("507008", "0", "not possible here: ACL cannot count the devices"),
        ("0", "207004", "ASCEND_RT_VISIBLE_DEVICES is not in ascending order (ACL's code 207004)"),
    ],
)
def test_acl_is_asked_for_its_devices(equipped, tmp_path, monkeypatch, capsys, init, count, words):
    """Behind a real aclruntime there is CANN's library; here a small one of its name stands for it."""
    if not (compiler := shutil.which("cc")):
        pytest.skip("there is no C compiler here")
    (tmp_path / "acl.c").write_text(ACL.replace("INIT", init).replace("COUNT", count))
    folder = tmp_path / "real"
    folder.mkdir()
    subprocess.run([compiler, "-shared", "-fPIC", tmp_path / "acl.c", "-o", folder / "libascendcl.so"], check=True)
    (folder / "aclruntime.py").write_text("class InferenceSession:\n    free_resource = None\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))
    main(["doctor"])
    assert words in capsys.readouterr().out


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


@pytest.mark.parametrize(
    ("visible", "words"),
    [
        ("1", ["NPU 0 chip 0      logical 0, not visible, 310P3", "NPU 1 chip 0      device 0 (logical 1), 310P3"]),
        ("0, 1", ["not possible here: ASCEND_RT_VISIBLE_DEVICES is '0, 1': it has a blank in it"]),
    ],
)
def test_what_is_visible_is_told(equipped, monkeypatch, visible, words):
    """Each chip with all its numbers; a list that CANN would read otherwise is the conclusion."""
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", visible)
    text = "\n".join(as_lines(examine()))
    for sentence in words:
        assert sentence in text, text


def test_many_npus_still_fit_the_screen(equipped, monkeypatch):
    """Four are shown, the rest counted."""
    real = doctor.parse_info
    monkeypatch.setattr(doctor, "parse_info", lambda text: real(text) * 5)
    npus = [line for line in as_lines(examine()) if line.startswith("NPU ")]
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
