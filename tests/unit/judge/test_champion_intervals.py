"""The judge of the champion at the edges: intervals and facts of the device that are given, on their limits or just beyond."""

import math
from dataclasses import replace

import numpy as np
import pytest

from fcos_lib.errors import UsageError
from fcos_lib.judge import champion
from fcos_lib.judge.champion import enough, judge_champion
from fcos_lib.judge.limits import all_limits
from fcos_lib.judge.rate_trust import champion_bounds
from fcos_lib.judge.verdict import Outcome
from fcos_lib.measure.throughput.paired_rate import (
    STAND_IN,
    DeviceFacts,
    PairedRounds,
)
from fcos_lib.measure.throughput.rate_ratio import (
    LogRatio,
    SlowShare,
)
from tests.unit.judge.champion_rounds import AT_LEAST, BOUNDS, QUIET, UNITS, race


@pytest.fixture
def intervals(monkeypatch):
    """Rounds that compare as these intervals (low, high): rates in floors, -1 is the floor itself, and slow rounds in %."""

    def prepare(change=(0.0, 0.0), noise=(0.0, 0.0), last=None, slow=(0.0, 0.0)):
        def ratio(low, high):
            return LogRatio(-BOUNDS.floor * (low + high) / 2, -BOUNDS.floor * low, -BOUNDS.floor * high)

        run = PairedRounds(np.full((8, 3, 3), 17.0), (), 0, STAND_IN, QUIET, QUIET, "decided")
        shorter = run.compute_ms[:2]
        monkeypatch.setattr(champion, "against_champion", lambda ms, error: ratio(*(last if ms is shorter else change)))
        monkeypatch.setattr(champion, "late", lambda ms: shorter if last else None)
        monkeypatch.setattr(champion, "twin_against_champion", lambda ms, error: ratio(*noise))
        share = SlowShare(sum(slow) / 2, *slow, (3, 4), (24, 48))
        monkeypatch.setattr(champion, "slow_share", lambda ms, longer, error: share)
        return replace(run, plan=replace(STAND_IN, unseen=True))

    return prepare


def asked(run):
    """Says whether sampling would end with these rounds."""
    return enough(BOUNDS, run.plan)(run.compute_ms)


@pytest.mark.parametrize(
    ("change", "outcome", "decided"),
    [
        ((-3, -1.01), Outcome.FAIL, True),
        ((-3, -1), Outcome.NO_VERDICT, False),
        ((-1.01, 1), Outcome.NO_VERDICT, False),
        ((-1, 1), Outcome.PASS, True),
        ((-0.99, 1), Outcome.PASS, True),
    ],
)
def test_the_floor_itself_is_allowed(intervals, change, outcome, decided):
    """An interval that begins on the floor passes, one that ends on it does not fail; then sampling goes on."""
    run = intervals(change)
    verdict = judge_champion(run, BOUNDS)
    assert verdict.rate.outcome is verdict.outcome is outcome
    assert asked(run) is decided


@pytest.mark.parametrize(
    ("slow", "outcome", "decided", "words"),
    [
        ((2.01, 5), Outcome.FAIL, True, "which is more than 2 % beyond the champion's."),
        ((2, 5), Outcome.NO_VERDICT, False, "which leaves open whether 2 % more are slow."),
        ((-1, 2.01), Outcome.NO_VERDICT, False, "which leaves open whether 2 % more are slow."),
        ((-1, 2), Outcome.PASS, True, "which is not more than 2 % beyond the champion's."),
        ((-9, -3), Outcome.PASS, True, "which is not more than 2 % beyond the champion's."),
    ],
)
def test_so_many_slow_rounds_are_allowed(intervals, slow, outcome, decided, words):
    """The limit itself is, as everywhere; an open interval is neither, however good the rate."""
    run = intervals(slow=slow)
    verdict = judge_champion(run, BOUNDS)
    assert (verdict.rate.outcome, verdict.slow.outcome, verdict.outcome) == (Outcome.PASS, outcome, outcome)
    assert asked(run) is decided
    assert verdict.slow.reason == (
        "3 of 24 rounds of the challenger and 4 of 48 of the champion took over 20 % longer than usual: "
        f"{sum(slow) / 2:+.2f} % ({slow[0]:+.2f} to {slow[1]:+.2f} %), {words}"
    )
    assert verdict.measurements()[1].interval == slow


@pytest.mark.parametrize(
    ("rate", "slow", "outcome", "decided"),
    [
        ((-3, -2), (3, 4), Outcome.FAIL, True),
        ((-3, -2), (0, 3), Outcome.FAIL, True),
        ((-3, 1), (3, 4), Outcome.FAIL, True),
        ((-3, 1), (0, 3), Outcome.NO_VERDICT, False),
        ((-3, 1), (0, 1), Outcome.NO_VERDICT, False),
        ((0, 1), (0, 3), Outcome.NO_VERDICT, False),
        ((0, 1), (0, 1), Outcome.PASS, True),
    ],
)
def test_one_of_two_gates_is_enough_to_fail_and_both_are_needed_to_pass(intervals, rate, slow, outcome, decided):
    """Sampling ends with the first FAIL, and without one not before both have passed."""
    run = intervals(rate, slow=slow)
    assert judge_champion(run, BOUNDS).outcome is outcome
    assert asked(run) is decided


@pytest.mark.parametrize(
    ("change", "last", "outcome", "of_last"),
    [
        ((0, 1), (0, 1), Outcome.PASS, False),
        ((0, 1), (-3, -1.01), Outcome.FAIL, True),
        ((0, 1), (-3, -1), Outcome.NO_VERDICT, True),
        ((0, 1), (-1, 0), Outcome.PASS, False),
        ((-3, 0), (-3, -2), Outcome.FAIL, True),
        ((-3, 0), (-4, 0), Outcome.NO_VERDICT, False),
        ((-3, -2), (0, 1), Outcome.FAIL, False),
        ((-3, -2), (-5, -4), Outcome.FAIL, False),
        ((-3, 0), (0, 1), Outcome.NO_VERDICT, False),
    ],
)
def test_the_last_third_has_to_keep_the_floor_as_well(intervals, change, last, outcome, of_last):
    """What began late is slower from then on, however good the mean; the number judged is that of the rounds that decide."""
    run = intervals(change, last=last)
    verdict = judge_champion(run, BOUNDS)
    assert verdict.outcome is outcome
    assert asked(run) is (outcome is not Outcome.NO_VERDICT)
    assert verdict.rate.reason.startswith("In the last third of the rounds the challenger's rate is ") is of_last
    assert verdict.rate.reason.startswith("The challenger's rate is ") is not of_last
    low, high = last if of_last else change
    assert verdict.judged.low == pytest.approx(-BOUNDS.floor * low)
    assert verdict.measurements()[0].interval == pytest.approx(
        [100 * math.expm1(-BOUNDS.floor * end) for end in (low, high)]
    )


@pytest.mark.parametrize(
    ("noise", "reason"),
    [
        ((-1, 1), None),
        ((-1.01, 0), "too noisy to see 1 %"),
        ((0, 1.01), "too noisy to see 1 %"),
        ((-2, 2), "too noisy to see 1 %"),
        ((1, 2), "too noisy to see 1 %"),
        ((-2, -1), "too noisy to see 1 %"),
        ((1.01, 2), "second place is not equal"),
        ((-2, -1.01), "second place is not equal"),
    ],
)
def test_the_champion_against_itself_has_one_fault_or_none(intervals, noise, reason):
    """Within the floor on both sides is quiet, across it is noise, beyond it is a place that is not equal: never two of them."""
    run = intervals((0, 0), noise)
    verdict = judge_champion(run, BOUNDS)
    if reason is None:
        assert verdict.outcome is Outcome.PASS, verdict.doubts
    else:
        assert verdict.outcome is Outcome.NO_VERDICT, "noise must not pass for a quiet device"
        (sentence,) = verdict.doubts
        assert reason in sentence
    assert asked(run) is (reason != "too noisy to see 1 %"), "only noise is mended by more rounds"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ((-3, -2), "-2.48 % (-2.97 to -1.99 %), which is slower by more than 1 %."),
        ((-3, 1), "-1.00 % (-2.97 to +1.01 %), which leaves open whether it is 1 % slower."),
        ((0, 1), "+0.50 % (+0.00 to +1.01 %), which is not slower by more than 1 %."),
    ],
)
def test_the_reason_has_the_change_its_interval_and_the_floor(intervals, change, sentence):
    """As a person says it: slower by so many percent."""
    assert judge_champion(intervals(change), BOUNDS).rate.reason == f"The challenger's rate is {sentence}"


def test_noise_without_an_interval_is_not_called_quiet():
    """A single block has an infinite interval, which is no proof of anything."""
    single = PairedRounds(np.full((1, 3, 3), 17.0), (), 0, STAND_IN, QUIET, QUIET, "time")
    assert judge_champion(single, BOUNDS).outcome is Outcome.NO_VERDICT
    assert not asked(single)


def test_the_floor_is_of_the_rate_not_of_the_time():
    """1 % less rate is ln 0.99."""
    assert math.exp(BOUNDS.floor) == pytest.approx(0.99)


def test_bounds_come_from_the_limits_file(tmp_path):
    """All seven, and a missing one is named."""
    tables = {
        name: f'[rate_against_champion.{name}]\nbound = {bound}\nunit = "{unit}"\nsource = "for this test"\n'
        f'direction = "{"at least" if name in AT_LEAST else "at most"}"\n'
        for name, (bound, unit) in UNITS.items()
    }
    path = tmp_path / "limits.toml"
    path.write_text("".join(tables.values()), encoding="utf-8")
    bounds = champion_bounds(all_limits(path))
    assert {name: getattr(bounds, name).bound for name in UNITS} == {name: bound for name, (bound, _) in UNITS.items()}
    for name in UNITS:
        with pytest.raises(UsageError) as error:
            champion_bounds({key: limit for key, limit in all_limits(path).items() if not key.endswith(f".{name}")})
        assert error.value.found == f"limits.toml has no [rate_against_champion.{name}]"
        assert error.value.advice == "start from a copy of the original"


@pytest.mark.parametrize(
    ("before", "after", "number"),
    [
        (QUIET, replace(QUIET, clock_mhz=1075.0, temperature_c=66.0), 0),
        (DeviceFacts(clock_mhz=1000.0), DeviceFacts(clock_mhz=990.0), 0),  # 1 % is the limit itself
        (DeviceFacts(clock_mhz=1000.0), DeviceFacts(clock_mhz=1010.0), 0),
        (DeviceFacts(temperature_c=20.0), DeviceFacts(temperature_c=34.0), 0),  # degrees, not percent
        (DeviceFacts(temperature_c=60.0), DeviceFacts(temperature_c=45.0), 0),
        (DeviceFacts(temperature_c=0.0), DeviceFacts(temperature_c=15.0), 0),
        (DeviceFacts(processes=("a (1)", "b (2)")), DeviceFacts(processes=("b (2)", "a (1)")), 0),
        (DeviceFacts(processes=("a (1)",)), DeviceFacts(), 0),
        (DeviceFacts(1080.0, 60.0), DeviceFacts(), 0),
        (DeviceFacts(), DeviceFacts(1080.0, 60.0, ("a (1)",)), 0),
        (DeviceFacts(clock_mhz=1000.0), DeviceFacts(clock_mhz=989.0), 1),
        (DeviceFacts(clock_mhz=1000.0), DeviceFacts(clock_mhz=1011.0), 1),
        (DeviceFacts(clock_mhz=0.0), DeviceFacts(clock_mhz=1000.0), 1),
        (DeviceFacts(temperature_c=60.0), DeviceFacts(temperature_c=44.0), 1),
        (DeviceFacts(temperature_c=60.0), DeviceFacts(temperature_c=76.0), 1),
        (QUIET, DeviceFacts(900.0, 90.0, ()), 3),
    ],
)
def test_a_change_of_the_device_beyond_its_limit_is_a_reason(before, after, number):
    """A sentence for each, up or down; what is unknown on one side did not change, and a clock that was 0 does not stop the verdict."""
    verdict = judge_champion(replace(race(), before=before, after=after), BOUNDS)
    assert len(verdict.doubts) == number, verdict.doubts
    assert verdict.outcome is (Outcome.NO_VERDICT if number else Outcome.PASS)
