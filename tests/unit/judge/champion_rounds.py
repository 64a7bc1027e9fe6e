"""Comparisons with a champion on a device that needs no time: rounds as they might come, with known differences."""

import math

import numpy as np

from fcos_lib.judge.champion import enough, judge_champion
from fcos_lib.judge.limits import Limit
from fcos_lib.judge.rate_trust import ChampionBounds
from fcos_lib.measure.throughput.paired_rate import (
    STAND_IN,
    DeviceFacts,
    take_turns,
)

UNITS = {
    "slower": (-1.0, "%"),
    "faster": (25.0, "%"),
    "slow_rounds": (2.0, "%"),
    "slow_round": (20.0, "%"),
    "step": (3.0, "%"),
    "clock": (1.0, "%"),
    "temperature": (15.0, "°C"),
}
AT_LEAST = ("slower", "slow_round")
BOUNDS = ChampionBounds(
    **{
        name: Limit(f"rate_against_champion.{name}", bound, name in AT_LEAST, unit, "chosen for this test")
        for name, (bound, unit) in UNITS.items()
    }
)
QUIET = DeviceFacts(1080.0, 60.0, ("monitor (12)",))


def race(
    slower=0.0, twin=0.0, noise=0.0, seed=0, step=0.0, after=QUIET, late_loss=(0, 0.0), stutter=(0, 0.0), plan=STAND_IN
):
    """A whole comparison on a device that needs no time.

    Rates lower by a share, a clock that falls after 50 rounds, a loss from some round on, and every n-th round of the
    challenger longer by a share.
    """
    random, rounds = np.random.default_rng(seed), [0]
    own = [0, 0, 0]

    def runner(side, ms):
        def run():
            rounds[0] += 1
            own[side] += 1
            longer = math.exp(random.normal(0, noise)) / (1 - step * (rounds[0] > 50))
            if side == 1:
                longer /= 1 - late_loss[1] * (rounds[0] > late_loss[0])
                longer *= 1 + (stutter[1] if stutter[0] and own[side] % stutter[0] == 0 else 0)
            return ms * longer

        return run

    facts = iter((QUIET, after))
    sides = [runner(side, 17 / (1 - share)) for side, share in enumerate((0, slower, twin))]
    return take_turns(sides, enough(BOUNDS, plan), plan, facts=lambda: next(facts), seed=seed)


def judged(**conditions):
    """The verdict on such a comparison."""
    return judge_champion(race(**conditions), BOUNDS)
