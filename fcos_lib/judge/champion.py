"""The challenger against the champion: whether its rate is lower by more than matters, and whether more of its rounds are slow.

FAIL and PASS need the whole interval on one side of the limit, over all rounds and over the last third of them. Everything else
is NO VERDICT: the limit lies inside the interval, or the run itself cannot be trusted (`judge.rate_trust`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fcos_lib.judge.rate_trust import ChampionBounds, doubts, even, shown, unbelievable, unsteady
from fcos_lib.judge.verdict import Outcome, within
from fcos_lib.measure import Measurement
from fcos_lib.measure.throughput.paired_rate import SIDES, PairedRounds, Plan, Rounds
from fcos_lib.measure.throughput.rate_ratio import (
    LogRatio,
    SlowShare,
    against_champion,
    largest_step,
    late,
    slow_share,
    twin_against_champion,
)

ERROR = 0.01
"""How often a limit may be taken for lost that is kept, over all looks of a comparison; and as often the other way."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one gate comes to."""

    outcome: Outcome
    """PASS, FAIL or NO VERDICT."""
    reason: str
    """A sentence."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rounds so far, with every interval that is judged."""

    change: LogRatio
    """Challenger against champion, all rounds."""
    late: LogRatio | None
    """The same for the last third of the rounds, if they are many."""
    noise: LogRatio
    """Twin against champion: nothing but noise."""
    slow: SlowShare


@dataclass(frozen=True, slots=True)
class ChampionVerdict:
    """What a comparison came to."""

    rate: Finding
    slow: Finding
    doubts: tuple[str, ...]
    """Why its numbers must not be judged, a sentence each."""
    judged: LogRatio
    """Challenger against champion, over the rounds that decided: all, or the last third."""
    compared: Comparison
    rounds: PairedRounds

    @property
    def outcome(self) -> Outcome:
        """Of both gates together."""
        return min((self.rate.outcome, self.slow.outcome), key=(Outcome.FAIL, Outcome.NO_VERDICT, Outcome.PASS).index)

    def measurements(self) -> tuple[Measurement, Measurement]:
        """For the gates of the rate and of slow rounds, which then come to these outcomes; n is 0 if the run cannot be trusted."""
        value, *ends = self.judged.percent()
        share, n = self.compared.slow, 0 if self.doubts else self.rounds.compute_ms.size
        return (
            Measurement(
                "rate against champion", value, "%", n, self.rate.reason, self._details(), _interval(n, *ends),
                gate="champion.slower",
            ),
            Measurement(
                "slow rounds against champion", share.value, "%", n, self.slow.reason,
                {"slow": list(share.slow), "rounds": list(share.rounds)}, _interval(n, share.low, share.high),
                gate="champion.slow_rounds",
            ),
        )  # fmt: skip

    def _details(self) -> dict[str, Any]:
        run, compared = self.rounds, self.compared
        return {
            "outcome": self.rate.outcome.value,
            "reasons": list(self.doubts) or [self.rate.reason],
            "log_ratio": _finite(compared.change),
            "log_ratio_late": _finite(compared.late) if compared.late else None,
            "champion_against_itself": _finite(compared.noise),
            "error_each_side": ERROR,
            "looks": list(run.plan.looks),
            "sides": list(SIDES),
            "seed": run.seed,
            "orders": ["".join(map(str, order)) for order in run.orders],
            "compute_ms": np.round(run.compute_ms, 5).tolist(),
            "largest_step_percent": 100 * math.expm1(largest_step(run.compute_ms)),
            "before": asdict(run.before),
            "after": asdict(run.after),
            "stopped": run.stopped,
        }


def judge_champion(run: PairedRounds, bounds: ChampionBounds) -> ChampionVerdict:
    """What the rounds come to, if no more are taken."""
    compared = _compare(run.compute_ms, bounds, run.plan)
    doubted = tuple(doubts(run, compared.change, compared.noise, bounds))
    judged, rate = _rate(compared, bounds)
    slow = _slow(compared.slow, bounds)
    if doubted:
        judged = compared.change
        rate = Finding(Outcome.NO_VERDICT, " ".join(doubted))
        slow = Finding(Outcome.NO_VERDICT, "The rounds cannot be judged, as the rate against the champion says.")
    return ChampionVerdict(rate, slow, doubted, judged, compared, run)


def enough(bounds: ChampionBounds, plan: Plan) -> Callable[[Rounds], bool]:
    """Says of the rounds so far whether it is decided, or no further round can mend it."""

    def asked(compute_ms: Rounds) -> bool:
        compared = _compare(compute_ms, bounds, plan)
        if unsteady(compute_ms, compared.noise, bounds):
            return True
        if even(compared.noise, bounds) is not Outcome.PASS:
            return False
        if unbelievable(compared.change, bounds):
            return True
        outcomes = {_rate(compared, bounds)[1].outcome, _slow(compared.slow, bounds).outcome}
        return Outcome.FAIL in outcomes or outcomes == {Outcome.PASS}

    return asked


def _compare(compute_ms: Rounds, bounds: ChampionBounds, plan: Plan) -> Comparison:
    """Each look gets an equal part of the error, and at each the two rates, of all rounds and of the last ones, get half of that."""
    error = ERROR / len(plan.looks)
    last = late(compute_ms)
    slow = slow_share(compute_ms, bounds.slow_round.bound, error)
    return Comparison(
        against_champion(compute_ms, error / 2),
        None if last is None else against_champion(last, error / 2),
        twin_against_champion(compute_ms, error),
        slow if plan.unseen else slow.as_seen(),
    )


def _rate(compared: Comparison, bounds: ChampionBounds) -> tuple[LogRatio, Finding]:
    """The rate over the rounds that decide, all or the last third, and what it comes to: the worse of both."""
    percent = f"{-bounds.slower.bound:g} %"
    means = {
        Outcome.FAIL: f"is slower by more than {percent}",
        Outcome.NO_VERDICT: f"leaves open whether it is {percent} slower",
        Outcome.PASS: f"is not slower by more than {percent}",
    }
    spans = [("The challenger's rate is", compared.change)]
    if compared.late:
        spans.append(("In the last third of the rounds the challenger's rate is", compared.late))
    readings = [(within(bounds.slower, *change.percent()[1:]), what, change) for what, change in spans]
    outcome, what, change = min(readings, key=lambda entry: list(means).index(entry[0]))
    return change, Finding(outcome, f"{what} {shown(change)}, which {means[outcome]}.")


def _slow(share: SlowShare, bounds: ChampionBounds) -> Finding:
    """What the slow rounds come to."""
    limit = bounds.slow_rounds
    means = {
        Outcome.FAIL: f"is more than {limit.bound:g} % beyond the champion's",
        Outcome.NO_VERDICT: f"leaves open whether {limit.bound:g} % more are slow",
        Outcome.PASS: f"is not more than {limit.bound:g} % beyond the champion's",
    }
    outcome = within(limit, share.low, share.high)
    return Finding(
        outcome,
        f"{share.slow[0]} of {share.rounds[0]} rounds of the challenger and {share.slow[1]} of {share.rounds[1]} of the champion "
        f"took over {bounds.slow_round.bound:g} % longer than usual: {share.value:+.2f} % "
        f"({share.low:+.2f} to {share.high:+.2f} %), which {means[outcome]}.",
    )


def _interval(n: int, low: float, high: float) -> tuple[float, float] | None:
    """For a measurement of `n` rounds; None if they are not to be judged, or say nothing."""
    return (low, high) if n and math.isfinite(low) and math.isfinite(high) else None


def _finite(ratio: LogRatio) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in asdict(ratio).items()}
