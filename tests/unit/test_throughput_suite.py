"""The throughput gates of the real suite: a device of a known rate, an accepted champion, and seeded slowdowns."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fcos_lib.judge.history import KEY, new_run_id, save_run
from tests.prepared import PICTURES, once, take_over

ROOT = Path(__file__).parents[2]
EARLIER = ("tests/acceptance", "-m", "contract or consistency or accuracy or cost", "--pictures", str(PICTURES))
ONE = ("--npu", "emulated", "--batch-sizes", "1")
"""What a round takes is played, but its pictures are really computed: as few as there can be."""
THROUGHPUT = ("tests/acceptance", "-m", "throughput", *ONE)
RATE = "rate=500"


def gates(artifacts):
    """The outcome and the measurement of every gate of the last run."""
    document = json.loads((artifacts / "results" / "results.json").read_text())
    return {verdict["gate"]: (verdict["outcome"], verdict["measurement"]) for verdict in document["verdicts"]}


@pytest.fixture
def verb(outer_environment):
    """Run `python -m fcos_lib` with these arguments."""

    def call(*arguments):
        command = [sys.executable, "-m", "fcos_lib", *map(str, arguments)]
        return subprocess.run(
            command, cwd=ROOT, env=outer_environment, capture_output=True, text=True, timeout=60, check=False
        )

    return call


@pytest.fixture
def accepted(run, verb, prepared, tmp_path, tmp_path_factory):
    """An artifact folder of the test's own whose OM is the champion."""

    def accept(folder):
        champion = folder / "artifacts"
        take_over(prepared, champion)
        first = run(*EARLIER, *ONE, scenario=RATE, artifacts=champion)
        assert first.returncode == 0, first.stdout + first.stderr
        result = verb("accept", champion / "results" / "results.json", "--artifacts", champion, "--why", "a test")
        assert result.returncode == 0, result.stdout + result.stderr

    take_over(once(tmp_path_factory, "accepted", accept) / "artifacts", tmp_path / "artifacts")
    return tmp_path / "artifacts"


@pytest.mark.parametrize(("percent", "status"), [(0, 0), (3, 1)])
def test_a_slower_om_turns_the_gate_red_and_an_equal_one_does_not(run, accepted, percent, status):
    """In turns with the champion on one device; the failure says by how much."""
    shutil.rmtree(accepted / "om")  # or the champion's own OM would be tested
    result = run(*THROUGHPUT, scenario=f"{RATE},jitter=0.5,om_slower={percent}")
    assert result.returncode == status, result.stdout
    outcome, measured = gates(accepted)["throughput[batch1] rate against champion"]
    assert outcome == ("FAIL" if percent else "STAND-IN"), measured["where"]
    assert measured["value"] == pytest.approx(100 / (1 + percent / 100) - 100, abs=0.6)


def save_as_another_run(storage, percent):
    """Keep the last run in `storage` once more, as one that was so much faster."""
    document = json.loads(max(storage.glob("0*.json")).read_text())
    run_id = new_run_id()
    for rate in (rate for benchmark in document["benchmarks"] for rate in benchmark["extra_info"][KEY]):
        rate |= {"run": run_id, "images_per_second": rate["images_per_second"] * (1 + percent / 100)}
    save_run(storage, document)


def test_history_judges_where_there_is_no_champion(run, verb, ready, tmp_path):
    """Nothing accepted: recorded. Accepted runs: a slower one fails as a test, and JUnit agrees; a lost series fails too."""
    storage, artifacts = tmp_path / "benchmarks", ready
    for _ in range(2):
        result = run(*THROUGHPUT, "-k", "published", scenario=f"{RATE},jitter=0.5")
        assert result.returncode == 0, result.stdout
    (benchmark, *_) = json.loads(max(storage.glob("0*.json")).read_text())["benchmarks"]
    for rate in benchmark["extra_info"][KEY]:
        nameless = [name for name, value in rate["fingerprint"].items() if value in ("", "unknown")]
        assert not nameless, f"rates are compared whatever {nameless} were: nobody noted it"
    for change in (-0.4, -0.2, -0.1, 0.1, 0.2, 0.4):
        save_as_another_run(storage, change)
    assert run(*THROUGHPUT, "--require-baseline", scenario=RATE).returncode == 1
    runs = sorted(storage.glob("0*.json"))
    assert len(runs) == 9, "every run is kept"
    result = verb("history", "--storage", storage, "accept", *runs[:8], "--why", "eight calm runs")
    assert result.returncode == 0, result.stdout + result.stderr
    run(
        *THROUGHPUT, "--require-baseline", scenario=f"{RATE},jitter=0.5"
    )  # its wall times are real, and may say anything
    pure = gates(artifacts)["throughput[batch1] pure rate against history"]
    assert pure[0] == "STAND-IN", pure
    junit = tmp_path / "junit.xml"
    slower = run(*THROUGHPUT, f"--junitxml={junit}", scenario="rate=450,jitter=0.5")
    assert slower.returncode == 1
    assert gates(artifacts)["throughput[batch1] pure rate against history"][0] == "FAIL"
    assert "FAIL: throughput[batch1] pure rate against history" in junit.read_text()
    other = run("tests/acceptance", "-m", "throughput", "--npu", "emulated", "--batch-sizes", "2", scenario=RATE)
    assert other.returncode == 1
    lost = gates(artifacts)["throughput[all] lost series"]
    assert lost[0] == "FAIL"
    assert "batch1 pure" in lost[1]["where"]


def test_workers_are_refused_with_a_sentence(run, tmp_path):
    """Under -n nothing is timed, nothing is kept, and nothing is green."""
    result = run(*THROUGHPUT, "-n", "2", scenario=RATE)
    assert result.returncode == 1, result.stdout
    assert "throughput is measured alone: run pytest -m throughput without -n" in result.stdout
    assert not list((tmp_path / "benchmarks").glob("**/*.json"))


@pytest.mark.usefixtures("ready")
def test_disabled_benchmarks_are_not_green(run):
    """A round is no throughput."""
    result = run(*THROUGHPUT, "--benchmark-disable", "-k", "published", scenario=RATE)
    assert result.returncode == 1, result.stdout
    assert "is --benchmark-disable set?" in result.stdout
