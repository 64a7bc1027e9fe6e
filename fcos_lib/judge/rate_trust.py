"""Trust in the rounds of a comparison: what was wrong with the run itself, so that its numbers must not be judged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from msgspec import structs

from fcos_lib.judge.limits import Limit, needed_limit
from fcos_lib.judge.verdict import Outcome, within
from fcos_lib.measure.throughput.paired_rate import DeviceFacts, PairedRounds, Rounds
from fcos_lib.measure.throughput.rate_ratio import LogRatio, largest_step


@dataclass(frozen=True, slots=True)
class ChampionBounds:
    """What a comparison is judged by."""

    slower: Limit
    """The floor: at least this change of the rate, in %; negative. The champion against itself must stay within it."""
    faster: Limit
    """At most this change, in %; more is not believed."""
    slow_rounds: Limit
    """At most so many more slow rounds than the champion has, in % of rounds."""
    slow_round: Limit
    """A round is slow that takes at least so much longer than the champion's usual one, in %."""
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


def champion_bounds(limits: Mapping[str, Limit]) -> ChampionBounds:
    """The bounds among `all_limits()`; `UsageError` if one is not there."""
    names = (field.name for field in fields(ChampionBounds))
    return ChampionBounds(**{name: needed_limit(f"rate_against_champion.{name}", limits) for name in names})


def doubts(run: PairedRounds, change: LogRatio, noise: LogRatio, bounds: ChampionBounds) -> list[str]:
    """Why the rounds must not be judged, a sentence each; empty if they may.

    `change` is the challenger against the champion, `noise` the twin.
    """
    return [
        *_moved(run.before, run.after, bounds),
        *unsteady(run.compute_ms, noise, bounds),
        *_unresolved(run, noise, bounds),
        *unbelievable(change, bounds),
    ]


def unsteady(compute_ms: Rounds, noise: LogRatio, bounds: ChampionBounds) -> list[str]:
    """What no further round can mend, a sentence each."""
    reasons = []
    step = 100 * math.expm1(largest_step(compute_ms))
    if not bounds.step.holds(step):
        reasons.append(
            f"The champion's own time jumped by {step:.1f} % during the run: its clock was switched, or something came and went."
        )
    if even(noise, bounds) is Outcome.FAIL:
        reasons.append(f"The champion's rate against itself is {shown(noise)}, so its second place is not equal.")
    return reasons


def unbelievable(change: LogRatio, bounds: ChampionBounds) -> list[str]:
    """A sentence if the challenger is too fast to be believed."""
    if within(bounds.faster, *change.percent()[1:]) is not Outcome.FAIL:
        return []
    return [
        f"The challenger's rate is {shown(change)}, too fast by more than {bounds.faster.bound:g} % to be believed: check "
        "that it does the same work, and accept it as champion if it does."
    ]


def even(noise: LogRatio, bounds: ChampionBounds) -> Outcome:
    """The champion against itself: PASS within the floor up and down, FAIL if a place is slower, NO VERDICT if noise hides it."""
    above = structs.replace(bounds.slower, bound=100 * math.expm1(-bounds.floor), at_least=False)
    readings = {within(limit, *noise.percent()[1:]) for limit in (bounds.slower, above)}
    return next(outcome for outcome in (Outcome.FAIL, Outcome.NO_VERDICT, Outcome.PASS) if outcome in readings)


def shown(ratio: LogRatio) -> str:
    """`-1.53 % (-1.81 to -1.24 %)`"""
    value, low, high = ratio.percent()
    return f"{value:+.2f} % ({low:+.2f} to {high:+.2f} %)"


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


def _unresolved(run: PairedRounds, noise: LogRatio, bounds: ChampionBounds) -> list[str]:
    blocks, least = len(run.compute_ms), run.plan.looks[0]
    if blocks < least:
        return [f"Only {blocks} blocks of rounds were run before the time was up; {least} are needed."]
    if even(noise, bounds) is not Outcome.NO_VERDICT:
        return []
    percent = f"{-bounds.slower.bound:g} %"
    return [f"The champion's rate against itself is {shown(noise)}, which is too noisy to see {percent}."]
