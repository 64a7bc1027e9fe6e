"""Figures on accuracy: the difference in mAP by stage, class, size and kind of mistake, and both curves of precision."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import Any

from fcos_lib.evidence.page.blame import change_in_words, stages_in_words
from fcos_lib.evidence.page.charts import Chart, Frame, Strip
from fcos_lib.evidence.page.words import fixed, number, numbers, value_of

_MISTAKES = {
    "class": "right place, wrong class",
    "location": "right class, place not good enough",
    "both": "wrong class, poor place",
    "duplicate": "an object that was found already",
    "background": "no object there",
    "missed": "an object that was not found",
}
_GROUPS = {
    "all": "All classes",
    "sizes": "By object size",
    "iou": "By IoU",
    "classes": "By class, what moved most first",
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
        "sentence": ": ".join(stages_in_words(data)),
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
        rows.append((name, _MISTAKES.get(name, ""), bars, before, after))
    return {"rows": rows}


def classes(data: Mapping[str, Any]) -> dict[str, Any]:
    """AP of both sides and the difference, by class, size and IoU."""
    groups = {title: list(data.get(key) or []) for key, title in _GROUPS.items()}
    groups[_GROUPS["classes"]].sort(key=lambda entry: -abs(value_of(entry["difference"]["value"]) or 0.0))
    changes = [entry["difference"] for group in groups.values() for entry in group]
    strip = Strip.around_zero([value_of(change[end]) for change in changes for end in ("low", "high")], 180)

    def interval(entry: Mapping[str, Any]) -> Any:
        value, low, high = (value_of(entry["difference"][name]) for name in ("value", "low", "high"))
        return strip.interval(value or 0.0, low, high, f"{entry['name']}: {change_in_words(entry['difference'])}")

    shown = {title: [(entry, interval(entry)) for entry in group] for title, group in groups.items() if group}
    return {"scale": strip.high, "groups": shown}


def precision_recall(data: Mapping[str, Any]) -> dict[str, Any]:
    """Both curves, and their difference enlarged."""
    recall, reference, candidate = (numbers(data[key]) for key in ("recall", "reference", "candidate"))
    difference = [after - before for before, after in zip(reference, candidate, strict=True)]
    most = max(max(map(abs, difference)), 1e-4) * 1.15
    place = max(range(len(recall)), key=lambda index: abs(difference[index]))
    furthest = f"Furthest apart at recall {recall[place]:g}: {number(difference[place], 2, signed=True)}."
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
