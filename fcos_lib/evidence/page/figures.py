"""The figures of the page, made ready for their templates: accuracy, scores and boxes, layers, throughput, seeded defects."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from markupsafe import Markup

from fcos_lib.diagnosis.blame import blame, value_of
from fcos_lib.evidence.explained import kept_in_words
from fcos_lib.evidence.page.charts import Chart, Frame, Strip, text
from fcos_lib.evidence.page.drop import change_in_words, in_words, stages_in_words
from fcos_lib.evidence.page.words import fixed, number, numbers, plural

_LARGEST_HISTORY = 2 << 20
"""Characters."""
_MEDIANS = {
    "log_size": ("size", "%", 100.0),
    "centre_x": ("centre x", "px", 1.0),
    "centre_y": ("centre y", "px", 1.0),
    "score": ("score", "", 1.0),
}


def ladder(data: Mapping[str, Any]) -> dict[str, Any]:
    """What each stage adds to the difference, one after the other, and all of them together."""
    total = data["total"]
    ends = [0.0, *accumulate(value_of(stage["value"]) or 0.0 for stage in data["stages"])]
    whole = value_of(total["value"])
    strip = Strip.around_zero([*ends, whole], 180)
    shown = [*zip(data["stages"], pairwise(ends), strict=True), ({**total, "stage": "together"}, (0.0, whole or 0.0))]
    return {
        **data,
        "sentence": ": ".join(stages_in_words(blame(data))),
        "kept": f"{kept_in_words(data['kept'])}." if "kept" in data else "",
        "rows": [
            (stage, strip.bar(*both_ends, f"{stage['stage']}: {fixed(stage['value'], signed=True)}"))
            for stage, both_ends in shown
        ],
    }


def error_types(data: Mapping[str, Any]) -> dict[str, Any]:
    """The AP that each kind of mistake costs, on either side; what costs the candidate most first."""
    reference, candidate = ({str(name): value_of(value) or 0.0 for name, value in data[side].items()} for side in ("reference", "candidate"))  # fmt: skip
    names = sorted(dict.fromkeys([*reference, *candidate]), key=lambda name: -candidate.get(name, 0.0))
    strip = Strip(0.0, max([*reference.values(), *candidate.values(), 1e-9]), 120, 10)

    def cost(side: str, value: float) -> Any:
        return strip.bar(0.0, value, f"{side} {fixed(value)}", side)

    rows = []
    for name in names:
        before, after = reference.get(name, 0.0), candidate.get(name, 0.0)
        bars = cost("reference", before), cost("candidate", after)
        rows.append((name, bars, before, after))
    return {"rows": rows}


def classes(data: Mapping[str, Any]) -> dict[str, Any]:
    """AP of both sides and the difference, by class, size and IoU."""
    groups = {name: list(data.get(name) or []) for name in ("all", "sizes", "iou", "classes")}
    groups["classes"].sort(key=lambda entry: -abs(value_of(entry["difference"]["value"]) or 0.0))
    changes = [entry["difference"] for group in groups.values() for entry in group]
    strip = Strip.around_zero([value_of(change[end]) for change in changes for end in ("low", "high")], 180)

    def interval(entry: Mapping[str, Any]) -> Any:
        value, low, high = (value_of(entry["difference"][name]) for name in ("value", "low", "high"))
        return strip.interval(value or 0.0, low, high, f"{entry['name']}: {change_in_words(entry['difference'])}")

    shown = {name: [(entry, interval(entry)) for entry in group] for name, group in groups.items() if group}
    return {"scale": strip.high, "groups": shown}


def deciding(data: Mapping[str, Any]) -> dict[str, Any]:
    """The pictures that carry most of a difference, with a bar for the share of each."""
    shares = [value_of(picture["share"]) or 0.0 for picture in data["deciding"]]
    strip = Strip.around_zero(shares, 120)
    rows = []
    for picture, share in zip(data["deciding"], shares, strict=True):
        name = str(picture["file_name"] or picture["id"])
        became = ["{} to {}".format(*picture[what]) for what in ("right", "wrong")]
        rows.append((name, fixed(share, 5, signed=True), strip.bar(0.0, share, f"{name}: {fixed(share, 5, signed=True)}"), *became))  # fmt: skip
    return {"rows": rows, **{what: int(data[what]) for what in ("count", "better", "worse")}} if rows else {}


def precision_recall(data: Mapping[str, Any]) -> dict[str, Any]:
    """Both curves, and their difference enlarged."""
    recall, reference, candidate = (numbers(data[key]) for key in ("recall", "reference", "candidate"))
    difference = [after - before for before, after in zip(reference, candidate, strict=True)]
    most = max(max(map(abs, difference)), 1e-4) * 1.15
    widest = max(range(len(recall)), key=lambda index: abs(difference[index]))
    furthest = f"Furthest apart at recall {recall[widest]:g}: {number(difference[widest], 2, signed=True)}."
    both, apart = Frame.within(440, 280, (0, 1), (0, 1)), Frame.within(440, 170, (0, 1), (-most, most))
    curves = Chart(440, 280, "Precision over recall", f"Reference and candidate at IoU 0.5. {furthest}", [
        both.axes("recall", "precision"),
        both.line(recall, reference, "curve reference"),
        both.line(recall, candidate, "curve candidate"),
    ])  # fmt: skip
    enlarged = Chart(440, 170, "Precision of the candidate minus that of the reference", furthest, [
        apart.axes("recall", "difference", signed=True),
        apart.level(0, "curve even"),
        apart.line(recall, difference, "curve candidate"),
    ])  # fmt: skip
    return {"charts": (curves, enlarged), "furthest": furthest}


def gateproof(data: Mapping[str, Any]) -> dict[str, Any]:
    """Seeded defects with the gates that caught them: a row for each defect, a column for each gate."""
    gates = sorted({str(gate) for case in data["cases"] for gate in (*case["red"], *case["named"])})
    only = {gate: ", ".join(map(str, cases)) for gate, cases in (data.get("only") or {}).items()}
    return {"cases": data["cases"], "gates": gates, "only": only}


def throughput(data: Mapping[str, Any]) -> dict[str, Any]:
    """Every rate by OM and by what was timed (a series is called `batch8 pure`), what it is compared with, and the history."""
    rates: dict[str, dict[str, Any]] = {}
    for rate in data["rates"]:
        batch, _, timed = str(rate["series"]).partition(" ")
        rates.setdefault(batch, {})[timed] = rate["images_per_second"]
    compared = [rate for rate in data["rates"] if any(map(rate.get, ("published", "accepted", "champion")))]
    history = str(data.get("history") or "")
    return {
        "rates": rates,
        "columns": list(dict.fromkeys(timed for of_batch in rates.values() for timed in of_batch)),
        "bounds": [(rate, _duel(rate.get("champion"))) for rate in compared],
        # as a picture of its own: what is drawn in an `img` can neither run nor fetch anything
        "history": Markup(base64.b64encode(history.encode()).decode() if len(history) < _LARGEST_HISTORY else ""),
    }


def _duel(champion: Mapping[str, Any] | None) -> Markup:
    """The change against the champion, %, with its interval; nothing without a champion."""
    if not champion:
        return Markup()
    value, low, high = (value_of(champion.get(name)) for name in ("change", "low", "high"))
    words = f"{fixed(value, 2, signed=True)} % against the champion"
    return Strip.around_zero([value, low, high, 5.0], 120).interval(value or 0.0, low, high, words)


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
    return {name: level["proposals"] for name, level in _by_level(entries).items() if level.get("proposals")}


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
    for column, (layer, ratio) in enumerate(zip(shown, ratios, strict=True)):
        height = top if ratio is None else max(ratio, 0.1)  # what is not finite is drawn as high as anything
        kind = "first" if layer["name"] == first else "over" if height > most else "fine"
        ends = column + 0.1, column + 0.9
        parts.append(frame.bar(ends, math.log10(height), f"layer {kind}", in_words(layer)))
        if kind == "first":  # those before it are low, so there is room for its name on their side
            before, x, y = column > len(shown) / 3, frame.x(ends[0]), frame.y(math.log10(height))
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
