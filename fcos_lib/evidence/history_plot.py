"""What does the throughput of all runs look like? One SVG: a section per recipe, a panel per batch size.

Self-contained text: no script, no font, no library. It follows the reader's light or dark setting. Runs are joined by a line
only where their fingerprints are equal; the emulator's have sections of their own, and no panel of theirs can be cut out
without the word STAND-IN in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from fcos_lib.judge.accepted import Baseline, Comparison, differences
from fcos_lib.judge.history import Fingerprint, Rate, Run, Series

PUBLISHED: Mapping[tuple[str, str, int], float] = {
    ("coco_r50", "Ascend310P3", batch): rate for batch, rate in ((1, 58), (4, 65), (8, 58), (16, 58), (32, 58), (64, 45))
}  # fmt: skip
"""images/s by contract, chip and batch size: ModelZoo FCOS README, table of results (pure inference, FP16)."""

Ranges = Mapping[tuple[Series, Fingerprint], tuple[float, float]]
"""The rates, images/s, in which a run would be nothing new (`judge.accepted.expected`)."""

_Timed = tuple[int, Run, Rate]
"""A run's place on the axis, the run, and its rate."""

_COLUMNS, _LEFT, _GAP = 3, 24, 20
_PANEL_WIDTH, _PANEL_HEIGHT = 318, 190
_AXIS, _HEAD, _FOOT = 40, 34, 22
"""Inside a panel: left of, above and below the drawing."""
_WIDTH = 2 * _LEFT + _COLUMNS * _PANEL_WIDTH + (_COLUMNS - 1) * _GAP

_STYLE = """
text { font-family: system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; font-size: 11px; fill: #1f2933 }
.paper { fill: #ffffff } .panel { fill: #f6f8fa; stroke: #d5dbe1 } .dim { fill: #5b6875 }
.title { font-size: 20px; font-weight: 600 } .section { font-size: 14px; font-weight: 600 } .batch { font-size: 13px; font-weight: 600 }
.grid { stroke: #d5dbe1 } .range { fill: #2f6db5; fill-opacity: .16 } .line { fill: none; stroke: #2f6db5; stroke-width: 1.5 }
.run { fill: #2f6db5; stroke: #f6f8fa } .mark { fill: #1f2933; stroke: #f6f8fa } .former { fill: #f6f8fa; stroke: #1f2933; stroke-width: 1.3 }
.published { stroke: #8250a8; stroke-width: 1.3; stroke-dasharray: 6 4 } .publishedtext { fill: #8250a8; stroke: #f6f8fa; stroke-width: 3; paint-order: stroke }
.change { stroke: #5b6875; stroke-dasharray: 2 3 } .absent { stroke: #b42318; stroke-width: 1.6 }
.PASS { fill: #1a7f47 } .FAIL { fill: #b42318 } .OPEN { fill: #5b6875 } .chip { fill: #ffffff; font-weight: 600 }
.warning { fill: #f5a623 } .warningtext { fill: #241a02; font-weight: 700; font-size: 14px }
.stripe { stroke: #f5a623; stroke-width: 5; stroke-opacity: .22 } .water { fill: #d9780a; fill-opacity: .5; font-size: 46px; font-weight: 800 }
@media (prefers-color-scheme: dark) {
text { fill: #e4e9ee } .paper { fill: #12171d } .panel { fill: #1a2129; stroke: #36414c } .dim { fill: #9aa7b3 } .grid { stroke: #36414c }
.range { fill: #6aa9f0; fill-opacity: .2 } .line { stroke: #6aa9f0 } .run { fill: #6aa9f0; stroke: #1a2129 }
.mark { fill: #e4e9ee; stroke: #1a2129 } .former { fill: #1a2129; stroke: #e4e9ee } .published { stroke: #c49be6 } .publishedtext { fill: #c49be6; stroke: #1a2129 }
.change { stroke: #9aa7b3 } .absent { stroke: #ff8a7a } .warningtext { fill: #241a02 } .water { fill: #f5a623 } }
"""


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
    verdicts = {found.series: found for found in comparisons}
    body, y = _legend(), 84
    for recipe, timed in _sections(everything):
        body_of_section, y = _section(recipe, timed, everything, baseline, ranges, verdicts, y, last)
        body += body_of_section
    if not everything:
        body.append(_text(_LEFT, y + 10, "no runs yet", "dim"))
        y += 30
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}" role="img">',
            "<title>Throughput history, images/s</title>",
            f"<style>{_STYLE}</style>",
            '<defs><pattern id="stripes" width="14" height="14" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
            '<line class="stripe" x1="0" y1="0" x2="0" y2="14"/></pattern></defs>',
            f'<rect class="paper" width="{_WIDTH}" height="{y}"/>',
            *body,
            "</svg>\n",
        ]
    )


def _sections(runs: Sequence[Run]) -> list[tuple[Series, str]]:
    """(recipe, timed), hardware before the emulator."""
    found = {(rate.series.recipe, rate.series.timed) for run in runs for rate in run.rates}
    return sorted(found, key=lambda pair: (pair[0].stand_in, pair[0].recipe_label, pair[1]))


def _section(
    recipe: Series,
    timed: str,
    runs: Sequence[Run],
    baseline: Baseline,
    ranges: Ranges,
    verdicts: Mapping[Series, Comparison],
    top: int,
    last: int,
) -> tuple[list[str], int]:
    """The elements of one section and where the next one begins."""
    mine = [run for run in runs if any(rate.series.recipe == recipe for rate in run.rates)][-last:]
    held = {rate.series for run in mine for rate in run.rates}
    held.update(series for series in baseline.promised(recipe))
    panels = sorted(
        (series for series in held if series.recipe == recipe and series.timed == timed),
        key=lambda series: series.batch_size,
    )
    body = []
    if recipe.stand_in:
        body.append(f'<rect class="warning" x="{_LEFT}" y="{top}" width="{_WIDTH - 2 * _LEFT}" height="26" rx="3"/>')
        body.append(_text(_LEFT + 10, top + 18, "STAND-IN: timed on the emulator; says nothing about hardware", "warningtext"))  # fmt: skip
        top += 32
    body.append(_text(_LEFT, top + 16, f"{recipe.recipe_label[:100]}: {timed}", "section"))
    top += 28
    changes = sorted({change for series in panels for change in _changes(series, mine)})
    for change in changes[-4:]:
        body.append(_text(_LEFT, top + 8, f"dotted line: {change}", "dim"))
        top += 16
    top += 4 * bool(changes)
    for place, series in enumerate(panels):
        row, column = divmod(place, _COLUMNS)
        x, y = _LEFT + column * (_PANEL_WIDTH + _GAP), top + row * (_PANEL_HEIGHT + _GAP)
        body += _panel(series, mine, baseline, ranges, verdicts.get(series), x, y)
    return body, top + (len(panels) + _COLUMNS - 1) // _COLUMNS * (_PANEL_HEIGHT + _GAP) + 10


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where a panel is and what its axes span, in pixels of the picture and images/s."""

    left: int
    top: int
    runs: int
    low: float
    high: float

    @property
    def right(self) -> int:
        return self.left + _PANEL_WIDTH - 10

    @property
    def bottom(self) -> int:
        return self.top + _PANEL_HEIGHT - _FOOT

    def x(self, place: int) -> float:
        first, last = self.left + _AXIS + 10, self.right - 8
        return first + (last - first) * (place / (self.runs - 1) if self.runs > 1 else 0.5)

    def y(self, value: float) -> float:
        return self.bottom - (self.bottom - self.top - _HEAD) * (value - self.low) / (self.high - self.low)


def _panel(
    series: Series,
    runs: Sequence[Run],
    baseline: Baseline,
    ranges: Ranges,
    verdict: Comparison | None,
    left: int,
    top: int,
) -> list[str]:
    points = _points(series, runs)
    stretches = _stretches(points)
    shown = [(stretch, ranges[key]) for stretch in stretches if (key := (series, stretch[0][2].fingerprint)) in ranges]
    published = [] if series.stand_in or series.timed != "pure" else _published(series)
    values = [rate.images_per_second for _, _, rate in points]
    low, high, ticks = _axis([*values, *published, *(end for _, ends in shown for end in ends)])
    frame = _Frame(left, top, len(runs), low, high)
    body = [f'<rect class="panel" x="{left}" y="{top}" width="{_PANEL_WIDTH}" height="{_PANEL_HEIGHT}" rx="5"/>']
    if series.stand_in:
        body.append(
            f'<rect x="{left}" y="{top}" width="{_PANEL_WIDTH}" height="{_PANEL_HEIGHT}" fill="url(#stripes)"/>'
        )
        body.append(_text(left + _PANEL_WIDTH / 2 + 15, top + _PANEL_HEIGHT - 34, "STAND-IN", "water", "middle"))
    body += _heading(series, points, verdict, left, top)
    for tick in ticks:
        body.append(_line("grid", left + _AXIS, frame.y(tick), frame.right, frame.y(tick)))
        body.append(_text(left + _AXIS - 5, frame.y(tick) + 4, f"{tick:g}", "dim", "end"))
    for stretch, (least, most) in shown:
        body.append(_range(frame.x(stretch[0][0]) - 6, frame.x(stretch[-1][0]) + 6, frame.y(most), frame.y(least)))
    for value in published:
        body.append(_line("published", left + _AXIS, frame.y(value), frame.right, frame.y(value)))
        body.append(_text(left + _AXIS + 3, frame.y(value) + 12, f"published {value:g}", "publishedtext"))
    for before, after in pairwise(stretches):
        middle = (frame.x(before[-1][0]) + frame.x(after[0][0])) / 2
        body.append(_line("change", middle, top + _HEAD, middle, frame.bottom))
    for stretch in stretches:
        path = " ".join(f"{frame.x(place):.1f},{frame.y(rate.images_per_second):.1f}" for place, _, rate in stretch)
        body.append(f'<polyline class="line" points="{path}"/>')
    now = {run.run_id for _, _, rate in points for run, _ in baseline.holding(series, rate.fingerprint)}
    ever = {run.run_id for entry in baseline.acceptances for run in entry.runs}
    for place, run, rate in points:
        kind = "mark" if run.run_id in now else "former" if run.run_id in ever else "run"
        tip = f"{run.name}, {run.at:%Y-%m-%d %H:%M}, commit {run.commit or 'unknown'}: {rate.images_per_second:.4g} images/s, OM {rate.om_sha256[:12]}"  # fmt: skip
        body.append(_point(kind, frame.x(place), frame.y(rate.images_per_second), tip))
    for place in sorted(set(range(len(runs))) - {place for place, _, _ in points}):
        body.append(_point("absent", frame.x(place), frame.bottom - 6, f"{runs[place].name} did not time this"))
    if runs:
        body.append(_text(left + _AXIS, top + _PANEL_HEIGHT - 7, f"{runs[0].at:%Y-%m-%d}", "dim"))
        body.append(_text(frame.right, top + _PANEL_HEIGHT - 7, f"{runs[-1].at:%Y-%m-%d}", "dim", "end"))
    return body


def _heading(series: Series, points: Sequence[_Timed], verdict: Comparison | None, left: int, top: int) -> list[str]:
    body = [_text(left + 10, top + 21, f"batch {series.batch_size}", "batch")]
    if points:
        text = f"{points[-1][2].images_per_second:.4g} images/s"
        if verdict and verdict.new is None:
            text = "not timed"
        elif verdict and verdict.ratio:
            text += f" {100 * (verdict.ratio - 1):+.1f} %".replace("-", "−")
        body.append(_text(left + 80, top + 21, text))
    if verdict:
        word = verdict.outcome.value
        kind, width = word if word in ("PASS", "FAIL") else "OPEN", 14 + 7.5 * len(word)
        x = left + _PANEL_WIDTH - 8 - width
        tip = f"<title>{escape(verdict.reason)}</title>"
        body.append(f'<g>{tip}<rect class="{kind}" x="{x}" y="{top + 8}" width="{width}" height="18" rx="9"/>'
                    f'{_text(x + width / 2, top + 21, word, "chip", "middle")}</g>')  # fmt: skip
    return body


def _points(series: Series, runs: Sequence[Run]) -> list[_Timed]:
    return [(place, run, rate) for place, run in enumerate(runs) if (rate := run.rate(series)) is not None]


def _changes(series: Series, runs: Sequence[Run]) -> list[str]:
    """When a series moved to another fingerprint, and what was different."""
    return [
        f"{run.at:%Y-%m-%d} {', '.join(differences(before, after))}"
        for (_, _, before), (_, run, after) in pairwise(_points(series, runs))
        if before.fingerprint != after.fingerprint
    ]


def _stretches(points: Sequence[_Timed]) -> list[list[_Timed]]:
    """Points in a row with the same fingerprint."""
    found: list[list[_Timed]] = []
    for point in points:
        if found and found[-1][-1][2].fingerprint == point[2].fingerprint:
            found[-1].append(point)
        else:
            found.append([point])
    return found


def _published(series: Series) -> list[float]:
    rate = PUBLISHED.get((series.contract, series.soc_version, series.batch_size))
    return [] if rate is None else [rate]


def _axis(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """(lowest, highest, ticks); never less than a tenth of the value, so that noise does not look like a mountain."""
    least, most = (min(values), max(values)) if values else (0.0, 1.0)
    half = max((most - least) * 0.6, (most + least) * 0.03)
    low, high = (least + most) / 2 - half, (least + most) / 2 + half
    exponent = math.floor(math.log10((high - low) / 3))
    step = max(factor * 10.0**exponent for factor in (1, 2, 5) if factor * 10.0**exponent <= (high - low) / 3)
    return low, high, [count * step for count in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _legend() -> list[str]:
    body = [_text(_LEFT, 34, "Throughput history, images/s", "title"), _text(_WIDTH - _LEFT, 34, "axes do not begin at zero", "dim", "end")]  # fmt: skip
    x = _LEFT + 6.0
    for kind, label in (
        ("run", "run"), ("mark", "baseline"), ("former", "accepted before"), ("absent", "not timed in this run"),
        ("range", "to be expected"), ("change", "another fingerprint"), ("published", "published (ModelZoo)"),
    ):  # fmt: skip
        if kind == "range":
            body.append(_range(x - 6, x + 12, 52, 64))
        elif kind in ("change", "published"):
            body.append(_line(kind, *((x + 2, 50, x + 2, 66) if kind == "change" else (x - 6, 58, x + 12, 58))))
        else:
            body.append(_point(kind, x + 2, 58))
        body.append(_text(x + 17, 62, label))
        x += 50 + 6.2 * len(label)
    return body


def _point(kind: str, x: float, y: float, tip: str = "") -> str:
    """A run is a disc, an accepted one a diamond, an absent one a cross: shapes, not only colours."""
    shape = "m-4 -4 l8 8 m0 -8 l-8 8" if kind == "absent" else "m0 -5.5 l5.5 5.5 l-5.5 5.5 l-5.5 -5.5 z"
    title = f"<title>{escape(tip)}</title>" * bool(tip)
    if kind == "run":
        return f'<circle class="run" cx="{x:.1f}" cy="{y:.1f}" r="3.5">{title}</circle>'
    return f'<path class="{kind}" d="M{x:.1f} {y:.1f} {shape}">{title}</path>'


def _line(kind: str, x0: float, y0: float, x1: float, y1: float) -> str:
    return f'<line class="{kind}" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>'


def _range(x0: float, x1: float, y0: float, y1: float) -> str:
    return f'<rect class="range" x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" height="{y1 - y0:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
