"""The suite itself, run as a user would: its options, its refusals and its words."""

import fcntl
import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from fcos_lib.measure.coco.metrics import TWELVE
from fixtures.options import settings as chosen_settings
from tests.prepared import PICTURES, take_over
from tests.unit.parsed import ROOT
from tests.unit.processes import on_terminal


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--npu", "maybe"], "invalid choice: 'maybe'"),
        (["--dynamic-batch", "--aipp"], "a dynamic batch size with AIPP is not supported"),
        (["--npu", "required", "-n", "2"], "--npu required, but no NPU can be used here"),
    ],
    ids=["value", "combination", "device, with workers"],
)
def test_an_impossible_option_is_exit_4_and_one_sentence(run, arguments, words):
    """Nothing is collected, nothing is built; a hardware runner that lost its NPU is never green. Others: test_option_slips.py."""
    result = run(*arguments)
    assert result.returncode == 4, result.stdout + result.stderr
    assert words in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("python", "environment"), [(["-O"], {}), ([], {"PYTHONOPTIMIZE": "2"})], ids=["-O", "variable"]
)
def test_a_python_without_assertions_is_refused(python, environment, outer_environment):
    """Some container images set the variable: a sentence and exit 4 instead of a traceback and 1, which is FAIL's."""
    command = [sys.executable, *python, "-m", "pytest", "tests/acceptance", "-m", "contract"]
    done = subprocess.run(
        command, cwd=ROOT, env=outer_environment | environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 4, done.stdout + done.stderr
    assert "takes checks out of the code" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_ends_with_verdicts_and_results_json(run, tmp_path):
    """One contract gate on the emulator, as the header says: built, judged STAND-IN, written down; the second run builds nothing."""
    arguments = ("-m", "contract", "--npu", "emulated", "--batch-sizes", "2")
    first = run(*arguments, cold=True)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "results are STAND-IN (asked for with --npu emulated)" in first.stdout
    assert "STAND-IN: measured on the emulator" in first.stdout
    assert "artifacts: 2 built, 0 reused" in first.stdout
    document = json.loads((tmp_path / "artifacts" / "results" / "results.json").read_text())
    outcomes = {verdict["gate"]: verdict["outcome"] for verdict in document["verdicts"]}
    assert outcomes == {
        "contract[batch2] broken rows": "STAND-IN",
        "contract[reference] broken rows": "PASS",
        "contract[inputs] wrong network inputs": "PASS",
        "contract[inputs] inverse letterbox error": "PASS",
    }
    assert document["environment"]["device"]["stand_in"] is True
    second = run(*arguments)
    assert "artifacts: 0 built, 2 reused" in second.stdout, second.stdout


@pytest.mark.parametrize("option", ["--benchmark-json=@/benchmark.json", "--benchmark-autosave", "--benchmark-compare"])
def test_options_of_pytest_benchmark_are_no_error_where_nothing_is_timed(run, tmp_path, option):
    """A job has them in PYTEST_ADDOPTS for every run: what the plugin warns of was a traceback, and exit status 1 or 3."""
    done = run(option.replace("@", str(tmp_path)), "-m", "contract", "--npu", "emulated", "--batch-sizes", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_the_results_name_the_npu_that_was_used(run, tmp_path):
    """The first one is somebody else's, so the second computes: its number and its health belong to the numbers."""
    lock = tmp_path / "artifacts" / "locks" / "npu-0.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = run("-m", "contract", "--npu", "emulated", "--batch-sizes", "2", "tests/acceptance")
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "artifacts" / "results" / "results.json").read_text())
    device = document["environment"]["device"]
    assert (device["device_id"], device["logical_id"], device["npu_id"]) == (1, 1, 1)


def test_the_aipp_variant_is_told_apart(run, tmp_path):
    """Verdicts, artifacts and header name it, and its OM is refused by a run that would feed it floats."""
    arguments = ("-m", "contract", "--npu", "emulated", "--batch-sizes", "2", "tests/acceptance")
    first = run(*arguments, "--aipp")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "input uint8 NHWC (AIPP)" in first.stdout
    document = json.loads((tmp_path / "artifacts" / "results" / "results.json").read_text())
    gates = {verdict["gate"] for verdict in document["verdicts"]}
    missing = {"contract[batch2-aipp] broken rows", "contract[reference] broken rows"} - gates
    assert not missing, f"gates without a verdict: {missing}; with one: {gates}"
    (om,) = [artifact for artifact in document["artifacts"] if artifact["kind"] == "om"]
    assert om["provenance"]["input_layout"] == "uint8 NHWC (AIPP)"
    assert "aipp.cfg" in om["files"]
    foreign = run(*arguments, "--om", str(tmp_path / "artifacts" / "om"))
    assert foreign.returncode == 1, foreign.stdout
    assert "its input is uint8 NHWC (AIPP), this run feeds float32 NCHW" in foreign.stdout


def test_one_om_can_serve_all_batch_sizes(run, tmp_path):
    """Built once, told apart in the verdicts, and taken for every profile when it comes from elsewhere."""
    arguments = ("-m", "contract", "--npu", "emulated", "--batch-sizes", "3,2", "tests/acceptance")
    first = run(*arguments, "--dynamic-batch")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "batch sizes 2, 3 in one OM, input" in first.stdout
    assert "artifacts: 1 built, 1 reused" in first.stdout
    document = json.loads((tmp_path / "artifacts" / "results" / "results.json").read_text())
    subjects = {verdict["subject"] for verdict in document["verdicts"]}
    assert subjects == {"batch2-dynamic", "batch3-dynamic", "inputs", "reference"}
    (om,) = [artifact for artifact in document["artifacts"] if artifact["kind"] == "om"]
    assert om["provenance"]["dynamic_batches"] == [2, 3]
    foreign = run(*arguments, "--om", str(tmp_path / "artifacts" / "om"))
    assert foreign.returncode == 0, foreign.stdout + foreign.stderr


def test_atcs_options_reach_atc_and_the_key(run, tmp_path):
    """Another precision is another OM, its command line says so, and so does the header; the time limit changes no OM."""
    arguments = ("-m", "contract", "--npu", "emulated", "--batch-sizes", "2", "tests/acceptance")
    chosen = ("--precision-mode", "force_fp32", "--op-select-implmode", "high_precision", "--atc-option=--log=info")
    first = run(*arguments, *chosen)
    assert first.returncode == 0, first.stdout + first.stderr
    header = "atc with --precision-mode force_fp32 --op-select-implmode high_precision --atc-option=--log=info"
    assert header in first.stdout
    (path,) = (tmp_path / "artifacts" / "om").glob("*/model.om")
    said = path.read_bytes()[:4000].decode(errors="replace")
    for option in ("--precision_mode=force_fp32", "--op_select_implmode=high_precision", "--log=info"):
        assert option in said
    again = run(*arguments, *chosen, "--atc-time-limit", "5")
    assert "artifacts: 0 built, 2 reused" in again.stdout, again.stdout
    other = run(*arguments)
    assert "artifacts: 1 built, 1 reused" in other.stdout, other.stdout
    assert "atc with" not in other.stdout


def test_a_failure_is_repeated_with_the_options_that_matter(request):
    """The command under a red verdict builds the same OM."""
    settings = replace(chosen_settings(request.config), dynamic_batch=True, batch_sizes=(1, 4), precision_mode="")
    settings = replace(settings, atc_option=("--fusion_switch_file=/x y/f.cfg",), atc_time_limit=5)
    assert settings.as_options().endswith(
        "--dynamic-batch --batch-sizes 1,4 --precision-mode '' --atc-option='--fusion_switch_file=/x y/f.cfg' "
        "--atc-time-limit 5"
    )


def test_a_slow_atc_shows_a_line_on_a_terminal(tmp_path, outer_environment, only_onnx):
    """In spite of pytest's capture, below the line of the test, and removed in the end."""
    take_over(only_onnx, tmp_path / "artifacts")
    (tmp_path / "quick_ticks.py").write_text("import fcos_lib.ascend.process as process\nprocess._TICK_S = 0.05\n")
    outer_environment["PYTHONPATH"] = str(tmp_path)
    command = [sys.executable, "-m", "pytest", "-p", "quick_ticks", "-p", "no:cacheprovider", "--npu", "emulated"]
    command += [f"--artifacts={tmp_path / 'artifacts'}"]
    command += ["--batch-sizes", "2", "-m", "contract", "tests/acceptance"]
    text = re.sub(r"\r\nfcos: \d+ s, test [^\r]*\r\n", "", on_terminal(command, outer_environment))  # the run's pulse
    assert "test_contract.py \r\n\r\x1b[Katc: batch size 2, 0 s (log: " in text
    drawn = text.count("\x1b[Katc: ")
    assert drawn > 1, f"the line was drawn {drawn} times, not again and again"
    assert not text.split("\r\x1b[K")[-1].startswith("atc: "), "the line stays on the terminal"


def test_paths_elsewhere_are_values_and_not_the_root_of_the_run(run, tmp_path):
    """pytest takes the value of an option that it does not know yet for a test path; `--dataset /data/coco` works all the same."""
    (tmp_path / "coco").mkdir()
    (tmp_path / "model.pth").write_bytes(b"")
    paths = ("--dataset", str(tmp_path / "coco"), "--checkpoint", str(tmp_path / "model.pth"))
    result = run("--collect-only", "-m", "contract", *paths)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "test_every_row_is_a_detection_or_padding" in result.stdout
    (tmp_path / "tox.ini").write_text("[pytest]\n")  # the data lies in another project
    again = run("--collect-only", "-m", "contract", *paths)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "test_every_row_is_a_detection_or_padding" in again.stdout


def test_another_root_folder_than_the_checkout_is_refused(run, tmp_path):
    """With `--rootdir` elsewhere no test was a gate, and the run was green without a table."""
    result = run("tests/acceptance", "-m", "contract", f"--rootdir={tmp_path}", cold=True)
    assert result.returncode == 4, result.stdout + result.stderr
    assert f"pytest took {tmp_path} for its root folder, where tests/acceptance is not" in result.stderr


@pytest.mark.parametrize(
    ("trouble", "status", "words"),
    [
        ("run=fail", 8, "INFRA: "),
        ("run=nan", 1, "FAIL: "),
    ],
    ids=["device", "nan"],
)
def test_the_exit_status_tells_the_machine_from_the_model_with_workers_too(run, tmp_path, trouble, status, words):
    """INFRA is 8, FAIL is 1; the results file says the same. Without workers: tests/unit/faults; an atc: test_one_cause.py."""
    result = run("-m", "contract", "--npu", "emulated", "--batch-sizes", "2", "-n", "2", scenario=trouble)
    assert result.returncode == status, result.stdout + result.stderr
    assert words in result.stdout
    assert "could not judge; the cause is below" in result.stdout
    document = json.loads((tmp_path / "artifacts" / "results" / "results.json").read_text())
    assert document["run"]["exit_status"] == status
    assert document["unjudged"][0]["outcome"] == words.partition(":")[0]


def test_skipped_gates_are_no_verdict(run, tmp_path):
    """Whoever skips every gate gets 7, not 0."""
    plugin = tmp_path / "skipper.py"
    plugin.write_text(
        "import pytest\ndef pytest_collection_modifyitems(items):\n    for item in items:\n        item.add_marker(pytest.mark.skip)\n"
    )
    result = run("-m", "contract", "-p", "skipper", "--npu", "emulated", "--batch-sizes", "2", path=tmp_path)
    assert result.returncode == 7, result.stdout
    assert "3 selected tests did not run" in result.stdout


def test_the_references_own_accuracy_on_a_large_dataset_is_asked_for(run, tmp_path):
    """onnxruntime over COCO takes hours: deselected, which is said, unless --reference is given."""
    (tmp_path / "coco" / "val2017").mkdir(parents=True)
    for number in range(1001):
        (tmp_path / "coco" / "val2017" / f"{number}.jpg").touch()
    arguments = ("--collect-only", "-q", "-m", "accuracy", "--dataset", str(tmp_path / "coco"), "--checkpoint", "x.pth")
    assert "test_the_reference_reaches_the_limit" not in run(*arguments).stdout
    assert "test_the_reference_reaches_the_limit" in run(*arguments, "--reference").stdout


def test_part_of_the_pictures_is_judged_by_its_difference_to_the_reference_only(prepared):
    """mAP over a part is higher than over all of them, so no absolute limit fits; the interval says if the part is enough."""
    verdicts = json.loads((prepared / "results" / "results.json").read_text())["verdicts"]
    assert not [verdict["test"] for verdict in verdicts if "test_the_reference_reaches_the_limit" in verdict["test"]]
    measured = {verdict["measurement"]["name"]: verdict["measurement"] for verdict in verdicts}
    assert "mAP" not in measured
    difference = measured["mAP difference"]
    assert difference["n"] == PICTURES, f"{difference['n']} pictures were compared, {PICTURES} were asked for"
    assert set(difference["details"]["reference"]) == set(difference["details"]["candidate"]) == set(TWELVE)


@pytest.mark.usefixtures("ready")
def test_too_few_pictures_are_no_verdict(run):
    """Twenty pictures cannot tell a loss of 0.01: status 7 and what would help, not a guess."""
    arguments = ("tests/acceptance", "-k", "candidate_reaches", "--npu", "emulated", "--batch-sizes", "4")
    result = run(*arguments, "--pictures", "20")
    assert result.returncode == 7, result.stdout
    assert "the limit lies inside, more samples would tell" in result.stdout


def test_a_failure_saves_every_difference_and_says_where(run, ready, tmp_path):
    """The message names the worst; the file beside the results has all of them."""
    plugin = tmp_path / "shifted.py"
    plugin.write_text(
        "from fcos_lib.ascend.om_session import OmSession\n"
        "run = OmSession._run\n"
        "def shifted(self, batch):\n"
        "    arrays = run(self, batch)\n"
        "    arrays[self._dets][..., :4] += 20 * (arrays[self._dets][..., 4:] > 0)\n"
        "    return arrays\n"
        "OmSession._run = shifted\n"
    )
    arguments = ("-m", "consistency", "-k", "match_the_reference and batch4", "--npu", "emulated", "--batch-sizes", "4")
    result = run(*arguments, "-p", "shifted", path=tmp_path)
    assert result.returncode == 1, result.stdout
    assert "consistency[batch4] unexplained differences is FAIL" in result.stdout
    assert re.search(r"  where     .*(disc|square|triangle|star) score ", result.stdout), "a class is a number"
    saved = next((ready / "results" / "failures").glob("*/differences.txt"))
    assert f"saved     {saved}" in result.stdout
    count = len(saved.read_text().splitlines())
    assert count > 100, f"{saved.name} has {count} lines, not one for each of more than 100 differences"
