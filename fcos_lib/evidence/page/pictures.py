"""What is to be seen in the pictures that differ the most? Truth, reference and candidate, drawn over the picture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fcos_lib.evidence.page.charts import numbers, text
from fcos_lib.evidence.page.html import Markup, fixed, number, plural, tag, together, value_of

MOST = 20
CLEAR = 0.3
"""Boxes with a lower score are faint: there are many, and they seldom matter."""
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_OPEN = 3
"""Pictures of a subject that are shown unfolded."""
MARKED = 6
"""Differences of one picture that are marked; further ones are boxes among others."""


class Jpegs:
    """Every JPEG of the page, once, however often it is shown; no more of them than fit."""

    def __init__(self, room: int) -> None:
        """`room` is in bytes."""
        self._room, self._ids, self.left_out = room, dict[str, str](), 0
        self._symbols: list[Markup] = []

    def use(self, data: str, width: float, height: float) -> Markup | None:
        """Shows a JPEG, given as base64; None if there is no room for it. `ValueError` if it is none."""
        if data not in self._ids:
            if not data.startswith("/9j/") or not _BASE64.fullmatch(data):
                raise ValueError("a picture is no JPEG in base64")
            if len(data) > self._room:
                self.left_out += 1
                return None
            self._room -= len(data)
            self._ids[data] = f"jpeg{len(self._ids)}"
            image = tag("image", id=self._ids[data], width=width, height=height, preserveAspectRatio="none",
                        href=Markup(f"data:image/jpeg;base64,{data}"))  # fmt: skip
            self._symbols.append(image)
        return tag("use", href=f"#{self._ids[data]}", class_="photo")

    def definitions(self) -> Markup:
        """The element that holds them all."""
        return tag("svg", tag("defs", self._symbols), class_="hidden", aria_hidden="true", width=0, height=0)


def section(entries: Sequence[tuple[str, Mapping[str, Any]]], jpegs: Jpegs) -> Markup:
    """The pictures of each subject; what several gates show of one subject is brought together, the worst first."""
    subjects = dict.fromkeys(subject for subject, _ in entries)
    parts = []
    for place, subject in enumerate(subjects):
        found: dict[str, tuple[Mapping[str, Any], Sequence[Any]]] = {}
        for name, data in entries:
            if name == subject:
                for one in data["pictures"]:
                    found.setdefault(str(one["name"]), (one, data.get("names", ())))
        worst = sorted(found.values(), key=lambda pair: (not _unexplained(pair[0]), -float(pair[0]["score_loss"])))[
            :MOST
        ]
        figures = [_picture(number, *pair, jpegs) for number, pair in enumerate(worst, start=1)]
        summary = tag(
            "summary",
            f"{subject}: {plural(len(figures), 'picture')}, {sum(map(_unexplained, (one for one, _ in worst)))} with an unexplained difference",
        )
        more = tag("summary", f"{plural(len(figures) - _OPEN, 'more picture')}")
        folded = tag("details", more, figures[_OPEN:], class_="quiet") if figures[_OPEN:] else None
        parts.append(tag("details", summary, figures[:_OPEN], folded, class_="subject", open=place == 0))
    left = tag(
        "p",
        f"{plural(jpegs.left_out, 'picture')} would make this page too large, and only the boxes are drawn.",
        class_="note",
    )
    return together(_toolbar(), parts, left if jpegs.left_out else None)


def _toolbar() -> Markup:
    layers = (
        ("truth", "annotated"),
        ("reference", "reference"),
        ("candidate", "candidate"),
        ("words", "names"),
        ("photo", "picture"),
    )
    switches = [
        tag("label", tag("input", type="checkbox", id=f"show-{name}", checked=True), tag("span", title, class_=f"key {name}"))
        for name, title in layers
    ]  # fmt: skip
    which = (
        ("all", "all boxes"),
        ("clear", f"score ≥ {CLEAR:g} or different"),
        ("different", "only what is different"),
    )
    choices = [
        tag("label", tag("input", type="radio", name="boxes", id=f"boxes-{name}", checked=name == "clear"), tag("span", title))
        for name, title in which
    ]  # fmt: skip
    marks = [tag("span", words, class_=f"key mark-{kind}") for kind, words in (
        ("unexplained", "a difference without a cause"), ("explained", "with a cause"), ("ghost", "what this side lacks"),
    )]  # fmt: skip
    shows, boxes = tag("fieldset", tag("legend", "Show"), switches), tag("fieldset", tag("legend", "Boxes"), choices)
    return together(
        tag("div", shows, boxes, class_="toolbar"),
        tag("p", "Numbered as in the list beside: ", marks, class_="marks"),
    )


def _unexplained(picture: Mapping[str, Any]) -> bool:
    return any(one["cause"] == "unexplained" for one in picture["differences"])


def _picture(place: int, one: Mapping[str, Any], names: Sequence[Any], jpegs: Jpegs) -> Markup:
    scale = value_of(one["scale"]) or 1.0
    width, height = (max(1.0, round(float(one[side]) * scale)) for side in ("width", "height"))
    photo = jpegs.use(one["jpeg"], width, height)
    sides = {side: [numbers(box) for box in one[side]] for side in ("reference", "candidate")}
    truth = [numbers(box) for box in one["truth"]]
    differences = list(one["differences"])
    panels = [
        tag("div", tag("p", tag("span", side, class_=f"key {side}"), f" {plural(len(boxes), 'box', 'boxes')}", class_="panel-title"),
            _drawing(side, sides, truth, differences, names, (width, height, scale), photo), class_="panel")
        for side, boxes in sides.items()
    ]  # fmt: skip
    wrong = sum(difference["cause"] == "unexplained" for difference in differences)
    facts = f"scores that changed: {number(one['score_loss'], 3)} in all; {plural(len(truth), 'object')}, {plural(len(differences), 'difference')}" + (
        f", {wrong} unexplained" if wrong else "")  # fmt: skip
    causes = [_in_words(difference, sides, names) for difference in differences[:MARKED]]
    rest = [_in_words(difference, sides, names) for difference in differences[MARKED:]]
    listed = together(
        tag("ol", causes),
        tag("details", tag("summary", f"{len(rest)} more"), tag("ol", rest, start=MARKED + 1), class_="quiet")
        if rest
        else None,
    )
    return tag(
        "figure",
        tag(
            "figcaption",
            tag("strong", f"{place}. {one['name']}"),
            tag("span", facts, class_="dim"),
            tag("button", "Enlarge", type="button", class_="enlarge", aria_label=f"Enlarge {one['name']}"),
        ),
        tag(
            "div",
            panels,
            tag("div", listed, class_="causes")
            if causes
            else tag("p", "Rounding only: every box has its partner.", class_="causes dim"),
            class_="panels",
        ),
        class_="picture",
    )


def _in_words(
    difference: Mapping[str, Any], sides: Mapping[str, Sequence[Sequence[float]]], names: Sequence[Any]
) -> Markup:
    other_side = {"reference": "candidate", "candidate": "reference"}[difference["side"]]
    mine = sides[difference["side"]][difference["row"]]
    partner = sides[other_side][difference["other_row"]] if difference.get("other_row") is not None else None
    what = f"{_name(mine, names)} {fixed(mine[4], 3)}"
    if partner:
        other = _name(partner, names) if partner[5] != mine[5] else ""
        what += f" became {other} {fixed(partner[4], 3)}"
    cause = str(difference["cause"])
    kind = "unexplained" if cause == "unexplained" else "explained"
    return tag("li", tag("span", f"{difference['kind']}: {cause}", class_=f"cause {kind}"), " ", what, class_=kind)


def _drawing(
    side: str,
    sides: Mapping[str, Sequence[Sequence[float]]],
    truth: Sequence[Sequence[float]],
    differences: Sequence[Mapping[str, Any]],
    names: Sequence[Any],
    size: tuple[float, float, float],
    photo: Markup | None,
) -> Markup:
    width, height, scale = size
    boxes, room = sides[side], _Room(width, height)
    differences = differences[:MARKED]
    marked = {_row_on(one, side) for one in differences}
    marks = []
    for place, one in enumerate(differences):
        row = _row_on(one, side)
        box = sides["candidate" if side == "reference" else "reference"][one["row"]] if row is None else boxes[row]
        marks.append(_marked(box, place, one, scale, room, "ghost" if row is None else "", side))
    parts = [photo, tag("g", _outlines(truth, scale), class_="truth")]
    others = [box for row, box in enumerate(boxes) if row not in marked]
    for kind, found in (
        ("faint", [box for box in others if box[4] < CLEAR]),
        ("clear", [box for box in others if box[4] >= CLEAR]),
    ):
        labels = [_label(box, scale, room, names) for box in found] if kind == "clear" else []
        parts.append(tag("g", _outlines(found, scale), tag("g", labels, class_="words"), class_=f"{side} {kind}"))
    words = f"{side}: {plural(len(boxes), 'box', 'boxes')}, {plural(len(truth), 'annotated object')}"
    return tag(
        "svg", tag("title", words), parts, marks,
        viewBox=f"0 0 {width:g} {height:g}", role="img", class_="photo-and-boxes",
    )  # fmt: skip


class _Room:
    """Where words can still be written in a drawing."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self._taken: list[tuple[float, float, float]] = []

    def take(self, x: float, y: float, width: float, tries: int) -> tuple[float, float] | None:
        """A place for a line of words as near below (x, y) as there is one; None if there is none after some tries."""
        x = min(max(x, 1.0), max(self.width - width, 1.0))
        y = min(max(y, 9.0), self.height - 4)
        for attempt in range(tries):
            line = y + 13 * attempt
            if all(abs(line - other) >= 13 or x >= last or x + width <= first for first, last, other in self._taken):
                self._taken.append((x, x + width, line))
                return x, line
        return None


def _row_on(difference: Mapping[str, Any], side: str) -> int | None:
    """The row of a difference on a side; None if that side does not have it."""
    row = difference["row"] if difference["side"] == side else difference.get("other_row")
    return None if row is None else int(row)


def _marked(
    box: Sequence[float], place: int, one: Mapping[str, Any], scale: float, room: _Room, ghost: str, side: str
) -> Markup:
    """A box that differs, with its number outside of its corner; dotted where this side lacks it."""
    kind = "unexplained" if one["cause"] == "unexplained" else "explained"
    x, y = max(box[0] * scale - 12, 0), max(box[1] * scale - 4, 8)
    x, y = room.take(x, y, 15, 8) or (x, y)
    return tag(
        "g", _outlines([box], scale),
        tag("circle", cx=round(x + 8, 1), cy=round(y, 1), r=7), text(x + 8, y + 3.3, str(place + 1), "middle", "badge"),
        class_=f"{side} marked {kind} {ghost}".strip(),
    )  # fmt: skip


def _outlines(boxes: Sequence[Sequence[float]], scale: float) -> Markup | None:
    """All these boxes as one path, and a wider dark one below it, to be seen on any picture."""
    if not boxes:
        return None
    corners = [[value * scale for value in box[:4]] for box in boxes]
    path = Markup("".join(f"M{x1:.1f} {y1:.1f}H{x2:.1f}V{y2:.1f}H{x1:.1f}z" for x1, y1, x2, y2 in corners))
    return together(tag("path", d=path, class_="under"), tag("path", d=path, class_="box"))


def _label(box: Sequence[float], scale: float, room: _Room, names: Sequence[Any]) -> Markup | None:
    """A box's class and score, unless they would cover other words."""
    words = f"{_name(box, names)} {box[4]:.2f}"
    place = room.take(box[0] * scale, box[3] * scale + 5, 5.2 * len(words), 1)
    return text(place[0], place[1] + 3, words) if place else None


def _name(box: Sequence[float], names: Sequence[Any]) -> str:
    label = int(box[5])
    return str(names[label]) if 0 <= label < len(names) else f"label {label}"
