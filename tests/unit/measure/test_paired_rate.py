"""Three sides take turns on one device; what drifts cancels, what is odd is forgotten, what differs is found."""

import math
from itertools import count, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcos_lib.errors import SessionError
from fcos_lib.measure.paired_rate import (
    LOOKS,
    ORDER,
    SIDES,
    DeviceFacts,
    compare,
    largest_step,
    take_turns,
    trimmed_interval,
)

BLOCKS = LOOKS[-1]
SIDE = np.array(ORDER)
seeds = st.integers(0, 2**32 - 1)


def times(seed=0, noise=0.005, challenger=0.0, blocks=BLOCKS):
    """Rounds of 17 ms with some noise; the challenger takes `challenger` (ln) longer."""
    logs = np.random.default_rng(seed).normal(0, noise, (blocks, len(ORDER)))
    return 17 * np.exp(logs + challenger * (SIDE == 1))


def runners(calls, ms=(17.0, 17.0, 17.0)):
    """One per side, each with its own constant time; every call is noted."""

    def runner(side):
        def run():
            calls.append(side)
            return ms[side]

        return run

    return [runner(side) for side in range(3)]


def test_every_side_has_the_same_mean_position_in_a_block():
    """So that a clock which drifts evenly meets all of them equally."""
    positions = [np.flatnonzero(np.equal(SIDE, side)) for side in range(len(SIDES))]
    assert {len(some) for some in positions} == {3}
    assert {some.mean() for some in positions} == {4.0}


def test_nobody_follows_itself_not_even_across_blocks():
    """A second round in a row might find warm caches."""
    twice = ORDER + ORDER
    assert all(one != following for one, following in pairwise(twice))


def test_the_sides_run_in_order_after_their_warm_up():
    """Rounds that warm up are not among the times."""
    calls = []
    run = take_turns(*runners(calls), lambda _: True, warm_up=2)
    assert calls[:6] == [0, 0, 1, 1, 2, 2]
    assert tuple(calls[6:]) == ORDER * LOOKS[0]
    assert run.compute_ms.shape == (LOOKS[0], len(ORDER))


def test_each_time_stands_where_its_side_ran():
    """Column by column as `ORDER` says."""
    run = take_turns(*runners([], (1.0, 2.0, 3.0)), lambda _: True)
    assert (run.compute_ms == np.array(ORDER) + 1.0).all()


def test_it_is_asked_only_at_the_looks():
    """Looking more often would find something by chance."""
    asked = []
    run = take_turns(*runners([]), lambda ms: asked.append(len(ms)))
    assert tuple(asked) == LOOKS
    assert (run.stopped, len(run.compute_ms)) == ("blocks", LOOKS[-1])


def test_it_stops_when_decided():
    """No round more than needed."""
    run = take_turns(*runners([]), lambda ms: len(ms) == LOOKS[1])
    assert (run.stopped, len(run.compute_ms)) == ("decided", LOOKS[1])


def test_it_stops_when_time_is_up():
    """After a whole block, never inside one."""
    ticks = count()
    run = take_turns(*runners([]), lambda _: False, seconds=3, clock=lambda: next(ticks))
    assert (run.stopped, run.compute_ms.shape) == ("time", (3, len(ORDER)))


def test_facts_are_taken_after_the_warm_up_and_at_the_end():
    """A device that warms up would otherwise look as if it had changed."""
    calls, seen = [], []

    def facts():
        seen.append(len(calls))
        return DeviceFacts(temperature_c=float(len(calls)))

    run = take_turns(*runners(calls), lambda _: True, facts=facts, warm_up=1)
    assert seen == [3, len(calls)]
    assert (run.before.temperature_c, run.after.temperature_c) == (3.0, float(len(calls)))


@pytest.mark.parametrize("ms", [0.0, -1.0, math.nan, math.inf])
def test_a_round_without_a_time_is_an_error(ms):
    """It names the side, and nothing is computed from it."""
    with pytest.raises(SessionError, match="a round of the challenger took"):
        take_turns(*runners([], (17.0, ms, 17.0)), lambda _: True)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, change=st.floats(-0.1, 0.1))
def test_swapping_champion_and_challenger_flips_the_sign(seed, change):
    """Faster the one way is slower the other way, by exactly as much."""
    found = compare(times(seed, challenger=change), "challenger")
    swapped = compare(times(seed, challenger=change), "champion", "challenger")
    assert (swapped.value, swapped.low, swapped.high) == pytest.approx((-found.value, -found.high, -found.low))


@settings(max_examples=30, deadline=None)
@given(seed=seeds, change=st.floats(-0.1, 0.1))
def test_a_difference_is_found_as_large_as_it_is(seed, change):
    """A challenger that takes longer has the lower rate; half a percent of noise moves the estimate by a few tenths."""
    found = compare(times(seed, challenger=change), "challenger")
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(-change, abs=0.006)
    assert compare(times(seed, challenger=change), "twin").value == pytest.approx(0, abs=0.006)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, odd=st.lists(st.integers(0, BLOCKS * len(ORDER) - 1), max_size=5), factor=st.floats(1.1, 20))
def test_a_few_odd_rounds_hardly_move_the_estimate(seed, odd, factor):
    """Five of 243 rounds, ten percent or twenty times slower: nothing is lost but a little width."""
    ms = times(seed)
    before = compare(ms, "challenger").value
    ms.flat[odd] *= factor
    assert compare(ms, "challenger").value == pytest.approx(before, abs=0.0025)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, drift=st.floats(-0.1, 0.1))
def test_an_even_drift_cancels(seed, drift):
    """Ten percent from the first to the last round changes nothing at all."""
    ms = times(seed)
    drifting = ms * np.exp(np.linspace(0, drift, ms.size)).reshape(ms.shape)
    assert compare(drifting, "challenger").value == pytest.approx(compare(ms, "challenger").value, abs=1e-9)


def test_the_unit_of_time_does_not_matter():
    """Nor does what a whole run or device does to its speed."""
    assert compare(times() * 1000, "challenger").value == pytest.approx(compare(times(), "challenger").value)


def test_more_rounds_make_a_narrower_interval():
    """So that going on helps."""
    widths = [(found := compare(times(blocks=blocks), "challenger")).high - found.low for blocks in LOOKS]
    assert widths == sorted(widths, reverse=True)


def test_one_block_says_nothing():
    """Its interval is everything, not nothing."""
    one = trimmed_interval(np.array([0.01]))
    assert (one.low, one.value, one.high) == (-math.inf, 0.01, math.inf)


def test_the_interval_is_student_s_over_what_was_kept():
    """Of 1 to 8 the ends go: 4.5, a winsorised sum of squares of 30, so ±t(5) at a quarter of 1 % from a table."""
    found = trimmed_interval(np.arange(8, 0, -1.0))
    assert (found.value, found.high - found.value) == (4.5, pytest.approx(4.773, abs=0.001))


def test_percent_are_of_the_rate():
    """Twice the time is half the rate."""
    assert compare(times(noise=0, challenger=math.log(2)), "challenger").percent() == pytest.approx((-50, -50, -50))


def test_a_switched_clock_is_a_step_and_a_drifting_one_is_not():
    """Seven percent at once or over 243 rounds; the challenger's own slowness is neither."""
    position = np.arange(BLOCKS * len(ORDER)).reshape(BLOCKS, len(ORDER))
    assert largest_step(times(challenger=0.5)) < 0.01
    assert largest_step(times() * np.exp(0.07 * position / position.max())) < 0.02
    for at in (30, 100, 107, 200):
        assert largest_step(times() * np.where(position >= at, 1.07, 1)) == pytest.approx(0.07, abs=0.015)


def test_the_challengers_own_jump_is_no_step_of_the_clock():
    """Only the champion and its twin tell how the device is."""
    ms = times()
    ms[BLOCKS // 2 :, np.array(ORDER) == 1] *= 2
    assert largest_step(ms) < 0.01


def test_too_few_blocks_have_no_step():
    """Three blocks have no two neighbouring pairs."""
    assert largest_step(times(blocks=3)) == 0.0
