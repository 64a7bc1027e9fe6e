"""How are numbers drawn? Axes, points, lines and intervals as SVG, in the page's own colours and without a library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fcos_lib.evidence.page.html import Child, Markup, number, tag, together, value_of

_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 28, 40


@dataclass(frozen=True, slots=True)
class Frame:
    """A drawing with axes: its size, and what the axes span."""

    width: int
    height: int
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        """Where a value is, in pixels from the left."""
        low, high = self.x_range
        return _LEFT + (self.width - _LEFT - _RIGHT) * (value - low) / ((high - low) or 1)

    def y(self, value: float) -> float:
        """Where a value is, in pixels from the top."""
        low, high = self.y_range
        return self.height - _BOTTOM - (self.height - _TOP - _BOTTOM) * (value - low) / ((high - low) or 1)

    def axes(self, x_name: str, y_name: str, *, signed: bool = False, powers: bool = False) -> Markup:
        """Grid, ticks and names; with `powers` the values on the y axis are exponents of ten."""
        parts = []
        for tick in ticks(*self.x_range):
            at = round(self.x(tick), 1)
            parts.append(tag("path", class_="grid", d=f"M{at} {_TOP}V{self.height - _BOTTOM}"))
            parts.append(text(at, self.height - _BOTTOM + 15, number(tick), "middle", "dim"))
        for tick in ticks(*self.y_range):
            at = round(self.y(tick), 1)
            parts.append(tag("path", class_="grid", d=f"M{_LEFT} {at}H{self.width - _RIGHT}"))
            shown = 10.0**tick if powers else tick
            if powers and tick != int(tick):
                continue
            parts.append(
                text(_LEFT - 6, at + 4, number(shown, 6 if powers else 4, signed=signed and bool(tick)), "end", "dim")
            )
        middle = (self.width + _LEFT - _RIGHT) / 2
        parts.append(text(middle, self.height - 6, x_name, "middle"))
        return together(parts, text(2, 13, y_name) if y_name else None)

    def line(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> Markup:
        """Points joined in their order."""
        places = (f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in zip(xs, ys, strict=True))
        return tag("path", class_=f"curve {kind}", d=Markup("M" + "L".join(places)))

    def points(self, pairs: Sequence[Sequence[float]], kind: str) -> Markup:
        """A dot for each pair; one element for all, however many."""
        places = (f"M{self.x(x):.1f} {self.y(y):.1f}h0" for x, y in pairs)
        return tag("path", class_=f"dots {kind}", d=Markup("".join(places)))


def chart(width: int, height: int, title: str, *parts: Child, kind: str = "") -> Markup:
    """A drawing that a screen reader reads as its title."""
    content = together(parts)
    return tag(
        "svg", tag("title", title), content, viewBox=f"0 0 {width} {height}", role="img", class_=f"chart {kind}".strip()
    )


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> Markup:
    """Words in a drawing."""
    return tag("text", words, x=round(x, 1), y=round(y, 1), text_anchor=anchor, class_=kind or None)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between two."""
    if not high > low:
        return [low]
    exponent = math.floor(math.log10((high - low) / most))
    step = next(
        step
        for step in (factor * 10.0 ** (exponent + more) for more in (0, 1) for factor in (1, 2, 5))
        if (high - low) / step <= most
    )
    return [
        round(count * step, 12) for count in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]


def numbers(values: Any) -> list[float]:
    """Only finite numbers; `ValueError` if there is anything else."""
    found = [value_of(value) for value in values]
    if None in found:
        raise ValueError("there is something that is no number")
    return [value for value in found if value is not None]


@dataclass(frozen=True, slots=True)
class Strip:
    """A scale that many small drawings in the rows of a table share, with zero marked."""

    low: float
    high: float
    width: int = 220

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
        return self._row(
            words,
            tag("path", class_=f"whisker {kind}", d=f"M{self.x(ends[0]):.1f} 9H{self.x(ends[1]):.1f}"),
            tag("circle", class_=f"dot {kind}", cx=round(self.x(value), 1), cy=9, r=4.2),
        )

    def bar(self, start: float, end: float, words: str) -> Markup:
        """From one value to another."""
        x0, x1 = sorted((self.x(start), self.x(end)))
        kind = "down" if end < start else "up"
        return self._row(
            words,
            tag(
                "rect",
                class_=f"bar {kind}",
                x=round(x0, 1),
                y=3,
                width=round(max(x1 - x0, 3.0 * (start != end)), 1),
                height=12,
            ),
        )

    def _row(self, words: str, *parts: Markup) -> Markup:
        zero = tag("path", class_="zero", d=f"M{self.x(0):.1f} 0V18") if self.low <= 0 <= self.high else None
        return tag(
            "svg", tag("title", words), zero, parts,
            viewBox=f"0 0 {self.width} 18", role="img", class_="strip", width=self.width, height=18,
        )  # fmt: skip
