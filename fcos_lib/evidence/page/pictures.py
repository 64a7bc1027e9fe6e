"""The pictures that differ the most: truth, reference and candidate, drawn over the picture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from fcos_lib.diagnosis.blame import value_of
from fcos_lib.evidence.page.charts import element, text
from fcos_lib.evidence.page.words import fixed, numbers, plural

MOST = 20
CLEAR = 0.3
"""Boxes with a lower score are faint: there are many, and they seldom matter."""
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_OPEN = 3
"""Pictures of a subject that are shown unfolded."""
MARKED = 6
"""Differences of one picture that are marked; further ones are boxes among others."""
_OTHER = {"reference": "candidate", "candidate": "reference"}

Boxes = Sequence[Sequence[float]]
"""x1, y1, x2, y2 in pixels of the network's input, then the score and the label."""


@dataclass(slots=True)
class Jpegs:
    """Every JPEG of the page, once, however often it is shown; no more of them than fit."""

    room: int
    """Bytes left."""
    left_out: int = 0
    images: list[Markup] = field(default_factory=list)
    """Definitions, which the page holds once."""
    _ids: dict[str, str] = field(default_factory=dict)

    def use(self, data: str, width: float, height: float) -> Markup:
        """Shows a JPEG, given as base64; nothing if there is no room for it. `ValueError` if it is none."""
        if data not in self._ids:
            if not data.startswith("/9j/") or not _BASE64.fullmatch(data):
                raise ValueError("a picture is no JPEG in base64")
            if len(data) > self.room:
                self.left_out += 1
                return Markup()
            self.room -= len(data)
            self._ids[data] = f"jpeg{len(self._ids)}"
            self.images.append(element(
                "image", id=self._ids[data], width=width, height=height, preserveAspectRatio="none",
                href=Markup(f"data:image/jpeg;base64,{data}"),
            ))  # fmt: skip
        return element("use", href=f"#{self._ids[data]}", class_="photo")


def pictures(entries: Sequence[tuple[str, Mapping[str, Any]]], jpegs: Jpegs) -> dict[str, Any]:
    """The pictures of each subject; what several gates show of one subject is brought together, the worst first."""
    subjects: dict[str, dict[str, tuple[Mapping[str, Any], Sequence[Any]]]] = {}
    for subject, data in entries:
        for picture in data["pictures"]:
            subjects.setdefault(subject, {}).setdefault(str(picture["name"]), (picture, data.get("names", ())))
    shown = []
    for subject, named in subjects.items():
        worst = sorted(named.values(), key=lambda pair: (not _unexplained(pair[0]), -float(pair[0]["score_loss"])))
        figures = [_picture(*pair, jpegs) for pair in worst[:MOST]]
        shown.append((subject, sum(figure["unexplained"] > 0 for figure in figures), figures))
    return {"subjects": shown, "open": _OPEN, "threshold": CLEAR, "left_out": jpegs.left_out}


def _unexplained(picture: Mapping[str, Any]) -> int:
    return sum(difference["cause"] == "unexplained" for difference in picture["differences"])


def _picture(picture: Mapping[str, Any], names: Sequence[Any], jpegs: Jpegs) -> dict[str, Any]:
    scale = value_of(picture["scale"]) or 1.0
    width, height = (max(1.0, round(float(picture[side]) * scale)) for side in ("width", "height"))
    photo = jpegs.use(picture["jpeg"], width, height)
    boxes = {side: [numbers(box) for box in picture[side]] for side in _OTHER}
    truth, differences = [numbers(box) for box in picture["truth"]], list(picture["differences"])
    panels = [
        (side, len(boxes[side]), _Drawing(side, width, height, scale).svg(boxes, truth, differences[:MARKED], names, photo))
        for side in _OTHER
    ]  # fmt: skip
    causes = [_in_words(difference, boxes, names) for difference in differences]
    return {
        "name": picture["name"],
        "score_loss": picture["score_loss"],
        "objects": len(truth),
        "unexplained": _unexplained(picture),
        "panels": panels,
        "causes": causes[:MARKED],
        "more": causes[MARKED:],
    }


def _in_words(difference: Mapping[str, Any], boxes: Mapping[str, Boxes], names: Sequence[Any]) -> dict[str, str]:
    """A difference: what kind, by which cause, and what became of the box."""
    box, other_row = boxes[difference["side"]][difference["row"]], difference.get("other_row")
    partner = boxes[_OTHER[difference["side"]]][other_row] if other_row is not None else None
    what = f"{_name(box, names)} {fixed(box[4], 3)}"
    if partner:
        other = _name(partner, names) if partner[5] != box[5] else ""
        what += f" became {other} {fixed(partner[4], 3)}"
    cause = str(difference["cause"])
    kind = "unexplained" if cause == "unexplained" else "explained"
    return {"kind": kind, "cause": f"{difference['kind']}: {cause}", "what": what}


@dataclass(slots=True)
class _Drawing:
    """One side's boxes over the picture, and the words that have a place beside them."""

    side: str
    width: float
    height: float
    scale: float
    _taken: list[tuple[float, float, float]] = field(default_factory=list)
    """Lines of words so far: first and last x, and y."""

    def svg(
        self, boxes: Mapping[str, Boxes], truth: Boxes, differences: Sequence[Any], names: Sequence[Any], photo: Markup
    ) -> Markup:
        """The drawing: truth, what differs with its number, and all other boxes, clear ones with class and score."""
        own, other = boxes[self.side], boxes[_OTHER[self.side]]
        rows = [self._row_of(difference) for difference in differences]
        marks = [
            self._marked(
                other[difference["row"]] if row is None else own[row], number, difference["cause"], row is None
            )
            for number, (row, difference) in enumerate(zip(rows, differences, strict=True), start=1)
        ]
        agreeing = [box for row, box in enumerate(own) if row not in rows]
        faint, clear = ([box for box in agreeing if (box[4] >= CLEAR) == sure] for sure in (False, True))
        return element(
            "svg",
            element("title", f"{self.side}: {plural(len(own), 'box', 'boxes')}, {plural(len(truth), 'annotated object')}"),
            photo,
            element("g", self._outlines(truth), class_="truth"),
            element("g", self._outlines(faint), class_=f"{self.side} faint"),
            element("g", self._outlines(clear), element("g", *self._labels(clear, names), class_="words"), class_=f"{self.side} clear"),
            *marks,
            viewBox=f"0 0 {self.width:g} {self.height:g}", role="img", class_="photo-and-boxes",
        )  # fmt: skip

    def _row_of(self, difference: Mapping[str, Any]) -> int | None:
        """The row of a difference on this side; None if this side does not have it."""
        row = difference["row"] if difference["side"] == self.side else difference.get("other_row")
        return None if row is None else int(row)

    def _marked(self, box: Sequence[float], number: int, cause: str, ghost: bool) -> Markup:
        """A box that differs, with its number outside of its corner; dotted where this side lacks it."""
        x, y = max(box[0] * self.scale - 12, 0), max(box[1] * self.scale - 4, 8)
        x, y = self._take(x, y, 15, 8) or (x, y)
        kind = "unexplained" if cause == "unexplained" else "explained"
        badge = element("circle", cx=x + 8, cy=float(y), r=7) + text(x + 8, y + 3.3, str(number), "badge", "middle")
        kinds = f"{self.side} marked {kind}{' ghost' if ghost else ''}"
        return element("g", self._outlines([box]), badge, class_=kinds)

    def _outlines(self, boxes: Boxes) -> Markup:
        """All these boxes as one path, and a wider dark one below it, to be seen on any picture."""
        if not boxes:
            return Markup()
        corners = ([value * self.scale for value in box[:4]] for box in boxes)
        path = Markup("".join(f"M{x1:.1f} {y1:.1f}H{x2:.1f}V{y2:.1f}H{x1:.1f}z" for x1, y1, x2, y2 in corners))
        return element("path", d=path, class_="under") + element("path", d=path, class_="box")

    def _labels(self, boxes: Boxes, names: Sequence[Any]) -> list[Markup]:
        """Class and score of each box, unless they would cover other words."""
        labels = []
        for box in boxes:
            words = f"{_name(box, names)} {box[4]:.2f}"
            if at := self._take(box[0] * self.scale, box[3] * self.scale + 5, 5.2 * len(words), 1):
                labels.append(text(at[0], at[1] + 3, words))
        return labels

    def _take(self, x: float, y: float, width: float, tries: int) -> tuple[float, float] | None:
        """A place for a line of words as near below (x, y) as there is one; None if there is none after some tries."""
        x = min(max(x, 1.0), max(self.width - width, 1.0))
        y = min(max(y, 9.0), self.height - 4)
        for line in (y + 13 * attempt for attempt in range(tries)):
            if all(abs(line - other) >= 13 or x >= last or x + width <= first for first, last, other in self._taken):
                self._taken.append((x, x + width, line))
                return x, line
        return None


def _name(box: Sequence[float], names: Sequence[Any]) -> str:
    label = int(box[5])
    return str(names[label]) if 0 <= label < len(names) else f"label {label}"
