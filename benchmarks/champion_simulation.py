"""How often is a throughput verdict right, for which slowdowns and which noise?

Run from the repository's root: `python -m benchmarks.champion_simulation`. Takes a few minutes on 2 cores. Draws the times of
a device's rounds and passes them through the sampler and the judge of the product; nothing sleeps. Exits with 1 if one of
`PROMISES` is broken.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fcos_lib.judge.baseline import judge_against_history
from fcos_lib.judge.champion import ChampionBounds, champion_bounds, enough, judge_champion
from fcos_lib.judge.limits import FILE, all_limits
from fcos_lib.judge.verdict import Outcome
from fcos_lib.measure.paired_rate import LOOKS, ORDER, SIDES, Runner, take_turns

CHANGES = (-2.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 8.0)
"""By how many percent the challenger's rate is lower."""
NOISE = {
    "calm": "rounds 0.1 %",
    "usual": "rounds 0.5 %, whole runs 1 %",
    "drift": "usual, and a clock that moves evenly by up to 5 % in 100 rounds and at random by 0.1 % a round",
    "outliers": "usual, and 2 % of rounds 10 % slower",
    "all": "usual, drift and outliers",
    "very noisy": "rounds 2.5 %",
    "step": "usual, and a clock that falls by 5 % somewhere in blocks 3 to 7",
}
GOOD = ("calm", "usual", "drift", "outliers", "all")
PASS, FAIL, NO_VERDICT = Outcome.PASS, Outcome.FAIL, Outcome.NO_VERDICT
PROMISES = {
    "unchanged, FAIL at most 1 %": lambda kind, change, share: change != 0 or share[FAIL] <= 0.01,
    "unchanged, NO VERDICT at most 2 %": lambda kind, change, share: (
        change != 0 or kind not in GOOD or share[NO_VERDICT] <= 0.02
    ),
    "1.5 % slower, FAIL at least 90 %": lambda kind, change, share: (
        change != 1.5 or kind not in GOOD or share[FAIL] >= 0.9
    ),
    "2 % slower, FAIL at least 99 %": lambda kind, change, share: change < 2 or kind not in GOOD or share[FAIL] >= 0.99,
    "exactly the floor, PASS and FAIL at most 2 % each": lambda kind, change, share: (
        change != 1 or max(share[PASS], share[FAIL]) <= 0.02
    ),
    "very noisy or a step, NO VERDICT at least 95 %": lambda kind, change, share: (
        kind in GOOD or share[NO_VERDICT] >= 0.95
    ),
}
WARM_UP = 3
SESSION_SD = (0.005, 0.01, 0.02)
_ROUNDS = WARM_UP * len(SIDES) + LOOKS[-1] * len(ORDER)
T = TypeVar("T")


def draw(kind: str, runs: int, random: np.random.Generator) -> NDArray[np.float64]:
    """ln of the factor on every round's time, float64[runs, rounds], in the order in which they run, warm-up first."""
    logs = random.normal(0, {"calm": 0.001, "very noisy": 0.025}.get(kind, 0.005), (runs, _ROUNDS))
    logs += random.normal(0, 0.01, (runs, 1))
    if kind in ("drift", "all"):
        logs += random.uniform(-0.05, 0.05, (runs, 1)) * np.arange(_ROUNDS) / 100
        logs += np.cumsum(random.normal(0, 0.001, (runs, _ROUNDS)), axis=1)
    if kind in ("outliers", "all"):
        logs += (random.random((runs, _ROUNDS)) < 0.02) * math.log(1.1)
    if kind == "step":
        first = WARM_UP * len(SIDES) + len(ORDER) * 2
        at = random.integers(first, first + 5 * len(ORDER), (runs, 1))
        logs -= (np.arange(_ROUNDS) >= at) * math.log1p(-0.05)
    return logs


def compare_once(logs: NDArray[np.float64], change: float, bounds: ChampionBounds) -> tuple[Outcome, int]:
    """The verdict on one run and its rounds."""
    factors = iter(np.exp(logs).tolist())

    def runner(ms: float) -> Runner:
        return lambda: ms * next(factors)

    champion, challenger = runner(17.0), runner(17.0 / (1 - change / 100))
    run = take_turns(champion, challenger, champion, enough(bounds), seconds=math.inf, warm_up=WARM_UP)
    return judge_champion(run, bounds).outcome, run.compute_ms.size


def champion_cell(kind: str, change: float, runs: int, seed: int, limits: Path) -> tuple[dict[Outcome, float], float]:
    """Share of each outcome and median of rounds over many runs."""
    bounds = champion_bounds(all_limits(limits))
    random = np.random.default_rng([seed, list(NOISE).index(kind), CHANGES.index(change)])
    found = [compare_once(logs, change, bounds) for logs in draw(kind, runs, random)]
    return shares([outcome for outcome, _ in found]), float(np.median([rounds for _, rounds in found]))


def history_cell(session_sd: float, earlier: int, change: float, runs: int, seed: int) -> dict[Outcome, float]:
    """The same for the rule without a champion: one rate beside those of earlier runs."""
    random = np.random.default_rng([seed, round(1e4 * session_sd), earlier, CHANGES.index(change)])
    rates = 58 * np.exp(random.normal(0, session_sd, (runs, earlier + 1)))
    return shares([judge_against_history(row[-1] * (1 - change / 100), row[:-1].tolist()).outcome for row in rates])


def shares(outcomes: list[Outcome]) -> dict[Outcome, float]:
    """Of PASS, FAIL and NO VERDICT."""
    return {outcome: outcomes.count(outcome) / len(outcomes) for outcome in (PASS, FAIL, NO_VERDICT)}


def main() -> int:
    """Print both tables and what they promise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000, help="in each cell")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limits", type=Path, default=FILE)
    args = parser.parse_args()
    start, broken = time.perf_counter(), []
    print(f"{args.runs} runs in each cell, seed {args.seed}; shares in %: PASS / FAIL / NO VERDICT, median of rounds\n")
    with ProcessPoolExecutor(os.cpu_count()) as pool:

        def everywhere(cell: Callable[..., T], rows: list[tuple[object, ...]], *fixed: object) -> list[T]:
            return [future.result() for future in [pool.submit(cell, *row, *fixed) for row in rows]]

        where = [(kind, change) for kind in NOISE for change in CHANGES]
        found = dict(zip(where, everywhere(champion_cell, [*where], args.runs, args.seed, args.limits), strict=True))
        print("| noise | " + " | ".join(heading(change) for change in CHANGES) + " |")
        print("|---" * (len(CHANGES) + 1) + "|")
        for kind in NOISE:
            cells = [found[kind, change] for change in CHANGES]
            print(f"| {kind} | " + " | ".join(f"{in_words(share)}, {rounds:.0f}" for share, rounds in cells) + " |")
        for (kind, change), (share, _) in found.items():
            broken += [
                f"{kind}, {change:g} %: {name}" for name, holds in PROMISES.items() if not holds(kind, change, share)
            ]

        print("\n| spread between runs, earlier runs | " + " | ".join(heading(change) for change in CHANGES) + " |")
        print("|---" * (len(CHANGES) + 1) + "|")
        for session_sd in SESSION_SD:
            for earlier in (8, 20):
                rows = [(session_sd, earlier, change) for change in CHANGES]
                cells = everywhere(history_cell, [*rows], args.runs, args.seed)
                print(f"| {100 * session_sd:g} %, {earlier} | " + " | ".join(map(in_words, cells)) + " |")
                if session_sd <= 0.01 and cells[CHANGES.index(0)][FAIL] > 0.01:
                    broken.append(f"history, {100 * session_sd:g} %, {earlier} runs: unchanged, FAIL at most 1 %")
    print("\n" + "\n".join(f"{kind}: {words}" for kind, words in NOISE.items()))
    print(f"\n{time.perf_counter() - start:.0f} s")
    print("\n".join(f"BROKEN: {line}" for line in broken) or f"kept: {'; '.join(PROMISES)}; history: FAIL at most 1 %")
    return 1 if broken else 0


def heading(change: float) -> str:
    """`1.5 % slower`"""
    return f"{abs(change):g} % {'slower' if change > 0 else 'faster'}" if change else "unchanged"


def in_words(share: dict[Outcome, float]) -> str:
    """`99.9 / 0 / 0.1`"""
    return " / ".join(f"{100 * share[outcome]:.3g}" for outcome in (PASS, FAIL, NO_VERDICT))


if __name__ == "__main__":
    sys.exit(main())
