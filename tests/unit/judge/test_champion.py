"""The challenger is judged against the champion, and a run that cannot tell says so."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from fcos_lib.errors import UsageError
from fcos_lib.judge import champion
from fcos_lib.judge.champion import ChampionBounds, champion_bounds, enough, judge_champion
from fcos_lib.judge.limits import Limit, all_limits
from fcos_lib.judge.verdict import Outcome, decide
from fcos_lib.measure.paired_rate import (
    LOOKS,
    ORDER,
    DeviceFacts,
    LogRatio,
    PairedRounds,
    compare,
    largest_step,
    take_turns,
)

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
        ({"twin": -0.02}, "second place is not equal"),
        ({"step": 0.07, "slower": 0.03}, "jumped by 7"),
        ({"seconds": -1.0}, "Only 1 blocks of rounds were run before the time was up; 8 are needed."),
        ({"slower": -0.4}, "too fast by more than 25 %"),
        ({"after": replace(QUIET, clock_mhz=900.0), "slower": 0.03}, "1080 MHz before the rounds and 900 MHz after"),
        ({"after": replace(QUIET, temperature_c=90.0)}, "60 °C before the rounds and 90 °C after"),
        ({"after": replace(QUIET, processes=())}, "monitor (12) before, none after"),
        ({"after": replace(QUIET, processes=("b (2)", "a (1)"))}, "monitor (12) before, a (1), b (2) after"),
    ],
)
def test_a_run_that_cannot_tell_says_why(conditions, reason):
    """NO VERDICT, never PASS and never FAIL, with sentences that say what happened; the number is not to be judged."""
    verdict = judged(**conditions)
    assert verdict.outcome is Outcome.NO_VERDICT
    assert reason in " ".join(verdict.reasons)
    assert verdict.measurement().where == " ".join(verdict.reasons), "the number carries its reasons"
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


def test_a_jump_up_to_the_limit_is_no_reason():
    """3 % of the champion's own time: 2.99 % is allowed, 3.04 % is not."""
    assert judged(step=0.029).outcome is Outcome.PASS
    assert "jumped by 3.0 %" in judged(step=0.0295).reasons[0]


def test_what_cannot_be_mended_is_not_waited_for():
    """A switched clock or an unequal twin ends sampling at the next look."""
    assert race(step=0.07).stopped == "decided"
    assert race(twin=0.02).stopped == "decided"


def test_unknown_facts_are_no_reason():
    """A device that does not tell its clock is judged by its rounds."""
    assert judged(after=DeviceFacts()).outcome is Outcome.PASS


def between(before, after):
    """The verdict on a quiet comparison between these facts."""
    run = replace(race(), before=before, after=after)
    return judge_champion(run, BOUNDS)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (QUIET, replace(QUIET, clock_mhz=1075.0, temperature_c=66.0)),
        (DeviceFacts(clock_mhz=1000.0), DeviceFacts(clock_mhz=990.0)),  # 1 % is the limit itself
        (DeviceFacts(clock_mhz=1000.0), DeviceFacts(clock_mhz=1010.0)),
        (DeviceFacts(temperature_c=20.0), DeviceFacts(temperature_c=34.0)),  # degrees, not percent
        (DeviceFacts(temperature_c=60.0), DeviceFacts(temperature_c=45.0)),
        (DeviceFacts(temperature_c=0.0), DeviceFacts(temperature_c=15.0)),
        (DeviceFacts(processes=("a (1)", "b (2)")), DeviceFacts(processes=("b (2)", "a (1)"))),
        (DeviceFacts(processes=("a (1)",)), DeviceFacts()),
        (DeviceFacts(1080.0, 60.0), DeviceFacts()),
        (DeviceFacts(), DeviceFacts(1080.0, 60.0, ("a (1)",))),
    ],
)
def test_small_changes_of_the_device_are_no_reason(before, after):
    """Within their limits, up or down, and where one side is unknown."""
    verdict = between(before, after)
    assert verdict.outcome is Outcome.PASS, verdict.reasons


@pytest.mark.parametrize(
    ("before", "after", "count"),
    [
        (DeviceFacts(clock_mhz=1000.0), DeviceFacts(clock_mhz=989.0), 1),
        (DeviceFacts(clock_mhz=1000.0), DeviceFacts(clock_mhz=1011.0), 1),
        (DeviceFacts(clock_mhz=0.0), DeviceFacts(clock_mhz=1000.0), 1),
        (DeviceFacts(temperature_c=60.0), DeviceFacts(temperature_c=44.0), 1),
        (DeviceFacts(temperature_c=60.0), DeviceFacts(temperature_c=76.0), 1),
        (QUIET, DeviceFacts(900.0, 90.0, ()), 3),
    ],
)
def test_changes_of_the_device_beyond_their_limits_are_reasons(before, after, count):
    """A sentence for each, up or down; a clock that was 0 does not stop the verdict."""
    verdict = between(before, after)
    assert (verdict.outcome, len(verdict.reasons)) == (Outcome.NO_VERDICT, count), verdict.reasons


@pytest.fixture
def intervals(monkeypatch):
    """Rounds that compare as these intervals (low, high), in floors: -1 is the floor itself."""

    def prepare(change, noise=(0.0, 0.0)):
        ratios = {
            side: LogRatio(-BOUNDS.floor * (low + high) / 2, -BOUNDS.floor * low, -BOUNDS.floor * high)
            for side, (low, high) in (("challenger", change), ("twin", noise))
        }
        monkeypatch.setattr(champion, "compare", lambda compute_ms, side: ratios[side])
        return PairedRounds(np.full((LOOKS[0], len(ORDER)), 17.0), QUIET, QUIET, "decided")

    return prepare


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
    assert judge_champion(run, BOUNDS).outcome is outcome
    assert enough(BOUNDS)(run.compute_ms) is decided


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
        assert verdict.outcome is Outcome.PASS, verdict.reasons
    else:
        assert verdict.outcome is Outcome.NO_VERDICT, "noise must not pass for a quiet device"
        (sentence,) = verdict.reasons
        assert reason in sentence
    assert enough(BOUNDS)(run.compute_ms) is (reason != "too noisy to see 1 %"), "only noise is mended by more rounds"


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
    assert judge_champion(intervals(change), BOUNDS).reasons == (f"The challenger's rate is {sentence}",)


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
    assert nothing.details["log_ratio"] == {"value": 0.0, "low": None, "high": None}, "JSON has no infinity"
    assert nothing.interval is None


def test_the_details_say_how_the_verdict_came_about():
    """Every name that a script may look for, with the value in the unit that the name says."""
    run = race(slower=0.03, noise=0.003, step=0.01)
    verdict = judge_champion(run, BOUNDS)
    change, noise = compare(run.compute_ms, "challenger"), compare(run.compute_ms, "twin")
    details = verdict.measurement().details
    assert details == {
        "outcome": "FAIL",
        "reasons": list(verdict.reasons),
        "log_ratio": {"value": change.value, "low": change.low, "high": change.high},
        "champion_against_itself": {"value": noise.value, "low": noise.low, "high": noise.high},
        "error_each_side": 0.01,
        "looks": [8, 12, 18, 27],
        "order": ["champion", "challenger", "twin", "challenger", "twin", "champion", "twin", "champion", "challenger"],
        "compute_ms": [[round(ms, 5) for ms in block] for block in run.compute_ms.tolist()],
        "largest_step_percent": pytest.approx(100 * math.expm1(largest_step(run.compute_ms))),
        "before": {
            "clock_mhz": 1080.0, "temperature_c": 60.0, "processes": ("monitor (12)",), "power_w": None,
            "memory_used_mb": None,
        },
        "after": {
            "clock_mhz": 1080.0, "temperature_c": 60.0, "processes": ("monitor (12)",), "power_w": None,
            "memory_used_mb": None,
        },
        "stopped": run.stopped,
    }  # fmt: skip
    assert details["largest_step_percent"] > 0.5, "this run's clock fell by 1 %"


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
    with pytest.raises(UsageError) as error:
        champion_bounds({name: limit for name, limit in all_limits(path).items() if not name.endswith("step")})
    assert error.value.found == "limits.toml has no [rate_against_champion.step]"
    assert error.value.advice == "start from a copy of the original"


def test_the_floor_is_of_the_rate_not_of_the_time():
    """1 % less rate is ln 0.99."""
    assert math.exp(BOUNDS.floor) == pytest.approx(0.99)


def test_noise_without_an_interval_is_not_called_quiet():
    """A single block has an infinite interval, which is no proof of anything."""
    one = PairedRounds(np.full((1, len(ORDER)), 17.0), QUIET, QUIET, "time")
    assert judge_champion(one, BOUNDS).outcome is Outcome.NO_VERDICT
