"""The chapters on accuracy: curves by size and class, and which classes are taken for which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fcos_lib.evidence.page.blame import change_in_words, stages_in_words
from fcos_lib.evidence.page.charts import Frame, Strip, chart, numbers
from fcos_lib.evidence.page.html import (
    Markup,
    fixed,
    group_head,
    number,
    plural,
    row,
    table,
    tag,
    term,
    together,
    value_of,
)


def kill_matrix(data: Mapping[str, Any]) -> Markup:
    """A row for each defect, a column for each gate."""
    cases = data["cases"]
    gates = sorted({str(gate) for case in cases for gate in (*case["red"], *case["named"])})
    rows = []
    for case in cases:
        caught, named = set(map(str, case["red"])), set(map(str, case["named"]))
        cells = [
            tag("span", "●" if gate in caught else "○" if gate in named else "", class_="cell", role="img",
                aria_label="caught" if gate in caught else "expected, not caught" if gate in named else "no")
            if gate in caught | named else ""
            for gate in gates
        ]  # fmt: skip
        rows.append(
            row(
                together(str(case["name"]), tag("span", str(case["what"]), class_="what")),
                *cells,
                str(case["verdict"]),
                kind="control" if case["control"] else "defect",
            )
        )
    only = [
        (str(gate), ", ".join(map(str, ids)) or "nothing: another gate catches all of it")
        for gate, ids in data.get("only", {}).items()
    ]
    return together(
        tag("p", "● is a gate that went red, ○ one that was expected to and did not."),
        table("Defects and the gates that caught them", ("case", *gates, "verdict"), rows, "matrix"),
        tag("details", tag("summary", "What only one gate catches"), term(only), class_="quiet") if only else None,
    )  # fmt: skip


_MISTAKES = {
    "class": "right place, wrong class",
    "location": "right class, place not good enough",
    "both": "wrong class, poor place",
    "duplicate": "an object that was found already",
    "background": "no object there",
    "missed": "an object that was not found",
}


def classes(data: Mapping[str, Any]) -> Markup:
    """AP of both sides and the difference, by class, size and IoU, what moved most first."""
    groups = [
        ("all", "All classes"),
        ("sizes", "By object size"),
        ("iou", "By IoU"),
        ("classes", "By class, what moved most first"),
    ]
    entries = [(title, list(data.get(key) or [])) for key, title in groups]
    strip = Strip.around_zero(
        [value_of(one["difference"][end]) for _, group in entries for one in group for end in ("low", "high")], 180
    )
    parts = []
    for title, group in entries:
        if not group:
            continue
        if title.startswith("By class"):
            group.sort(key=lambda one: -abs(value_of(one["difference"]["value"]) or 0.0))
        rows = [group_head(title, 6)]
        for one in group:
            change = one["difference"]
            value = value_of(change["value"]) or 0.0
            words = f"{one['name']}: {change_in_words(change)}"
            rows.append(row(
                str(one["name"]), fixed(value, 4, signed=True),
                strip.interval(value, value_of(change["low"]), value_of(change["high"]), words),
                fixed(one["reference"], 4), fixed(one["candidate"], 4), number(change.get("n")),
            ))  # fmt: skip
        parts.append(together(rows))
    return together(
        table("Average precision (IoU 0.50 to 0.95 unless said otherwise)",
              ("average over", "difference", f"95 %, ±{number(strip.high, 2)}", "reference", "candidate", "pictures"), parts, "numbers"),
        tag("p", "A filled dot lies off zero by more than chance explains, for this row alone.", class_="note"),
    )  # fmt: skip


def precision_recall(data: Mapping[str, Any]) -> Markup:
    """Both curves, and their difference enlarged."""
    recall, reference, candidate = (numbers(data[key]) for key in ("recall", "reference", "candidate"))
    difference = [after - before for before, after in zip(reference, candidate, strict=True)]
    most = max(max(map(abs, difference)), 1e-4) * 1.15
    both, apart = Frame(440, 280, (0, 1), (0, 1)), Frame(440, 170, (0, 1), (-most, most))
    place = max(range(len(recall)), key=lambda index: abs(difference[index]))
    furthest = f"Furthest apart at recall {recall[place]:g}: {number(difference[place], 2, signed=True)}."
    return tag(
        "figure",
        chart(440, 280, "Precision over recall, reference and candidate", both.axes("recall", "precision"),
              both.line(recall, reference, "reference"), both.line(recall, candidate, "candidate")),
        chart(440, 170, f"Precision of the candidate minus that of the reference. {furthest}", apart.axes("recall", "difference", signed=True),
              apart.line([0, 1], [0, 0], "zero"), apart.line(recall, difference, "candidate")),
        tag("figcaption", tag("strong", "Precision and recall"), f" at IoU 0.5, mean over the classes. {furthest} ", key()),
    )  # fmt: skip


def key() -> Markup:
    """Which colour is which side."""
    return tag("span", [tag("span", side, class_=f"key {side}") for side in ("reference", "candidate")], class_="keys")


def ladder(data: Mapping[str, Any]) -> Markup:
    """What each stage adds, one after the other."""
    stages, total = list(data["stages"]), data["total"]
    reached, ends = 0.0, [0.0]
    for stage in stages:
        reached += value_of(stage["value"]) or 0.0
        ends.append(reached)
    strip = Strip.around_zero([*ends, value_of(total["value"])], 180)
    shown = [
        *zip(stages, ends, ends[1:], strict=False),
        ({**total, "stage": "together"}, 0.0, value_of(total["value"]) or 0.0),
    ]
    rows = []
    for stage, start, end in shown:
        name, value = str(stage["stage"]), fixed(stage["value"], 4, signed=True)
        interval = f"{fixed(stage['low'], 4, signed=True)} to {fixed(stage['high'], 4, signed=True)}"
        bar = strip.bar(start, end, f"{name}: {value}")
        rows.append(row(name, value, interval, bar, kind="total" * (stage is shown[-1][0])))
    judged = value_of(data.get("judged"))
    notes = [
        f"Measured on {plural(int(data.get('pictures', 0)), 'picture')}, with OMs that also return what lies between the stages.",
        f"The gate measured {fixed(judged, 4, signed=True)} on the OM under test." if judged is not None else "",
        str(data.get("left_out", "")),
    ]
    return together(
        tag("p", ": ".join(stages_in_words(data)), class_="lead"),
        table(
            "Difference in mAP, stage by stage",
            ("stage", "mAP", "95 % interval", "in turn"),
            rows,
            "numbers",
        ),
        tag("p", " ".join(filter(None, notes)), class_="note"),
    )


def error_types(data: Mapping[str, Any]) -> Markup:
    """How much AP each kind of mistake costs, on either side."""
    sides = {side: data[side] for side in ("reference", "candidate")}
    names = list(dict.fromkeys(str(name) for side in sides.values() for name in side))
    values = [value_of(side.get(name)) or 0.0 for side in sides.values() for name in names]
    strip = Strip(0.0, max([*values, 1e-9]), 120)
    rows = []
    for name in sorted(names, key=lambda name: -(value_of(sides["candidate"].get(name)) or 0.0)):
        one, other = (value_of(side.get(name)) or 0.0 for side in sides.values())
        rows.append(row(
            together(name, tag("span", _MISTAKES.get(name, ""), class_="explained")),
            together(_mistake(strip, one, "reference"), _mistake(strip, other, "candidate")),
            fixed(other - one, 4, signed=True), fixed(one, 4), fixed(other, 4),
        ))  # fmt: skip
    return together(
        table(
            "AP50 that each kind of mistake costs",
            ("mistake", "cost", "difference", "reference", "candidate"),
            rows,
            "numbers",
        ),
        tag("p", key(), class_="note"),
    )


def _mistake(strip: Strip, value: float, side: str) -> Markup:
    return tag(
        "svg", tag("title", f"{side} {fixed(value, 4)}"),
        tag("rect", class_=f"share {side}", x=4, y=1, width=round(max(strip.x(value) - 4, 0.5), 1), height=7),
        viewBox="0 0 120 9", width=120, height=9, role="img", class_="strip",
    )  # fmt: skip
