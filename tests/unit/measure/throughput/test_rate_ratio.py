"""The ratio of rates cancels drift and counts slow rounds; rare ones are bounded, and intervals hold as often as they say."""

import math
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcos_lib.measure.throughput.paired_rate import SIDES, TURNS, drawn_orders
from fcos_lib.measure.throughput.rate_ratio import (
    LATE_LEAST,
    against_champion,
    largest_step,
    late,
    margin_of_mean,
    ratio_of_totals,
    share_bounds,
    slow_share,
    twin_against_champion,
    usual_ms,
)

BLOCKS = 100
ERROR = 0.00125
seeds = st.integers(0, 2**32 - 1)


def times(seed=0, noise=0.005, challenger=0.0, blocks=BLOCKS, device=lambda at: 0.0 * at):
    """Rounds of 17 ms with some noise; the challenger takes `challenger` (ln) longer; `device` gives ln by round number."""
    logs = np.random.default_rng(seed).normal(0, noise, (blocks, len(SIDES), TURNS))
    logs[:, 1] += challenger
    drawing, turn = drawn_orders(seed), np.empty((blocks, len(SIDES), TURNS))
    for block in range(blocks):
        order = np.array(next(drawing))
        for side in range(len(SIDES)):
            turn[block, side] = 9 * block + np.flatnonzero(order == side)
    return 17 * np.exp(logs + device(turn))


@settings(max_examples=30, deadline=None)
@given(seed=seeds, change=st.floats(-0.1, 0.1))
def test_a_difference_is_found_as_large_as_it_is(seed, change):
    """A challenger that takes longer has the lower rate; half a percent of noise moves the estimate by a few hundredths."""
    ratio = against_champion(times(seed, challenger=change), ERROR)
    assert ratio.low < ratio.value < ratio.high, f"the interval does not hold its value: {ratio}"
    assert ratio.value == pytest.approx(-change, abs=0.002)
    assert twin_against_champion(times(seed, challenger=change), ERROR).value == pytest.approx(0, abs=0.003)


def test_the_rate_is_of_all_rounds_together():
    """One round of 300 that takes four times as long costs 1 %: a user waits for it, so no trimming forgets it."""
    ms = times(noise=0)
    ms[50, 1, 0] *= 4
    assert against_champion(ms, ERROR).value == pytest.approx(-math.log(1.01))
    assert twin_against_champion(ms, ERROR).value == 0


def test_champion_and_twin_share_the_other_side():
    """Both are the champion: the challenger is held to their mean time."""
    ms = times(noise=0)
    ms[:, 0] *= 1.02
    ms[:, 2] *= 0.98
    assert against_champion(ms, ERROR).value == pytest.approx(0, abs=1e-12)
    assert twin_against_champion(ms, ERROR).value == pytest.approx(math.log(1.02 / 0.98))


@settings(max_examples=20, deadline=None)
@given(seed=seeds, drift=st.floats(-0.1, 0.1))
def test_an_even_drift_cancels(seed, drift):
    """Ten percent from the first to the last round moves the estimate by nothing that counts."""
    even = times(seed, noise=0, device=lambda at: drift * at / (9 * BLOCKS))
    assert against_champion(even, ERROR).value == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("period", [2, 3, 5, 9, 18, 27, 45])
def test_a_period_of_the_device_is_no_difference(period):
    """Every n-th round 5 % slower, n also a multiple of the block: the interval holds 0 and stays near the floor."""
    for seed in range(5):
        ms = times(seed, noise=0.001, device=lambda at: 0.05 * (at % period == 1))
        ratio = against_champion(ms, ERROR)
        assert ratio.low < 0 < ratio.high, f"seed {seed}: {ratio}"
        assert ratio.low > (-0.02 if period < 9 else -0.01), f"seed {seed}: {ratio}"


@pytest.mark.parametrize("scale", [1, 1000])
def test_the_unit_of_time_does_not_matter(scale):
    """Nor does what a whole run or device does to its speed."""
    assert against_champion(times() * scale, ERROR).value == pytest.approx(against_champion(times(), ERROR).value)


def test_more_rounds_make_a_narrower_interval():
    """So that going on helps."""
    margins = [(found := against_champion(times(blocks=blocks), ERROR)).high - found.low for blocks in (20, 100, 300)]
    assert margins == sorted(margins, reverse=True)


def test_percent_are_of_the_rate():
    """Twice the time is half the rate."""
    assert against_champion(times(noise=0, challenger=math.log(2)), ERROR).percent() == pytest.approx((-50, -50, -50))


@pytest.mark.parametrize("blocks", [1, 2])
def test_one_block_says_nothing(blocks):
    """Its interval is everything, not nothing; of two, something is known."""
    ratio = ratio_of_totals(np.full(blocks, 17.0), np.full(blocks, 34.0), ERROR)
    assert ratio.value == pytest.approx(math.log(2))
    assert math.isfinite(ratio.low) is math.isfinite(ratio.high) is (blocks == 2)
    assert (ratio.low < ratio.value) is (blocks == 1), f"of {blocks} equal blocks: {ratio}"


def test_the_interval_of_independent_values_is_students():
    """Alternating +1 and -1 of 8: a sum of squares of 8, so 8 / 7 / 8 is the mean's variance, and t(7) at 1 % is 2.998 in any table."""
    assert margin_of_mean(np.array([1.0, -1.0] * 4), 0.01) == pytest.approx(2.998 / math.sqrt(7), abs=1e-3)


def test_neighbours_that_are_alike_widen_it():
    """1 1 1 1 -1 -1 -1 -1 has a correlation of 5/8 from one to the next: (1 + 5/8) / (1 - 5/8) times the variance."""
    values = np.array([1.0] * 4 + [-1.0] * 4)
    assert margin_of_mean(values, 0.01) == pytest.approx(2.998 / math.sqrt(7) * math.sqrt(13 / 3), abs=2e-3)


def test_batches_of_neighbours_widen_it_where_pairs_hide_it():
    """+ - + - for 12 blocks, then the other way: neighbours differ, so only longer batches show what the rounds do together."""
    slow = np.repeat([1.0, -1.0, 1.0, 1.0, -1.0, -1.0] * 2, 8) + np.tile([0.9, -0.9], 48)
    plain = np.random.default_rng(0).permutation(slow)
    margins = margin_of_mean(slow, 0.01), margin_of_mean(plain, 0.01)
    assert margins[0] > 2 * margins[1], f"{margins[0]} in their order, {margins[1]} in any"


def test_twelve_batches_of_four_say_what_twelve_values_do():
    """Half a run at 1 and half at -1, which rounds within each four hide: the margin is that of the means of the fours."""
    fours = np.repeat([1.0, -1.0], 6)
    values = np.repeat(fours, 4) + np.tile([1.0, 1.0, -1.0, -1.0], 12)
    assert margin_of_mean(values, 0.01) == pytest.approx(margin_of_mean(fours, 0.01))


@pytest.mark.parametrize(("correlation", "blocks"), [(0.0, 20), (0.0, 100), (0.5, 100), (0.8, 100), (0.8, 300)])
def test_an_interval_holds_as_often_as_it_says(correlation, blocks):
    """At 5 % each way, for independent and dependent values: wrong in at most that, give or take the draw (400 of each)."""
    random = np.random.default_rng(1)
    wrong = 0
    for _ in range(400):
        values = random.normal(size=blocks)
        for place in range(1, blocks):
            values[place] = correlation * values[place - 1] + math.sqrt(1 - correlation**2) * values[place]
        wrong += values.mean() > margin_of_mean(values, 0.05)
    assert wrong <= 0.05 * 400 + 12, f"{wrong} of 400 lie above their interval"
    assert wrong >= 2, "so wide that it says nothing"


def test_values_that_never_vary_are_certain():
    """A device of a constant time has no margin, and no division by zero."""
    assert margin_of_mean(np.full(50, 0.25), 0.01) == 0


def test_the_last_third_shows_what_began_late():
    """Undiluted; fewer than ninety blocks are too few for a third of them to say anything."""
    ms = times(blocks=102)
    assert late(ms).tolist() == ms[68:].tolist()
    assert late(times(blocks=3 * LATE_LEAST)).shape[0] == LATE_LEAST
    assert late(times(blocks=3 * LATE_LEAST - 1)) is None


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [
        (0, 300, 0.0, 1 - 0.0025 ** (1 / 300)),
        (300, 300, 0.0025 ** (1 / 300), 1.0),
        (1, 2, 1 - math.sqrt(1 - 0.0025), math.sqrt(1 - 0.0025)),
    ],
)
def test_the_bounds_of_a_share_are_exact(count, of, low, high):
    """By hand: none of 300 at 0.25 % leaves up to 1.98 % unseen; at least one of two, and not both."""
    assert share_bounds(count, of, 0.0025) == (pytest.approx(low), pytest.approx(high))


def with_slow(*slow, factor=2.0, noise=0.001):
    """Rounds of which those at (block, side, turn) take longer."""
    ms = times(noise=noise)
    for place in slow:
        ms[place] *= factor
    return ms


def test_no_slow_round_leaves_so_many_unseen():
    """300 rounds of the challenger exclude 2 % and not 1.9 %; the champion's 600 leave less."""
    share = slow_share(with_slow(), 20, 0.0025)
    assert (share.value, share.slow, share.rounds) == (0.0, (0, 0), (300, 600))
    assert (share.low, share.high) == (
        pytest.approx(-100 * (1 - 0.0025 ** (1 / 600))),
        pytest.approx(100 * (1 - 0.0025 ** (1 / 300))),
    )
    assert share.high < 2, f"{share.high} % of slow rounds may have stayed unseen"


def test_slow_rounds_of_both_sides_are_counted_apart():
    """Three of the challenger's 300; of the champion's one and of the twin's two."""
    slow = [(block, 1, 0) for block in (10, 40, 70)] + [(20, 0, 1), (50, 2, 2), (80, 2, 0)]
    share = slow_share(with_slow(*slow), 20, 0.0025)
    assert (share.slow, share.value) == ((3, 3), pytest.approx(0.5))
    assert share.low < 0 < 0.5 < share.high, f"{share.low} to {share.high} % hold neither 0 nor 0.5"


def test_the_bounds_of_both_shares_are_joined():
    """30 of the challenger's 300 rounds, 12 of the others' 600, one by one: Newcombe's rule, from both ends."""
    slow = [(3 * block, 1, 0) for block in range(30)] + [(8 * block + 1, block % 2 * 2, 1) for block in range(12)]
    share = slow_share(with_slow(*slow), 20, 0.0025)
    (low, high), (other_low, other_high) = share_bounds(30, 300, 0.0025), share_bounds(12, 600, 0.0025)
    assert (share.slow, share.value) == ((30, 12), pytest.approx(8.0))
    assert share.low == pytest.approx(8 - 100 * math.hypot(0.1 - low, other_high - 0.02))
    assert share.high == pytest.approx(8 + 100 * math.hypot(high - 0.1, 0.02 - other_low))


def test_seen_shares_leave_out_what_stayed_unseen():
    """For the emulator, whose few rounds cannot exclude anything: no more than what was counted."""
    share = slow_share(with_slow((10, 1, 0)), 20, 0.0025).as_seen()
    assert (share.high, share.value) == (share.value, pytest.approx(100 / 300))
    assert share.low < 0, f"one slow round is certain: {share.low} %"


@pytest.mark.parametrize(("factor", "slow"), [(1.2, 0), (1.201, 1)])
def test_slow_is_what_takes_so_much_longer(factor, slow):
    """Than the champion's usual round at that time."""
    assert slow_share(with_slow((10, 1, 0), factor=factor, noise=0), 20, 0.0025).slow == (slow, 0)


def test_usual_is_the_champions_time_nearby():
    """A clock that falls by half makes no round slow, nor does a challenger that is slower in all of its own by less."""
    at = np.arange(BLOCKS)[:, None, None]
    falling = times(noise=0.001, challenger=0.1) * np.where(at < 50, 1.0, 2.0)
    assert slow_share(falling, 20, 0.0025).slow == (0, 0)
    assert slow_share(times(challenger=0.2), 20, 0.0025).slow[0] > 290, "all are slow that take 22 % longer"
    ms = times(noise=0)
    ms[:, 1] *= 3
    ms[60:, [0, 2]] *= 1.5
    assert usual_ms(ms)[:57] == pytest.approx(17.0)
    assert usual_ms(ms)[63:] == pytest.approx(25.5)


@pytest.mark.parametrize("drift", [-0.3, 0.0, 0.3])
def test_usual_is_the_median_of_seven_blocks(drift):
    """Of the champion's and its twin's rounds; beyond an end of the run its last block counts again."""
    ms = times(noise=0.05, blocks=20, device=lambda at: drift * at / 180)
    usual = [
        median(
            float(value)
            for near in range(block - 3, block + 4)
            for side in (0, 2)
            for value in ms[min(max(near, 0), 19), side]
        )
        for block in range(20)
    ]
    assert usual_ms(ms) == pytest.approx(usual)


def test_slow_rounds_that_come_together_say_less():
    """Twelve of 300 one by one, or in four blocks in a row: the same share, another certainty."""
    apart = slow_share(with_slow(*((8 * block, 1, 0) for block in range(12))), 20, 0.0025)
    together = slow_share(with_slow(*((40 + block, 1, turn) for block in range(4) for turn in range(3))), 20, 0.0025)
    assert apart.value == together.value == pytest.approx(4.0)
    above = (together.high - together.value) / (apart.high - apart.value)
    below = (together.value - together.low) / (apart.value - apart.low)
    assert min(above, below) > 1.3, f"wider by {above} above and {below} below"


def test_the_batches_are_of_the_difference():
    """Two rounds of three are slow in four blocks, of the challenger first and later of the two others."""
    slow = [(block, 1, turn) for block in range(40, 44) for turn in (0, 1)]
    slow += [(block, side, turn) for block in range(60, 64) for side in (0, 2) for turn in (0, 1)]
    share = slow_share(with_slow(*slow), 20, 0.0025)
    differences = np.zeros(BLOCKS)
    differences[40:44], differences[60:64] = 2 / 3, -2 / 3
    margin = 100 * margin_of_mean(differences, 0.0025)
    assert (share.slow, share.low, share.high) == ((8, 16), pytest.approx(-margin), pytest.approx(margin))


def test_a_switched_clock_is_a_step_and_a_drifting_one_is_not():
    """Seven percent at once or over the run; the challenger's own slowness is neither."""
    for what, ms in (
        ("a slow challenger", times(challenger=0.5)),
        ("a drift", times(device=lambda at: 0.07 * at / 900)),
    ):
        assert largest_step(ms) < 0.01, f"{what} is a step of {largest_step(ms)}"
    for round_number in (30, 100, 107, 200, 860):
        stepped = times(device=lambda at, first=round_number: 0.07 * (at >= first))
        assert largest_step(stepped) == pytest.approx(0.07, abs=0.01), f"at round {round_number}"


def test_a_short_disturbance_is_no_step():
    """Twelve rounds that are 10 % slower, or a third of all rounds 4 %: the clock was not switched."""
    short = times(device=lambda at: 0.1 * ((at >= 450) & (at < 462)))
    humped = times() * np.where(np.random.default_rng(0).random((BLOCKS, 3, 3)) < 0.3, 1.04, 1)
    for what, ms in (("twelve rounds", short), ("a third of all rounds", humped)):
        assert largest_step(ms) < 0.03, f"{what} that are slower are a step of {largest_step(ms)}"


def test_the_challengers_own_jump_is_no_step_of_the_clock():
    """Only the champion and its twin tell how the device is."""
    ms = times()
    ms[BLOCKS // 2 :, 1] *= 2
    assert largest_step(ms) < 0.01, f"the challenger's own jump is a step of {largest_step(ms)}"


@pytest.mark.parametrize(("blocks", "step"), [(5, 0.0), (6, 0.07), (11, 0.07), (12, 0.07)])
def test_too_few_blocks_have_no_step(blocks, step):
    """Five have no three beside three others."""
    ms = times(noise=0, blocks=blocks)
    ms[blocks // 2 :] *= math.exp(0.07)
    assert largest_step(ms) == pytest.approx(step)
