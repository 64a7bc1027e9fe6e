"""The real suite is killed and goes on, and its numbers do not show it."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.prepared import PICTURES

ROOT = Path(__file__).parents[2]
KILLS, FEWER = 50, 24
ACCURACY = ("tests/acceptance", "-q", "-m", "accuracy", "--npu", "emulated", "--batch-sizes", "4")
ACCURACY += ("--pictures", str(PICTURES))


def numbers(artifacts):
    """Everything that the last run measured, by gate, without how it came about."""
    document = json.loads((artifacts / "results" / "results.json").read_text())
    measured = {}
    for verdict in document["verdicts"]:
        one = verdict["measurement"]
        details = {name: value for name, value in one["details"].items() if name != "evaluation"}
        measured.setdefault(verdict["gate"], []).append((one["value"], one["n"], details))
    assert measured, "no gate was judged"
    return measured


def evaluation(artifacts):
    """How the pictures of the last run were come by."""
    document = json.loads((artifacts / "results" / "results.json").read_text())
    gate = next(verdict for verdict in document["verdicts"] if "not counted once" in verdict["gate"])
    return gate["measurement"]["details"]["evaluation"]


@pytest.fixture
def undisturbed(prepared, ready):
    """The test's artifact folder: OM, references and results are there of a run that nothing happened to."""
    shutil.copytree(prepared / "results", ready / "results")
    return ready


@pytest.mark.slow
def test_fifty_kills_at_random_moments_change_no_number(undisturbed, suite, copies):
    """kill -9 of the whole run, over and over: it goes on, finds no damaged file, and ends with the same bits."""
    command, environ = suite(*ACCURACY)
    arguments = command[command.index("pytest") + 1 :]

    def kill_after(seconds):
        """The exit status of a run that had ended before, and None of one that was killed."""
        copy = copies.start(arguments, environ)
        status = copy.wait(seconds)
        if status is None:
            status = copy.kill()
        return None if status == -signal.SIGKILL else status

    expected = numbers(undisturbed)
    chance, kills, hits, resumed = random.Random(8), 0, 0, 0
    began = time.monotonic()
    assert kill_after(300) == 0, "a run that was let through did not end well"
    whole = time.monotonic() - began
    shutil.rmtree(undisturbed / "results")
    while kills < KILLS:
        if kill_after(chance.uniform(0.05, 0.55) * whole) is not None:  # the rest is judging and the page
            continue
        kills += 1
        hits += any((undisturbed / "journal").glob("shapes-batch4-*/shard*"))
        if kills % 10 == 0:
            assert kill_after(300) == 0, f"the run after {kills} kills did not end well"
            assert numbers(undisturbed) == expected, f"after {kills} kills"
            resumed += evaluation(undisturbed)["resumed"]
            repeated = evaluation(undisturbed)["repeated"]
            assert repeated == 0, f"{repeated} pictures were run twice"
    print(f"{hits} of {kills} kills left a journal, from which {resumed} pictures were taken")
    assert resumed, f"none of {kills} kills hit an evaluation"
    assert not list(Path("/dev/shm").glob("*fcos*"))


def test_workers_give_the_numbers_of_one_process(undisturbed, run):
    """Under -n, batch sizes and promises run side by side."""
    expected = numbers(undisturbed)
    shutil.rmtree(undisturbed / "results")
    result = run(*ACCURACY, "-n", "2")
    assert result.returncode == 0, result.stdout + result.stderr
    assert numbers(undisturbed) == expected


def test_what_was_interrupted_survives_a_run_of_something_else(undisturbed, suite, run):
    """Another OM's run is neither refused nor mixed with it, and the next run of the same goes on."""
    expected = numbers(undisturbed)
    command, environ = suite(*ACCURACY)
    process = subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    shards, end = "shapes-batch4-*/shard*", time.monotonic() + 60
    while not any((undisturbed / "journal").glob(shards)) and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    other = run(*ACCURACY, "--op-select-implmode", "high_precision")
    assert other.returncode == 0, other.stdout
    assert evaluation(undisturbed)["inferred"] == PICTURES
    again = run(*ACCURACY)
    assert again.returncode == 0, again.stdout
    resumed = evaluation(undisturbed)["resumed"]
    assert resumed > 0, f"{resumed} pictures were resumed: what had been recorded is lost"
    assert numbers(undisturbed) == expected


def test_a_run_that_ends_before_it_judged_leaves_something_to_run(undisturbed, run):
    """Every picture is recorded, the device hangs when it is asked for its canary again: the next run asks it, and runs a shard."""
    expected, options = numbers(undisturbed), (*ACCURACY, "--run-time-limit", "3")
    hangs = f"run=hang:{1 + PICTURES // 4}"  # the canary and all batches go well
    ended = run(*options, scenario=hangs)
    assert ended.returncode == 8, ended.stdout + ended.stderr
    shards = len(list((undisturbed / "journal").glob("shapes-batch4-*/shard*")))
    again = run(*options, scenario=hangs)
    assert again.returncode == 0, again.stdout + again.stderr
    inferred = evaluation(undisturbed)["inferred"]
    assert 0 < inferred <= PICTURES / shards, f"{inferred} pictures were run, not the last of {shards} shards"
    assert numbers(undisturbed) == expected


def test_a_finished_run_is_no_evidence_for_the_next_and_not_in_its_way(undisturbed, suite, run):
    """Green means that something ran, be the id of the run the same: xdist's variable may be left in an environment."""
    command, environ = suite(*ACCURACY)
    stale = environ | {"PYTEST_XDIST_TESTRUNUID": "stale"}
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, env=stale, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout
        assert evaluation(undisturbed)["inferred"] == PICTURES, "a finished journal is this run's result"
    fewer = run(*ACCURACY[:-1], FEWER, "--no-explain")
    assert fewer.returncode != 8, fewer.stdout
    assert evaluation(undisturbed)["inferred"] == FEWER
