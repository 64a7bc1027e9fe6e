"""How often a throughput verdict is right, for which slowdowns and which noise.

Run from the repository's root: `python -m benchmarks.champion_simulation`. Takes about half an hour on 2 cores. Draws the times of
a device's rounds and passes them through the sampler and the judge of the product; nothing sleeps. Exits with 1 if one of
the promises is broken.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.rounds import GOOD, LOSSES, NOISE, Loss, draw, lost
from fcos_lib.judge.champion import enough, judge_champion
from fcos_lib.judge.change import judge_against_history
from fcos_lib.judge.limits import FILE, all_limits
from fcos_lib.judge.rate_trust import ChampionBounds, champion_bounds
from fcos_lib.judge.verdict import Outcome
from fcos_lib.measure.throughput.paired_rate import HARDWARE, SIDES, Runner, take_turns
from fcos_lib.options.option import path

CHANGES = (-2.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 8.0)
"""By how many percent the challenger's rate is lower, in every round."""
PASS, FAIL, NO_VERDICT = Outcome.PASS, Outcome.FAIL, Outcome.NO_VERDICT
SESSION_SD = (0.005, 0.01, 0.02)
AT_ONCE = 100
"""Runs that are drawn together."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of noise and one loss."""

    kind: str
    loss: Loss
    share: dict[Outcome, float]
    rounds: float
    """Median."""

    def broken(self) -> list[str]:
        """The promises that it breaks."""
        share, even, good = self.share, self.loss.even, self.kind in GOOD
        kept = {
            "unchanged, FAIL at most 1 %": even != 0 or not self.loss.plain or share[FAIL] <= 0.01,
            "unchanged, NO VERDICT at most 2 %": even != 0
            or not self.loss.plain
            or not good
            or share[NO_VERDICT] <= 0.02,
            "1.5 % slower, FAIL at least 90 %": even != 1.5 or not good or share[FAIL] >= 0.9,
            "2 % slower or more, evenly or from some round on, FAIL at least 99 %": (
                not good or not self.loss.steady or share[FAIL] >= 0.99
            ),
            "2 % slower or more, in whatever rounds, PASS at most 1 %": not self.loss.seen or share[PASS] <= 0.01,
            "exactly the floor, PASS and FAIL at most 2 % each": (
                even != 1 or not good or max(share[PASS], share[FAIL]) <= 0.02
            ),
        }
        return [f"{self.kind}, {self.loss.words}: {promise}" for promise, holds in kept.items() if not holds]


def compare_once(
    device: NDArray[np.float64], own: NDArray[np.float64], bounds: ChampionBounds, seed: int
) -> tuple[Outcome, int]:
    """The verdict on one run, and its rounds: ln of what the device and each side make of the time of a round."""
    factors = iter(np.exp(device).tolist())

    def runner(times: NDArray[np.float64]) -> Runner:
        turns = iter((17 * np.exp(times)).tolist())
        return lambda: next(turns) * next(factors)

    run = take_turns([runner(times) for times in own], enough(bounds, HARDWARE), seed=seed)
    return judge_champion(run, bounds).outcome, run.compute_ms.size


def champion_cell(kind: str, loss: Loss, runs: int, seed: int, limits: Path) -> Cell:
    """Share of each outcome and median of rounds over many runs; they may take as long as they like."""
    bounds = champion_bounds(all_limits(limits))
    random = np.random.default_rng([seed, zlib.crc32(f"{kind} {loss.words}".encode())])
    rounds = len(SIDES) * HARDWARE.warm_up + 9 * HARDWARE.looks[-1]
    outcomes = []
    for start in range(0, runs, AT_ONCE):
        count = min(AT_ONCE, runs - start)
        device, own = draw(kind, count, rounds, random)
        own[:, SIDES.index("challenger")] += lost(loss, count, own.shape[2], random)
        outcomes += [compare_once(device[run], own[run], bounds, start + run) for run in range(count)]
    return Cell(
        kind, loss, shares([outcome for outcome, _ in outcomes]), float(np.median([size for _, size in outcomes]))
    )


def history_cell(session_sd: float, earlier: int, change: float, runs: int, seed: int) -> dict[Outcome, float]:
    """The same for the rule without a champion: one rate beside those of earlier runs."""
    random = np.random.default_rng([seed, round(1e4 * session_sd), earlier, CHANGES.index(change)])
    rates = 58 * np.exp(random.normal(0, session_sd, (runs, earlier + 1)))
    return shares([judge_against_history(row[-1] * (1 - change / 100), row[:-1].tolist()).outcome for row in rates])


def shares(outcomes: list[Outcome]) -> dict[Outcome, float]:
    """Of PASS, FAIL and NO VERDICT."""
    return {outcome: outcomes.count(outcome) / len(outcomes) for outcome in (PASS, FAIL, NO_VERDICT)}


def main() -> int:
    """Print the tables and what they promise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="in each cell")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limits", type=path, default=FILE)
    parser.add_argument("--noise", choices=[*NOISE], nargs="*", default=[*NOISE])
    args = parser.parse_args()
    start, broken = time.perf_counter(), []
    print(f"{args.runs} runs in each cell, seed {args.seed}; shares in %: PASS / FAIL / NO VERDICT, median of rounds")
    with ProcessPoolExecutor(os.cpu_count()) as pool:

        def everywhere(cell: Callable[..., T], rows: list[tuple[object, ...]], *fixed: object) -> list[T]:
            return [future.result() for future in [pool.submit(cell, *row, *fixed) for row in rows]]

        for losses in ([Loss(heading(change), even=change) for change in CHANGES], LOSSES):
            print("\n| noise | " + " | ".join(loss.words for loss in losses) + " |")
            print("|---" * (len(losses) + 1) + "|")
            for kind in args.noise:
                cells = everywhere(champion_cell, [(kind, loss) for loss in losses], args.runs, args.seed, args.limits)
                print(
                    f"| {kind} | " + " | ".join(f"{in_words(each.share)}, {each.rounds:.0f}" for each in cells) + " |",
                    flush=True,
                )
                broken += [line for cell in cells for line in cell.broken()]

        print("\n| spread between runs, earlier runs | " + " | ".join(heading(change) for change in CHANGES) + " |")
        print("|---" * (len(CHANGES) + 1) + "|")
        for session_sd in SESSION_SD:
            for earlier in (8, 20):
                rows = [(session_sd, earlier, change) for change in CHANGES]
                found = everywhere(history_cell, [*rows], 2 * args.runs, args.seed)
                print(f"| {100 * session_sd:g} %, {earlier} | " + " | ".join(map(in_words, found)) + " |")
                if session_sd <= 0.01 and found[CHANGES.index(0)][FAIL] > 0.01:
                    broken.append(f"history, {100 * session_sd:g} %, {earlier} runs: unchanged, FAIL at most 1 %")
    print("\n" + "\n".join(f"{kind}: {words}" for kind, words in NOISE.items()))
    print(f"\n{time.perf_counter() - start:.0f} s")
    print("\n".join(f"BROKEN: {line}" for line in broken) or "every promise is kept")
    return 1 if broken else 0


def heading(change: float) -> str:
    """`1.5 % slower`"""
    return f"{abs(change):g} % {'slower' if change > 0 else 'faster'}" if change else "unchanged"


def in_words(share: dict[Outcome, float]) -> str:
    """`99.9 / 0 / 0.1`"""
    return " / ".join(f"{100 * share[outcome]:.3g}" for outcome in (PASS, FAIL, NO_VERDICT))


if __name__ == "__main__":
    sys.exit(main())
