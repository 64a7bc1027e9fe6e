"""The sentences on the first screen: what moved, what is to blame, and where to look next."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from fcos_lib.evidence.explained import NO_ROUNDING, first_layer, remedy
from fcos_lib.evidence.page.words import fixed, value_of
from fcos_lib.evidence.reading import stored_verdict

_SHARE = 0.2
"""A stage is to blame, not only one that moved, with this share of all that was lost and gained."""
_GAIN = "A gain without a cause is a difference as well: the OM does not compute what the reference computes."
_AIPP = (
    "The consistency gates look at tensors behind AIPP: they count what AIPP makes of a picture as the network's, and the "
    "check of the network's inputs looks before AIPP. Neither speaks against this."
)
_LOOK = {
    "preprocess": "what the network is given: the mean, the order of channels, scale, padding and crop that the device is told "
    "(with AIPP: aipp.cfg beside the OM) against those of the recipe.",
    "network": "the network's weights and what atc fused (fusion_result.json beside the OM), then its precision mode.",
    "decoding": "how the head becomes boxes and scores: strides, the half stride of the points, exp or scale of the distances, "
    "sigmoid and centerness in the ONNX given to atc, and the precision that they run in.",
    "NMS": "the attributes of NMS in the ONNX against those in the OM: IoU threshold, score threshold, rows before and after.",
}
_Subjects = Sequence[tuple[str, Mapping[str, Any]]]


def first_screen(document: Mapping[str, Any], evidence: Mapping[str, _Subjects]) -> dict[str, Any]:
    """What moved, and where to look next. `evidence` are subjects and data by kind."""
    lines = [*_moved(document, evidence.get("classes", []))]
    advice: dict[str, Any] = {}
    for subject, data in evidence.get("ladder", [])[:1]:
        layers = next((entry for name, entry in evidence.get("layers", []) if name == subject), None)
        first = first_layer(layers) if layers else None
        lines.append(_line(*stages_in_words(data), subject))
        if first:
            lines.append(_line("First layer that differs", in_words(first), subject))
        for stage in to_blame(data)[:1]:
            advice = _advice(document, subject, str(stage["stage"]), first)
    return {"lines": lines, "advice": advice}


def to_blame(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Stages that did a good part of the whole, more than chance explains; the largest first."""
    stages = sorted(data["stages"], key=lambda one: -abs(value_of(one["value"]) or 0.0))
    least = _SHARE * sum(abs(value_of(one["value"]) or 0.0) for one in stages)
    return [one for one in stages if not chance(one) and abs(value_of(one["value"]) or 0.0) >= least]


def stages_in_words(data: Mapping[str, Any]) -> tuple[str, str]:
    """`Stage to blame` and `network, −0.0612 of −0.0590`."""
    blamed, total = to_blame(data), fixed(data["total"]["value"], signed=True)
    named = " and ".join(f"{one['stage']}, {fixed(one['value'], signed=True)}" for one in blamed)
    if not named:
        return "Stage to blame", f"none: chance may explain what the stages share of {total}"
    return f"Stage{'s' * (len(blamed) > 1)} to blame", f"{named} of {total}"


def in_words(layer: Mapping[str, Any]) -> str:
    """`/conv1 (Conv), 516 times what fp16 explains`."""
    ratio = value_of(layer["ratio"])
    error = f"{fixed(ratio, 0 if ratio >= 100 else 1)} times what fp16 explains" if ratio is not None else "not finite"
    return f"{layer['name']} ({layer['operator']}), {error}"


def chance(one: Mapping[str, Any]) -> bool:
    """May chance explain a difference, taken alone?"""
    low, high = value_of(one["low"]), value_of(one["high"])
    return low is None or high is None or low <= 0 <= high


def change_in_words(one: Mapping[str, Any]) -> str:
    """A difference with its interval."""
    low, high = fixed(one["low"], signed=True), fixed(one["high"], signed=True)
    return f"{fixed(one['value'], signed=True)} (95 % between {low} and {high})"


def _moved(document: Mapping[str, Any], evidence: _Subjects) -> Iterator[dict[str, str]]:
    """The whole, the class and the size, of the subject that moved most."""
    if not evidence:
        return
    subject, data = max(evidence, key=lambda pair: abs(_whole(pair[1])))
    for whole in (data.get("all") or [])[:1]:
        text = (
            f"{change_in_words(whole['difference'])}: {fixed(whole['reference'])} became {fixed(whole['candidate'])}."
        )
        gained = _whole(data) > 0 and not chance(whole["difference"]) and _is_red(document, subject)
        held = [one for one in document["verdicts"] if _of(one) == (subject, "mAP difference") and one["limit"]]
        green = held and all(stored_verdict(one).green for one in held)
        yield _line("mAP", text if gained or not green else f"{text} Within its limits.", subject, _GAIN * gained)
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
            yield _line(f"The {what} that moved most", text, subject)


def _certain(document: Mapping[str, Any], subject: str, gate: str, entry: Mapping[str, Any], among: str) -> str:
    """Is it more than chance? Taken alone, and as the gate says that knows how many there were to choose from."""
    if chance(entry["difference"]):
        return "chance may explain it"
    kind = "gain" if (value_of(entry["difference"]["value"]) or 0.0) > 0 else "loss"
    for verdict in document["verdicts"]:
        measured = verdict["measurement"]
        if _of(verdict) == (subject, f"certain {kind} {gate}"):
            value = value_of(measured["value"])
            if value and str(measured.get("where", "")).startswith(f"{entry['name']}:"):
                return f"among {among} a {kind} of at least {fixed(value)} is certain"
            if not value:
                return f"taken alone, chance does not explain it; the largest of {among} may be chance"
    return "taken alone, chance does not explain it"


def _advice(document: Mapping[str, Any], subject: str, stage: str, first: Mapping[str, Any] | None) -> dict[str, Any]:
    """Where to look for what a stage did, and a command that shows more; `first` is the first layer that differs."""
    text = f"Look at {_LOOK.get(stage, 'this stage')}"
    if stage == "network" and first:
        text = f"{remedy(first)} Look at {first['name']} in the ONNX given to atc, and at what atc fused it with (fusion_result.json beside the OM)."
    aipp = stage == "preprocess" and "aipp" in subject
    return {"texts": [text, _AIPP] if aipp else [text], "command": _command(document, subject, stage, first)}


def _command(
    document: Mapping[str, Any], subject: str, stage: str, first: Mapping[str, Any] | None
) -> tuple[str, str] | None:
    """What a command shows, and the command."""
    batch = re.match(r"batch(\d+)", subject)
    explain = f"python -m fcos_lib explain results.json{f' --batch {batch[1]}' if batch else ''} --layers"
    om = _om(document, batch[1] if batch else "")
    if stage == "preprocess" and om and "aipp" in subject:
        return "what the device is told", shlex.join(["cat", str(om / "aipp.cfg")])
    if stage == "NMS" and om:
        shown = shlex.join(["atc", "--mode=1", f"--om={om / 'model.om'}", "--json=om.json"])
        return "the OM's operators with their attributes", shown
    if stage == "network" and first:
        label = f"write the list for atc, then run the suite with {float32_option(subject)}"
        return None if remedy(first) == NO_ROUNDING else (label, explain)
    return "compare every layer, where it ran", explain


def float32_option(subject: str) -> str:
    """The suite's option for the list that `explain` writes."""
    return f"--atc-option=--keep_dtype=keep_dtype-{subject}.cfg"


def _om(document: Mapping[str, Any], batch: str) -> PurePosixPath | None:
    """The folder of the OM under test, if this run had it built."""
    settings = document["run"].get("settings") or {}
    for one in document["artifacts"]:
        facts = one["provenance"]
        ours = one["kind"] == "om" and not settings.get("om") and not facts.get("candidates")
        if ours and batch in (str(facts.get("batch")), ""):
            return PurePosixPath(str(settings.get("artifacts", ".artifacts"))) / "om" / str(one["key"])
    return None


def _line(what: str, text: str, subject: str, remark: str = "") -> dict[str, str]:
    return {"what": what, "text": text, "remark": remark, "subject": subject}


def _whole(data: Mapping[str, Any]) -> float:
    entries = data.get("all") or [{"difference": {"value": 0.0}}]
    return value_of(entries[0]["difference"]["value"]) or 0.0


def _of(verdict: Mapping[str, Any]) -> tuple[str, str]:
    """On what a verdict is, and about which number."""
    return str(verdict["subject"]), str(verdict["measurement"]["name"])


def _is_red(document: Mapping[str, Any], subject: str) -> bool:
    """Is anything that was judged of a subject not green?"""
    return any(one["subject"] == subject and not stored_verdict(one).green for one in document["verdicts"])
