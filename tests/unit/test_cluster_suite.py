"""The suite on a cluster of two local nodes, one of which is killed in the middle: its numbers are an undisturbed run's."""

import importlib.util
import json
import shutil
import subprocess

import pytest

from fixtures.options import settings
from tests.unit.parsed import parsed
from tests.unit.stream.cluster_server import environment, free_port, served
from tests.unit.stream.journal_worker import ROOT, until
from tests.unit.test_resume import evaluation, numbers

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed")
ACCURACY = (
    "tests/acceptance",
    "-m",
    "accuracy and not golden",
    "--npu",
    "emulated",
    "--batch-sizes",
    "4",
    "--pictures",
    "48",
)


def test_a_node_that_is_killed_changes_no_number(run, suite, outer_environment, tmp_path):
    """kill -9 of a raylet as soon as a shard is recorded; the header names the nodes, the results the devices."""
    alone = run(*ACCURACY)
    assert alone.returncode == 0, alone.stdout + alone.stderr
    artifacts = tmp_path / "on-cluster"
    shutil.copytree(tmp_path / "artifacts", artifacts)
    shutil.rmtree(artifacts / "results")
    slow = {"FCOS_EMULATOR": "rate=8"}
    with served(outer_environment, tmp_path / "log") as ask:
        for address in ("127.0.0.2", "127.0.0.3"):
            ask("add", address, 2, env=slow)
        command, environ = suite(*ACCURACY, "--cluster", ask("where"), artifacts=artifacts)
        with subprocess.Popen(
            command, cwd=ROOT, env=environ | environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            until(lambda: process.poll() is not None or any((artifacts / "journal").glob("*/shard*")), seconds=120)
            ask("kill_raylet", "127.0.0.3")
            said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert "2 NPU" in said.partition("collected")[0], said
    assert numbers(artifacts) == numbers(tmp_path / "artifacts")
    shards = evaluation(artifacts)["shards"]
    assert any("(127.0.0.2)" in device for device in shards), shards
    assert json.loads((artifacts / "results" / "results.json").read_text())["run"]["exit_status"] == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("-m", "accuracy", "--cluster", f"127.0.0.1:{free_port()}"), "there is no cluster at 127.0.0.1:"),
        (("-m", "throughput", "--cluster", "local"), "throughput is measured on one host, alone"),
        (("-m", "accuracy", "--cluster", "local", "-n", "2"), "leave -n out"),
    ],
    ids=["nobody", "throughput", "workers"],
)
def test_what_cannot_be_is_one_sentence_and_exit_status_4(run, options, sentence):
    """Before any work."""
    result = run("tests/acceptance", *options, timeout=60)
    assert result.returncode == 4, result.stdout + result.stderr
    assert sentence in result.stdout + result.stderr


def test_options_that_mean_nothing_are_refused(capsys):
    """An address that is none, and software that nobody else has."""
    with pytest.raises(SystemExit):
        parsed(["--cluster", "somewhere"])
    assert "'somewhere' is neither auto, local nor HOST:PORT" in capsys.readouterr().err
    with pytest.raises(pytest.UsageError, match="--cluster-mixed goes with --cluster"):
        settings(parsed(["--cluster-mixed"]))


def test_without_ray_the_option_says_so_and_everything_else_works(run, tmp_path):
    """As on a Python for which there is no wheel."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text(
        "import importlib.util as util\nfind = util.find_spec\n"
        "util.find_spec = lambda name, package=None: None if name == 'ray' else find(name, package)\n"
    )
    result = run("tests/acceptance", "-m", "accuracy", "--cluster", "local", path=tmp_path / "hidden")
    assert result.returncode == 4, result.stdout + result.stderr
    assert "--cluster needs Ray, which is not installed: pip install 'ray==2.60.0'" in result.stdout + result.stderr
    result = run("tests/acceptance", "--collect-only", "-q", "-m", "accuracy", path=tmp_path / "hidden")
    assert result.returncode == 0, result.stdout + result.stderr
