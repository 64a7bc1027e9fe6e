"""A comparison with the accepted runs carries its number, its bound and its reason, and an error what to do."""

import dataclasses
import math
from datetime import timedelta
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from fcos_lib.judge.accepted import (
    Acceptance,
    Baseline,
    Comparison,
    compare,
    differences,
    expected,
)
from fcos_lib.judge.limits import Limit
from fcos_lib.judge.verdict import Outcome, decide
from fcos_lib.measure import Measurement
from tests.unit.judge.history_runs import EMULATED, HERE, SERIES, START, rate, run


def judge(new, earlier):
    """Told what it was asked, so that a test sees it."""
    return SimpleNamespace(outcome=Outcome.PASS, low=50.0, high=60.0, reason=f"{new} beside {list(earlier)}")


def accepted(*runs, at=START):
    """One acceptance."""
    return Acceptance(at, "test", runs)


@pytest.mark.parametrize(
    ("outcome", "new", "stand_in"),
    [
        (Outcome.PASS, 57.0, False),
        (Outcome.FAIL, 52.0, False),
        (Outcome.NO_VERDICT, 90.0, False),
        (Outcome.STAND_IN, 57.0, True),
    ],
)
def test_the_gate_comes_to_the_word_of_the_comparison(outcome, new, stand_in):
    """`decide` on the change and its bound agrees; what cannot be judged has no samples, and is not green."""
    comparison = Comparison(SERIES, outcome, new, 58.0, "the reason", 55.1, 60.0)
    measurement, limit = comparison.judged()
    samples = 0 if outcome is Outcome.NO_VERDICT else 1
    assert measurement == Measurement(
        "pure rate against history",
        pytest.approx(100 * (new / 58.0 - 1)),
        "%",
        samples,
        "the reason",
        {"images_per_second": new},
        gate="history.pure",
    )
    assert limit == Limit(
        "rate_against_history", pytest.approx(-5.0), True, "%", "the accepted runs and their spread", derived=True
    )
    gate = decide("throughput", "batch8", measurement, limit, stand_in=stand_in)
    assert gate.outcome is outcome
    assert gate.green is (outcome in (Outcome.PASS, Outcome.STAND_IN))


def test_a_rate_that_nothing_was_accepted_for_is_recorded():
    """One sample, no bound: the change is 0 without an old rate, and shown against one of another fingerprint."""
    measurement, limit = Comparison(SERIES, Outcome.NO_VERDICT, 58.0, None, "nothing was accepted yet").judged()
    assert (measurement.value, measurement.n, limit) == (0.0, 1, None)
    measurement, limit = Comparison(SERIES, Outcome.NO_VERDICT, 58.0, None, "x", low=50.0, high=60.0).judged()
    assert (measurement.n, limit) == (1, None), "a range without an old rate is no bound"
    elsewhere = Comparison(SERIES, Outcome.NO_VERDICT, 29.0, 58.0, "accepted only on another fingerprint")
    measurement, limit = elsewhere.judged()
    assert (measurement.value, measurement.n, limit) == (-50.0, 1, None)
    verdict = decide("throughput", "batch8", measurement, limit, stand_in=False)
    assert (verdict.outcome, verdict.green) == (Outcome.NO_VERDICT, True)


def test_a_comparison_holds_what_the_judge_said():
    """Its range and its reason, the new rate, and the median of the accepted ones in the order of their runs."""
    runs = [run(number, rate(value)) for number, value in ((3, 60.0), (1, 57.0), (2, 50.0))]
    (comparison,) = compare(run(9, rate(55.0)), Baseline((accepted(*runs),)), judge)
    assert comparison == Comparison(SERIES, Outcome.PASS, 55.0, 57.0, "55.0 beside [57.0, 50.0, 60.0]", 50.0, 60.0)
    assert comparison.ratio == 55.0 / 57.0


def test_a_comparison_that_cannot_be_judged_says_why():
    """The reasons as they are printed, the closest rate where there is one, and no range."""
    own = run(1, rate(58.0))
    (comparison,) = compare(own, Baseline((accepted(own),)), judge)
    assert (comparison.old, comparison.reason) == (None, "this run is itself the baseline, and no other run is")
    other_card = replace(HERE, chip="card-2", driver="25.0.RC1")
    (comparison,) = compare(run(9, rate(55.0, fingerprint=other_card)), Baseline((accepted(own),)), judge)
    assert (comparison.old, comparison.reason) == (
        58.0,
        "accepted only on another fingerprint: chip card-1 → card-2, driver 24.1.0 → 25.0.RC1",
    )
    assert math.isnan(comparison.low)
    assert math.isnan(comparison.high)
    (comparison, _) = sorted(
        compare(run(9, rate(55.0, 16)), Baseline((accepted(own),)), judge), key=lambda comparison: not comparison.new
    )
    assert (comparison.old, comparison.reason) == (
        None,
        "no accepted run has this series; the closest differs in batch_size 8 → 16",
    )


@pytest.mark.parametrize(("required", "outcome"), [(True, Outcome.FAIL), (False, Outcome.NO_VERDICT)])
def test_a_required_baseline_must_hold_the_series_whatever_the_machine(required, outcome):
    """Another series is FAIL if a baseline is required; another fingerprint of the same series never is."""
    baseline = Baseline((accepted(run(1, rate(58.0))),))
    compared = compare(run(9, rate(55.0, contract="shapes")), baseline, judge, require_baseline=required)
    assert [each.outcome for each in compared] == [outcome]
    elsewhere = rate(55.0, fingerprint=replace(HERE, chip="card-2"))
    (comparison,) = compare(run(9, elsewhere), baseline, judge, require_baseline=required)
    assert comparison.outcome is Outcome.NO_VERDICT


def test_the_same_series_elsewhere_is_closer_than_another_series_here():
    """However many fields of the fingerprint differ; of equals the youngest."""
    far = replace(HERE, chip="x", host="x", driver="x", firmware="x", cann="x")
    here, elsewhere = rate(58.0, 16), rate(50.0, fingerprint=far)
    baseline = Baseline((accepted(run(1, here, elsewhere)),))
    assert baseline.closest(rate(1.0)) == elsewhere
    younger = replace(elsewhere, images_per_second=51.0)
    baseline = Baseline((accepted(run(1, here, elsewhere)), accepted(run(2, younger))))
    assert baseline.closest(rate(1.0)) == younger
    assert baseline.closest(rate(1.0, fingerprint=EMULATED, stand_in=True)) is None


def test_a_lost_series_shows_its_last_accepted_rate_and_all_that_is_new():
    """The median of the last acceptance that has it, and every stranger of the recipe, which may be its new name."""
    first = accepted(run(1, rate(10.0), rate(45.0, 64)))
    second = accepted(run(2, rate(58.0), rate(45.0, 64)), run(3, rate(60.0), rate(45.0, 64)))
    third = accepted(run(4, rate(1.0, contract="shapes")))
    new = run(9, rate(45.0, 64), rate(5.8, 9), rate(5.9, 10), rate(1.0, 77, contract="shapes"))
    compared = compare(new, Baseline((first, second, third)), judge)
    (lost,) = (
        comparison for comparison in compared if comparison.new is None and comparison.series.contract == "coco_r50"
    )
    why = "accepted, but not in this run: renamed or lost; new here: batch9 pure, batch10 pure"
    assert math.isnan(lost.low)
    assert math.isnan(lost.high)
    bounded = dataclasses.replace(lost, low=0.0, high=0.0)  # NaN is equal to nothing
    assert bounded == Comparison(SERIES, Outcome.FAIL, None, 59.0, why, 0.0, 0.0)
    assert lost.ratio is None
    assert lost.judged()[0].value == 0.0
    (lost,) = compare(replace(new, rates=(rate(45.0, 64),)), Baseline((first,)), judge)[:1]
    assert (lost.old, lost.reason) == (10.0, "accepted, but not in this run: renamed or lost")


def test_a_comparison_is_read_by_recipe_part_and_size():
    """In that order, lost ones in their places."""
    rates = [rate(1.0, 64), rate(1.0, 8), rate(1.0, 8, timed="end to end"), rate(1.0, 128, contract="a")]
    compared = compare(run(9, *rates[:2], rates[3]), Baseline((accepted(run(1, *rates)),)), judge)
    assert [
        (comparison.series.contract, comparison.series.timed, comparison.series.batch_size) for comparison in compared
    ] == [
        ("a", "pure", 128),
        ("coco_r50", "end to end", 8),
        ("coco_r50", "pure", 8),
        ("coco_r50", "pure", 64),
    ]


def test_promised_series_come_in_reading_order():
    """By part of the way and batch size, as the last acceptance of the recipe holds them."""
    rates = [rate(1.0, 64), rate(1.0, 8), rate(1.0, 8, timed="end to end")]
    baseline = Baseline((accepted(run(1, rate(1.0, 1))), accepted(run(2, *rates))))
    assert [series.label for series in baseline.promised(SERIES.recipe)] == [
        "batch8 end to end",
        "batch8 pure",
        "batch64 pure",
    ]
    assert baseline.promised(replace(SERIES, contract="other").recipe) == ()


def test_accepted_runs_of_the_same_time_come_in_the_order_of_their_ids():
    """So that the judge always sees the same order."""
    runs = [replace(run(number, rate(float(number))), at=START) for number in (3, 1, 2)]
    early = replace(run(9, rate(9.0)), at=START - timedelta(days=1))
    held = Baseline((accepted(*runs, early),)).holding(SERIES, HERE)
    assert [old.images_per_second for _, old in held] == [9.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("a" * 40, "b" * 41, f"pictures {'a' * 40} → {'b' * 12}…"),
        ("", "b", "pictures unknown → b"),
        ("0123456789abcdef" * 4, "", "pictures 0123456789ab… → unknown"),
    ],
)
def test_a_hash_is_cut_short_and_nothing_is_unknown(old, new, shown):
    """A line in a terminal holds two of them."""
    sides = [rate(58.0, fingerprint=replace(HERE, pictures=text)) for text in (old, new)]
    assert differences(*sides) == [shown]


def test_what_to_expect_is_asked_of_the_judge():
    """With the median of the accepted rates as the new one; without any, nothing can be told."""
    asked = []

    def noted(new, earlier):
        asked.append((new, list(earlier)))
        return judge(new, earlier)

    baseline = Baseline((accepted(run(1, rate(58.0)), run(2, rate(50.0)), run(3, rate(57.0))),))
    assert expected(baseline, SERIES, HERE, noted) == (50.0, 60.0)
    assert asked == [(57.0, [58.0, 50.0, 57.0])]
    nothing = expected(Baseline(), SERIES, HERE, noted)
    assert all(map(math.isnan, nothing))
    assert len(asked) == 1, "there is nothing to ask"
