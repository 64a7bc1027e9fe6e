"""A new rate is judged by how far earlier runs lie apart, and any other number by the best that is known of its scatter."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from fcos_lib.errors import UsageError
from fcos_lib.judge import limits
from fcos_lib.judge.change import LEAST_RUNS, judge_against_history, moved
from fcos_lib.judge.limits import Limit, all_limits
from fcos_lib.judge.verdict import Outcome, decide
from fcos_lib.measure import Measurement

STEADY = [58.0, 58.3, 57.8, 58.1, 57.9, 58.2, 58.0, 57.7]
SCATTERED = [58.0, 52.0, 64.0, 49.0, 60.0, 55.0, 67.0, 51.0]


def test_fitting_into_scattered_runs_means_nothing():
    """NO VERDICT rather than PASS; falling out of them is still FAIL."""
    assert judge_against_history(57.0, SCATTERED).outcome is Outcome.NO_VERDICT
    assert judge_against_history(20.0, SCATTERED).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("new", "earlier", "outcome", "reason"),
    [
        (58.0, STEADY, Outcome.PASS, "The rate is +0.0 % against the median of 8 earlier runs, within the 56.26 to 59.79 expected."),
        (52.2, STEADY, Outcome.FAIL, "The rate is -10.0 % against the median of 8 earlier runs; 56.26 to 59.79 was to be expected."),
        (63.8, STEADY, Outcome.PASS, "The rate is +10.0 % against the median of 8 earlier runs, a gain beyond the 56.26 to 59.79 expected."),
        (
            87.0, STEADY, Outcome.NO_VERDICT,
            "The rate is +50.0 % against the median of 8 earlier runs, too fast by more than 25 % to be believed: check that the work is the same.",
        ),
        (57.0, SCATTERED, Outcome.NO_VERDICT, "Earlier runs scatter by ±68.9 %, too much to see a change of 3 %."),
        (58.0, STEADY[1:], Outcome.NO_VERDICT, "There are 7 earlier runs with this fingerprint, and 8 are needed."),
        (0.0, STEADY, Outcome.NO_VERDICT, "A rate is not a positive number."),
    ],
    ids=["within", "slower", "a gain", "too fast", "scattered", "too few", "no rate"],
)  # fmt: skip
def test_the_reason_is_a_sentence_with_its_numbers(new, earlier, outcome, reason):
    """As it is printed; without a range to expect both ends are NaN, and the runs are counted all the same."""
    judged = judge_against_history(new, earlier)
    assert (judged.outcome, judged.reason, judged.n) == (outcome, reason, len(earlier))
    told = "There are" not in reason and "positive" not in reason
    assert (math.isfinite(judged.low), math.isfinite(judged.high)) == (told, told)


@pytest.mark.parametrize(("n", "student"), [(8, 3.49948), (10, 3.24984), (12, 3.10581), (20, 2.86093)])
def test_what_is_expected_follows_from_the_spread_of_the_earlier_runs(n, student):
    """Student's 99.5 % point from the table, times the deviation that the median of theirs stands for, with the median's own error."""
    earlier = [100 * math.exp(sign * 0.02) for sign in (-1, 1)] * (n // 2)
    reach = student * 1.4826 * 0.02 * math.sqrt(1 + math.pi / (2 * n))
    judged = judge_against_history(100.0, earlier)
    assert math.log(judged.low / 100) == pytest.approx(-reach, rel=1e-5)
    assert math.log(judged.high / 100) == pytest.approx(reach, rel=1e-5)


def test_the_ends_of_what_is_expected_are_expected():
    """And a rate that is faster by exactly what is still believed is believed."""
    judged = judge_against_history(58.0, STEADY)
    assert "within" in judge_against_history(judged.low, STEADY).reason
    assert "within" in judge_against_history(judged.high, STEADY).reason
    assert judge_against_history(math.nextafter(judged.low, 0), STEADY).outcome is Outcome.FAIL
    assert judge_against_history(1.25, [1.0] * LEAST_RUNS).outcome is Outcome.PASS
    assert judge_against_history(1.2501, [1.0] * LEAST_RUNS).outcome is Outcome.NO_VERDICT


def test_a_gain_within_a_wide_spread_is_not_too_fast():
    """What is too fast to be believed begins no earlier than what was to be expected ends."""
    assert "scatter" in judge_against_history(85.0, SCATTERED).reason


def test_runs_may_scatter_by_twice_the_floor():
    """A little less shows a change of the floor, a little more shows nothing."""
    for share, outcome in ((0.99, Outcome.PASS), (1.01, Outcome.NO_VERDICT)):
        wide = share * 2 * -math.log(0.97) / (3.49948 * 1.4826 * math.sqrt(1 + math.pi / 16))
        earlier = [100 * math.exp(sign * wide) for sign in (-1, 1)] * 4
        assert judge_against_history(100.0, earlier).outcome is outcome, f"{share} of twice the floor"


def test_one_odd_run_in_the_past_changes_little():
    """A run at half the rate neither moves the median nor widens what is expected."""
    assert judge_against_history(56.0, [*STEADY, 29.0]).outcome is Outcome.FAIL


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_rate_is_no_verdict(wrong):
    """New or earlier."""
    assert judge_against_history(wrong, STEADY).outcome is Outcome.NO_VERDICT
    assert judge_against_history(58.0, [*STEADY, wrong]).outcome is Outcome.NO_VERDICT


@settings(deadline=None)
@given(
    new=st.floats(30, 90),
    earlier=st.lists(st.floats(40, 70), min_size=LEAST_RUNS, max_size=20),
    unit=st.floats(0.01, 100),
    order=st.randoms(use_true_random=False),
)
def test_neither_the_unit_nor_the_order_matters(new, earlier, unit, order):
    """Only ratios count, unless the new rate lies on an end of what is expected."""
    judged = judge_against_history(new, earlier)
    shuffled = [unit * rate for rate in earlier]
    order.shuffle(shuffled)
    again = judge_against_history(unit * new, shuffled)
    assert (again.low, again.high) == pytest.approx((unit * judged.low, unit * judged.high))
    near_an_end = (
        min(abs(math.log(new / end)) for end in (judged.low, judged.high, *(1.25 * rate for rate in earlier))) < 1e-6
    )
    assert again.outcome is judged.outcome or near_an_end


@settings(deadline=None)
@given(st.lists(st.floats(40, 70), min_size=LEAST_RUNS, max_size=20))
def test_the_floor_is_the_least_that_counts(earlier):
    """Identical earlier runs never make a hair's breadth a regression."""
    judged = judge_against_history(58.0, earlier)
    middle = math.sqrt(judged.low * judged.high)
    for share in (judged.low / middle, middle / judged.high):
        assert share <= 0.97 * (1 + 1e-9), f"{share} of the middle is less than the floor of 3 % away"


def test_the_floor_and_the_ceiling_are_those_of_the_limits_file(monkeypatch):
    """For the verb and the drawing as well as for a run: 2 % slower is FAIL where the file allows 1 %, 9 % more where it doubts 8 %."""
    assert judge_against_history(58.0 * 0.98, [58.0] * LEAST_RUNS).outcome is Outcome.PASS
    known = all_limits()
    stricter = {
        name: structs.replace(known[name], bound=bound)
        for name, bound in (("rate_against_history.slower", -1.0), ("rate_against_history.faster", 8.0))
    }
    monkeypatch.setattr(limits, "all_limits", lambda: known | stricter)
    assert judge_against_history(58.0 * 0.98, [58.0] * LEAST_RUNS).outcome is Outcome.FAIL
    assert judge_against_history(58.0 * 1.09, [58.0] * LEAST_RUNS).outcome is Outcome.NO_VERDICT
    monkeypatch.setattr(limits, "all_limits", dict)
    with pytest.raises(UsageError, match=r"limits.toml has no \[rate_against_history.slower\]"):
        judge_against_history(58.0, [58.0] * LEAST_RUNS)


LIMIT = Limit("accuracy.x", 0.359, True, "AP", "a paper")
ZERO = Limit("accuracy.x", 0.0, True, "AP", "a paper")


def verdict(value, unit="AP", *, limit=None, stand_in=False, n=100, interval=None, details=None):
    """A verdict on a number."""
    measured = Measurement("number", value, unit, n, "", details or {}, interval)
    return decide("accuracy", "batch8", measured, limit, stand_in=stand_in)


@pytest.mark.parametrize(
    ("before", "after", "beyond", "words"),
    [
        (verdict(0.4), verdict(0.4), False, "the same number"),
        (verdict(float("nan")), verdict(float("nan")), False, "the same number"),
        (verdict(0.4), verdict(float("nan")), True, "one of them is no number, or of nothing"),
        (verdict(0.4), verdict(0.5, n=0), True, "one of them is no number, or of nothing"),
        (verdict(0.4), verdict(0.4, "%"), True, "AP became %"),
        (verdict(0.4), verdict(0.3, stand_in=True), True, "one is STAND-IN: not to be compared"),
        (verdict(3.0, "rows"), verdict(4.0, "rows"), True, "nothing says how it scatters: any change counts"),
        (verdict(0.369, limit=LIMIT), verdict(0.3685, limit=LIMIT), False, "a tenth of the distance to the limit: 0.001 AP"),
        (verdict(0.369, limit=LIMIT), verdict(0.367, limit=LIMIT), True, "a tenth of the distance to the limit: 0.001 AP"),
        (verdict(0.3591, limit=LIMIT), verdict(0.3589, limit=LIMIT), True, "a tenth of the distance to the limit: 1e-05 AP"),
        (verdict(10.0, limit=ZERO), verdict(9.0, limit=ZERO), False, "a tenth of the distance to the limit: 1 AP"),
        (verdict(0.1, interval=(0.0, 0.3)), verdict(0.3, interval=(0.1, 0.5)), False, "intervals: 0.283 AP"),
        (verdict(0.1, interval=(0.0, 0.2)), verdict(0.3, interval=(0.2, 0.4)), True, "intervals: 0.141 AP"),
        (verdict(0.1, interval=(0.0, 0.2)), verdict(0.15), False, "intervals: 0.1 AP"),
        (verdict(1.0, interval=(0.75, 9.0)), verdict(0.5), True, "intervals: 0.25 AP"),
        (verdict(1.0, interval=(0.5, 9.0)), verdict(0.5), False, "intervals: 0.5 AP"),
        (verdict(0.5, interval=(0.0, 0.625)), verdict(1.0), True, "intervals: 0.125 AP"),
        (verdict(3.75e6, "B"), verdict(3.76e6, "B"), False, "2 %"),
        (verdict(3.75e6, "B"), verdict(4e6, "B"), True, "2 %"),
        (verdict(0.0, "B"), verdict(4e6, "B"), True, "nothing says how it scatters: any change counts"),
        (verdict(4e6, "B"), verdict(0.0, "B"), True, "nothing says how it scatters: any change counts"),
        (verdict(0.5, "B"), verdict(4e6, "B"), True, "2 %"),
    ],
    ids=[
        "same", "both-nan", "nan", "nothing", "unit", "emulator", "recorded", "far-from-limit", "nearer", "across", "just-a-tenth",
        "wide", "narrow", "one-interval", "its-lower-end", "just-its-end", "its-upper-end", "size", "larger", "no-size", "no-size-now", "half-a-byte",
    ],
)  # fmt: skip
def test_a_change_is_held_against_the_best_that_is_known(before, after, beyond, words):
    """In both directions alike."""
    for first, second in ((before, after), (after, before)):
        move = moved(first, second)
        assert move.beyond is beyond, move.held_against
    assert moved(before, after).held_against == words


def rate(value, *ms, stand_in=False):
    """A rate with the times of its rounds."""
    return verdict(value, "images/s", stand_in=stand_in, details={"ms": list(ms)} if ms else {})


RUNS = "3 % between runs"
ROUNDS = f"{RUNS} and the rounds of both"


@pytest.mark.parametrize(
    ("before", "after", "beyond", "words"),
    [
        (rate(100.0), rate(98.0), False, RUNS),
        (rate(100.0), rate(97.1), False, RUNS),
        (rate(100.0), rate(96.98), True, RUNS),
        (rate(100.0, 10.0, 10.1, 9.9), rate(95.0, 10.5, 10.6, 10.4), True, ROUNDS),
        (rate(100.0, 8.0, 10.0, 12.0), rate(95.0, 8.5, 10.5, 12.5), False, ROUNDS),
        (rate(100.0, 8.0, 8.0), rate(128.0, 6.25, 6.25), True, ROUNDS),
        (rate(8.0, 2.0, 4.0, 6.0), rate(16.0, 1.0), False, ROUNDS),
        (rate(2000.0, 0.5), rate(1000.0, 1.0), True, ROUNDS),
        (rate(100.0, *[10.0] * 8, 5.0, 30.0), rate(90.0, *[11.0] * 8, 5.0, 30.0), True, ROUNDS),
        (rate(100.0, *[10.0] * 8, 5.0), rate(90.0, *[11.0] * 8, 5.0), False, ROUNDS),
        (rate(100.0, 10.0, "x", -1), rate(95.0, 10.5), True, RUNS),
        (rate(100.0, 10.0, 0.0), rate(95.0, 10.5), True, RUNS),
        (rate(100.0, stand_in=True), rate(30.0, stand_in=True), False, "STAND-IN: the speed of the host"),
    ],
    ids=[
        "usual", "nearly-3-percent", "over-3-percent", "quiet-rounds", "noisy-rounds", "equal-rounds", "touching", "fast-rounds",
        "a-tenth-of-them-odd", "more-than-a-tenth-odd", "broken-rounds", "no-time", "emulator",
    ],
)  # fmt: skip
def test_a_rate_is_held_against_runs_and_rounds(before, after, beyond, words):
    """3 % lie between runs (limits.toml), a tenth of the rounds at either end does not count; the emulator's speed is the host's."""
    move = moved(before, after)
    assert (move.beyond, move.held_against) == (beyond, words)
    assert moved(after, before).beyond is beyond, "the other way round"


def test_another_verdict_is_told_from_another_number():
    """A limit may have moved, not the number."""
    stricter = Limit("accuracy.x", 0.41, True, "AP", "a paper")
    move = moved(verdict(0.4, limit=LIMIT), verdict(0.4, limit=stricter))
    assert move.turned
    assert move.same
    assert not move.beyond
