"""The chart kit: axes, lines, bars, points, bands and intervals as SVG, for the page and for the history.

Every chart has a title and its content in a sentence, which a screen reader reads. One of a stand-in run carries the word.
Lengths are in pixels of the drawing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from markupsafe import Markup

from fcos_lib.evidence.page.words import asset, clean, number

_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 28, 40
"""Around the drawing area of a chart."""


def element(name: str, /, *inside: str | None, **attributes: str | float | None) -> Markup:
    """One SVG element with its text escaped. Numbers keep a tenth of a pixel; an underscore in a name is a hyphen."""
    given = Markup().join(
        Markup(' {}="{}"').format(
            key.rstrip("_").replace("_", "-"),
            clean(f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value),
        )
        for key, value in attributes.items()
        if value is not None
    )
    content = Markup().join(clean(part) for part in inside)
    return Markup(f"<{name}{given}>{content}</{name}>" if inside else f"<{name}{given}/>")


def text(x: float, y: float, words: str, kind: str | None = None, anchor: str | None = None) -> Markup:
    """Words in a drawing."""
    return element("text", words, x=float(x), y=float(y), text_anchor=anchor, class_=kind)


def stand_in_mark(x: float, y: float) -> Markup:
    """The word STAND-IN in a box, whose upper right corner is given."""
    box = element("rect", x=float(x - 74), y=float(y), width=74, height=17, rx=3)
    return element("g", box, text(x - 37, y + 12.5, "STAND-IN", anchor="middle"), class_="stand-in-mark")


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing of its own with a title and what it shows in a sentence."""

    width: float
    height: float
    title: str
    sentence: str
    parts: Sequence[Markup]
    right: float = _RIGHT
    """Beside the drawing area."""

    def svg(self, stand_in: bool) -> Markup:
        """The element; marked if the emulator had a part in what it shows."""
        mark = stand_in_mark(self.width - self.right, 3) if stand_in else Markup()
        return element(
            "svg", element("title", self.title), element("desc", self.sentence), *self.parts, mark,
            viewBox=f"0 0 {self.width:g} {self.height:g}", role="img", class_="chart",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Frame:
    """A drawing area: its edges, and what its axes span."""

    left: float
    top: float
    right: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    @classmethod
    def within(cls, width: float, height: float, x_range: tuple[float, float], y_range: tuple[float, float]) -> Frame:
        """The area of a chart of this size, with room for the names and values of its axes."""
        return cls(_LEFT, _TOP, width - _RIGHT, height - _BOTTOM, x_range, y_range)

    def x(self, value: float) -> float:
        """Where a value is, from the left."""
        low, high = self.x_range
        return self.left + (self.right - self.left) * (value - low) / ((high - low) or 1)

    def y(self, value: float) -> float:
        """Where a value is, from the top."""
        low, high = self.y_range
        return self.bottom - (self.bottom - self.top) * (value - low) / ((high - low) or 1)

    def axes(self, x_name: str, y_name: str, *, signed: bool = False, powers: bool = False) -> Markup:
        """Grid, values and names of both axes; with `powers` the values on the y axis are exponents of ten."""
        parts = [self.values(signed=signed, powers=powers)]
        for tick in ticks(*self.x_range):
            parts.append(self.upright(self.x(tick), "grid"))
            parts.append(text(self.x(tick), self.bottom + 15, number(tick), "dim", "middle"))
        parts.append(text((self.left + self.right) / 2, self.bottom + 34, x_name, anchor="middle"))
        return Markup().join([*parts, text(2, self.top - 15, y_name)])

    def values(self, most: int = 6, *, signed: bool = False, powers: bool = False) -> Markup:
        """Grid and values of the y axis alone."""
        parts = []
        for tick in ticks(*self.y_range, most):
            parts.append(self.level(tick, "grid"))
            if powers and tick != int(tick):
                continue
            words = number(10.0**tick if powers else tick, 6, signed=signed and bool(tick))
            parts.append(text(self.left - 6, self.y(tick) + 4, words, "dim", "end"))
        return Markup().join(parts)

    def level(self, value: float, kind: str) -> Markup:
        """A line across at a value of the y axis."""
        return element("line", class_=kind, x1=self.left, y1=self.y(value), x2=self.right, y2=self.y(value))

    def upright(self, x: float, kind: str) -> Markup:
        """A line from top to bottom at a pixel."""
        return element("line", class_=kind, x1=x, y1=float(self.top), x2=x, y2=float(self.bottom))

    def line(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> Markup:
        """Points joined in their order."""
        places = (f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in zip(xs, ys, strict=True))
        return element("polyline", class_=kind, points=Markup(" ".join(places)))

    def dots(self, pairs: Sequence[Sequence[float]], kind: str) -> Markup:
        """A dot for each pair; one element for all, however many."""
        places = (f"M{self.x(x):.1f} {self.y(y):.1f}h0" for x, y in pairs)
        return element("path", class_=f"dots {kind}", d=Markup("".join(places)))

    def bar(self, ends: tuple[float, float], value: float, kind: str, words: str) -> Markup:
        """From the bottom up to a value, between two values of the x axis."""
        x, y = self.x(ends[0]), self.y(value)
        width = max(self.x(ends[1]) - x, 0.8)
        return element("rect", element("title", words), class_=kind, x=x, y=y, width=width, height=self.bottom - y)

    def band(self, x0: float, x1: float, values: tuple[float, float], kind: str) -> Markup:
        """Between two values of the y axis, from pixel to pixel."""
        top, bottom = self.y(max(values)), self.y(min(values))
        return element("rect", class_=kind, x=float(x0), y=top, width=float(x1 - x0), height=bottom - top)


def point(kind: str, x: float, y: float, words: str = "") -> Markup:
    """A disc, for other kinds than `run` a diamond, for `absent` and what is `outside` a cross: shapes, not only colours."""
    inside = [element("title", words)] if words else []
    if kind == "run":
        return element("circle", *inside, class_=kind, cx=float(x), cy=float(y), r=3.5)
    shape = (
        "m-4 -4 l8 8 m0 -8 l-8 8" if kind.endswith(("absent", "outside")) else "m0 -5.5 l5.5 5.5 l-5.5 5.5 l-5.5 -5.5 z"
    )
    return element("path", *inside, class_=kind, d=f"M{x:.1f} {y:.1f} {shape}")


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most about `most` round numbers between two."""
    if not high > low:
        return [low]
    exponent = math.floor(math.log10((high - low) / most))
    steps = (factor * 10.0 ** (exponent + more) for more in (0, 1) for factor in (1, 2, 5))
    step = next(step for step in steps if (high - low) / step <= most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(count * step, 12) for count in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Strip:
    """A scale that small drawings in the rows of a table share, with zero marked."""

    low: float
    high: float
    width: int = 220
    height: int = 18

    @classmethod
    def around_zero(cls, values: Sequence[float | None], width: int = 220) -> Strip:
        """Symmetric, wide enough for all."""
        most = max((abs(value) for value in values if value is not None), default=0) or 1.0
        return cls(-most, most, width)

    def x(self, value: float) -> float:
        """Where a value is; what is outside is at the end."""
        return 4 + (self.width - 8) * (min(max(value, self.low), self.high) - self.low) / ((self.high - self.low) or 1)

    def interval(
        self, value: float, low: float | None, high: float | None, words: str, *, good_or_bad: bool = True
    ) -> Markup:
        """A value with its interval, which is certain if zero lies outside; up is good, unless neither way is."""
        ends = (self.low if low is None else low, self.high if high is None else high)
        certain = ends[0] > 0 or ends[1] < 0
        kind = ("off" if not good_or_bad else "down" if value < 0 else "up") if certain else "open"
        whisker = element("path", class_=f"whisker {kind}", d=f"M{self.x(ends[0]):.1f} 9H{self.x(ends[1]):.1f}")
        return self._row(words, whisker, element("circle", class_=f"dot {kind}", cx=self.x(value), cy=9, r=4.2))

    def bar(self, start: float, end: float, words: str, kind: str = "") -> Markup:
        """From one value to another; up and down have their colours unless it is of another kind."""
        x0, x1 = sorted((self.x(start), self.x(end)))
        least = 3.0 if start != end and not kind else 0.5 * bool(kind)
        kind = kind or ("down" if end < start else "up")
        height = self.height * 2 // 3
        y = (self.height - height) // 2
        return self._row(
            words, element("rect", class_=f"bar {kind}", x=x0, y=y, width=max(x1 - x0, least), height=height)
        )

    def _row(self, words: str, *parts: Markup) -> Markup:
        at = f"M{self.x(0):.1f} 0V{self.height}"
        zero = [element("path", class_="zero", d=at)] if self.low < 0 < self.high else []
        return element(
            "svg", element("title", words), *zero, *parts,
            viewBox=f"0 0 {self.width} {self.height}", role="img", class_="strip", width=self.width, height=self.height,
        )  # fmt: skip


@cache
def style_of_a_file() -> Markup:
    """The style of charts for an SVG file of its own, in light and in dark.

    Colours are written out: not every viewer of SVG knows variables.
    """
    palettes = re.findall(r":root \{(.*?)\}", asset("style.css"), re.S)
    light, dark = (dict(re.findall(r"--([\w-]+): ([^;]+);", palette)) for palette in palettes[:2])
    in_dark = _written_out({**light, **dark})
    return Markup(f"{_written_out(light)}@media (prefers-color-scheme: dark) {{ {in_dark} }}")


def _written_out(colours: Mapping[str, str]) -> str:
    return re.sub(r"var\(--([\w-]+)\)", lambda variable: colours[variable[1]], asset("charts.css"))
