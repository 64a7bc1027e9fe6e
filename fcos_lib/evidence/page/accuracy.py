"""Figures on accuracy and throughput: mAP by stage, class, size and kind of mistake, both curves, rates, and seeded defects."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import Any

from markupsafe import Markup

from fcos_lib.diagnosis.blame import blame
from fcos_lib.evidence.page.blame import change_in_words, stages_in_words
from fcos_lib.evidence.page.charts import Chart, Frame, Strip
from fcos_lib.evidence.page.words import fixed, number, numbers, value_of

_LARGEST_HISTORY = 2 << 20
"""Characters."""


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
