"""Is the challenger slower than the champion, by more than matters? Or was this run no way to find out?

FAIL and PASS need the whole interval on one side of the floor. Everything else is NO VERDICT: the floor lies inside the
interval, the champion differs from itself, the device was not the same before and after, or the gain is too good to be true.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.errors import UsageError
from fcos_lib.judge.limits import Limit
from fcos_lib.judge.verdict import Outcome
from fcos_lib.measure import Measurement
from fcos_lib.measure.paired_rate import (
    ERROR,
    LOOKS,
    ORDER,
    SIDES,
    DeviceFacts,
    LogRatio,
    PairedRounds,
    compare,
    largest_step,
)


@dataclass(frozen=True, slots=True)
class ChampionBounds:
    """What a comparison is judged by."""

    slower: Limit
    """The floor: at least this change of the rate, in %; negative. The champion against itself must stay within it."""
    faster: Limit
    """At most this change, in %; more is not believed."""
    step: Limit
    """At most this jump of the champion's own time, in %."""
    clock: Limit
    """At most this change of the clock, in %, up or down."""
    temperature: Limit
    """At most this change, in °C, up or down."""

    @property
    def floor(self) -> float:
        """`slower` as a log ratio."""
        return math.log1p(self.slower.bound / 100)


@dataclass(frozen=True, slots=True)
class ChampionVerdict:
    """What a comparison came to."""

    outcome: Outcome
    """PASS, FAIL or NO VERDICT."""
    reasons: tuple[str, ...]
    """Sentences; at least one."""
    change: LogRatio
    """Challenger against champion."""
    noise: LogRatio
    """Twin against champion: nothing but noise."""
    n: int
    """Rounds, of all three sides."""
    trusted: bool
    """False if something was wrong with the run itself, so that its number must not be judged."""
    rounds: PairedRounds

    def measurement(self) -> Measurement:
        """For `decide` against the bound `slower`, which then comes to this outcome; n is 0 if the run cannot be trusted."""
        value, *ends = self.change.percent()
        known = all(map(math.isfinite, ends))
        return Measurement(
            name="rate against champion",
            value=value,
            unit="%",
            n=self.n if self.trusted else 0,
            where=" ".join(self.reasons),
            details=self._details(),
            interval=(ends[0], ends[1]) if known and self.trusted else None,
            gate="champion.slower",
        )

    def _details(self) -> dict[str, Any]:
        run = self.rounds
        return {
            "outcome": self.outcome.value,
            "reasons": list(self.reasons),
            "log_ratio": _finite(self.change),
            "champion_against_itself": _finite(self.noise),
            "error_each_side": ERROR,
            "looks": list(LOOKS),
            "order": [SIDES[side] for side in ORDER],
            "compute_ms": np.round(run.compute_ms, 5).tolist(),
            "largest_step_percent": 100 * math.expm1(largest_step(run.compute_ms)),
            "before": asdict(run.before),
            "after": asdict(run.after),
            "stopped": run.stopped,
        }


def champion_bounds(limits: Mapping[str, Limit]) -> ChampionBounds:
    """The bounds among `all_limits()`; `UsageError` if one is not there."""
    found = {}
    for name in ("slower", "faster", "step", "clock", "temperature"):
        limit = limits.get(f"rate_against_champion.{name}")
        if limit is None:
            raise UsageError(f"limits.toml has no [rate_against_champion.{name}]", "start from a copy of the original")
        found[name] = limit
    return ChampionBounds(**found)


def judge_champion(run: PairedRounds, bounds: ChampionBounds) -> ChampionVerdict:
    """What the rounds come to, if no more are taken."""
    change, noise = compare(run.compute_ms, "challenger"), compare(run.compute_ms, "twin")
    trouble = [
        *_moved(run.before, run.after, bounds),
        *_unsteady(run.compute_ms, noise, bounds),
        *_unresolved(run, noise, bounds),
        *_unbelievable(change, bounds),
    ]
    if trouble:
        outcome, reasons = Outcome.NO_VERDICT, trouble
    else:
        outcome, reason = _against_the_floor(change, bounds)
        reasons = [reason]
    return ChampionVerdict(outcome, tuple(reasons), change, noise, run.compute_ms.size, not trouble, run)


def enough(bounds: ChampionBounds) -> Callable[[NDArray[np.float64]], bool]:
    """Asked of the rounds so far, float64[blocks, 9]: is it decided, or can no further round mend it?"""

    def asked(compute_ms: NDArray[np.float64]) -> bool:
        change, noise = compare(compute_ms, "challenger"), compare(compute_ms, "twin")
        if any(_unsteady(compute_ms, noise, bounds)):
            return True
        return _within(noise, bounds) and not change.low < bounds.floor <= change.high

    return asked


def _against_the_floor(change: LogRatio, bounds: ChampionBounds) -> tuple[Outcome, str]:
    shown, floor = _shown(change), f"{-bounds.slower.bound:g} %"
    if change.high < bounds.floor:
        return Outcome.FAIL, f"The challenger's rate is {shown}, which is slower by more than {floor}."
    if change.low < bounds.floor:
        return Outcome.NO_VERDICT, f"The challenger's rate is {shown}, which leaves open whether it is {floor} slower."
    return Outcome.PASS, f"The challenger's rate is {shown}, which is not slower by more than {floor}."


def _moved(before: DeviceFacts, after: DeviceFacts, bounds: ChampionBounds) -> list[str]:
    reasons = []
    clocks, degrees = (before.clock_mhz, after.clock_mhz), (before.temperature_c, after.temperature_c)
    if _changed(*clocks, bounds.clock, relative=True):
        reasons.append(f"The clock was {clocks[0]:g} MHz before the rounds and {clocks[1]:g} MHz after.")
    if _changed(*degrees, bounds.temperature, relative=False):
        reasons.append(f"The device was at {degrees[0]:g} °C before the rounds and {degrees[1]:g} °C after.")
    if before.processes is not None and after.processes is not None and set(before.processes) != set(after.processes):
        names = [", ".join(sorted(facts.processes or ())) or "none" for facts in (before, after)]
        reasons.append(f"Other processes on the device changed: {names[0]} before, {names[1]} after.")
    return reasons


def _changed(before: float | None, after: float | None, limit: Limit, *, relative: bool) -> bool:
    """More than the limit allows; what is unknown did not change."""
    if before is None or after is None:
        return False
    return not limit.holds(abs(after - before) * (100 / before if relative and before else 1))


def _unsteady(compute_ms: NDArray[np.float64], noise: LogRatio, bounds: ChampionBounds) -> list[str]:
    """What no further round can mend."""
    reasons = []
    step = 100 * math.expm1(largest_step(compute_ms))
    if not bounds.step.holds(step):
        reasons.append(
            f"The champion's own time jumped by {step:.1f} % during the run: its clock was switched, or something came and went."
        )
    if noise.low > -bounds.floor or noise.high < bounds.floor:
        reasons.append(f"The champion's rate against itself is {_shown(noise)}, so its second place is not equal.")
    return reasons


def _unresolved(run: PairedRounds, noise: LogRatio, bounds: ChampionBounds) -> list[str]:
    if len(run.compute_ms) < LOOKS[0]:
        return [f"Only {len(run.compute_ms)} blocks of rounds were run before the time was up; {LOOKS[0]} are needed."]
    if _within(noise, bounds) or noise.low > -bounds.floor or noise.high < bounds.floor:
        return []
    return [
        f"The champion's rate against itself is {_shown(noise)}, which is too noisy to see {-bounds.slower.bound:g} %."
    ]


def _unbelievable(change: LogRatio, bounds: ChampionBounds) -> list[str]:
    if bounds.faster.holds(change.percent()[1]) or not math.isfinite(change.low):
        return []
    return [
        f"The challenger's rate is {_shown(change)}, too fast by more than {bounds.faster.bound:g} % to be believed: check "
        "that it does the same work, and accept it as champion if it does."
    ]


def _within(noise: LogRatio, bounds: ChampionBounds) -> bool:
    return bounds.floor <= noise.low and noise.high <= -bounds.floor


def _shown(ratio: LogRatio) -> str:
    """`-1.53 % (-1.81 to -1.24 %)`"""
    value, low, high = ratio.percent()
    return f"{value:+.2f} % ({low:+.2f} to {high:+.2f} %)"


def _finite(ratio: LogRatio) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in asdict(ratio).items()}
