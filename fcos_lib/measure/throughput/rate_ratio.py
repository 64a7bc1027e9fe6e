"""Statistics of rounds in turns: the ratio of rates with an interval, the share of slow rounds, and jumps of the device.

The rate is what a user gets: pictures over the total time of all rounds, slow ones included. Rounds depend on those before them
and have long tails, so the interval is the widest of several: Student's over blocks, over pairs of blocks, over fours and so on
while `BATCHES` are left (batch means, Schmeiser 1982), each widened by how much neighbours are alike. Slow rounds that are too
rare to show in a mean are counted, and their exact bounds (Clopper and Pearson 1934) say how many may have stayed unseen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fcos_lib.measure.throughput.paired_rate import SIDES, Rounds

BATCHES = 12
"""The fewest batches of neighbouring blocks that an interval stands on, so that a batch is at most a twelfth of the rounds."""
LATE = 3
"""The last part of this many is also compared by itself, once it has `LATE_LEAST` blocks."""
LATE_LEAST = 30
WINDOW = 3
"""Blocks on each side of a jump."""
TRIMMED = 6
"""One in six of a window's rounds is left out at each end, so that the odd slow one is no jump."""

CHAMPION, CHALLENGER, TWIN = range(len(SIDES))


@dataclass(frozen=True, slots=True)
class LogRatio:
    """ln(rate of one side / rate of the other): positive is faster."""

    value: float
    low: float
    high: float
    """`low` to `high` holds the true value; each end is wrong with the probability that was asked for."""

    def percent(self) -> tuple[float, float, float]:
        """Value, low and high as a change of the rate in %."""
        return (100 * math.expm1(self.value), 100 * math.expm1(self.low), 100 * math.expm1(self.high))


@dataclass(frozen=True, slots=True)
class SlowShare:
    """How many more of the challenger's rounds are slow than of the champion's, in % of rounds."""

    value: float
    low: float
    high: float
    """`low` to `high` holds the true difference; each end is wrong with the probability that was asked for."""
    slow: tuple[int, int]
    """Slow rounds of the challenger, and of champion and twin together."""
    rounds: tuple[int, int]
    """All rounds of theirs."""

    def as_seen(self) -> SlowShare:
        """The same without those that may have stayed unseen: at most as many as were counted."""
        return replace(self, high=self.value)


def against_champion(compute_ms: Rounds, error: float) -> LogRatio:
    """The challenger's rate against the champion's and its twin's together; each end is wrong with the probability `error`."""
    totals = compute_ms.sum(axis=2)
    return ratio_of_totals(totals[:, CHALLENGER], (totals[:, CHAMPION] + totals[:, TWIN]) / 2, error)


def twin_against_champion(compute_ms: Rounds, error: float) -> LogRatio:
    """The champion's rate in its second place against that in its first: nothing but noise."""
    totals = compute_ms.sum(axis=2)
    return ratio_of_totals(totals[:, TWIN], totals[:, CHAMPION], error)


def late(compute_ms: Rounds) -> Rounds | None:
    """The last third of the blocks, where a slowdown that began late shows undiluted; None for fewer than 90."""
    blocks = len(compute_ms) // LATE
    return compute_ms[-blocks:] if blocks >= LATE_LEAST else None


def ratio_of_totals(side: NDArray[np.float64], other: NDArray[np.float64], error: float) -> LogRatio:
    """ln(total of `other` / total of `side`), float64[blocks] of times each; infinitely wide for fewer than two blocks."""
    value = math.log(other.mean() / side.mean())
    # The logarithm's change with each block, to first order; their mean is 0.
    margin = margin_of_mean(other / other.mean() - side / side.mean(), error)
    return LogRatio(value, value - margin, value + margin)


def margin_of_mean(values: NDArray[np.float64], error: float) -> float:
    """How far the mean of values, float64[n] in their order, may lie from the true one; more, each way, with at most `error`.

    Infinite for fewer than two values.
    """
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # a tenth of a second to import

    n = len(values)
    if n < 2:
        return math.inf
    margins = []
    length = 1
    while length == 1 or n // length >= BATCHES:
        batches = n // length
        sums = np.add.reduceat(values - values.mean(), np.arange(batches) * n // batches)
        square = float((sums**2).sum())
        # The correlation of neighbours, as if each followed its predecessor only (AR(1)): their sum varies by so much more.
        alike = max(0.0, float((sums[1:] * sums[:-1]).sum()) / square) if square else 0.0
        spread = math.sqrt(batches / (batches - 1) * square * (1 + alike) / (1 - alike)) / n
        margins.append(float(stdtrit(batches - 1, 1 - error)) * spread)
        length *= 2
    return max(margins)


def slow_share(compute_ms: Rounds, longer: float, error: float) -> SlowShare:
    """Rounds that took `longer` (%) more than the champion usually takes around that time; each end is wrong with `error`.

    The bounds of both shares are exact and joined as Newcombe (1998) does; where slow rounds come together, the batches of
    neighbouring blocks widen them.
    """
    slow = compute_ms > (1 + longer / 100) * usual_ms(compute_ms)[:, None, None]
    own, others = slow[:, CHALLENGER], slow[:, [CHAMPION, TWIN]]
    counts, sizes = (int(own.sum()), int(others.sum())), (own.size, others.size)
    shares = [count / size for count, size in zip(counts, sizes, strict=True)]
    (low, high), (other_low, other_high) = (
        share_bounds(count, size, error) for count, size in zip(counts, sizes, strict=True)
    )
    value = shares[0] - shares[1]
    margin = margin_of_mean(own.mean(axis=1) - others.mean(axis=(1, 2)), error)
    below = max(math.hypot(shares[0] - low, other_high - shares[1]), margin)
    above = max(math.hypot(high - shares[0], shares[1] - other_low), margin)
    return SlowShare(100 * value, 100 * (value - below), 100 * (value + above), counts, sizes)


def share_bounds(count: int, of: int, error: float) -> tuple[float, float]:
    """Exact bounds of a share of which `count` were seen in `of`; each is wrong with at most the probability `error`."""
    from scipy.special import betaincinv  # as above

    low = float(betaincinv(count, of - count + 1, error)) if count else 0.0
    high = float(betaincinv(count + 1, of - count, 1 - error)) if count < of else 1.0
    return low, high


def usual_ms(compute_ms: Rounds) -> NDArray[np.float64]:
    """The champion's usual time around each block, float64[blocks] in ms: a median over `WINDOW` blocks to both sides."""
    own = compute_ms[:, [CHAMPION, TWIN]].reshape(len(compute_ms), -1)
    around = np.pad(own, ((WINDOW, WINDOW), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(around, 2 * WINDOW + 1, axis=0)
    usual: NDArray[np.float64] = np.median(windows, axis=(1, 2))
    return usual


def largest_step(compute_ms: Rounds) -> float:
    """Largest lasting jump of the champion's own time, as ln; 0 for fewer than twice `WINDOW` blocks.

    From `WINDOW` blocks to as many that follow, and not less from twice as many to twice as many where the run has them. A clock
    that is switched jumps by its whole step, one that drifts by a small part of its way.
    """
    own = np.log(compute_ms[:, [CHAMPION, TWIN]]).reshape(len(compute_ms), -1)
    if len(own) < 2 * WINDOW:
        return 0.0
    jumps = _jumps(own, WINDOW)
    inner = jumps[WINDOW:-WINDOW]  # where twice as many are on both sides
    np.minimum(inner, _jumps(own, 2 * WINDOW), out=inner)
    return float(jumps.max())


def _jumps(own: NDArray[np.float64], blocks: int) -> NDArray[np.float64]:
    """How far the level of so many blocks lies from that of as many before, up or down, wherever both are in the run."""
    windows = np.lib.stride_tricks.sliding_window_view(own, blocks, axis=0).reshape(len(own) - blocks + 1, -1)
    off = windows.shape[1] // TRIMMED
    level = np.sort(windows, axis=1)[:, off:-off].mean(axis=1)
    jumps: NDArray[np.float64] = np.abs(level[blocks:] - level[:-blocks])
    return jumps
