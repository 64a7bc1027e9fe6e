"""Times of rounds as a device might have them, drawn: kinds of noise, and ways in which a challenger can be slower."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fcos_lib.measure.throughput.paired_rate import SIDES, TURNS

Array = NDArray[np.float64]

NOISE = {
    "calm": "rounds 0.1 %",
    "usual": "rounds 0.5 %, whole runs 1 %",
    "drift": "usual, and a clock that moves evenly by up to 5 % in 100 rounds, there and back every 800, and at random by 0.1 % a round",
    "outliers": "usual, and 2 % of rounds 10 % slower",
    "all": "usual, drift and outliers",
    "two-humped": "usual, and 30 % of rounds 4 % slower",
    "dependent": "rounds 0.5 % with a correlation of 0.9 from one to the next",
    "own memory": "usual, and on each side 0.5 % with a correlation of 0.9 from one of its rounds to its next",
    "warming up": "usual, and a device that begins up to 6 % faster or slower and settles within 100 rounds (1/e)",
    "one-sided": "usual, and delays that average 1.5 % (exponential)",
    "heavy tails": "Student's t with 2 degrees of freedom, scale 0.5 %",
    "every 9th": "usual, and every 9th round of the device 5 % slower",
    "periods": "usual, and every n-th round of the device 5 % slower, n from 3 to 40",
    "bursts": "usual, and six rounds in a row 10 % slower, once in 2,000 rounds",
    "hiccups": "usual, and one in 1,000 rounds at half speed",
    "very noisy": "rounds 15 %",
    "step": "usual, and a clock that falls by 5 % somewhere in rounds 30 to 800",
}
GOOD = (
    "calm", "usual", "drift", "outliers", "all", "two-humped", "dependent", "warming up", "one-sided", "every 9th", "bursts",
)  # fmt: skip
"""Kinds in which a verdict is promised; in all kinds, that an unchanged challenger does not fail and a slower one does not pass."""


@dataclass(frozen=True, slots=True)
class Loss:
    """How a challenger is slower."""

    words: str
    even: float = 0.0
    """Its rate is lower by so many percent in every round."""
    share: float = 0.0
    """So many of its rounds, 0 to 1,"""
    longer: float = 0.0
    """take so much longer: 1 is half speed."""
    first: int = 0
    """It begins with this round of the device."""
    together: int = 1
    """Slow rounds of the challenger in a row."""

    @property
    def plain(self) -> bool:
        """True if all its rounds are alike."""
        return not self.share and not self.first

    @property
    def steady(self) -> bool:
        """True if it loses 2 % or more in every round from its first on."""
        return self.even >= 2

    @property
    def seen(self) -> bool:
        """True if it loses 2 % or more in as many rounds as are promised to be seen: one by one, in 2 % of them at least."""
        return self.steady or (self.share >= 0.02 and self.share * self.longer >= 0.02 and self.together == 1)


LOSSES = (
    Loss("2 % slower from round 100", even=2, first=100),
    Loss("2 % slower from round 400", even=2, first=400),
    Loss("2 % slower from round 550", even=2, first=550),
    Loss("20 % of rounds take 10 % longer", share=0.2, longer=0.1),
    Loss("10 % take 20 % longer", share=0.1, longer=0.2),
    Loss("2 % at half speed", share=0.02, longer=1),
    Loss("5 % at half speed", share=0.05, longer=1),
    Loss("2 % at a fifth", share=0.02, longer=4),
    Loss("1 % at a third", share=0.01, longer=2),
    Loss("0.5 % at a fifth", share=0.005, longer=4),
    Loss("2 % at half speed, five in a row", share=0.02, longer=1, together=5),
)


def draw(kind: str, runs: int, rounds: int, random: np.random.Generator) -> tuple[Array, Array]:
    """ln of the factor on the time of every round, in the order in which they run, warm-up first.

    What the device does, float64[runs, rounds], and what each side does by itself, float64[runs, sides, its rounds].
    """
    deviation = {"calm": 0.001, "very noisy": 0.15}.get(kind, 0.005)
    logs = random.normal(0, deviation, (runs, rounds)) + random.normal(0, 0.01, (runs, 1))
    own = np.zeros((runs, len(SIDES), rounds // len(SIDES) + TURNS))
    at = np.arange(rounds)
    if kind in ("drift", "all"):
        phase = random.integers(0, 800, (runs, 1))
        logs += random.uniform(-0.05, 0.05, (runs, 1)) * np.abs((at + phase) % 800 - 400) / 100
        logs += remembered(random, (runs, rounds), 0.995, 0.01)
    if kind in ("outliers", "all"):
        logs += (random.random((runs, rounds)) < 0.02) * math.log(1.1)
    if kind == "two-humped":
        logs += (random.random((runs, rounds)) < 0.3) * math.log(1.04)
    if kind == "dependent":
        logs = remembered(random, (runs, rounds), 0.9, 0.005)
    if kind == "own memory":
        own += remembered(random, own.shape, 0.9, 0.005)
    if kind == "warming up":
        logs += random.uniform(-0.06, 0.06, (runs, 1)) * np.exp(-at / 100)
    if kind == "one-sided":
        logs += np.log1p(random.exponential(0.015, (runs, rounds)))
    if kind == "heavy tails":
        logs = 0.005 * random.standard_t(2, (runs, rounds))
    if kind in ("every 9th", "periods"):
        period = random.integers(3, 41, (runs, 1)) if kind == "periods" else 9
        logs += ((at + random.integers(0, 40, (runs, 1))) % period == 0) * math.log(1.05)
    if kind == "bursts":
        logs += in_a_row(random.random((runs, rounds)) < 1 / 2000, 6) * math.log(1.1)
    if kind == "hiccups":
        logs += (random.random((runs, rounds)) < 0.001) * math.log(2)
    if kind == "step":
        logs -= (at >= random.integers(30, 800, (runs, 1))) * math.log1p(-0.05)
    return logs, own


def lost(loss: Loss, runs: int, turns: int, random: np.random.Generator) -> Array:
    """ln of the factor on the time of each of the challenger's rounds, float64[runs, turns]."""
    logs = (np.arange(turns) >= loss.first / len(SIDES)) * -math.log1p(-loss.even / 100) + np.zeros((runs, 1))
    slow = in_a_row(random.random((runs, turns)) < loss.share / loss.together, loss.together)
    return logs + slow * math.log1p(loss.longer)


def remembered(random: np.random.Generator, shape: tuple[int, ...], correlation: float, deviation: float) -> Array:
    """Noise of this standard deviation whose values follow their predecessors along the last axis, AR(1)."""
    from scipy.signal import lfilter  # type: ignore[import-untyped]

    steps = random.normal(0, deviation * math.sqrt(1 - correlation**2), shape)
    steps[..., 0] = random.normal(0, deviation, shape[:-1])
    values: Array = lfilter([1], [1, -correlation], steps, axis=-1)
    return values


def in_a_row(first: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """True for `count` places from each True on, along the last axis."""
    found = first.copy()
    for step in range(1, count):
        found[:, step:] |= first[:, :-step]
    return found
