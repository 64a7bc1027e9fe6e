"""Figures on scores, boxes and layers: how near the candidate is to the reference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fcos_lib.diagnosis.blame import blame
from fcos_lib.evidence.page.blame import in_words
from fcos_lib.evidence.page.charts import Chart, Frame, Strip, text
from fcos_lib.evidence.page.words import number, numbers, plural, value_of

_MEDIANS = {
    "log_size": ("size", "%", 100.0),
    "centre_x": ("centre x", "px", 1.0),
    "centre_y": ("centre y", "px", 1.0),
    "score": ("score", "", 1.0),
}


def scatter(data: Mapping[str, Any]) -> dict[str, Any]:
    """Each detection's two scores; on an axis if only one side has it."""
    points = [numbers(pair) for pair in data["points"]]
    if any(len(pair) != 2 for pair in points):
        raise ValueError("a point has two scores")
    frame = Frame.within(460, 460, (0, 1), (0, 1))
    alone, both = ([pair for pair in points if (0.0 in pair) == lonely] for lonely in (True, False))
    furthest = max((abs(before - after) for before, after in both), default=0.0)
    sentence = (
        f"{plural(int(data.get('total', len(points))), 'detection')}, {len(points):,} of them drawn. On the line both sides are equal; "
        f"{len(alone)} lie on an axis: only one side has them. The furthest pair is {number(furthest, 2)} apart."
    )
    even = frame.line([0, 1], [0, 1], "curve even")
    axes = frame.axes("score of the reference", "candidate")
    parts = [axes, even, frame.dots(both, "both"), frame.dots(alone, "alone")]
    return {"chart": Chart(460, 460, "Scores of both sides", sentence, parts)}


_Levels = Sequence[Mapping[str, Any]]
"""What several gates say of the levels of one subject."""


def _by_level(entries: _Levels) -> dict[str, dict[str, Any]]:
    """What is known of each level, brought together; all of them at the end."""
    known: dict[str, dict[str, Any]] = {}
    for entry in entries:
        for level in entry["levels"]:
            of_level = known.setdefault(str(level["level"]), {})
            of_level.update({name: value for name, value in level.items() if value is not None})
    return dict(sorted(known.items(), key=lambda pair: (pair[0] == "all levels", pair[0])))


def before_nms(entries: _Levels) -> dict[str, Any]:
    """How near the proposals of each level are; empty if no gate compared them."""
    return {name: level["candidates"] for name, level in _by_level(entries).items() if level.get("candidates")}


def shifts(entries: _Levels) -> dict[str, Any]:
    """Medians of all pairs of a level, a small drawing beside each; empty if there are none."""
    known = {name: level for name, level in _by_level(entries).items() if any(key in level for key in _MEDIANS)}
    header, cells = ["level", "pairs"], {name: list[Any]() for name in known}
    for key, (title, unit, times) in _MEDIANS.items():
        medians = {
            name: [value_of((level.get(key) or {}).get(end)) for end in ("value", "low", "high")]
            for name, level in known.items()
        }
        strip = Strip.around_zero([end for ends in medians.values() for end in ends], 120)
        header += [title, f"±{number(strip.high * times, 2)} {unit}".strip()]
        for name, (value, low, high) in medians.items():
            if value is None:
                cells[name] += ["–", ""]
                continue
            words = f"{number(value * times, 2, signed=True)} {unit}".strip()
            cells[name] += [words, strip.interval(value, low, high, words, good_or_bad=False)]
    rows = [(name, known[name].get("pairs"), of_level) for name, of_level in cells.items()]
    return {"header": header, "rows": rows} if rows else {}


def layers(data: Mapping[str, Any]) -> dict[str, Any]:
    """The error of each layer over the one that fp16 explains, in the order of the network."""
    shown, most, first = list(data["layers"]), value_of(data["k"]) or 1.0, data.get("first")
    ratios = [value_of(layer["ratio"]) for layer in shown]
    top = 10 ** math.ceil(math.log10(max([most * 2, *(ratio for ratio in ratios if ratio is not None)])))
    frame = Frame.within(960, 280, (0, max(len(shown), 2)), (-1, math.log10(top)))
    parts = [frame.axes("layer, in the order of the network", "error over what fp16 explains", powers=True)]
    for place, (layer, ratio) in enumerate(zip(shown, ratios, strict=True)):
        height = top if ratio is None else max(ratio, 0.1)  # what is not finite is drawn as high as anything
        kind = "first" if layer["name"] == first else "over" if height > most else "fine"
        ends = place + 0.1, place + 0.9
        parts.append(frame.bar(ends, math.log10(height), f"layer {kind}", in_words(layer)))
        if kind == "first":  # those before it are low, so there is room for its name on their side
            before, x, y = place > len(shown) / 3, frame.x(ends[0]), frame.y(math.log10(height))
            parts.append(text(x - 5, y + 10, in_words(layer), "name", "end") if before else text(x, 24, in_words(layer), "name"))  # fmt: skip
    parts.append(frame.level(math.log10(most), "curve limit"))
    sentence = f"No layer of {len(shown)} has an error of more than {number(most)} times what fp16 explains."
    if first:
        sentence = f"{first} is the first layer whose error is more than {number(most)} times what fp16 explains."
    decided, nodes = blame(layers=data), [str(name) for name in data.get("mixed_precision") or []]
    return {
        **data,
        "sentence": sentence,
        "chart": Chart(960, 280, "Error of each layer", sentence, parts),
        "advice": decided.remedy,
        "nodes": nodes if decided.float32_may_help else [],
    }
