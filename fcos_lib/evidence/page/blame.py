"""The sentences on the first screen: what moved, what is to blame, and where to look next."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from fcos_lib.evidence.explained import NO_ROUNDING, first_layer, remedy
from fcos_lib.evidence.page.words import fixed, value_of
from fcos_lib.evidence.results import stored_verdict

_SHARE = 0.2
"""A stage is to blame, not only one that moved, with this share of all that was lost and gained."""
_GAIN = "A gain without a cause is a difference as well: the OM does not compute what the reference computes."
_Subjects = Sequence[tuple[str, Mapping[str, Any]]]


def first_screen(document: Mapping[str, Any], evidence: Mapping[str, _Subjects]) -> dict[str, Any]:
    """What moved, and what to look at next. `evidence` are subjects and data by kind."""
    lines = [*_moved(document, evidence.get("classes", []))]
    look: dict[str, Any] = {}
    for subject, data in evidence.get("ladder", [])[:1]:
        layers = next((entry for name, entry in evidence.get("layers", []) if name == subject), None)
        first = first_layer(layers) if layers else None
        lines.append((*stages_in_words(data), subject))
        if first:
            lines.append(("First layer that differs", in_words(first), subject))
        for stage in to_blame(data)[:1]:
            look = _look(document, subject, str(stage["stage"]), first)
    return {"lines": lines, "look": look}


def to_blame(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Stages that did a good part of the whole, more than chance explains; the largest first."""
    stages = sorted(data["stages"], key=lambda stage: -abs(value_of(stage["value"]) or 0.0))
    least = _SHARE * sum(abs(value_of(stage["value"]) or 0.0) for stage in stages)
    return [stage for stage in stages if not chance(stage) and abs(value_of(stage["value"]) or 0.0) >= least]


def stages_in_words(data: Mapping[str, Any]) -> tuple[str, str]:
    """`Stage to blame` and `network, −0.0612 of −0.0590`."""
    blamed, total = to_blame(data), fixed(data["total"]["value"], signed=True)
    named = " and ".join(f"{stage['stage']}, {fixed(stage['value'], signed=True)}" for stage in blamed)
    if not named:
        return "Stage to blame", f"none: chance may explain what the stages share of {total}"
    return "Stages to blame" if len(blamed) > 1 else "Stage to blame", f"{named} of {total}"


def in_words(layer: Mapping[str, Any]) -> str:
    """`/conv1 (Conv), 516 times what fp16 explains`."""
    ratio = value_of(layer["ratio"])
    error = f"{fixed(ratio, 0 if ratio >= 100 else 1)} times what fp16 explains" if ratio is not None else "not finite"
    return f"{layer['name']} ({layer['operator']}), {error}"


def chance(change: Mapping[str, Any]) -> bool:
    """Whether chance may explain a difference, taken alone."""
    low, high = value_of(change["low"]), value_of(change["high"])
    return low is None or high is None or low <= 0 <= high


def change_in_words(change: Mapping[str, Any]) -> str:
    """A difference with its interval."""
    value, low, high = (fixed(change[name], signed=True) for name in ("value", "low", "high"))
    return f"{value} (95 % between {low} and {high})"


def _moved(document: Mapping[str, Any], evidence: _Subjects) -> Iterator[tuple[str, str, str]]:
    """The whole, the class and the size, of the subject that moved most: what, in words, and the subject."""
    if not evidence:
        return
    subject, data = max(evidence, key=lambda pair: abs(_whole(pair[1])))
    for whole in (data.get("all") or [])[:1]:
        before, after = fixed(whole["reference"]), fixed(whole["candidate"])
        verdicts = [stored_verdict(entry) for entry in document["verdicts"] if entry["subject"] == subject]
        held = [verdict for verdict in verdicts if verdict.measurement.name == "mAP difference" and verdict.limit]
        remark = "Within its limits." if held and all(verdict.green for verdict in held) else ""
        certain_gain = _whole(data) > 0 and not chance(whole["difference"])
        if certain_gain and not all(verdict.green for verdict in verdicts):
            remark = _GAIN
        yield "mAP", f"{change_in_words(whole['difference'])}: {before} became {after}. {remark}", subject
    families = (
        ("class", "in a class", list(data.get("classes") or []), "classes", 0),
        ("object size", "by size or IoU", list(data.get("sizes") or []), "sizes and IoUs", len(data.get("iou") or [])),
    )
    for what, gate, entries, all_of_them, more in families:
        if entries:
            worst = max(entries, key=lambda entry: abs(value_of(entry["difference"]["value"]) or 0.0))
            among = f"all {len(entries) + more} {all_of_them}"
            certain = _certain(document, subject, gate, worst, among)
            text = f"{worst['name']}, {change_in_words(worst['difference'])}; {certain}"
            yield f"The {what} that moved most", text, subject


def _certain(document: Mapping[str, Any], subject: str, gate: str, entry: Mapping[str, Any], among: str) -> str:
    """Whether a change is more than chance: taken alone, and as the gate says that knows how many there were to choose from."""
    if chance(entry["difference"]):
        return "chance may explain it"
    kind = "gain" if (value_of(entry["difference"]["value"]) or 0.0) > 0 else "loss"
    for verdict in document["verdicts"]:
        measured = verdict["measurement"]
        if (verdict["subject"], measured["name"]) == (subject, f"certain {kind} {gate}"):
            value = value_of(measured["value"])
            if value and str(measured.get("where", "")).startswith(f"{entry['name']}:"):
                return f"among {among} a {kind} of at least {fixed(value)} is certain"
            if not value:
                return f"taken alone, chance does not explain it; the largest of {among} may be chance"
    return "taken alone, chance does not explain it"


def _look(document: Mapping[str, Any], subject: str, stage: str, first: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the advice on a stage depends on; `first` is the first layer that differs, which only the network has."""
    batch = re.match(r"batch(\d+)", subject)
    layer = first if stage == "network" else None
    return {
        "stage": stage,
        "subject": subject,
        "aipp": stage == "preprocess" and "aipp" in subject,
        "layer": layer["name"] if layer else "",
        "remedy": remedy(layer) if layer else "",
        "rounding": not layer or remedy(layer) != NO_ROUNDING,
        "om": _om(document, batch[1] if batch else ""),
        "explain": f"python -m fcos_lib explain results.json{f' --batch {batch[1]}' if batch else ''} --layers",
    }


def _om(document: Mapping[str, Any], batch: str) -> PurePosixPath | None:
    """The folder of the OM under test, if this run had it built."""
    settings = document["run"].get("settings") or {}
    for artifact in document["artifacts"]:
        facts = artifact["provenance"]
        under_test = artifact["kind"] == "om" and not settings.get("om") and not facts.get("candidates")
        if under_test and batch in (str(facts.get("batch")), ""):
            return PurePosixPath(str(settings.get("artifacts", ".artifacts"))) / "om" / str(artifact["key"])
    return None


def _whole(data: Mapping[str, Any]) -> float:
    entries = data.get("all") or [{"difference": {"value": 0.0}}]
    return value_of(entries[0]["difference"]["value"]) or 0.0
