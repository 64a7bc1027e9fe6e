"""How near are scores and boxes to the reference's? Score against score, level by level, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fcos_lib.evidence.explained import NO_ROUNDING, first_layer, remedy
from fcos_lib.evidence.page.blame import in_words
from fcos_lib.evidence.page.charts import Frame, Strip, chart, numbers, text
from fcos_lib.evidence.page.html import Markup, command, number, plural, row, scrolling, table, tag, together, value_of

_FIGURES = {
    "cosine_boxes": ("cosine of boxes", 6),
    "relative_distance_boxes": ("relative distance of boxes", 3),
    "largest_boxes": ("largest difference, px", 3),
    "cosine_scores": ("cosine of scores", 6),
    "relative_distance_scores": ("relative distance of scores", 3),
    "largest_scores": ("largest difference of a score", 3),
}
_MEDIANS = {
    "log_size": ("size", "%", 100.0),
    "centre_x": ("centre x", "px", 1.0),
    "centre_y": ("centre y", "px", 1.0),
    "score": ("score", "", 1.0),
}


def scatter(data: Mapping[str, Any]) -> Markup:
    """Each detection's two scores; on an axis if only one side has it."""
    points = [numbers(point) for point in data["points"]]
    if any(len(point) != 2 for point in points):
        raise ValueError("a point has two scores")
    frame = Frame(460, 460, (0, 1), (0, 1))
    alone = [point for point in points if 0.0 in point]
    both = [point for point in points if 0.0 not in point]
    furthest = max((abs(one - other) for one, other in both), default=0.0)
    of = plural(int(data.get("total", len(points))), "detection")
    words = (
        f"Scores of {of}; {len(alone)} of those drawn have only one. The furthest pair is {number(furthest, 2)} apart."
    )
    return tag(
        "figure",
        chart(460, 460, words, frame.axes("score of the reference", "candidate"), frame.line([0, 1], [0, 1], "zero"),
              frame.points(both, "both"), frame.points(alone, "alone")),
        tag("figcaption", tag("strong", "Scores"), f" of {of}, {len(points):,} of them drawn. On the line both sides are equal; "
            f"{len(alone)} lie on an axis: only one side has them. The furthest pair is {number(furthest, 2)} apart."),
    )  # fmt: skip


_Levels = tuple[Mapping[str, Mapping[str, Any]], Sequence[str]]


def _by_level(entries: Sequence[Mapping[str, Any]]) -> _Levels:
    """What is known of each level, and their order; what several gates say of a level is brought together."""
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        for level in entry["levels"]:
            known = found.setdefault(str(level["level"]), {})
            known.update({name: value for name, value in level.items() if value is not None})
    return found, sorted(found, key=lambda name: (name == "all levels", name))


def shifts(entries: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Medians of all pairs of a level, with their intervals."""
    found, order = _by_level(entries)
    shown = [name for name in order if any(key in found[name] for key in _MEDIANS)]
    if not shown:
        return None
    strips = {
        key: Strip.around_zero(
            [value_of((found[name].get(key) or {}).get(end)) for name in shown for end in ("value", "low", "high")], 120
        )
        for key in _MEDIANS
    }
    rows = []
    for name in shown:
        cells: list[Markup | str] = []
        for key, (_, unit, times) in _MEDIANS.items():
            median = found[name].get(key) or {}
            value = value_of(median.get("value"))
            if value is None:
                cells += ["–", ""]
                continue
            words = f"{number(value * times, 2, signed=True)}{' ' * bool(unit)}{unit}"
            cells += [
                words,
                strips[key].interval(
                    value, value_of(median.get("low")), value_of(median.get("high")), words, good_or_bad=False
                ),
            ]
        rows.append(row(name, number(found[name].get("pairs")), *cells, kind="total" * (name == "all levels")))
    header = ["level", "pairs"]
    for key, (title, unit, times) in _MEDIANS.items():
        header += [title, f"±{number(strips[key].high * times, 2)} {unit}".strip()]
    return together(
        table("Common shift of the candidate, median and 95 % interval", header, rows, "numbers"),
        tag("p", "Rounding errs both ways: a filled dot is a shift that all boxes of a level share.", class_="note"),
    )


def before_nms(entries: Sequence[Mapping[str, Any]]) -> Markup | None:
    """How near the candidates of a level are: a row for each figure, a column for each level."""
    found, order = _by_level(entries)
    shown = [name for name in order if found[name].get("candidates")]
    if not shown:
        return None
    rows = [
        row(title, *(number(found[name]["candidates"].get(figure), digits) for name in shown))
        for figure, (title, digits) in _FIGURES.items()
    ]
    return table("Before NMS, the worst picture for each figure", ("figure", *shown), rows, "numbers")


def layers(data: Mapping[str, Any]) -> Markup:
    """The error of each layer over the one that fp16 explains, in the order of the network."""
    found, most, first = list(data["layers"]), value_of(data["k"]) or 1.0, data.get("first")
    ratios = [value_of(one["ratio"]) for one in found]
    label = None
    top = 10 ** math.ceil(math.log10(max([most * 2, *(ratio for ratio in ratios if ratio is not None)])))
    frame = Frame(960, 280, (0, max(len(found), 2)), (-1, math.log10(top)))
    bars = []
    for place, (one, ratio) in enumerate(zip(found, ratios, strict=True)):
        height = top if ratio is None else max(ratio, 0.1)  # what is not finite is drawn as high as anything
        x, y = frame.x(place + 0.1), frame.y(math.log10(height))
        kind = "first" if one["name"] == first else "over" if height > most else "fine"
        words = in_words(one)
        if kind == "first":  # those before it are low, so there is room for its name on their side
            left = place > len(found) / 3
            label = text(x - 5 if left else x, y + 10 if left else 24, words, "end" if left else "start", "name")
        width = max(frame.x(place + 0.9) - x, 0.8)
        bars.append(
            tag(
                "rect",
                tag("title", words),
                class_=f"layer {kind}",
                x=round(x, 1),
                y=round(y, 1),
                width=round(width, 1),
                height=round(frame.y(-1) - y, 1),
            )
        )
    limit = frame.line([0, max(len(found), 2)], [math.log10(most)] * 2, "limit")
    sentence = f"No layer of {len(found)} has an error of more than {number(most)} times what fp16 explains."
    if first:
        sentence = f"{first} is the first layer whose error is more than {number(most)} times what fp16 explains."
    axes = frame.axes("layer, in the order of the network", "error over what fp16 explains", powers=True)
    rows = [
        row(
            *(str(one["name"]), str(one["operator"])),
            *(number(one[name], 3) for name in ("error", "expected", "ratio")),
            kind="total" * (one["name"] == first),
        )
        for one in found
    ]
    return together(
        tag("p", sentence, class_="lead"),
        tag("figure", scrolling(chart(960, 280, sentence, axes, bars, limit, label), "Error of each layer")),
        _remedy(data),
        tag(
            "details",
            tag("summary", f"All {plural(len(found), 'layer')}"),
            table("Relative error of each layer", ("layer", "operator", "error", "expected", "ratio"), rows, "numbers"),
            class_="quiet",
        ),
        tag("p", "Looked at in: ", ", ".join(map(str, data.get("pictures", []))), class_="note"),
    )


def _remedy(data: Mapping[str, Any]) -> Markup | None:
    """What the first layer's error says, with its nodes if float32 may help."""
    first, nodes = first_layer(data), [str(name) for name in data.get("mixed_precision") or []]
    if not first:
        return None
    if remedy(first) == NO_ROUNDING or not nodes:
        return tag("p", remedy(first))
    listed = "As a file, one line each, for --keep_dtype of atc and --atc-option=--keep_dtype=FILE of the suite:"
    return together(tag("p", remedy(first)), tag("p", listed, class_="label"), command("\n".join(nodes)))
