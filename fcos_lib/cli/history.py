"""The verb `history`: lists the stored runs, compares one with those accepted, accepts, draws and exports them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

from fcos_lib.cli.terminal import say
from fcos_lib.errors import UsageError
from fcos_lib.evidence.plain_text import aligned
from fcos_lib.files import write_whole
from fcos_lib.judge.accepted import Acceptance, Baseline, accept, compare, read_accepted
from fcos_lib.judge.exit_status import NO_VERDICT, exit_status
from fcos_lib.judge.history import ACCEPTED, Run, read_run, read_runs
from fcos_lib.options.option import Option, number, path
from fcos_lib.options.table import options_of

STORAGE = Path(".benchmarks")
"""pytest-benchmark's default."""


def add_actions(parser: argparse.ArgumentParser) -> None:
    """Give the verb its actions."""
    Option("--storage", "of pytest-benchmark", "FOLDER", path, STORAGE).add_to(parser)
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    name = "a file, or the beginning of a run's name or id"
    run = Option("run", name, "RUN", _run_name, "", "the newest", nargs="?")

    def action(name: str, text: str, *own: Option) -> None:
        of_action = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        for option in (*options_of(f"history {name}"), *own):
            option.add_to(of_action)

    action("list", "print the stored runs and what they timed")
    action(
        "compare", "judge a run; exit status 1 for FAIL, 7 for NO VERDICT", run,
        Option("--against", "instead of the baseline; may be repeated", "RUN", _run_name, (), many=True),
        Option("--max-age", "an older run is NO VERDICT: it is not this one", "MINUTES", number(1, 10_000_000)),
    )  # fmt: skip
    action(
        "accept", "make runs the baseline of what they timed",
        Option("runs", "name several: their spread is what others are judged by", "RUN", _run_name, nargs="+"),
        Option("--why", "kept with the numbers", "TEXT", required=True),
        Option("--add", "join the runs accepted before, instead of replacing them", default=False),
        Option("--fewer", "some series need not be timed any more", default=False),
    )  # fmt: skip
    action(
        "plot", "draw all runs as an SVG",
        Option("--output", "", "FILE.svg", path, required=True, short="-o"),
        Option("--last", "runs of each recipe", "N", number(1, 10_000_000), 40),
    )  # fmt: skip
    formats = "github-action-benchmark: its tool customBiggerIsBetter; bencher: BMF, its adapter json"
    action(
        "export", "print a run for another tool", run,
        Option("--format", formats, choices=("github-action-benchmark", "bencher"), required=True),
    )  # fmt: skip


def _run_name(text: str) -> str:
    """A file as `path` resolves it, or the beginning of a name, which has nothing to resolve."""
    return str(path(text)) if text else text


def history(args: argparse.Namespace) -> int:
    """Do one action; see `add_actions`. A folder that was named must be there: a mistyped one is no empty history."""
    if args.storage != STORAGE and not args.storage.is_dir():
        raise UsageError(f"there is no folder {args.storage}", "pass what --benchmark-storage of pytest was")
    actions = {"list": _list, "compare": _compare, "accept": _accept, "plot": _plot, "export": _export}
    return actions[args.action](args)


def _list(args: argparse.Namespace) -> int:
    runs, baseline = read_runs(args.storage), _baseline(args)
    accepted = {run.run_id for entry in baseline.acceptances for run in entry.runs}
    lines: list[tuple[str, ...]] = [("run", "measured", "commit", "series", "accepted", "recipe")]
    for run in runs:
        recipes = "; ".join(dict.fromkeys(rate.series.recipe_label for rate in run.rates))
        lines.append((run.name, _time(run.at), run.commit or "unknown", str(len(run.rates)), "yes" if run.run_id in accepted else "", recipes))  # fmt: skip
    _print_table(lines)
    print()
    lines = [("series", "runs", "newest", "baseline", "recipe")]
    for series in sorted({rate.series for run in runs for rate in run.rates}, key=lambda series: series.order):
        rates = [rate for run in runs if (rate := run.rate(series))]
        held = [old.images_per_second for _, old in baseline.holding(series, rates[-1].fingerprint)]
        known = f"{median(held):.4g} of {len(held)} run{'s' if len(held) > 1 else ''}" if held else "none"
        lines.append((series.label, str(len(rates)), f"{rates[-1].images_per_second:.4g} images/s", known, series.recipe_label))  # fmt: skip
    _print_table(lines)
    return 0


def _compare(args: argparse.Namespace) -> int:
    run = _find(args.storage, args.run)
    if args.against:
        others = tuple(_find(args.storage, name) for name in args.against)
        if any(other.run_id == run.run_id for other in others):
            raise UsageError(f"{run.name} would be compared with itself", "name another run")
        baseline, against = Baseline((Acceptance(run.at, "asked for", others),)), ", ".join(o.name for o in others)
    else:
        baseline, against = _baseline(args), "the baseline"
    minutes = (datetime.now(timezone.utc) - run.at).total_seconds() / 60
    say(f"{run.name}, measured {_time(run.at)} ({_age(minutes)} ago), against {against}")
    if args.max_age is not None and not -5 <= minutes <= args.max_age:  # clocks differ a little
        print(f"NO VERDICT: the run is not of the last {args.max_age} minutes; what should be judged was not stored")
        return NO_VERDICT
    compared = compare(run, baseline, require_baseline=args.require_baseline)
    recipe = None
    lines: list[tuple[str, ...]] = []
    for pair in compared:
        if pair.series.recipe != recipe:
            recipe = pair.series.recipe
            lines += [(), (recipe.recipe_label,), ("series", "accepted", "this run", "ratio", "verdict", "why")]
        numbers = [f"{value:.4g}" if value else "" for value in (pair.old, pair.new)]
        ratio = f"{pair.ratio:.3f}" if pair.ratio else ""
        lines.append((pair.series.label, *numbers, ratio, pair.outcome.value, pair.reason))
    _print_table(lines)
    status = exit_status(
        0, [pair.outcome for pair in compared], not_run=0, unanswered=0, other_failures=0, npu_required=False
    )
    print(f"\nimages/s; exit status {status}")
    return status


def _accept(args: argparse.Namespace) -> int:
    before = _baseline(args)
    runs = [_find(args.storage, name) for name in args.runs]
    accepted = accept(_baseline_path(args), runs, args.why, add=args.add, fewer=args.fewer)
    now = Baseline((accepted,))
    lines = [("series", "before", "now", "runs", "recipe")]
    for rate in dict.fromkeys((rate.series, rate.fingerprint) for run in accepted.runs for rate in run.rates):
        old, new = ([held.images_per_second for _, held in baseline.holding(*rate)] for baseline in (before, now))
        lines.append((rate[0].label, f"{median(old):.4g}" if old else "", f"{median(new):.4g}", str(len(new)), rate[0].recipe_label))  # fmt: skip
    _print_table(lines)
    print(f"images/s; accepted in {_baseline_path(args)}: {accepted.reason}")
    return 0


def _plot(args: argparse.Namespace) -> int:
    if args.output.suffix != ".svg":
        raise UsageError(
            f"{args.output} is no .svg", "browsers show SVG and can print it; rsvg-convert makes a PNG of it"
        )
    from fcos_lib.evidence.history_plot import draw_stored_runs

    drawing, runs = draw_stored_runs(args.storage, _baseline(args), args.last)
    write_whole(args.output, drawing.encode())
    print(f"{args.output}: {runs} runs")
    return 0


def _export(args: argparse.Namespace) -> int:
    run = _find(args.storage, args.run)
    rates = {f"{rate.series.recipe_label}: {rate.series.label}": rate for rate in run.rates}
    document: Any
    if args.format == "bencher":
        document = {name: {"images-per-second": {"value": rate.images_per_second}} for name, rate in rates.items()}
    else:
        document = [
            {"name": name, "unit": "images/s", "value": rate.images_per_second, "extra": f"run {run.run_id}, OM {rate.om_sha256[:12]}"}
            for name, rate in rates.items()
        ]  # fmt: skip
    print(json.dumps(document, indent=1))
    return 0


def _baseline_path(args: argparse.Namespace) -> Path:
    return Path(args.baseline or args.storage / ACCEPTED)


def _baseline(args: argparse.Namespace) -> Baseline:
    if args.baseline and args.action != "accept" and not args.baseline.is_file():
        raise UsageError(f"there is no baseline at {args.baseline}", "pass the accepted.json, or accept runs first")
    return read_accepted(_baseline_path(args))


def _find(storage: Path, name: str) -> Run:
    """A run by its file, or by the beginning of its name or id; the newest for an empty name."""
    if name and Path(name).is_file():
        run = read_run(Path(name))
        if run is None:
            raise UsageError(f"{name} holds no throughput of this suite", "pass a file of a run with -m throughput")
        return run
    runs = read_runs(storage)
    if not runs:
        raise UsageError(f"no run is stored in {storage}", "run pytest -m throughput --benchmark-autosave, without -n")
    whole = [run for run in runs if name in (run.name, run.run_id)]
    fitting = whole or [run for run in runs if run.name.startswith(name) or run.run_id.startswith(name)]
    fitting = fitting if name else runs[-1:]
    if len(fitting) != 1:
        listed = ", ".join(run.name for run in fitting[:5]) or f"the newest is {runs[-1].name}"
        raise UsageError(f"{len(fitting)} runs in {storage} begin with '{name}': {listed}", "see history list")
    return fitting[0]


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _age(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h" if minutes < 2880 else f"{minutes / 1440:.0f} d"  # fmt: skip


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    for line in aligned(rows):
        say(line)
