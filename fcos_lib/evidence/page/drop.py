"""The sentences about a drop: what moved, what is to blame, and where to look next."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from fcos_lib.diagnosis.blame import Blame, blame, chance, value_of
from fcos_lib.evidence.page.words import fixed, minus
from fcos_lib.evidence.results import stored_verdict

_GAIN = "A gain without a cause is a difference as well: the OM does not compute what the reference computes."
_Subjects = Sequence[tuple[str, Mapping[str, Any]]]


def moved(run_and_accuracy: tuple[Mapping[str, Any], _Subjects]) -> dict[str, Any]:
    """What moved most and how certain that is, of the subject that moved most."""
    return {"lines": [*_moved(*run_and_accuracy)]}


def look_next(evidence: tuple[Mapping[str, Any], str, Mapping[str, Any], Mapping[str, Any] | None]) -> dict[str, Any]:
    """The next step of a search, by the run, the subject, its ladder and its layers; empty if no stage is to blame."""
    document, subject, ladder, layers = evidence
    decided = blame(ladder, layers)
    return _look(document, subject, decided) if decided.stages else {}


def stages_in_words(decided: Blame) -> tuple[str, str]:
    """`Stage to blame` and `network, −0.0612 of −0.0590`."""
    return "Stages to blame" if len(decided.stages) > 1 else "Stage to blame", minus(decided.why)


def in_words(layer: Mapping[str, Any]) -> str:
    """`/conv1 (Conv), 516 times what fp16 explains`."""
    ratio = value_of(layer["ratio"])
    error = f"{fixed(ratio, 0 if ratio >= 100 else 1)} times what fp16 explains" if ratio is not None else "not finite"
    return f"{layer['name']} ({layer['operator']}), {error}"


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


def _look(document: Mapping[str, Any], subject: str, decided: Blame) -> dict[str, Any]:
    """The next step, and what the command beside it depends on."""
    batch, stage = re.match(r"batch(\d+)", subject), decided.stages[0]
    layer = decided.layer if stage == "network" else None
    return {
        "next_step": decided.next_step,
        "stage": stage,
        "subject": subject,
        "aipp": stage == "preprocess" and "aipp" in subject,
        "layer": layer is not None,
        "explain_helps": not layer or decided.float32_may_help,
        "om": _om(document, batch[1] if batch else ""),
        "explain": f"python -m fcos_lib explain {shlex.quote(_results(document))}{f' --batch {batch[1]}' if batch else ''} --layers",
    }


def _results(document: Mapping[str, Any]) -> str:
    """The run's file from where the suite ran; beside the page, if the run does not say where."""
    artifacts = (document["run"].get("settings") or {}).get("artifacts")
    return f"{artifacts}/results/results.json" if artifacts else "results.json"


def _om(document: Mapping[str, Any], batch: str) -> PurePosixPath | None:
    """The folder of the OM under test, if this run had it built."""
    settings = document["run"].get("settings") or {}
    for artifact in document["artifacts"]:
        facts = artifact["provenance"]
        under_test = artifact["kind"] == "om" and not settings.get("om") and not facts.get("proposals")
        if under_test and batch in (str(facts.get("batch")), ""):
            return PurePosixPath(str(settings.get("artifacts", ".artifacts"))) / "om" / str(artifact["key"])
    return None


def _whole(data: Mapping[str, Any]) -> float:
    entries = data.get("all") or [{"difference": {"value": 0.0}}]
    return value_of(entries[0]["difference"]["value"]) or 0.0
