"""The challenger is judged against the champion by its rate and its slow rounds, and a run that cannot tell says so."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.judge.champion import ERROR, judge_champion
from fcos_lib.judge.gate import Scope
from fcos_lib.judge.verdict import Outcome, judge_gate
from fcos_lib.measure.throughput.paired_rate import (
    HARDWARE,
    STAND_IN,
    Plan,
    drawn_orders,
)
from fcos_lib.measure.throughput.rate_ratio import (
    against_champion,
    largest_step,
    late,
    slow_share,
    twin_against_champion,
)
from tests.unit.judge.champion_rounds import BOUNDS, QUIET, judged, race

SENTENCE = re.compile(r"[A-Z0-9].{20,}[a-z°C%]\.")
SCOPE = Scope(SHAPES.name)


@pytest.mark.parametrize("plan", [STAND_IN, HARDWARE], ids=["stand-in", "hardware"])
@pytest.mark.parametrize("noise", [0.0, 0.003])
@pytest.mark.parametrize(
    ("slower", "outcome"),
    [
        (0.08, Outcome.FAIL),
        (0.03, Outcome.FAIL),
        (0.02, Outcome.FAIL),
        (0.0, Outcome.PASS),
        (-0.03, Outcome.PASS),
    ],
)
def test_canaries_of_known_slowness_are_told_from_no_change(slower, noise, outcome, plan):
    """2, 3 and 8 % are found, and nothing is found where there is nothing."""
    verdict = judged(slower=slower, noise=noise, plan=plan)
    assert verdict.outcome is outcome, (verdict.rate, verdict.slow)
    assert verdict.measurements()[0].value == pytest.approx(-100 * slower, abs=0.5)


def test_a_clear_case_takes_the_fewest_rounds():
    """A loss is seen at the first look; that nothing was lost needs as many rounds as exclude rare slow ones."""
    assert len(race(slower=0.08, noise=0.003, plan=HARDWARE).orders) == HARDWARE.looks[0]
    assert len(race(noise=0.003, plan=HARDWARE).orders) == HARDWARE.looks[1]
    assert len(race(noise=0.003, plan=STAND_IN).orders) == STAND_IN.looks[0]
    hard = len(race(slower=0.0125, noise=0.006, plan=STAND_IN).orders)
    assert hard > STAND_IN.looks[0], (
        f"a change near the floor took {hard} blocks, the first look is at {STAND_IN.looks[0]}"
    )


def test_exactly_the_floor_is_no_verdict():
    """Noise decides nothing: the floor stays inside the interval until the last block."""
    verdict = judged(slower=0.01, noise=0.005)
    assert (verdict.rate.outcome, verdict.rounds.stopped) == (Outcome.NO_VERDICT, "blocks")
    assert "leaves open" in verdict.rate.reason
    assert not verdict.doubts


@pytest.mark.parametrize("first", [100, 300, 550])
def test_a_loss_that_begins_late_is_found(first):
    """2 % from round 100, 300 or 550 on: sampling used to stop at round 72, and a mean over all rounds dilutes the last."""
    verdict = judged(late_loss=(first, 0.02), noise=0.003, plan=HARDWARE)
    assert verdict.outcome is Outcome.FAIL, verdict.rate
    assert verdict.rate.reason.startswith("In the last third of the rounds the challenger's rate is -2.0")
    assert verdict.measurements()[0].value == pytest.approx(-2, abs=0.2), "not the rounds that decided"
    assert len(verdict.rounds.orders) == 100, "sampling may not pass before, and need not go on"


@pytest.mark.parametrize(
    ("every", "longer", "outcome"),
    [(20, 1.0, Outcome.FAIL), (50, 1.0, Outcome.NO_VERDICT), (50, 4.0, Outcome.FAIL), (5, 0.1, Outcome.FAIL)],
)
def test_rare_slow_rounds_are_no_pass(every, longer, outcome):
    """5 % of rounds at half speed passed in 91 of 100 runs, 2 % at a fifth in 99: medians forget them, a user waits for them."""
    verdict = judged(stutter=(every, longer), noise=0.003, plan=HARDWARE)
    assert verdict.outcome is outcome, (verdict.rate, verdict.slow)


def test_slow_rounds_are_a_gate_of_their_own():
    """Every fifth round twice as long: so many more are slow, and the sentence counts them."""
    verdict = judged(stutter=(5, 1.0), noise=0.003, plan=Plan((100,), math.inf))
    assert (verdict.slow.outcome, verdict.rate.outcome) == (Outcome.FAIL, Outcome.FAIL)
    measured = verdict.measurements()[1]
    assert (measured.gate, measured.unit, measured.n) == ("champion.slow_rounds", "%", 900)
    assert (measured.value, measured.details) == (pytest.approx(20, abs=0.5), {"slow": [60, 0], "rounds": [300, 600]})
    assert measured.where.startswith(
        "60 of 300 rounds of the challenger and 0 of 600 of the champion took over 20 % longer"
    )


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        ({"noise": 0.06, "slower": 0.03}, "too noisy to see 1 %"),
        ({"twin": 0.02}, "second place is not equal"),
        ({"twin": -0.02}, "second place is not equal"),
        ({"step": 0.07, "slower": 0.03}, "jumped by 7"),
        (
            {"plan": replace(STAND_IN, seconds=-1)},
            "Only 1 blocks of rounds were run before the time was up; 8 are needed.",
        ),
        ({"slower": -0.4}, "too fast by more than 25 %"),
        ({"after": replace(QUIET, clock_mhz=900.0), "slower": 0.03}, "1080 MHz before the rounds and 900 MHz after"),
        ({"after": replace(QUIET, temperature_c=90.0)}, "60 °C before the rounds and 90 °C after"),
        ({"after": replace(QUIET, processes=())}, "monitor (12) before, none after"),
        ({"after": replace(QUIET, processes=("b (2)", "a (1)"))}, "monitor (12) before, a (1), b (2) after"),
    ],
)
def test_a_run_that_cannot_tell_says_why(conditions, reason):
    """NO VERDICT, never PASS and never FAIL, with sentences that say what happened; the numbers are not to be judged."""
    verdict = judged(**conditions)
    assert verdict.outcome is verdict.rate.outcome is verdict.slow.outcome is Outcome.NO_VERDICT
    assert reason in " ".join(verdict.doubts)
    assert all(SENTENCE.fullmatch(sentence) for sentence in verdict.doubts), verdict.doubts
    rate, slow = verdict.measurements()
    assert rate.where == " ".join(verdict.doubts), "the number carries its reasons"
    assert slow.where == "The rounds cannot be judged, as the rate against the champion says."
    assert [(each.n, each.interval) for each in (rate, slow)] == [(0, None)] * 2
    assert rate.value == pytest.approx(against_champion(verdict.rounds.compute_ms, ERROR).percent()[0])


def test_a_clear_loss_waits_until_the_champion_agrees_with_itself():
    """8 % stand out of the noise before the noise itself is known to be below the floor."""
    verdict = judged(slower=0.08, noise=0.01)
    assert verdict.outcome is Outcome.FAIL
    blocks = len(verdict.rounds.orders)
    assert blocks > STAND_IN.looks[0], f"it was decided after {blocks} blocks, before the noise was known"


def test_a_gain_that_may_be_within_the_bound_is_believed():
    """Only a gain that is clearly too large is doubted."""
    assert judged(slower=-0.25, noise=0.003).outcome is Outcome.PASS


def test_a_jump_up_to_the_limit_is_no_reason():
    """3 % of the champion's own time: less is allowed, more is not."""
    assert judged(step=0.029, plan=HARDWARE).outcome is Outcome.PASS
    assert "jumped by 3.0 %" in judged(step=0.0295, plan=HARDWARE).rate.reason


def test_what_cannot_be_mended_is_not_waited_for():
    """A switched clock, an unequal twin or an unbelievable gain ends sampling at the next look."""
    for conditions in ({"step": 0.07}, {"twin": 0.02}, {"slower": -0.4}):
        run = race(plan=HARDWARE, **conditions)
        assert (run.stopped, len(run.orders)) == ("decided", HARDWARE.looks[0]), conditions


@pytest.mark.parametrize(
    "conditions",
    [
        {"slower": 0.03, "noise": 0.003},
        {"noise": 0.003},
        {"slower": 0.01, "noise": 0.005},
        {"noise": 0.06},
        {"slower": -0.4},
        {"plan": replace(STAND_IN, seconds=-1)},
        {"late_loss": (550, 0.02), "noise": 0.003, "plan": HARDWARE},
        {"stutter": (50, 1.0), "noise": 0.003, "plan": HARDWARE},
        {"stutter": (2, 1.0), "noise": 0.003, "plan": HARDWARE},
    ],
)
def test_the_gates_come_to_the_same_words(conditions):
    """The verdicts on the measurements agree with this one's, and are green for PASS only."""
    verdict = judged(**conditions)
    for measured, finding in zip(verdict.measurements(), (verdict.rate, verdict.slow), strict=True):
        gate = judge_gate(measured, SCOPE, "batch8", stand_in=False)
        assert gate.outcome is finding.outcome, measured.where
        assert gate.green is (finding.outcome is Outcome.PASS)


def test_few_rounds_exclude_nothing_on_hardware_and_need_not_on_the_emulator():
    """24 rounds without a slow one leave 22 % unseen: no PASS on hardware, while the emulator's speed is nobody's promise."""
    run = race(noise=0.003)
    assert judge_champion(run, BOUNDS).slow.outcome is Outcome.PASS
    on_hardware = judge_champion(replace(run, plan=replace(STAND_IN, unseen=True)), BOUNDS)
    assert (on_hardware.rate.outcome, on_hardware.outcome) == (Outcome.PASS, Outcome.NO_VERDICT)


@pytest.mark.parametrize("plan", [STAND_IN, HARDWARE], ids=["stand-in", "hardware"])
def test_each_interval_has_its_part_of_the_error(plan):
    """1 % each way over all looks; at each, the rates of all rounds and of the last third share theirs."""
    run = race(noise=0.003, plan=plan)
    compared = judge_champion(run, BOUNDS).compared
    error, last = 0.01 / len(plan.looks), late(run.compute_ms)
    share = slow_share(run.compute_ms, 20, error)
    assert compared.change == against_champion(run.compute_ms, error / 2)
    assert compared.late == (against_champion(last, error / 2) if plan is HARDWARE else None)
    assert compared.noise == twin_against_champion(run.compute_ms, error)
    assert compared.slow == (share if plan is HARDWARE else share.as_seen())


def test_the_measurement_is_json_with_every_round():
    """results.json can be judged again by someone else."""
    run = race(slower=0.03, noise=0.003)
    measured, _ = judge_champion(run, BOUNDS).measurements()
    details = json.loads(json.dumps(measured.details, allow_nan=False))
    assert (measured.name, measured.unit, measured.n) == ("rate against champion", "%", run.compute_ms.size)
    assert np.array(details["compute_ms"]) == pytest.approx(run.compute_ms, abs=1e-5)
    assert details["orders"] == ["".join(map(str, order)) for order in run.orders]
    drawing = drawn_orders(details["seed"])
    assert [tuple(map(int, order)) for order in details["orders"]] == [next(drawing) for _ in run.orders]
    nothing, slow = judged(plan=replace(STAND_IN, seconds=-1)).measurements()
    assert (nothing.interval, slow.interval) == (None, None)
    assert json.dumps([nothing.details, slow.details], allow_nan=False)
    assert nothing.details["log_ratio"] == {"value": 0.0, "low": None, "high": None}, "JSON has no infinity"


def test_the_details_say_how_the_verdict_came_about():
    """Every name that a script may look for, with the value in the unit that the name says."""
    run = race(noise=0.003, step=0.01, plan=HARDWARE)
    verdict = judge_champion(run, BOUNDS)
    change, last, noise = verdict.compared.change, verdict.compared.late, verdict.compared.noise
    details = verdict.measurements()[0].details
    facts = {"clock_mhz": 1080.0, "temperature_c": 60.0, "processes": ("monitor (12)",), "power_w": None}
    assert details == {
        "outcome": "PASS",
        "reasons": [verdict.rate.reason],
        "log_ratio": {"value": change.value, "low": change.low, "high": change.high},
        "log_ratio_late": {"value": last.value, "low": last.low, "high": last.high},
        "champion_against_itself": {"value": noise.value, "low": noise.low, "high": noise.high},
        "error_each_side": 0.01,
        "looks": [20, 100, 180, 300],
        "sides": ["champion", "challenger", "twin"],
        "seed": 0,
        "orders": details["orders"],
        "compute_ms": np.round(run.compute_ms, 5).tolist(),
        "largest_step_percent": pytest.approx(100 * math.expm1(largest_step(run.compute_ms))),
        "before": facts | {"memory_used_mb": None},
        "after": facts | {"memory_used_mb": None},
        "stopped": run.stopped,
    }
    assert details["largest_step_percent"] > 0.5, "this run's clock fell by 1 %"
    doubted = judged(step=0.07, twin=0.02)
    assert doubted.measurements()[0].details["reasons"] == list(doubted.doubts)
    assert len(doubted.doubts) == 2
    assert doubted.measurements()[0].details["log_ratio_late"] is None
