"""Rounds of three sessions in turns on one device: the champion, the challenger, and the champion a second time.

The champion is the last accepted OM, the challenger the new one; the twin is the champion once more, best from a load of its
own, and shows what a difference of nothing looks like here. The three take turns in blocks of nine rounds. The order is drawn
anew for each block among the six of the kind

    a b c  b c a  c a b

so that a clock that drifts evenly meets all of them equally, nobody follows itself with warm caches, and nothing that comes
and goes with a period keeps meeting the same one. What a whole process or device does to its speed that day is the same on all
sides and cancels, so none of this may be said of rounds from different processes.

`fcos_lib/measure/throughput/rate_ratio.py` says what the rounds come to.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fcos_lib.errors import SessionError

SIDES = ("champion", "challenger", "twin")
TURNS = 3
"""Rounds of each side in a block."""

Runner = Callable[[], float]
"""Runs one round, a batch or always the same number of them, and returns its compute time in ms."""
Rounds = NDArray[np.float64]
"""Compute times in ms, float64[blocks, sides, turns]: sides as in `SIDES`, the turns of each in the order in which they ran."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long a comparison may go on."""

    looks: tuple[int, ...]
    """After how many blocks sampling may stop; after the last it does. Each look is a chance to be wrong, so each gets an equal
    part of the allowed error (Bonferroni)."""
    seconds: float
    """When it stops at the latest."""
    unseen: bool = True
    """Whether slow rounds count that may have stayed unseen, which takes hundreds of rounds of each side."""
    warm_up: int = 3
    """Rounds of each side that come first and count for nothing but time."""


HARDWARE = Plan((20, 100, 180, 300), 1800)
"""100 blocks are the fewest that can pass: 300 rounds of the challenger without a slow one say that fewer than 2 % are slow.
900 rounds of all sides take 15 s at 17 ms (batch size 1 on 310P3) and 21 minutes at 1.4 s (batch size 64)."""
STAND_IN = Plan((8, 12, 18, 27), 600, unseen=False)
"""The emulator's speed is nobody's promise: as few rounds as show that the gates work."""


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

    compute_ms: Rounds
    orders: tuple[tuple[int, ...], ...]
    """Who ran in each block, as indices into `SIDES`."""
    seed: int
    """What the orders were drawn from."""
    plan: Plan
    before: DeviceFacts
    after: DeviceFacts
    stopped: str
    """Why sampling ended: `decided`, `blocks` or `time`."""


def drawn_orders(seed: int) -> Iterator[tuple[int, ...]]:
    """The order of one block after the other, nine indices into `SIDES` each, without end; the same for the same seed.

    In each, every side has the same mean position, and nobody follows itself, not even across blocks.
    """
    random = np.random.default_rng(seed)
    last = -1
    while True:
        a, b, c = random.permutation(len(SIDES)).tolist()
        if a != last:
            yield (a, b, c, b, c, a, c, a, b)
            last = b


def take_turns(
    runners: Sequence[Runner],
    enough: Callable[[Rounds], bool],
    plan: Plan = HARDWARE,
    *,
    facts: Callable[[], DeviceFacts] = DeviceFacts,
    clock: Callable[[], float] = time.monotonic,
    seed: int | None = None,
) -> PairedRounds:
    """Run champion, challenger and twin in turns until `enough` says so of the rounds, or the plan ends.

    `facts` is asked after the warm-up and at the end; `clock` is in seconds; without a `seed` one is drawn. Runners run the
    same batch, so that a ratio of times is one of rates. `SessionError` if a runner returns no time.
    """
    start = clock()
    for side in range(len(SIDES)):
        for _ in range(plan.warm_up):
            _round(runners[side], side)
    before = facts()
    seed = secrets.randbits(32) if seed is None else seed
    drawing = drawn_orders(seed)
    orders: list[tuple[int, ...]] = []
    blocks: list[list[list[float]]] = []
    stopped = ""
    while not stopped:
        orders.append(next(drawing))
        block: list[list[float]] = [[] for _ in SIDES]
        for side in orders[-1]:
            block[side].append(_round(runners[side], side))
        blocks.append(block)
        if len(blocks) in plan.looks and enough(np.array(blocks)):
            stopped = "decided"
        elif len(blocks) == plan.looks[-1]:
            stopped = "blocks"
        elif clock() - start >= plan.seconds:
            stopped = "time"
    return PairedRounds(np.array(blocks), tuple(orders), seed, plan, before, facts(), stopped)


def _round(runner: Runner, side: int) -> float:
    ms = float(runner())
    if not (math.isfinite(ms) and ms > 0):
        raise SessionError(
            f"a round of the {SIDES[side]} took {ms} ms", "check that the runtime's timings are on and were not reset"
        )
    return ms
