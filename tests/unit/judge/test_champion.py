"""The challenger is judged against the champion, and a run that cannot tell says so."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from fcos_lib.errors import UsageError
from fcos_lib.judge.champion import ChampionBounds, champion_bounds, enough, judge_champion
from fcos_lib.judge.limits import Limit, all_limits
from fcos_lib.judge.verdict import Outcome, decide
from fcos_lib.measure.paired_rate import LOOKS, ORDER, DeviceFacts, PairedRounds, take_turns

UNITS = {
    "slower": (-1.0, "%"),
    "faster": (25.0, "%"),
    "step": (3.0, "%"),
    "clock": (1.0, "%"),
    "temperature": (15.0, "°C"),
}
BOUNDS = ChampionBounds(
    **{
        name: Limit(f"rate_against_champion.{name}", bound, name == "slower", unit, "chosen for this test")
        for name, (bound, unit) in UNITS.items()
    }
)
QUIET = DeviceFacts(1080.0, 60.0, ("monitor (12)",))
SENTENCE = re.compile(r"[A-Z].{20,}[a-z°C%]\.")


def race(slower=0.0, twin=0.0, noise=0.0, seed=0, step=0.0, after=QUIET, seconds=math.inf):
    """A whole comparison on a device that needs no time; rates lower by a share, a clock that falls after 50 rounds."""
    random, rounds = np.random.default_rng(seed), [0]

    def runner(ms):
        def run():
            rounds[0] += 1
            return ms * math.exp(random.normal(0, noise)) / (1 - step * (rounds[0] > 50))

        return run

    facts = iter((QUIET, after))
    sides = [runner(17 / (1 - share)) for share in (0, slower, twin)]
    return take_turns(*sides, enough(BOUNDS), facts=lambda: next(facts), seconds=seconds)


def judged(**conditions):
    """The verdict on such a comparison."""
    return judge_champion(race(**conditions), BOUNDS)


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
def test_canaries_of_known_slowness_are_told_from_no_change(slower, noise, outcome):
    """3 and 8 % are found, and nothing is found where there is nothing."""
    verdict = judged(slower=slower, noise=noise)
    assert verdict.outcome is outcome, verdict.reasons
    assert verdict.measurement().value == pytest.approx(-100 * slower, abs=0.5)


def test_a_clear_case_takes_the_fewest_rounds():
    """And a close one more."""
    assert judged(slower=0.08, noise=0.003).n == LOOKS[0] * len(ORDER)
    assert judged(slower=0.0125, noise=0.005).n > LOOKS[0] * len(ORDER)


def test_exactly_the_floor_is_no_verdict():
    """Noise decides nothing: the floor stays inside the interval until the last block."""
    verdict = judged(slower=0.01, noise=0.005)
    assert (verdict.outcome, verdict.rounds.stopped) == (Outcome.NO_VERDICT, "blocks")
    assert "leaves open" in verdict.reasons[0]
    assert verdict.trusted


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        ({"noise": 0.04, "slower": 0.03}, "too noisy to see 1 %"),
        ({"twin": 0.02}, "second place is not equal"),
        ({"step": 0.07, "slower": 0.03}, "jumped by 7"),
        ({"seconds": -1.0}, "Only 1 blocks"),
        ({"slower": -0.4}, "too fast by more than 25 %"),
        ({"after": replace(QUIET, clock_mhz=900.0), "slower": 0.03}, "1080 MHz before the rounds and 900 MHz after"),
        ({"after": replace(QUIET, temperature_c=90.0)}, "60 °C before the rounds and 90 °C after"),
        ({"after": replace(QUIET, processes=())}, "monitor (12) before, none after"),
    ],
)
def test_a_run_that_cannot_tell_says_why(conditions, reason):
    """NO VERDICT, never PASS and never FAIL, with sentences that say what happened; the number is not to be judged."""
    verdict = judged(**conditions)
    assert verdict.outcome is Outcome.NO_VERDICT
    assert reason in " ".join(verdict.reasons)
    assert all(SENTENCE.fullmatch(sentence) for sentence in verdict.reasons), verdict.reasons
    assert (verdict.measurement().n, verdict.measurement().interval) == (0, None)


def test_a_clear_loss_waits_until_the_champion_agrees_with_itself():
    """8 % stand out of the noise before the noise itself is known to be below the floor."""
    verdict = judged(slower=0.08, noise=0.01)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.n > LOOKS[0] * len(ORDER)


def test_a_gain_that_may_be_within_the_bound_is_believed():
    """Only a gain that is clearly too large is doubted."""
    assert judged(slower=-0.25, noise=0.003).outcome is Outcome.PASS


def test_what_cannot_be_mended_is_not_waited_for():
    """A switched clock or an unequal twin ends sampling at the next look."""
    assert race(step=0.07).stopped == "decided"
    assert race(twin=0.02).stopped == "decided"


def test_unknown_facts_are_no_reason():
    """A device that does not tell its clock is judged by its rounds."""
    assert judged(after=DeviceFacts()).outcome is Outcome.PASS


def test_small_changes_of_the_device_are_no_reason():
    """Within their limits."""
    assert judged(after=replace(QUIET, clock_mhz=1075.0, temperature_c=66.0)).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "conditions",
    [
        {"slower": 0.03, "noise": 0.003},
        {"noise": 0.003},
        {"slower": 0.01, "noise": 0.005},
        {"noise": 0.04},
        {"slower": -0.4},
        {"seconds": -1.0},
    ],
)
def test_the_gate_comes_to_the_same_word(conditions):
    """`decide` on the measurement and the floor agrees with this verdict, and is green for PASS only."""
    verdict = judged(**conditions)
    gate = decide("throughput", "batch8", verdict.measurement(), BOUNDS.slower, stand_in=False)
    assert gate.outcome is verdict.outcome
    assert gate.green is (verdict.outcome is Outcome.PASS)


def test_a_gain_is_reported():
    """With its size and its interval."""
    verdict = judged(slower=-0.05, noise=0.003)
    assert verdict.outcome is Outcome.PASS
    assert re.search(r"rate is \+[45]\.\d\d % \(\+4\.\d\d to \+5\.\d\d %\)", verdict.reasons[0])


def test_swapping_the_sides_turns_a_loss_into_a_gain():
    """FAIL one way is PASS the other way, and the log ratio has the other sign."""
    run = race(slower=0.03, noise=0.003)
    columns = [1, 0, 2, 5, 4, 3, 6, 8, 7]  # champion and challenger change places, the twin stays
    swapped = replace(run, compute_ms=run.compute_ms[:, columns])
    one, other = judge_champion(run, BOUNDS), judge_champion(swapped, BOUNDS)
    assert (one.outcome, one.change.value) == (Outcome.FAIL, pytest.approx(-other.change.value))
    assert other.change.low > 0


def test_the_measurement_is_json_with_every_round():
    """results.json can be judged again by someone else."""
    run = race(slower=0.03, noise=0.003)
    measured = judge_champion(run, BOUNDS).measurement()
    details = json.loads(json.dumps(measured.details, allow_nan=False))
    assert (measured.name, measured.unit, measured.n) == ("rate against champion", "%", run.compute_ms.size)
    assert np.array(details["compute_ms"]) == pytest.approx(run.compute_ms, abs=1e-5)
    assert details["order"][:4] == ["champion", "challenger", "twin", "challenger"]
    assert (details["before"]["clock_mhz"], details["stopped"]) == (1080.0, "decided")
    nothing = judged(seconds=-1.0).measurement()
    assert json.dumps(nothing.details, allow_nan=False)
    assert nothing.interval is None


def test_bounds_come_from_the_limits_file(tmp_path):
    """All five, and a missing one is named."""
    tables = {
        name: f'[rate_against_champion.{name}]\nbound = {bound}\nunit = "{unit}"\nsource = "for this test"\n'
        f'direction = "{"at least" if name == "slower" else "at most"}"\n'
        for name, (bound, unit) in UNITS.items()
    }
    path = tmp_path / "limits.toml"
    path.write_text("".join(tables.values()), encoding="utf-8")
    found = champion_bounds(all_limits(path))
    assert (found.slower.bound, found.temperature.bound) == (-1.0, 15.0)
    with pytest.raises(UsageError, match=r"\[rate_against_champion\.step\]"):
        champion_bounds({name: limit for name, limit in all_limits(path).items() if not name.endswith("step")})


def test_the_floor_is_of_the_rate_not_of_the_time():
    """1 % less rate is ln 0.99."""
    assert math.exp(BOUNDS.floor) == pytest.approx(0.99)


def test_noise_without_an_interval_is_not_called_quiet():
    """A single block has an infinite interval, which is no proof of anything."""
    one = PairedRounds(np.full((1, len(ORDER)), 17.0), QUIET, QUIET, "time")
    assert judge_champion(one, BOUNDS).outcome is Outcome.NO_VERDICT
