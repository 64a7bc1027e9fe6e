"""The baseline where there is no champion: whether a new rate fits the earlier runs on the same fingerprint.

The unit of evidence is the run. Rounds of one process agree far better with each other than with those of the next, so only
the spread between runs says what is usual. It is far coarser than `champion.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from fcos_lib.judge.verdict import Outcome

LEAST_RUNS = 8
"""With fewer, the spread is a guess: over five runs it is seen at less than half its size in two cases of seven."""
_CHANCE = 0.005
_WIDEST = 2.0
"""Times the floor; if earlier runs scatter wider than that, what fits in shows nothing."""


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


def judge_against_history(
    new: float, earlier: Sequence[float], floor: float = 0.03, faster: float = 0.25
) -> HistoryVerdict:
    """A rate against those of earlier accepted runs, one number each, all of the same fingerprint and unit.

    Expected is their median, give or take `floor` (a share), or what their own spread makes of it if that is more. Slower is
    FAIL, within is PASS. Faster by more than `faster` (a share) is NO VERDICT, and so are too few runs and runs that scatter
    so much that fitting in means nothing.
    """
    n = len(earlier)
    if not all(math.isfinite(rate) and rate > 0 for rate in (new, *earlier)):
        return HistoryVerdict(Outcome.NO_VERDICT, math.nan, math.nan, n, "A rate is not a positive number.")
    if n < LEAST_RUNS:
        reason = f"There are {n} earlier runs with this fingerprint, and {LEAST_RUNS} are needed."
        return HistoryVerdict(Outcome.NO_VERDICT, math.nan, math.nan, n, reason)
    logs = [math.log(rate) for rate in earlier]
    centre = median(logs)
    usual = _reach(n) * 1.4826 * median(abs(value - centre) for value in logs)
    reach = max(usual, -math.log1p(-floor))
    low, high = math.exp(centre - reach), math.exp(centre + reach)
    change = f"{100 * math.expm1(math.log(new) - centre):+.1f} % against the median of {n} earlier runs"
    if new < low:
        outcome, reason = Outcome.FAIL, f"The rate is {change}; {low:.4g} to {high:.4g} was to be expected."
    elif math.log(new) - centre > max(reach, math.log1p(faster)):
        outcome = Outcome.NO_VERDICT
        reason = f"The rate is {change}, too fast by more than {100 * faster:g} % to be believed: check that the work is the same."
    elif new > high:
        outcome, reason = Outcome.PASS, f"The rate is {change}, a gain beyond the {low:.4g} to {high:.4g} expected."
    elif usual > -_WIDEST * math.log1p(-floor):
        outcome = Outcome.NO_VERDICT
        reason = (
            f"Earlier runs scatter by ±{100 * math.expm1(usual):.1f} %, too much to see a change of {100 * floor:g} %."
        )
    else:
        outcome, reason = Outcome.PASS, f"The rate is {change}, within the {low:.4g} to {high:.4g} expected."
    return HistoryVerdict(outcome, low, high, n, reason)


def _reach(n: int) -> float:
    """How many robust deviations a new run may lie from the median of n others: Student's, with the median's own error."""
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # a tenth of a second to import

    return float(stdtrit(n - 1, 1 - _CHANCE)) * math.sqrt(1 + math.pi / 2 / n)
