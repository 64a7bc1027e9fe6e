"""A run is judged by what was accepted for the same thing on the same machine, and nothing passes for want of a counterpart."""

import pytest
from msgspec.structs import replace

from fcos_lib.judge.accepted import Acceptance, Baseline, accept, compare, expected, read_accepted
from fcos_lib.judge.change import LEAST_RUNS, judge_against_history
from fcos_lib.judge.verdict import Outcome
from tests.unit.judge.history_runs import EMULATED, HERE, START, all_sizes, judge, rate, run, status


def baseline_of(*runs):
    """A baseline accepted once."""
    return Baseline((Acceptance(START, "test", runs),))


def outcomes(compared):
    """Outcomes by batch size."""
    return {comparison.series.batch_size: comparison.outcome for comparison in compared}


def test_the_same_speed_passes_and_a_slower_one_fails():
    """Each series is judged by itself, with its ratio to the accepted rate."""
    new = run(9, rate(58.0, 1), rate(52.0, 8), rate(70.0, 64))
    compared = compare(new, baseline_of(all_sizes(1), all_sizes(2)), judge)
    assert outcomes(compared) == {1: Outcome.PASS, 8: Outcome.FAIL, 64: Outcome.PASS}
    assert [round(comparison.ratio, 3) for comparison in compared] == [1.0, 0.897, 1.207]
    assert status(compared) == 1


def test_renamed_and_ten_times_slower_does_not_pass():
    """pytest-benchmark finds no counterpart and is content; here the promised series is missing, which is FAIL."""
    new = run(9, rate(58.0, 1), rate(58.0, 64), rate(5.8, 9))
    compared = compare(new, baseline_of(all_sizes(1)), judge)
    assert outcomes(compared) == {1: Outcome.PASS, 8: Outcome.FAIL, 64: Outcome.PASS, 9: Outcome.NO_VERDICT}
    lost = next(comparison for comparison in compared if comparison.series.batch_size == 8)
    assert "renamed or lost; new here: batch9 pure" in lost.reason
    assert lost.new is None


def test_another_part_of_the_way_cannot_stand_in_for_a_lost_one():
    """End to end missing while pure inference is there is a loss, too."""
    both = run(1, rate(58.0), rate(30.0, timed="end to end"))
    compared = compare(run(9, rate(58.0)), baseline_of(both), judge)
    assert [(comparison.series.timed, comparison.outcome) for comparison in compared] == [
        ("end to end", Outcome.FAIL),
        ("pure", Outcome.PASS),
    ]


@pytest.mark.parametrize("field", ["chip", "host", "driver", "firmware", "cann", "atc", "pictures"])
def test_a_baseline_of_another_machine_decides_nothing(field):
    """pytest-benchmark warns and compares; here it is NO VERDICT with what differs, and exit status 7."""
    elsewhere = replace(HERE, **{field: "another"})
    compared = compare(run(9, rate(5.8)), baseline_of(run(1, rate(58.0, fingerprint=elsewhere))), judge)
    assert [comparison.outcome for comparison in compared] == [Outcome.NO_VERDICT]
    assert f"{field} another →" in compared[0].reason
    assert compared[0].ratio == pytest.approx(0.1), "it is shown all the same"
    assert status(compared) == 7


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"precision_mode": "must_keep_origin_dtype"}, "precision_mode force_fp16 → must_keep_origin_dtype"),
        ({"op_select_implmode": "high_precision"}, "op_select_implmode unknown → high_precision"),
        ({"input": "uint8 NHWC (AIPP)"}, "input float32 NCHW → uint8 NHWC (AIPP)"),
        ({"dynamic_batch": "1,8"}, "dynamic_batch unknown → 1,8"),
        ({"soc_version": "Ascend910B4"}, "soc_version Ascend310P3 → Ascend910B4"),
        ({"contract": "shapes"}, "contract coco_r50 → shapes"),
        ({"batch_size": 16}, "batch_size 8 → 16"),
    ],
)
def test_another_series_is_not_compared_and_the_closest_is_named(changes, named):
    """Neither recipe nor chip nor batch size may differ."""
    other = rate(58.0)
    other = replace(other, series=replace(other.series, **changes))
    compared = compare(run(9, other), baseline_of(run(1, rate(58.0))), judge)
    comparison = next(each for each in compared if each.new)
    assert comparison.outcome is Outcome.NO_VERDICT
    assert named in comparison.reason
    assert status(compared) != 0


def test_no_baseline_is_no_verdict_and_red_where_one_is_required():
    """pytest-benchmark stops with a usage error or, without the option, passes."""
    assert status(compare(all_sizes(9), Baseline(), judge)) == 7
    required = compare(all_sizes(9), Baseline(), judge, require_baseline=True)
    assert set(outcomes(required).values()) == {Outcome.FAIL}
    new_size = compare(all_sizes(9, sizes=(1, 8, 64, 128)), baseline_of(all_sizes(1)), judge, require_baseline=True)
    assert outcomes(new_size)[128] is Outcome.FAIL


def test_the_emulator_and_hardware_never_meet():
    """Not as a baseline, not as the closest series, whatever else is equal; and the emulator never comes to PASS."""
    emulated = all_sizes(1, 3.0, fingerprint=EMULATED, stand_in=True)
    on_hardware = compare(all_sizes(9, 58.0), baseline_of(emulated), judge)
    assert set(outcomes(on_hardware).values()) == {Outcome.NO_VERDICT}
    assert {comparison.reason for comparison in on_hardware} == {"nothing was accepted yet"}
    assert {comparison.old for comparison in on_hardware} == {None}
    again = compare(all_sizes(2, 3.0, fingerprint=EMULATED, stand_in=True), baseline_of(emulated), judge)
    assert set(outcomes(again).values()) == {Outcome.STAND_IN}
    slower = compare(all_sizes(2, 1.0, fingerprint=EMULATED, stand_in=True), baseline_of(emulated), judge)
    assert set(outcomes(slower).values()) == {Outcome.FAIL}


def test_a_run_is_never_judged_by_itself():
    """An accepted run would always pass; without others there is nothing to judge it by."""
    own, others = all_sizes(1, 30.0), [all_sizes(number) for number in (2, 3)]
    assert set(outcomes(compare(own, baseline_of(own), judge)).values()) == {Outcome.NO_VERDICT}
    assert set(outcomes(compare(own, baseline_of(own, *others), judge)).values()) == {Outcome.FAIL}


def test_a_session_that_timed_nothing_does_not_pass():
    """Under -n pytest-benchmark measures nothing and all is green."""
    nothing = replace(all_sizes(9), rates=())
    assert status(compare(nothing, baseline_of(all_sizes(1)), judge)) == 7


def test_the_baseline_stays_until_somebody_moves_it(tmp_path):
    """A hundred slower runs in the store change nothing; slow drift adds up against the same accepted rates."""
    path = tmp_path / "accepted.json"
    accept(path, [all_sizes(1), all_sizes(2)], "first")
    before = path.read_bytes()
    drifting = [all_sizes(number, 58.0 * 0.99**number) for number in range(3, 10)]
    compared = [compare(each, read_accepted(path), judge) for each in drifting]
    assert status(compared[0]) == 0
    assert status(compared[-1]) == 1, "9 % below what was accepted, though only 1 % below its predecessor"
    assert path.read_bytes() == before


def test_the_suite_s_own_judge_fits_in(tmp_path):
    """With the function that the suite uses: enough quiet runs, then 1 % slower passes, 10 % does not, and too few decide nothing."""
    quiet = [all_sizes(number, 58.0 + 0.05 * (number % 3)) for number in range(LEAST_RUNS)]
    baseline = baseline_of(*quiet)
    assert status(compare(all_sizes(90, 57.5), baseline, judge_against_history)) == 0
    assert status(compare(all_sizes(90, 52.2), baseline, judge_against_history)) == 1
    assert status(compare(all_sizes(90, 58.0), baseline_of(*quiet[1:]), judge_against_history)) == 7
    low, high = expected(baseline, rate(1).series, HERE, judge_against_history)
    assert 52.2 < low < 58 < high, f"expected are {low} to {high}, around 58 and not down to 52.2"
