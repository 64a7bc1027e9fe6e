"""The suite itself, run as a user would: its options, its refusals and its words."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path, outer_environment):
    """Run pytest on this project in a process of its own; artifacts go to a folder of the test."""

    def call(*arguments, artifacts=tmp_path / "artifacts"):
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--artifacts={artifacts}", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=outer_environment, capture_output=True, text=True, timeout=300, check=False
        )

    return call


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--npu", "maybe"], "invalid choice: 'maybe'"),
        (["--batch-sizes", "1,1"], "'1,1' is not a list of different batch sizes"),
        (["--batch-sizes", "0"], "'0' is not a list"),
        (["--device-id", "-1"], "'-1' is not a device id"),
        (["--dataset", "somewhere"], "--dataset somewhere needs --checkpoint"),
        (["--npu", "required"], "--npu required, but no NPU can be used here"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)
def test_an_impossible_option_is_exit_4_and_one_sentence(run, arguments, words):
    """Nothing is collected, nothing is built."""
    result = run(*arguments)
    assert result.returncode == 4, result.stdout + result.stderr
    assert words in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_required_without_a_device_is_exit_4_under_xdist_too(run):
    """A hardware runner that lost its NPU is never green."""
    result = run("--npu", "required", "-n", "2", "-m", "contract")
    assert result.returncode == 4, result.stdout + result.stderr


def test_a_typo_in_a_marker_is_not_green(run):
    """`-m acuracy` selects nothing, and nothing is not success."""
    assert run("-m", "acuracy", "tests/acceptance").returncode == 5


def test_a_missing_dataset_is_one_line_per_test(run, tmp_path):
    """No traceback, and the option that helps."""
    checkpoint = tmp_path / "x.pth"
    result = run(
        "--dataset", str(tmp_path / "none"), "--checkpoint", str(checkpoint), "-m", "accuracy", "-k", "reference"
    )
    assert result.returncode == 1
    assert "does not exist" in result.stdout
    assert "pass --dataset FOLDER" in result.stdout
    assert "Traceback" not in result.stdout


def test_a_missing_checkpoint_is_one_line_per_test(run, tmp_path):
    """The same for the weights."""
    result = run("--checkpoint", str(tmp_path / "none.pth"), "-m", "contract", "-k", "reference")
    assert result.returncode == 1
    assert "none.pth does not exist" in result.stdout


def test_an_unwritable_artifact_folder_is_one_line_per_test(run, tmp_path):
    """A file stands where the folder should be."""
    (tmp_path / "file").write_text("")
    result = run("-m", "contract", "-k", "reference", artifacts=tmp_path / "file")
    assert result.returncode == 1
    assert "cannot be written" in result.stdout


def test_the_header_says_where_the_numbers_come_from(run):
    """Without an NPU: STAND-IN, and why."""
    result = run("--collect-only", "-m", "contract", "--npu", "emulated")
    assert "results are STAND-IN (asked for with --npu emulated)" in result.stdout


def test_a_run_ends_with_verdicts_and_results_json(run, tmp_path):
    """One contract gate on the emulator: built, judged STAND-IN, written down; the second run builds nothing."""
    arguments = ("-m", "contract", "--npu", "emulated", "--batch-sizes", "2")
    first = run(*arguments)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "STAND-IN: measured on the emulator" in first.stdout
    assert "artifacts: 2 built, 0 reused" in first.stdout
    document = json.loads((tmp_path / "artifacts" / "results" / "results.json").read_text())
    outcomes = {verdict["gate"]: verdict["outcome"] for verdict in document["verdicts"]}
    assert outcomes == {"contract[batch2] broken rows": "STAND-IN", "contract[reference] broken rows": "PASS"}
    assert document["environment"]["device"]["stand_in"] is True
    second = run(*arguments)
    assert "artifacts: 0 built, 2 reused" in second.stdout, second.stdout


def test_the_aipp_variant_is_told_apart(run, tmp_path):
    """Verdicts, artifacts and header name it, and its OM is refused by a run that would feed it floats."""
    arguments = ("-m", "contract", "--npu", "emulated", "--batch-sizes", "2", "tests/acceptance")
    first = run(*arguments, "--aipp")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "input uint8 NHWC (AIPP)" in first.stdout
    document = json.loads((tmp_path / "artifacts" / "results" / "results.json").read_text())
    gates = {verdict["gate"] for verdict in document["verdicts"]}
    assert gates == {"contract[batch2-aipp] broken rows", "contract[reference] broken rows"}
    (om,) = [artifact for artifact in document["artifacts"] if artifact["kind"] == "om"]
    assert om["provenance"]["input_layout"] == "uint8 NHWC (AIPP)"
    assert "aipp.cfg" in om["files"]
    foreign = run(*arguments, "--om", str(tmp_path / "artifacts" / "om"))
    assert foreign.returncode == 1, foreign.stdout
    assert "its input is uint8 NHWC (AIPP), this run feeds float32 NCHW" in foreign.stdout
