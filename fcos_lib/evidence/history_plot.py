"""The throughput of all runs as one SVG: a section per recipe, a panel per batch size.

Self-contained text: no script, no font, no library. It follows the reader's light or dark setting. Runs are joined by a line
only where their fingerprints are equal; the emulator's have sections of their own, and no panel of theirs can be cut out
without the word STAND-IN in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markupsafe import Markup

from fcos_lib.evidence.page.charts import Frame, element, point, stand_in_mark, style_of_a_file, text
from fcos_lib.judge.accepted import Baseline, Comparison, compare, differences, expected
from fcos_lib.judge.history import Fingerprint, Rate, Run, Series, read_runs
from fcos_lib.judge.limits import published_rate

Ranges = Mapping[tuple[Series, Fingerprint], tuple[float, float]]
"""The rates, images/s, in which a run would be nothing new (`judge.accepted.expected`)."""

_Timed = tuple[int, Run, Rate]
"""A run's place on the axis, the run, and its rate."""

_COLUMNS, _LEFT, _GAP = 3, 24, 20
_PANEL_WIDTH, _PANEL_HEIGHT = 318, 190
_WIDTH = 2 * _LEFT + _COLUMNS * _PANEL_WIDTH + (_COLUMNS - 1) * _GAP


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known besides the runs: what was accepted, what is to be expected, and the newest verdicts."""

    baseline: Baseline
    ranges: Ranges
    verdicts: Mapping[Series, Comparison]


def draw_stored_runs(storage: Path, baseline: Baseline, last: int = 40) -> tuple[str, int]:
    """The history as SVG text, the `last` runs of each recipe, and how many runs are stored."""
    runs = read_runs(storage)
    everything = [*runs, *(run for entry in baseline.acceptances for run in entry.runs)]
    ranges = {}
    for series, fingerprint in {(rate.series, rate.fingerprint) for run in everything for rate in run.rates}:
        low, high = expected(baseline, series, fingerprint)
        if math.isfinite(low) and math.isfinite(high):
            ranges[series, fingerprint] = low, high
    newest = {recipe: run for run in runs for recipe in {rate.series.recipe for rate in run.rates}}
    verdicts = [
        comparison
        for recipe, run in newest.items()
        for comparison in compare(run, baseline)
        if comparison.series.recipe == recipe
    ]
    return draw_history(runs, baseline, ranges, verdicts, last=last), len(runs)


def draw_history(
    runs: Sequence[Run],
    baseline: Baseline,
    ranges: Ranges,
    comparisons: Sequence[Comparison] = (),
    *,
    last: int = 40,
) -> str:
    """The picture as SVG text: the `last` runs of each recipe, accepted ones among them even if their files are gone.

    `comparisons` are the verdicts of the newest run and are shown as words in its panels.
    """
    accepted = [run for acceptance in baseline.acceptances for run in acceptance.runs]
    everything = sorted({run.run_id: run for run in (*accepted, *runs)}.values(), key=lambda run: (run.at, run.run_id))
    known = _Known(baseline, ranges, {comparison.series: comparison for comparison in comparisons})
    body, y = _legend(), 84
    sections = {(rate.series.recipe, rate.series.timed) for run in everything for rate in run.rates}
    for recipe, timed in sorted(sections, key=lambda key: (key[0].stand_in, key[0].recipe_label, key[1])):
        of_recipe = [run for run in everything if any(rate.series.recipe == recipe for rate in run.rates)]
        drawn, y = _section(recipe, timed, of_recipe[-last:], known, y)
        body += drawn
    if not everything:
        body.append(text(_LEFT, y + 10, "no runs yet", "dim"))
        y += 30
    sentence = (
        f"{len(everything)} runs; a section for each recipe, a panel for each batch size, the newest run on the right."
    )
    return str(element(
        "svg", element("title", "Throughput history, images/s"), element("desc", sentence), element("style", style_of_a_file()),
        element("rect", class_="paper", width=_WIDTH, height=y), *body,
        xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {_WIDTH} {y}", width=_WIDTH, height=y, role="img", class_="history",
    )) + "\n"  # fmt: skip


def _section(recipe: Series, timed: str, runs: Sequence[Run], known: _Known, top: int) -> tuple[list[Markup], int]:
    """The elements of one section, hardware's before the emulator's, and where the next one begins."""
    held = {rate.series for run in runs for rate in run.rates} | set(known.baseline.promised(recipe))
    panels = sorted(
        (series for series in held if series.recipe == recipe and series.timed == timed),
        key=lambda series: series.batch_size,
    )
    body = []
    if recipe.stand_in:
        body.append(element("rect", class_="warning", x=_LEFT, y=top, width=_WIDTH - 2 * _LEFT, height=26, rx=3))
        body.append(text(_LEFT + 10, top + 18, "STAND-IN: timed on the emulator; says nothing about hardware", "warning-text"))  # fmt: skip
        top += 32
    body.append(text(_LEFT, top + 16, f"{recipe.recipe_label[:100]}: {timed}", "section"))
    top += 28
    changes = sorted({change for series in panels for change in _changes(series, runs)})
    for change in changes[-4:]:
        body.append(text(_LEFT, top + 8, f"dotted line: {change}", "dim"))
        top += 16
    top += 4 if changes else 0
    for number, series in enumerate(panels):
        row, column = divmod(number, _COLUMNS)
        left, panel_top = _LEFT + column * (_PANEL_WIDTH + _GAP), top + row * (_PANEL_HEIGHT + _GAP)
        body += _panel(series, runs, known, left, panel_top)
    return body, top + (len(panels) + _COLUMNS - 1) // _COLUMNS * (_PANEL_HEIGHT + _GAP) + 10


def _panel(series: Series, runs: Sequence[Run], known: _Known, left: int, top: int) -> Iterator[Markup]:
    """The rates of one batch size, with the range to be expected and the published figure."""
    points = _points(series, runs)
    stretches = _stretches(points)
    expected = [known.ranges.get((series, stretch[0][2].fingerprint)) for stretch in stretches]
    published = None
    if series.timed == "pure" and not series.stand_in:
        published = published_rate(series.contract, series.soc_version, series.batch_size)
    values = [rate.images_per_second for _, _, rate in points] + [end for ends in expected if ends for end in ends]
    right, bottom = left + _PANEL_WIDTH, top + _PANEL_HEIGHT
    spanned = _span([*values, published] if published else values)
    frame = Frame(left + 40, top + 34, right - 10, bottom - 22, (-0.6, max(len(runs) - 0.5, 0.6)), spanned)
    yield element("rect", class_="panel", x=left, y=top, width=_PANEL_WIDTH, height=_PANEL_HEIGHT, rx=5)
    yield from _heading(series, points, known.verdicts.get(series), left, top)
    yield frame.values(4)
    for stretch, ends in zip(stretches, expected, strict=True):
        if ends:
            yield frame.band(frame.x(stretch[0][0]) - 6, frame.x(stretch[-1][0]) + 6, ends, "range")
    if published:
        yield frame.level(published, "published")
        yield text(frame.left + 3, frame.y(published) + 12, f"published {published:g}", "figure")
    for before, after in pairwise(stretches):
        yield frame.upright((frame.x(before[-1][0]) + frame.x(after[0][0])) / 2, "change")
    for stretch in stretches:
        yield frame.line(
            [column for column, _, _ in stretch], [rate.images_per_second for _, _, rate in stretch], "line"
        )
    now = {run.run_id for _, _, rate in points for run, _ in known.baseline.holding(series, rate.fingerprint)}
    ever = {run.run_id for acceptance in known.baseline.acceptances for run in acceptance.runs}
    for column, run, rate in points:
        kind = "mark" if run.run_id in now else "former" if run.run_id in ever else "run"
        tip = f"{run.name}, {run.at:%Y-%m-%d %H:%M}, commit {run.commit or 'unknown'}: {rate.images_per_second:.4g} images/s, OM {rate.om_sha256[:12]}"
        yield point(kind, frame.x(column), frame.y(rate.images_per_second), tip)
    for column in sorted(set(range(len(runs))) - {column for column, _, _ in points}):
        yield point("absent", frame.x(column), frame.bottom - 6, f"{runs[column].name} did not time this")
    if runs:
        yield text(frame.left, bottom - 7, f"{runs[0].at:%Y-%m-%d}", "dim")
        yield text(frame.right, bottom - 7, f"{runs[-1].at:%Y-%m-%d}", "dim", "end")
    if series.stand_in:
        yield stand_in_mark((frame.left + frame.right) / 2 + 37, bottom - 19)


def _heading(
    series: Series, points: Sequence[_Timed], verdict: Comparison | None, left: int, top: int
) -> Iterator[Markup]:
    """The batch size, its newest rate, and the verdict on it."""
    yield text(left + 10, top + 21, f"batch {series.batch_size}", "batch")
    if points:
        words = f"{points[-1][2].images_per_second:.4g} images/s"
        if verdict and verdict.new is None:
            words = "not timed"
        elif verdict and verdict.ratio:
            words += f" {100 * (verdict.ratio - 1):+.1f} %".replace("-", "−")
        yield text(left + 80, top + 21, words)
    if verdict:
        word = verdict.outcome.value
        kind, width = word if word in ("PASS", "FAIL") else "OPEN", 14 + 7.5 * len(word)
        x = left + _PANEL_WIDTH - 8 - width
        chip = element("rect", class_=kind, x=x, y=top + 8, width=width, height=18, rx=9)
        yield element(
            "g", element("title", verdict.reason), chip, text(x + width / 2, top + 21, word, "chip", "middle")
        )


def _points(series: Series, runs: Sequence[Run]) -> list[_Timed]:
    return [(column, run, rate) for column, run in enumerate(runs) if (rate := run.rate(series)) is not None]


def _changes(series: Series, runs: Sequence[Run]) -> list[str]:
    """When a series moved to another fingerprint, and what was different."""
    return [
        f"{run.at:%Y-%m-%d} {', '.join(differences(before, after))}"
        for (_, _, before), (_, run, after) in pairwise(_points(series, runs))
        if before.fingerprint != after.fingerprint
    ]


def _stretches(points: Sequence[_Timed]) -> list[list[_Timed]]:
    """Points in a row with the same fingerprint."""
    stretches: list[list[_Timed]] = []
    for timed in points:
        if stretches and stretches[-1][-1][2].fingerprint == timed[2].fingerprint:
            stretches[-1].append(timed)
        else:
            stretches.append([timed])
    return stretches


def _span(values: Sequence[float]) -> tuple[float, float]:
    """(lowest, highest); never less than a tenth of the value, so that noise does not look like a mountain."""
    least, most = (min(values), max(values)) if values else (0.0, 1.0)
    half = max((most - least) * 0.6, (most + least) * 0.03)
    return (least + most) / 2 - half, (least + most) / 2 + half


def _legend() -> list[Markup]:
    """Title and kinds of marks, above the first section."""
    body = [text(_LEFT, 34, "Throughput history, images/s", "title"), text(_WIDTH - _LEFT, 34, "axes do not begin at zero", "dim", "end")]  # fmt: skip
    kinds = {
        "run": "run", "mark": "baseline", "former": "accepted before", "absent": "not timed in this run",
        "range": "to be expected", "change": "another fingerprint", "published": "published (ModelZoo)",
    }  # fmt: skip
    x = _LEFT + 6.0
    for kind, label in kinds.items():
        frame = Frame(x - 6, 50, x + 12, 66, (0, 1), (0, 1))
        drawn = {
            "range": frame.band(frame.left, frame.right, (0.1, 0.9), kind),
            "change": frame.upright(x + 2, kind),
            "published": frame.level(0.5, kind),
        }
        body += [drawn.get(kind) or point(kind, x + 2, 58), text(x + 17, 62, label)]
        x += 50 + 6.2 * len(label)
    return body
