"""Rates are held to the pictures that came back and to the clock on the wall; a wrong formula or a wrong time is seen."""

import math
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.errors import SessionError
from fcos_lib.judge.gate import Scope
from fcos_lib.judge.verdict import Outcome, judge_gate
from fcos_lib.measure import Measurement
from fcos_lib.measure.throughput.rates import (
    Call,
    CountedSession,
    busy_share,
    images_per_second,
    images_per_second_streamed,
    images_per_second_with_copies,
    timed_runner,
    unaccounted_pictures,
)
from fcos_lib.stream.sessions import Outputs

SCOPE = Scope(SHAPES.name, "Ascend310P3", 4)


class Device:
    """A session of four pictures whose runtime says 80 ms; its times and what comes back can be wrong."""

    def __init__(self, ms=80.0, lost=0, timed=1):
        self.ms, self.lost, self.timed = ms, lost, timed
        self.times, self.seen = [], []

    def run(self, batch):
        """Zeros for all pictures but the lost ones."""
        self.seen.append(batch)
        self.times += [self.ms] * self.timed
        rows = len(batch) - self.lost
        return Outputs(np.zeros((rows, 100), np.int64), np.zeros((rows, 100, 5), np.float32))

    def compute_ms(self):
        """As often as it was told to time a run."""
        return list(self.times)

    def reset_timings(self):
        """Forget them."""
        self.times.clear()


def calls(rounds=3, pictures=4, seconds=0.1):
    """Calls without a gap between them."""
    return [Call(pictures, turn * seconds, (turn + 1) * seconds) for turn in range(rounds)]


def outcome(measurement, stand_in=False):
    """The verdict on hardware, or on the emulator."""
    return judge_gate(measurement, SCOPE, "batch4", stand_in=stand_in).outcome


def test_a_counted_session_notes_what_came_back_and_when():
    """Pictures are those of the outputs, not those that somebody meant to give."""
    ticks = count()
    session = CountedSession(Device(lost=1), clock=lambda: float(next(ticks)))
    outputs = session.run(np.zeros((4, 3, 8, 8)))
    session.run(np.zeros((2, 3, 8, 8)))
    assert outputs.dets.shape == (3, 100, 5), "the outputs are the session's own"
    assert session.calls == [Call(3, 0.0, 1.0), Call(1, 2.0, 3.0)]


def test_a_rate_is_of_the_mean_time():
    """Three batches of three pictures in 30.5, 50 and 99.5 ms: 60 in the mean, whoever says so; of nothing there is no rate."""
    times = [30.5, 50.0, 99.50004]
    ran = [Call(3, 0.0, 0.0305), Call(3, 0.2, 0.25), Call(3, 0.4, 0.49950004)]
    for name, key, measured, nothing, why in (
        (
            "throughput",
            "rate",
            images_per_second(3, times),
            images_per_second(3, []),
            "the runtime reported no timings",
        ),
        (
            "throughput with copies",
            "with_copies",
            images_per_second_with_copies(3, ran),
            images_per_second_with_copies(3, []),
            "nothing was run",
        ),
    ):
        where = "mean 60.000 ms, median 50.000 ms, from 30.500 to 99.500 ms per batch"
        rate, details, gate = pytest.approx(50.0, rel=1e-6), {"ms": [30.5, 50.0, 99.5]}, f"throughput.{key}"
        assert measured == Measurement(name, rate, "images/s", 3, where, details, gate=gate), f"the rate is {measured}"
        assert nothing == Measurement(name, 0.0, "images/s", 0, why, gate=gate), f"of nothing it is {nothing}"


@pytest.mark.parametrize("rounds", [1, 3, 20])
@pytest.mark.parametrize("batch", [1, 4, 64])
@pytest.mark.parametrize("off", [-1, 1])
def test_another_batch_size_in_the_formula_is_seen_at_every_batch_size(rounds, batch, off):
    """`batch + 1` makes 64 images/s to 65, which no other gate can tell from a faster device."""
    ran = calls(rounds, batch)
    honest, wrong = images_per_second(batch, [80.0] * rounds), images_per_second(batch + off, [80.0] * rounds)
    seconds = 0.08 * rounds
    assert outcome(unaccounted_pictures((honest, ran, seconds))) is Outcome.PASS
    measured = unaccounted_pictures((wrong, ran, seconds))
    assert (measured.value, measured.n) == (pytest.approx(rounds), rounds * batch)
    assert outcome(measured) is Outcome.FAIL, f"{off:+} picture per round in the formula passed: {measured.where}"
    assert outcome(measured, stand_in=True) is Outcome.FAIL, "it passed on the emulator"


def test_the_worst_of_several_rates_is_named():
    """Pure, with copies and through the stream have the same pictures, and times of their own."""
    ran = calls()
    pure, copies = images_per_second(4, [80.0] * 3), images_per_second_with_copies(4, ran)
    streamed = replace(pure, name="throughput of the stream", value=50.0)
    measured = unaccounted_pictures((pure, ran, 0.24), (copies, ran, 0.3), (streamed, ran, None))
    assert measured == Measurement(
        "pictures of a rate not counted",
        pytest.approx(3.0),
        "pictures",
        12,
        "throughput of the stream: 15 claimed in 0.3 s, 12 counted",
        gate="throughput.unaccounted",
    ), f"three pictures too many of the stream are told as {measured}"
    without = unaccounted_pictures((copies, [], None), (streamed, ran, None))
    assert (without.value, without.n) == (pytest.approx(3.0), 0), "a rate without calls hides the one after it"
    assert outcome(unaccounted_pictures((pure, ran, 0.24), (copies, ran, 0.3))) is Outcome.PASS


def test_a_picture_that_did_not_come_back_is_missed():
    """The rate claims twelve, eleven came back."""
    ran = [*calls(2), Call(3, 0.2, 0.3)]
    assert outcome(unaccounted_pictures((images_per_second(4, [80.0] * 3), ran, 0.24))) is Outcome.FAIL


@pytest.mark.parametrize("claims", [(), ((images_per_second(4, [80.0]), [], 0.08),)])
def test_nothing_that_ran_is_no_verdict(claims):
    """No pictures are not zero pictures too many."""
    measured = unaccounted_pictures(*claims)
    assert (measured.n, measured.where) == (0, "nothing was run")
    assert outcome(measured) is Outcome.NO_VERDICT


@pytest.mark.parametrize(
    ("compute_ms", "most", "least", "why"),
    [
        (80.0, Outcome.PASS, Outcome.PASS, "80 of 100 ms, the rest copies"),
        (100.0, Outcome.PASS, Outcome.PASS, "no copies at all"),
        (100.5, Outcome.FAIL, Outcome.PASS, "longer than the calls took"),
        (50.0, Outcome.PASS, Outcome.PASS, "half of it copies"),
        (49.9, Outcome.PASS, Outcome.FAIL, "more than copies explain"),
        (25.0, Outcome.PASS, Outcome.FAIL, "the time of one picture of four"),
        (0.08, Outcome.PASS, Outcome.FAIL, "seconds for milliseconds"),
    ],
)
def test_the_runtimes_times_are_held_to_the_wall(compute_ms, most, least, why):
    """Neither longer than the calls, nor so short that the pictures over the calls' time deny the rate."""
    measured = busy_share([compute_ms] * 3, calls())
    assert measured.value == pytest.approx(compute_ms)
    found = [outcome(measured.for_gate(f"throughput.busy_{end}")) for end in ("most", "least")]
    assert found == [most, least], why


def test_the_share_is_of_all_calls_together():
    """A short call and a long one: the sums count, and the sentence has the means."""
    measured = busy_share([0.05, 0.35], [Call(4, 0.0, 0.0001), Call(4, 1.0, 1.0007)])
    name, where = "compute time in the calls' time", "mean 0.200 ms of 0.400 ms per call"
    assert measured == Measurement(name, pytest.approx(50.0), "%", 2, where), f"the share is {measured}"


@pytest.mark.parametrize(("timings", "rounds"), [(2, 3), (4, 3), (0, 0), (0, 3)])
def test_times_that_cannot_be_told_apart_are_no_verdict(timings, rounds):
    """One time per call, or nothing is compared."""
    measured = busy_share([80.0] * timings, calls(rounds))
    where = f"{rounds} calls and {timings} timings of the runtime: nothing to compare"
    assert measured == Measurement("compute time in the calls' time", 0.0, "%", 0, where), f"the share is {measured}"
    assert outcome(measured.for_gate("throughput.busy_most")) is Outcome.NO_VERDICT


def test_a_clock_that_stands_still_is_not_within_the_wall():
    """No time passed, and something was computed."""
    measured = busy_share([80.0], [Call(4, 1.0, 1.0)])
    assert measured.value == math.inf
    assert outcome(measured.for_gate("throughput.busy_most")) is Outcome.FAIL


class Prepared:
    """A batch of the stream: four slots, and in the last batch perhaps fewer pictures."""

    def __init__(self, pictures=4):
        self.tensor, self.pictures = np.zeros((4, 3, 8, 8)), [None] * pictures


def test_the_stream_counts_its_pictures_over_its_own_time():
    """From the start of the first call to the end of the last, what is between them included; an empty one has no rate."""
    ticks = iter([1.0, 2.0, 4.0, 5.0, 6.0, 9.0])
    session = CountedSession(Device(), clock=lambda: next(ticks))
    measured = images_per_second_streamed(session, [Prepared()] * 3)
    name, key = "throughput of the stream", "throughput.stream"
    busy, share = "device busy 62.5% of the time", {"busy": 0.625}
    assert measured == Measurement(name, 1.5, "images/s", 12, busy, share, gate=key), f"the rate is {measured}"
    assert outcome(unaccounted_pictures((measured, session.calls, None))) is Outcome.PASS
    empty = images_per_second_streamed(session, [])
    assert empty == Measurement(name, 0.0, "images/s", 0, "the stream was empty", gate=key), f"of nothing it is {empty}"


def test_padding_in_the_stream_is_no_picture():
    """Only pictures count for the rate, so a batch of padding would be seen among those that came back."""
    ticks = count()
    session = CountedSession(Device(), clock=lambda: float(next(ticks)))
    measured = images_per_second_streamed(session, [Prepared(), Prepared(3)])
    assert measured.n == 7
    assert outcome(unaccounted_pictures((measured, session.calls, None))) is Outcome.FAIL


def test_a_runner_runs_its_inputs_in_turn_and_gives_their_times():
    """Over and over, one at a time."""
    device = Device(17.0)
    run = timed_runner(device, [np.array([5.0]), np.array([6.0]), np.array([7.0])])
    assert [run() for _ in range(4)] == [17.0] * 4
    assert [float(batch[0]) for batch in device.seen] == [5.0, 6.0, 7.0, 5.0]


@pytest.mark.parametrize("timed", [0, 2])
def test_a_time_that_is_not_of_this_run_is_an_error(timed):
    """A run that is not timed would otherwise count with the time of the one before it."""
    run = timed_runner(Device(timed=timed), [np.zeros(1)])
    with pytest.raises(SessionError) as raised:
        run()
    assert raised.value.found == f"the runtime timed {timed} runs where one was made"
    assert raised.value.advice == "do not use the session elsewhere meanwhile"
