"""How much faster or slower than the champion is the challenger on the same device, and how sure is that?

The champion is the last accepted OM, the challenger the new one; the twin is the champion a second time, best from a load of
its own, and shows what a difference of nothing looks like here. The three take turns in blocks of nine rounds,

    A B C  B C A  C A B      A champion, B challenger, C twin

so that a clock that drifts evenly meets all of them equally, and nobody follows itself with warm caches. A block gives one
log ratio; a trimmed mean over blocks forgets the odd slow round. What a whole process or device does to its speed that day is
the same on both sides and cancels, so none of this may be said of rounds from different processes.

Sampling may stop after any of `LOOKS` blocks. Every look gets an equal part of the allowed error (Bonferroni), so that
looking often finds nothing that is not there. `benchmarks/champion_simulation.py` shows how often the verdict is right.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fcos_lib.errors import SessionError

SIDES = ("champion", "challenger", "twin")
ORDER = (0, 1, 2, 1, 2, 0, 2, 0, 1)
"""Who runs in a block, as an index into `SIDES`: every side's rounds have the same mean position."""
LOOKS = (8, 12, 18, 27)
"""After how many blocks sampling may stop; after the last it does."""
ERROR = 0.01
"""How often an interval of any look may lie wholly above the true value; and as often wholly below."""
TRIMMED = 5
"""One block in five is left out at each end."""

Runner = Callable[[], float]
"""Runs one round, a batch or always the same number of them, and returns its compute time in ms."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What else could explain a changed rate; None is unknown."""

    clock_mhz: float | None = None
    temperature_c: float | None = None
    processes: tuple[str, ...] | None = None
    """Others on the device, e.g. `python (4711)`."""
    power_w: float | None = None
    memory_used_mb: int | None = None


@dataclass(frozen=True, slots=True)
class PairedRounds:
    """All rounds of one comparison."""

    compute_ms: NDArray[np.float64]
    """float64[blocks, 9], in the order in which they ran: `ORDER`"""
    before: DeviceFacts
    after: DeviceFacts
    stopped: str
    """Why sampling ended: `decided`, `blocks` or `time`."""


@dataclass(frozen=True, slots=True)
class LogRatio:
    """ln(rate of one side / rate of the champion): positive is faster."""

    value: float
    low: float
    high: float
    """`low` to `high` holds the true value; for all looks together, each end is wrong in at most `ERROR` of all runs."""

    def percent(self) -> tuple[float, float, float]:
        """Value, low and high as a change of the rate in %."""
        return (100 * math.expm1(self.value), 100 * math.expm1(self.low), 100 * math.expm1(self.high))


def take_turns(
    champion: Runner,
    challenger: Runner,
    twin: Runner,
    enough: Callable[[NDArray[np.float64]], bool],
    *,
    facts: Callable[[], DeviceFacts] = DeviceFacts,
    seconds: float = 600.0,
    warm_up: int = 3,
    clock: Callable[[], float] = time.monotonic,
) -> PairedRounds:
    """Run the three in turns until `enough` says so of the rounds, `LOOKS` ends or `seconds` have passed.

    `warm_up` rounds of each come first and count for nothing but time. `facts` is asked after them and at the end. Runners
    on the same batch, so that a ratio of times is one of rates. `SessionError` if a runner returns no time.
    """
    runners = (champion, challenger, twin)
    start = clock()
    for side in range(len(SIDES)):
        for _ in range(warm_up):
            _round(runners[side], side)
    before = facts()
    blocks: list[list[float]] = []
    stopped = ""
    while not stopped:
        blocks.append([_round(runners[side], side) for side in ORDER])
        if len(blocks) in LOOKS and enough(np.array(blocks)):
            stopped = "decided"
        elif len(blocks) == LOOKS[-1]:
            stopped = "blocks"
        elif clock() - start >= seconds:
            stopped = "time"
    return PairedRounds(np.array(blocks), before, facts(), stopped)


def compare(compute_ms: NDArray[np.float64], side: str, other: str = "champion") -> LogRatio:
    """`side` against `other` over float64[blocks, 9] times in ms; infinitely wide for fewer than two blocks."""
    by_side = {name: np.array(ORDER) == index for index, name in enumerate(SIDES)}
    logs = np.log(compute_ms)
    return trimmed_interval(logs[:, by_side[other]].mean(axis=1) - logs[:, by_side[side]].mean(axis=1))


def trimmed_interval(values: NDArray[np.float64]) -> LogRatio:
    """A fifth trimmed off each end, with Student's interval from the winsorised spread (Tukey and McLaughlin 1963)."""
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # a tenth of a second to import

    n, off = len(values), len(values) // TRIMMED
    kept = n - 2 * off
    ordered = np.sort(values)
    centre = float(ordered[off : n - off].mean())
    if kept < 2:
        return LogRatio(centre, -math.inf, math.inf)
    pulled_in = np.clip(ordered, ordered[off], ordered[n - off - 1])
    error = math.sqrt(float(((pulled_in - pulled_in.mean()) ** 2).sum()) / (kept * (kept - 1)))
    margin = float(stdtrit(kept - 1, 1 - ERROR / len(LOOKS))) * error
    return LogRatio(centre, centre - margin, centre + margin)


def largest_step(compute_ms: NDArray[np.float64]) -> float:
    """Largest jump of the champion's own time between two neighbouring pairs of blocks, as ln; 0 for fewer than four.

    A clock that is switched jumps by its whole step, one that drifts by a small part of its way.
    """
    own = np.log(compute_ms)[:, np.array(ORDER) != SIDES.index("challenger")]
    if len(own) < 4:
        return 0.0
    level = np.median(np.concatenate([own[:-1], own[1:]], axis=1), axis=1)
    return float(np.abs(level[2:] - level[:-2]).max())


def _round(runner: Runner, side: int) -> float:
    ms = float(runner())
    if not (math.isfinite(ms) and ms > 0):
        raise SessionError(
            f"a round of the {SIDES[side]} took {ms} ms", "check that the runtime's timings are on and were not reset"
        )
    return ms
