"""The software CANN is a folder like CANN's, made once, that works from an empty environment."""

import os
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import onnx
import pytest

from fcos_lib.emulator import install as module
from fcos_lib.emulator.install import environment, install, source_hash
from fcos_lib.errors import StoreError

EMPTY = {"PATH": "/usr/bin:/bin"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """An installed tree."""
    return install(tmp_path_factory.mktemp("software"))


def test_installing_twice_changes_nothing(root):
    """The second call returns the same tree without touching it."""
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert install(root.parent) == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_many_may_install_at_once(tmp_path):
    """One tree comes out, and no drafts stay behind."""
    with ThreadPoolExecutor(8) as pool:
        roots = set(pool.map(lambda _: install(tmp_path), range(16)))
    assert list(tmp_path.iterdir()) == list(roots)


def test_the_version_is_labelled_and_follows_the_sources(root, tmp_path, monkeypatch):
    """No manifest made with the emulator can pass for CANN's or outlive a change of the emulator."""
    text = (root / "ascend-toolkit/latest/version.cfg").read_text()
    version = re.search(r"^runtime_running_version=\[[\d.]+:(.*)\]$", text, re.MULTILINE)
    assert version[1] == f"8.0.0-STAND-IN.{source_hash()}"
    assert re.fullmatch(r"[0-9a-f]{8}", source_hash())
    monkeypatch.setattr(module, "source_hash", lambda: "00000000")
    assert install(root.parent) != root, "other sources, other tree"


def test_the_environment_points_into_the_tree(root):
    """As set_env.sh would; everything it names exists."""
    variables = environment(root)
    for name in ("ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH", "ASCEND_OPP_PATH", "ASCEND_DRIVER_PATH"):
        assert os.path.isdir(variables[name]), name
    assert variables["PATH"].split(os.pathsep)[0] == str(root / "bin")
    assert variables["PYTHONPATH"].split(os.pathsep)[0] == str(root / "python")
    assert "Version=24.1.0" in (root / "driver/version.info").read_text()


def test_npu_smi_runs_from_an_empty_environment(root):
    """No activated environment, no PYTHONPATH, nothing but /usr/bin."""
    done = subprocess.run([root / "bin/npu-smi", "info"], env=EMPTY, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "310P3" in done.stdout


def test_exit_statuses_pass_through_the_wrapper(root):
    """The driver's code is npu-smi's status."""
    variables = EMPTY | {"FCOS_EMULATOR": "npu_smi=187"}
    assert subprocess.run([root / "bin/npu-smi", "info"], env=variables, capture_output=True).returncode == 187


def test_atc_compiles_from_an_empty_environment(root, detector, tmp_path):
    """The wrapper passes arguments on untouched, semicolons included."""
    onnx.save(detector, tmp_path / "detector.onnx")
    arguments = ["--model=detector.onnx", "--framework=5", "--output=out", "--soc_version=Ascend310P3"]
    arguments += ["--input_shape=input:1,3,16,16", "--out_nodes=labels;dets"]
    done = subprocess.run([root / "bin/atc", *arguments], env=EMPTY, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out.om").is_file()
    mode = stat.S_IMODE((root / "bin/atc").stat().st_mode)
    assert mode == 0o755


def test_import_aclruntime_finds_the_emulator(root):
    """The shim is the module itself, so features are looked up in one place."""
    code = "import aclruntime; print(aclruntime.STAND_IN, hasattr(aclruntime.InferenceSession, 'free_resource'))"
    variables = os.environ | environment(root) | {"FCOS_EMULATOR": "generation=old"}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_a_folder_that_cannot_be_written_is_reported(tmp_path):
    """With the folder in the sentence."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as caught:
        install(tmp_path / "file" / "below")
    assert str(tmp_path) in caught.value.found
