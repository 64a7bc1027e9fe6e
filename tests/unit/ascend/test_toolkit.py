"""Discovery finds the CANN that the environment means, and survives everything else."""

import sys
import types

import pytest

from fcos_lib.ascend import toolkit
from fcos_lib.ascend.toolkit import Toolkit, discover, has_aclruntime, set_env_script


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch, tmp_path):
    """No usual install folder exists, so that these tests also pass on a machine with CANN."""
    monkeypatch.setattr(toolkit, "TOOLKIT_FOLDERS", ("~/Ascend/ascend-toolkit/latest",))
    monkeypatch.setattr(toolkit, "NPU_SMI_FILES", ())
    monkeypatch.setattr(toolkit, "DRIVER_FOLDER", str(tmp_path / "no-driver"))


def test_a_machine_without_cann_is_described_not_refused():
    """Nothing found is a valid answer."""
    assert discover({}) == Toolkit(None, None, None, "unknown", "unknown")


@pytest.mark.parametrize("variable", ["ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH"])
@pytest.mark.parametrize("below_home", ["bin/atc", "compiler/bin/atc", "atc/bin/atc"])
def test_atc_is_found_below_the_home_that_set_env_names(script, tmp_path, variable, below_home):
    """Each release keeps atc elsewhere below its home."""
    atc = script(f"cann/{below_home}", "exit 0")
    toolkit_here = discover({variable: str(tmp_path / "cann"), "PATH": ""})
    assert (toolkit_here.atc, toolkit_here.home) == (atc, tmp_path / "cann")


def test_the_environment_variable_wins_over_path(script, tmp_path):
    """`source set_env.sh` decides, whatever else is installed."""
    named = script("named/bin/atc", "exit 0")
    script("other/bin/atc", "exit 0")
    toolkit_here = discover({"ASCEND_TOOLKIT_HOME": str(tmp_path / "named"), "PATH": str(tmp_path / "other/bin")})
    assert toolkit_here.atc == named


def test_path_is_searched_when_the_named_home_is_gone(script, tmp_path):
    """A stale variable does not hide a working installation."""
    atc = script("cann/compiler/bin/atc", "exit 0")
    smi = script("bin/npu-smi", "exit 0")
    path = f"relative:{tmp_path / 'bin'}:{atc.parent}"
    toolkit_here = discover({"ASCEND_TOOLKIT_HOME": str(tmp_path / "removed"), "PATH": path})
    assert (toolkit_here.atc, toolkit_here.npu_smi, toolkit_here.home) == (atc, smi, tmp_path / "cann")


def test_a_user_installation_is_found_in_the_home_folder(script, tmp_path):
    """CANN installs below ~/Ascend for users who are not root."""
    atc = script("Ascend/ascend-toolkit/latest/bin/atc", "exit 0")
    assert discover({"HOME": str(tmp_path)}).atc == atc


def test_a_relative_entry_of_path_is_passed_over(script, tmp_path, monkeypatch):
    """The toolkit does not depend on the folder that the suite is started in."""
    script("bin/atc", "exit 0")
    monkeypatch.chdir(tmp_path)
    assert discover({"PATH": "bin::."}).atc is None


def test_files_that_cannot_be_run_are_no_tools(tmp_path):
    """A text file or a folder called atc is not atc."""
    (tmp_path / "bin" / "npu-smi").mkdir(parents=True)
    (tmp_path / "bin" / "atc").write_text("not executable")
    toolkit_here = discover({"PATH": str(tmp_path / "bin")})
    assert (toolkit_here.atc, toolkit_here.npu_smi) == (None, None)


def test_the_release_is_read_from_version_cfg(script, tmp_path):
    """Of `[7.6.0.1.220:8.0.0]` the part behind the colon is what users call the version."""
    script("cann/bin/atc", "exit 0")
    (tmp_path / "cann/version.cfg").write_text("# version: 1.0\nruntime_running_version=[7.6.0.1.220:8.0.0]\n")
    assert discover({"ASCEND_TOOLKIT_HOME": str(tmp_path / "cann")}).cann_version == "8.0.0"


@pytest.mark.parametrize("machine", ["aarch64", "x86_64"])
def test_the_release_is_read_from_the_install_info(tmp_path, machine):
    """CANN from 8.5 has no version.cfg; atc itself may be missing."""
    folder = tmp_path / "cann" / f"{machine}-linux"
    folder.mkdir(parents=True)
    (folder / "ascend_toolkit_install.info").write_text("package_name=Ascend-cann-toolkit\nversion=8.3.RC1\n")
    toolkit_here = discover({"ASCEND_HOME_PATH": str(tmp_path / "cann")})
    assert (toolkit_here.home, toolkit_here.cann_version) == (tmp_path / "cann", "8.3.RC1")


@pytest.mark.parametrize("where", ["cann/set_env.sh", "cann/latest/set_env.sh"], ids=["beside latest", "inside"])
def test_the_script_to_source_is_found(script, tmp_path, where):
    """Where releases up to 8.3 keep it, and from 8.5 on."""
    script("cann/latest/bin/atc", "exit 0")
    here = discover({"ASCEND_TOOLKIT_HOME": str(tmp_path / "cann/latest"), "PATH": ""})
    assert set_env_script(here) is None
    (tmp_path / where).touch()
    assert set_env_script(here) == tmp_path / where
    assert set_env_script(Toolkit()) is None


def test_the_versions_of_driver_and_firmware_are_read_from_their_folders(tmp_path):
    """ASCEND_DRIVER_PATH moves the driver's folder; the firmware's lies beside it."""
    for name in ("driver", "firmware"):
        (tmp_path / name).mkdir()
    (tmp_path / "driver/version.info").write_text("Version=24.1.0\ncompatible_version=[V100R001C21,V100R001C23]\n")
    here = {"ASCEND_DRIVER_PATH": str(tmp_path / "driver")}
    assert (discover(here).driver_version, discover(here).firmware_version) == ("24.1.0", "unknown")
    (tmp_path / "firmware/version.info").write_text("Version=7.5.0.1.129\nfirmware_version=1.0\n")
    assert discover(here).firmware_version == "7.5.0.1.129"


def test_a_link_on_path_leads_to_the_versions_of_its_toolkit(script, tmp_path):
    """Distributions link atc into a common bin folder."""
    atc = script("cann/bin/atc", "exit 0")
    (tmp_path / "cann/version.cfg").write_text("runtime_running_version=[7.6:8.1.RC1]\n")
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/atc").symlink_to(atc)
    toolkit_here = discover({"PATH": str(tmp_path / "usr/bin")})
    assert (toolkit_here.home, toolkit_here.cann_version) == (tmp_path / "cann", "8.1.RC1")


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"Version=\n",
        b"Version=<script>\n",
        b"Version=" + b"9" * 100,
        b"\n" * 70_000 + b"Version=1.0\n",
    ],
    ids=["binary", "empty", "markup", "long", "beyond-64-KiB"],
)
def test_odd_version_files_give_no_version(tmp_path, content):
    """What a file says goes into reports, so only something that looks like a version is taken."""
    (tmp_path / "version.info").write_bytes(content)
    assert discover({"ASCEND_DRIVER_PATH": str(tmp_path)}).driver_version == "unknown"


def test_aclruntime_is_looked_for_without_importing_it(monkeypatch, tmp_path):
    """Importing it would need the driver's libraries; a module that is already loaded counts."""
    monkeypatch.delitem(sys.modules, "aclruntime", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert not has_aclruntime()
    (tmp_path / "aclruntime.py").write_text("raise RuntimeError('imported')\n")
    assert has_aclruntime()
    monkeypatch.setitem(sys.modules, "aclruntime", types.ModuleType("aclruntime"))
    assert has_aclruntime()


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ({"compiler": "Version=7.6.0.1.220\nversion_dir=8.0.0\n"}, "8.0.0"),
        ({"share/info/runtime": "Version=9.1.0\n", "opp": "garbage"}, "9.1.0"),
        ({"opp": "Version=7.6.0.1.220\n", "runtime": "version_dir=8.3.RC1\n"}, "8.3.RC1"),
    ],
    ids=["release beside the internal number", "packages of their own", "any part that names the release"],
)
def test_without_a_file_of_its_own_the_release_is_that_of_its_parts(tmp_path, files, version):
    """An unknown release is the same before and after an update: OMs of the old one would be taken for those of the new."""
    for part, text in files.items():
        (tmp_path / part).mkdir(parents=True)
        (tmp_path / part / "version.info").write_text(text)
    assert discover({"ASCEND_HOME_PATH": str(tmp_path), "PATH": ""}).cann_version == version
