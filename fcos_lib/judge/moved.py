"""Numbers that moved between two runs, or only by noise, with what each was held against.

Most numbers of the suite repeat to the last digit on the same OM and pictures, and nobody knows how far they scatter between
OMs. So the measure is what a reader would ask for: the interval if there is one, the scatter of the rounds for a rate, and
otherwise how near the change brings the number to its limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fcos_lib.judge.limits import Limit, find_limit
from fcos_lib.judge.verdict import Verdict

OF_THE_DISTANCE = 0.1
"""A change by less than this share of a number's distance to its limit leaves the reader where he was."""
_RATE = "images/s"
_BY_UNIT = {_RATE: ("rate_against_history", "slower"), "B": ("cost", "om_size")}
"""Whose limit, in %, says what is usual for a unit without anything better."""


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
        one, other = self.before.measurement.value, self.after.measurement.value
        return one == other or (math.isnan(one) and math.isnan(other))

    @property
    def turned(self) -> bool:
        """True if the verdict is another one."""
        return self.before.outcome is not self.after.outcome


def moved(before: Verdict, after: Verdict) -> Move:
    """Two verdicts of the same gate."""
    beyond, held_against = _beyond(before, after)
    return Move(before, after, beyond, held_against)


def _beyond(before: Verdict, after: Verdict) -> tuple[bool, str]:
    one, other = before.measurement, after.measurement
    if one.unit != other.unit:
        return True, f"{one.unit} became {other.unit}"
    if one.value == other.value or (math.isnan(one.value) and math.isnan(other.value)):
        return False, "the same number"
    if before.stand_in is not after.stand_in:
        return True, "one is STAND-IN: not to be compared"
    if not (math.isfinite(one.value) and math.isfinite(other.value) and one.n and other.n):
        return True, "one of them is no number, or of nothing"
    change = abs(other.value - one.value)
    if one.unit == _RATE and before.stand_in:
        return False, "STAND-IN: the speed of the host"
    if one.interval or other.interval:
        reach = math.hypot(_reach(before, other.value), _reach(after, one.value))
        return change > reach, f"intervals: {reach:.3g} {one.unit}"
    if one.unit in _BY_UNIT and one.value > 0 < other.value:
        return _against_the_usual(before, after)
    distances = [_distance(verdict.limit, verdict.measurement.value) for verdict in (before, after) if verdict.limit]
    if not distances:
        return True, "nothing says how it scatters: any change counts"
    reach = OF_THE_DISTANCE * max(distances)
    return change > reach, f"a tenth of the distance to the limit: {reach:.3g} {one.unit}"


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
    one, other = before.measurement, after.measurement
    usual = find_limit(*_BY_UNIT[one.unit])
    percent = abs(usual.bound) if usual else 0.0
    beyond = abs(other.value / one.value - 1) > percent / 100
    text = f"{percent:g} % between runs" if one.unit == _RATE else f"{percent:g} %"
    rounds = [_rounds(one.value, one.details), _rounds(other.value, other.details)]
    if one.unit == _RATE and all(rounds):
        (low, high), (other_low, other_high) = ((min(rates), max(rates)) for rates in rounds)
        beyond = beyond and (other_low > high or other_high < low)
        text += " and the rounds of both"
    return beyond, text


def _rounds(rate: float, details: Mapping[str, Any]) -> list[float]:
    """The rates of the middle 80 % of a measurement's rounds; empty if it does not list their times."""
    times = details.get("ms")
    if not isinstance(times, list) or not times or not all(isinstance(one, (int, float)) and one > 0 for one in times):
        return []
    mean = sum(times) / len(times)
    cut = len(times) // 10
    return [rate * mean / one for one in sorted(times)[cut : len(times) - cut]]
