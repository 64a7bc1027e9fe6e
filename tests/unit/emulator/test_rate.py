"""A device of a known rate reports that rate whatever this machine does, and an OM can be made slower on it by a known part."""

import hashlib
import itertools
import os
import statistics
import time

import numpy as np
import pytest

from fcos_lib.emulator.acl_parts import Pace
from fcos_lib.emulator.om import read_header
from fcos_lib.emulator.scenario import parse
from tests.unit.emulator.runtime import durations, run, sessions

GENERATIONS = ["new", "old"]


@pytest.fixture
def load(play):
    """Open a session on an OM in a scenario; it is freed in the end."""
    with sessions(play) as load:
        yield load


def test_the_old_generation_reports_the_rate_to_the_last_bit(load, compile_om, pictures):
    """Two pictures at 40 images/s are 50 ms, every time."""
    session = load(compile_om(), "generation=old,rate=40")
    run(session, pictures, times=3)
    assert durations(session) == [50.0] * 3


def test_the_new_generation_reports_it_as_coarsely_as_float32_is(load, compile_om, pictures):
    """Pairs in ms since the load, no two of them at once, whose difference is off by the step of float32 at most."""
    session = load(compile_om(), "generation=new,rate=40")
    run(session, pictures, times=3)
    pairs = session.sumary().exec_time_list
    assert all(value == float(np.float32(value)) for pair in pairs for value in pair), "they are stored as float32"
    step = float(np.spacing(np.float32(pairs[-1][1])))
    assert durations(session) == pytest.approx([50.0] * 3, abs=step)
    assert pairs[0][0] >= 0, f"the first run began at {pairs[0][0]} ms, before the load"
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(pairs)), f"runs overlap: {pairs}"


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_run_takes_at_least_as_long_as_it_reports(load, compile_om, pictures, generation):
    """By the wall clock, each of several."""
    session = load(compile_om(), f"generation={generation},rate=40")
    start = time.perf_counter()
    run(session, pictures, times=3)
    seconds = time.perf_counter() - start
    assert seconds >= 3 * 0.050, f"three runs took {seconds:.3f} s and reported 0.150 s"


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_machine_that_is_too_slow_reports_the_rate_all_the_same(load, compile_om, pictures, generation):
    """No CPU computes a million images/s; the difference is waited for, and not reported."""
    session = load(compile_om(), f"generation={generation},rate=1e6")
    start = time.perf_counter()
    run(session, pictures)
    seconds = time.perf_counter() - start
    (reported,) = durations(session)
    assert reported == pytest.approx(0.002, abs=0.002), "2 pictures at 1e6 images/s, coarsened by float32"
    assert 1e3 * seconds > reported, f"the run took {1e3 * seconds:.3f} ms and reported {reported:.3f} ms"


def test_the_chosen_profile_counts(load, compile_om):
    """An OM with profiles takes as long as the batch size that runs."""
    path = compile_om(input_shape="input:-1,3,16,16", dynamic_batch_size="1,2,4")
    session = load(path, "generation=old,rate=400")
    for batch in (4, 1):
        session.set_dynamic_batchsize(batch)
        run(session, np.zeros((batch, 3, 16, 16), np.float32))
    assert durations(session) == [10.0, 2.5]


def test_outputs_know_nothing_of_time(load, compile_om, play, pictures):
    """Rate, jitter and a slower OM change no bit of the detections."""
    expected = run(load(compile_om(), ""), pictures)
    play("om_slower=8")
    slower = compile_om(output="slower")
    for output, wanted in zip(run(load(slower, "rate=400,jitter=5"), pictures), expected, strict=True):
        np.testing.assert_array_equal(output, wanted)


@pytest.mark.parametrize(("percent", "ms"), [("0", 50.0), ("3", 51.5), ("8", 54.0), ("-20", 40.0)])
def test_a_slower_om_is_slower_by_exactly_that(load, compile_om, play, pictures, percent, ms):
    """It is in the OM: the scenario of the device that runs it does not say so again."""
    play(f"om_slower={percent}")
    session = load(compile_om(), "generation=old,rate=40")
    run(session, pictures)
    assert durations(session) == pytest.approx([ms], rel=1e-12)


def test_a_slower_om_is_another_file(compile_om, play):
    """Even one that is slower by nothing; other keys leave every byte as it was."""

    def sha256(scenario):
        play(scenario)
        return hashlib.sha256(compile_om().read_bytes()).hexdigest()

    plain = sha256("")
    assert sha256("rate=40,jitter=1,cards=1") == plain, "the OM depends on the device that is played"
    different = {sha256(f"om_slower={percent}") for percent in (0, 3, 8)}
    assert len(different | {plain}) == 4, "two OMs of different speed are the same file"


def test_an_om_that_was_not_asked_for_says_nothing_of_time(compile_om):
    """Nothing is added to its runs."""
    assert read_header(compile_om()).time_factor is None


@pytest.mark.parametrize("generation", GENERATIONS)
def test_without_a_rate_times_are_this_machines(load, compile_om, play, pictures, generation):
    """A slower OM takes no longer there."""
    play("om_slower=900")
    session = load(compile_om(), f"generation={generation}")
    start = time.perf_counter()
    run(session, pictures)
    (reported,), passed = durations(session), 1e3 * (time.perf_counter() - start)
    assert reported <= passed + 0.1, f"{reported:.3f} ms are reported, the run took {passed:.3f} ms"
    assert Pace(parse(""), 10.0, 1).next_run(2) is None


def test_jitter_moves_each_run_by_its_standard_deviation(load, compile_om, pictures):
    """Around the rate; two sessions of a process draw different numbers."""
    path, scenario = compile_om(), "generation=old,rate=2000,jitter=1"
    first, second = load(path, scenario), load(path, scenario)
    for session in (first, second):
        run(session, pictures, times=5)
    output = durations(first) + durations(second)
    assert len(set(output)) == 10, f"runs or sessions repeat each other: {output}"
    assert output == pytest.approx([1.0] * 10, rel=0.06)


def test_jitter_is_as_wide_as_asked_and_can_be_drawn_again(monkeypatch):
    """The numbers follow from the process's id and the session's number alone."""

    def draws(session, count=2000):
        pace = Pace(parse("rate=10,jitter=2"), 1.08, session)
        return [pace.next_run(1) for _ in range(count)]

    monkeypatch.setattr(os, "getpid", lambda: 4711)
    first = draws(1)
    assert draws(1) == first
    assert draws(2) != first
    assert statistics.fmean(first) == pytest.approx(0.108, rel=0.003)
    assert statistics.stdev(first) / 0.108 == pytest.approx(0.02, rel=0.1)
    monkeypatch.setattr(os, "getpid", lambda: 4712)
    assert draws(1) != first
