"""Changes between runs: a rate beside those of accepted runs, and any number beside that of one other run.

The unit of evidence for a rate is the run. Rounds of one process agree far better with each other than with those of the next,
so only the spread between runs says what is usual. It is far coarser than `champion.py`.

Most other numbers repeat to the last digit on the same OM and pictures, and nobody knows how far they scatter between OMs. So the
measure is what a reader would ask for: the interval if there is one, the scatter of the rounds for a rate, and otherwise how near
the change brings the number to its limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from fcos_lib.judge.limits import Limit, needed_limit
from fcos_lib.judge.verdict import Outcome, Verdict, within

LEAST_RUNS = 8
"""With fewer, the spread is a guess: over five runs it is seen at less than half its size in two cases of seven."""
_CHANCE = 0.005
_WIDEST = 2.0
"""Times the floor; if earlier runs scatter wider than that, what fits in shows nothing."""
OF_THE_DISTANCE = 0.1
"""A change by less than this share of a number's distance to its limit leaves the reader where he was."""
_RATE = "images/s"
_BY_UNIT = {_RATE: "rate_against_history.slower", "B": "cost.om_size"}
"""Whose limit, in %, says what is usual for a unit without anything better."""


@dataclass(frozen=True, slots=True)
class HistoryVerdict:
    """What a new rate comes to beside earlier ones."""

    outcome: Outcome
    """PASS, FAIL or NO VERDICT."""
    low: float
    high: float
    """What was to be expected, in the unit of the rates; NaN without enough runs."""
    n: int
    """Earlier runs."""
    reason: str
    """A sentence."""


def judge_against_history(new: float, earlier: Sequence[float]) -> HistoryVerdict:
    """A rate against those of earlier accepted runs, one number each, all of the same fingerprint and unit.

    Expected is their median, give or take the floor (`rate_against_history.slower` of limits.toml), or what their own spread makes
    of it if that is more. Slower is FAIL, within is PASS. Faster by more than `rate_against_history.faster` is NO VERDICT, and
    so are too few runs and runs that scatter so much that fitting in means nothing.
    """
    n, floor = len(earlier), -needed_limit("rate_against_history.slower").bound / 100
    faster = needed_limit("rate_against_history.faster").bound / 100
    if not all(math.isfinite(rate) and rate > 0 for rate in (new, *earlier)):
        return HistoryVerdict(Outcome.NO_VERDICT, math.nan, math.nan, n, "A rate is not a positive number.")
    if n < LEAST_RUNS:
        reason = f"There are {n} earlier runs with this fingerprint, and {LEAST_RUNS} are needed."
        return HistoryVerdict(Outcome.NO_VERDICT, math.nan, math.nan, n, reason)
    logs = [math.log(rate) for rate in earlier]
    centre = median(logs)
    usual = _robust_deviations(n) * 1.4826 * median(abs(value - centre) for value in logs)
    reach = max(usual, -math.log1p(-floor))
    low, high = math.exp(centre - reach), math.exp(centre + reach)
    change = f"{100 * math.expm1(math.log(new) - centre):+.1f} % against the median of {n} earlier runs"
    slowest, fastest = (
        Limit("rate_against_history", bound, at_least, "images/s", "the accepted runs and their spread", derived=True)
        for bound, at_least in ((low, True), (max(high, math.exp(centre) * (1 + faster)), False))
    )
    outcome = within(slowest, new)
    if outcome is Outcome.FAIL:
        reason = f"The rate is {change}; {low:.4g} to {high:.4g} was to be expected."
    elif within(fastest, new) is Outcome.FAIL:
        outcome = Outcome.NO_VERDICT
        reason = f"The rate is {change}, too fast by more than {100 * faster:g} % to be believed: check that the work is the same."
    elif new > high:
        reason = f"The rate is {change}, a gain beyond the {low:.4g} to {high:.4g} expected."
    elif usual > -_WIDEST * math.log1p(-floor):
        outcome = Outcome.NO_VERDICT
        reason = (
            f"Earlier runs scatter by ±{100 * math.expm1(usual):.1f} %, too much to see a change of {100 * floor:g} %."
        )
    else:
        reason = f"The rate is {change}, within the {low:.4g} to {high:.4g} expected."
    return HistoryVerdict(outcome, low, high, n, reason)


def _robust_deviations(n: int) -> float:
    """How many robust deviations a new run may lie from the median of n others: Student's, with the median's own error."""
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # a tenth of a second to import

    return float(stdtrit(n - 1, 1 - _CHANCE)) * math.sqrt(1 + math.pi / 2 / n)


@dataclass(frozen=True, slots=True)
class Move:
    """One number of two runs."""

    before: Verdict
    after: Verdict
    beyond: bool
    """More than noise."""
    held_against: str
    """What says so, in words."""

    @property
    def same(self) -> bool:
        """To the last digit."""
        before, after = self.before.measurement.value, self.after.measurement.value
        return before == after or (math.isnan(before) and math.isnan(after))

    @property
    def turned(self) -> bool:
        """True if the verdict is another one."""
        return self.before.outcome is not self.after.outcome


def moved(before: Verdict, after: Verdict) -> Move:
    """Two verdicts of the same gate."""
    beyond, held_against = _beyond(before, after)
    return Move(before, after, beyond, held_against)


def _beyond(before: Verdict, after: Verdict) -> tuple[bool, str]:
    old, new = before.measurement, after.measurement
    if old.unit != new.unit:
        return True, f"{old.unit} became {new.unit}"
    if old.value == new.value or (math.isnan(old.value) and math.isnan(new.value)):
        return False, "the same number"
    if before.stand_in is not after.stand_in:
        return True, "one is STAND-IN: not to be compared"
    if not (math.isfinite(old.value) and math.isfinite(new.value) and old.n and new.n):
        return True, "one of them is no number, or of nothing"
    change = abs(new.value - old.value)
    if old.unit == _RATE and before.stand_in:
        return False, "STAND-IN: the speed of the host"
    if old.interval or new.interval:
        reach = math.hypot(_reach(before, new.value), _reach(after, old.value))
        return change > reach, f"intervals: {reach:.3g} {old.unit}"
    if old.unit in _BY_UNIT and old.value > 0 < new.value:
        return _against_the_usual(before, after)
    distances = [_distance(verdict.limit, verdict.measurement.value) for verdict in (before, after) if verdict.limit]
    if not distances:
        return True, "nothing says how it scatters: any change counts"
    reach = OF_THE_DISTANCE * max(distances)
    return change > reach, f"a tenth of the distance to the limit: {reach:.3g} {old.unit}"


def _reach(verdict: Verdict, towards: float) -> float:
    """How far the interval goes from the value towards another one; 0 without an interval."""
    measured = verdict.measurement
    if not measured.interval:
        return 0.0
    low, high = measured.interval
    return max(high - measured.value if towards > measured.value else measured.value - low, 0.0)


def _distance(limit: Limit, value: float) -> float:
    return abs(value - limit.bound)


def _against_the_usual(before: Verdict, after: Verdict) -> tuple[bool, str]:
    """Numbers above 0 by their ratio: beyond what is usual between runs, and for rates beyond the rounds of both as well."""
    old, new = before.measurement, after.measurement
    percent = abs(needed_limit(_BY_UNIT[old.unit]).bound)
    beyond = abs(new.value / old.value - 1) > percent / 100
    text = f"{percent:g} % between runs" if old.unit == _RATE else f"{percent:g} %"
    rounds = [_rounds(old.value, old.details), _rounds(new.value, new.details)]
    if old.unit == _RATE and all(rounds):
        (low, high), (other_low, other_high) = ((min(rates), max(rates)) for rates in rounds)
        beyond = beyond and (other_low > high or other_high < low)
        text += " and the rounds of both"
    return beyond, text


def _rounds(rate: float, details: Mapping[str, Any]) -> list[float]:
    """The rates of the middle 80 % of a measurement's rounds; empty if it does not list their times."""
    times = details.get("ms")
    if not isinstance(times, list) or not times or not all(isinstance(ms, (int, float)) and ms > 0 for ms in times):
        return []
    mean = sum(times) / len(times)
    cut = len(times) // 10
    return [rate * mean / ms for ms in sorted(times)[cut : len(times) - cut]]
