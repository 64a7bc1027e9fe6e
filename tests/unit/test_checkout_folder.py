"""The folder of the checkout: its name changes no run, and a run does without writing there."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fcos_lib.options.option import path as as_path
from fixtures.places import writable
from tests.prepared import take_over

ROOT = Path(__file__).parents[2]
INPUTS = ("tests/acceptance/test_inputs.py", "--npu", "emulated")
"""A test of two gates that need neither a model nor an NPU."""
UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner,-sys_admin", "--inh-caps=-all")
"""Root without its right to write where modes forbid it; for everybody else there is nothing to take away."""


@pytest.mark.parametrize("name", ["share", "acceptance", "gateproof", "throughput", "it's a slow unit"])
def test_a_folder_that_is_called_like_a_marker_changes_no_run(checkout, run_in, tmp_path, name):
    """Gates are told by their ids, markers asked of the test: in `share` no gate was counted, in `acceptance` every test was one.

    Artifacts stay in the checkout, whatever its name: no OM loads from such a path, but one loads a copy of it.
    """
    folder = checkout(tmp_path / name)
    broken = folder / "tests" / "unit" / "test_broken.py"
    broken.write_text("def test_that_is_no_gate():\n    raise AssertionError('no gate')\n")
    done = run_in(folder, *INPUTS, broken, "-v", "-m", "not slow and not throughput")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "contract: wrong network inputs" in done.stdout, f"the gates are not counted in {name}:\n{done.stdout}"
    assert "test_that_is_no_gate could not judge" not in done.stdout, "a unit test is taken for a gate"
    document = json.loads((folder / ".artifacts" / "results" / "results.json").read_text())
    assert {verdict["key"] for verdict in document["verdicts"]} == {"inputs.wrong", "inputs.way_back"}
    assert document["run"]["gates"] == 1, f"{document['run']['gates']} tests were taken for gates, not the one"
    assert "details in .artifacts/results/results.json" in done.stdout
    assert not (tmp_path / "caches").exists(), "something was kept among the user's caches"


@pytest.mark.parametrize("name", ["share", "gateproof"])
def test_k_asks_tests_and_not_the_folder_of_the_checkout(checkout, run_in, tmp_path, name):
    """The gate proof, which nobody asked for, is left out in either."""
    folder = checkout(tmp_path / name)
    listed = run_in(folder, folder / "tests", "--collect-only", "-q", "-k", "gateproof or share").stdout
    assert "tests/gateproof/" not in listed, f"the gate proof is collected in {name} though nobody asked for it"
    assert "tests/acceptance/test_inputs.py" not in listed, "-k matches the name of the checkout's folder"


@pytest.mark.slow
def test_a_checkout_a_home_and_a_data_set_of_any_name_keep_the_promise_of_the_contract(
    checkout, run_in, tmp_path, only_onnx
):
    """The real gates, with a blank, a quote, Chinese characters and what shells and formats make something of in every name."""
    odd = tmp_path / "it's 我的 #1 100% $HOME"
    folder = checkout(odd / "share")
    home, data, temporary = odd / "~ home", odd / "-数据 'a' \"b\"", odd / "my temp"
    shutil.copytree(ROOT / "fixtures" / "shapes", data / "coco", copy_function=os.link)
    home.mkdir()
    os.link(ROOT / "fixtures" / "shapes" / "fcos_shapes.pth", home / "a b.pth")
    temporary.mkdir()
    store = folder / ".artifacts"
    take_over(only_onnx, store)
    done = run_in(
        folder, "-m", "contract", "--npu", "emulated", "--batch-sizes", "1", "--dataset=$DATA/coco", "--checkpoint=~/a b.pth",
        "tests/acceptance", HOME=str(home), DATA=str(data), TMPDIR=str(temporary), XDG_CACHE_HOME="",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    left = {path.name for path in temporary.rglob("*")} - {f"fcos_lib-{os.getuid()}", "npu-smi.lock"}
    assert not left, f"{left} stayed in the folder for temporary files"
    document = json.loads((store / "results" / "results.json").read_text())
    assert {verdict["outcome"] for verdict in document["verdicts"]} == {"STAND-IN", "PASS"}  # inputs need no device
    assert document["run"]["settings"]["dataset"] == str(data / "coco")
    assert document["run"]["settings"]["checkpoint"] == str(home / "a b.pth")
    typed = shlex.split(document["run"]["options"])
    assert as_path(typed[typed.index("--dataset") + 1]) == data / "coco", (
        "the command that runs it again means another folder"
    )
    assert not [path for path in (folder, odd, home) for _ in path.glob("*DATA*")], (
        "a folder is called like the variable"
    )


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "xdist"])
def test_a_checkout_that_cannot_be_written_runs_and_says_where(checkout, run_in, tmp_path, workers):
    """Once, in the header. There were 80 warnings of pytest's cache, no table and exit status 1."""
    folder = checkout(tmp_path / "checkout")
    _take_away(folder)
    done = run_in(folder, *INPUTS, *workers, before=_unprivileged(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    (own,) = (tmp_path / "caches" / "fcos_lib").iterdir()
    said = [line for line in done.stdout.splitlines() if "cannot be written" in line]
    assert said == [
        f"fcos: {folder} cannot be written; artifacts, pytest's cache, the history of throughput are below {own}"
    ]
    assert "Warning" not in done.stdout + done.stderr
    assert "verdicts" in done.stdout
    assert json.loads((own / "artifacts" / "results" / "results.json").read_text())["run"]["exit_status"] == 0
    assert (own / "cache" / "v" / "cache").is_dir(), "pytest's cache is not where the header says"


def test_a_checkout_that_cannot_be_written_without_any_home_runs_in_the_folder_for_temporary_files(checkout, run_in, tmp_path):  # fmt: skip
    """That of this user alone; one that somebody else can change is not taken."""
    folder = checkout(tmp_path / "checkout")
    _take_away(folder)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    places = {"HOME": "/proc/none", "XDG_CACHE_HOME": "/proc/none", "TMPDIR": str(temporary)}
    done = run_in(folder, *INPUTS, before=_unprivileged(folder), **places)
    assert done.returncode == 0, done.stdout + done.stderr
    own = temporary / f"fcos_lib-{os.getuid()}"
    assert own.stat().st_mode & 0o777 == 0o700
    own.chmod(0o777)
    refused = run_in(folder, *INPUTS, before=_unprivileged(folder), **places)
    assert refused.returncode == 4, refused.stdout + refused.stderr
    assert "nor can any other place: pass --artifacts FOLDER" in refused.stderr


def test_a_named_folder_that_cannot_be_written_is_refused_at_once(run_in, tmp_path):
    """Nothing is written where nobody asked for it: exit status 4 and one sentence."""
    named = tmp_path / "named"
    named.mkdir(mode=0o555)
    done = run_in(ROOT, *INPUTS, "-p", "no:cacheprovider", f"--artifacts={named}", before=_unprivileged(named))
    assert done.returncode == 4, done.stdout + done.stderr
    assert f"ERROR: the artifact folder {named} cannot be written (Permission denied): check free space" in done.stderr
    assert "collected" not in done.stdout


def _take_away(folder):
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)


def _unprivileged(folder):
    """What makes the modes of the folder count for the process; skips where nothing does."""
    if not writable(folder):
        return ()
    probe = f"import os, sys; sys.exit(os.access({str(folder)!r}, os.W_OK))"
    if (
        shutil.which("setpriv") is None
        or subprocess.run([*UNPRIVILEGED, sys.executable, "-c", probe], check=False).returncode
    ):
        pytest.skip("this user may write everywhere, and setpriv cannot take that right away")
    return UNPRIVILEGED
