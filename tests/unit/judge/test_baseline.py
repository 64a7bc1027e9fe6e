"""Without a champion, a new rate is judged by how far earlier runs lie apart."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcos_lib.judge.baseline import LEAST_RUNS, judge_against_history
from fcos_lib.judge.verdict import Outcome

STEADY = [58.0, 58.3, 57.8, 58.1, 57.9, 58.2, 58.0, 57.7]
SCATTERED = [58.0, 52.0, 64.0, 49.0, 60.0, 55.0, 67.0, 51.0]


@pytest.mark.parametrize(
    ("new", "outcome", "word"),
    [
        (58.0, Outcome.PASS, "within"),
        (56.5, Outcome.PASS, "within"),
        (56.0, Outcome.FAIL, "was to be expected"),
        (40.0, Outcome.FAIL, "was to be expected"),
        (62.0, Outcome.PASS, "a gain beyond"),
        (80.0, Outcome.NO_VERDICT, "too fast by more than 25 %"),
    ],
)
def test_a_new_rate_beside_steady_runs(new, outcome, word):
    """Three percent either way is nothing, more is something."""
    found = judge_against_history(new, STEADY)
    assert found.outcome is outcome
    assert word in found.reason
    assert found.reason.endswith(".")
    assert found.low == pytest.approx(58.0 * 0.97, rel=2e-3)
    assert found.n == len(STEADY)


def test_too_few_runs_are_no_verdict():
    """And the reason says how many are needed."""
    found = judge_against_history(30.0, STEADY[: LEAST_RUNS - 1])
    assert found.outcome is Outcome.NO_VERDICT
    assert f"{LEAST_RUNS} are needed" in found.reason
    assert math.isnan(found.low)


def test_fitting_into_scattered_runs_means_nothing():
    """NO VERDICT rather than PASS; falling out of them is still FAIL."""
    assert judge_against_history(57.0, SCATTERED).outcome is Outcome.NO_VERDICT
    assert "scatter" in judge_against_history(57.0, SCATTERED).reason
    assert judge_against_history(20.0, SCATTERED).outcome is Outcome.FAIL


def test_one_odd_run_in_the_past_changes_little():
    """A run at half the rate neither moves the median nor widens what is expected."""
    assert judge_against_history(56.0, [*STEADY, 29.0]).outcome is Outcome.FAIL


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_rate_is_no_verdict(wrong):
    """New or earlier."""
    assert judge_against_history(wrong, STEADY).outcome is Outcome.NO_VERDICT
    assert judge_against_history(58.0, [*STEADY, wrong]).outcome is Outcome.NO_VERDICT


@given(
    new=st.floats(30, 90),
    earlier=st.lists(st.floats(40, 70), min_size=LEAST_RUNS, max_size=20),
    unit=st.floats(0.01, 100),
    order=st.randoms(use_true_random=False),
)
def test_neither_the_unit_nor_the_order_matters(new, earlier, unit, order):
    """Only ratios count, unless the new rate lies on an end of what is expected."""
    found = judge_against_history(new, earlier)
    shuffled = [unit * rate for rate in earlier]
    order.shuffle(shuffled)
    again = judge_against_history(unit * new, shuffled)
    assert (again.low, again.high) == pytest.approx((unit * found.low, unit * found.high))
    near_an_end = (
        min(abs(math.log(new / end)) for end in (found.low, found.high, *(1.25 * rate for rate in earlier))) < 1e-6
    )
    assert again.outcome is found.outcome or near_an_end


@given(st.lists(st.floats(40, 70), min_size=LEAST_RUNS, max_size=20))
def test_the_floor_is_the_least_that_counts(earlier):
    """Identical earlier runs never make a hair's breadth a regression."""
    found = judge_against_history(58.0, earlier, floor=0.03)
    middle = math.sqrt(found.low * found.high)
    assert found.low <= middle * 0.97 * (1 + 1e-9)
    assert found.high >= middle / 0.97 * (1 - 1e-9)
