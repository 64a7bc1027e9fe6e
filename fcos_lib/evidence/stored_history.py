"""The throughput of all stored runs as one drawing, with the ranges and verdicts of the accepted ones."""

from __future__ import annotations

import math
from pathlib import Path

from fcos_lib.evidence.history_plot import draw_history
from fcos_lib.judge.accepted import Baseline, compare, expected
from fcos_lib.judge.change import judge_against_history
from fcos_lib.judge.history import read_runs


def draw_stored_runs(storage: Path, baseline: Baseline, last: int = 40) -> tuple[str, int]:
    """The history as SVG text, the `last` runs of each recipe, and how many runs are stored."""
    runs = read_runs(storage)
    everything = [*runs, *(run for entry in baseline.acceptances for run in entry.runs)]
    ranges = {}
    for series, fingerprint in {(rate.series, rate.fingerprint) for run in everything for rate in run.rates}:
        low, high = expected(baseline, series, fingerprint, judge_against_history)
        if math.isfinite(low) and math.isfinite(high):
            ranges[series, fingerprint] = low, high
    newest = {recipe: run for run in runs for recipe in {rate.series.recipe for rate in run.rates}}
    verdicts = [
        comparison
        for recipe, run in newest.items()
        for comparison in compare(run, baseline, judge_against_history)
        if comparison.series.recipe == recipe
    ]
    return draw_history(runs, baseline, ranges, verdicts, last=max(last, 1)), len(runs)
