"""The evidence of a drop as lines of text: the ladder, the error types and the layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fcos_lib.diagnosis.blame import blame, near_the_reference
from fcos_lib.evidence.results import stored_verdict
from fcos_lib.judge.verdict import Verdict

_MOST = 5
"""Groups of errors, and layers around the first that differs, that are listed."""


def explained(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines for the records that `fcos_lib.diagnosis.stages` made; kinds it does not make are passed over."""
    makers = {"ladder": _ladder, "error_types": _error_types, "layers": _layers}
    data = {record["kind"]: record["data"] for record in records if record["kind"] in makers}
    lines = [line for kind, of_kind in data.items() for line in makers[kind](of_kind)]
    decided = blame(data.get("ladder"), data.get("layers"))
    if decided.why:
        lines.append(f"to blame: {decided.part}{': ' if decided.part else ''}{decided.why}")
    if decided.measured:
        share = f"{decided.measured:.0%} of what all stages moved, at least {decided.limit.bound:.0%} are to blame"
        lines.append(f"  {share} (limits.toml: {decided.limit.name})")
    if decided.stages:
        lines.append(f"  {decided.next_step}")
    return lines


def to_blame(document: Mapping[str, Any]) -> str:
    """`network, -0.0612 of -0.0590, batch8; first layer /conv1` of the first OM that was explained; empty if nothing is known."""
    subject = next((record["subject"] for record in document["evidence"] if record["kind"] == "ladder"), None)
    data = {record["kind"]: record["data"] for record in document["evidence"] if record.get("subject") == subject}
    decided = blame(data["ladder"], data.get("layers")) if subject else blame()
    if not decided.stages:
        return decided.why if subject and data["ladder"].get("within") else ""
    layer = decided.layer["name"] if decided.layer else ""
    first = f"; first layer {layer}" if layer and layer not in decided.why else ""
    alone = " alone" if _alone(document, str(subject)) else ""
    return f"{decided.why}, {subject}{alone}{first}"


def _alone(document: Mapping[str, Any], subject: str) -> bool:
    """True if there are other OMs and each of them is near the reference: a batch size is to blame, not the model."""
    verdicts: dict[str, list[Verdict]] = {}
    for entry in document["verdicts"]:
        if entry["subject"].startswith("batch") and entry["promise"] == "accuracy":
            verdicts.setdefault(entry["subject"], []).append(stored_verdict(entry))
    others = [other for other in verdicts if other != subject]
    near = bool(others) and all(near_the_reference(verdicts[other]) for other in others)
    return near and not near_the_reference(verdicts.get(subject, ()))


def can_be_explained(document: Mapping[str, Any]) -> bool:
    """True if an OM's consistency or accuracy is FAIL and its accuracy was judged, so that `explain` finds out more."""
    settings = document["run"].get("settings") or {}
    oms = [entry for entry in document["verdicts"] if entry["subject"].startswith("batch")]
    failed = any(entry["outcome"] == "FAIL" and entry["promise"] in ("consistency", "accuracy") for entry in oms)
    return failed and any(entry["promise"] == "accuracy" for entry in oms) and not settings.get("om")


def kept_in_words(sides: Mapping[str, Any]) -> str:
    """What both NMS kept of the same proposals, of a ladder's `kept`."""
    reference, candidate = (
        f"scores from {side['score']:.4f}, overlaps in a class to {side['overlap']:.3f}, at most {side['rows']} rows"
        for side in (sides["reference"], sides["candidate"])
    )
    return f"Of the same proposals the reference's NMS keeps {reference}; the OM's keeps {candidate}"


def _ladder(data: Mapping[str, Any]) -> list[str]:
    lines = [f"mAP, candidate minus reference over {data['pictures']} pictures, {data['sentence']}"]
    for stage in [*data["stages"], {"stage": "total", **data["total"]}]:
        interval = f"95 % interval {stage['low']:+.4f} to {stage['high']:+.4f}"
        lines.append(f"  {stage['stage']:<12}{stage['value']:+.4f}   {interval}")
    if "judged" in data:
        lines.append(f"  {'judged':<12}{data['judged']:+.4f}   by the gate, on the OM under test")
    if "kept" in data:
        lines.append(f"  {kept_in_words(data['kept'])}")
    if "left_out" in data:
        lines.append(f"  left out    {data['left_out']}")
    return lines


def _error_types(data: Mapping[str, Any]) -> list[str]:
    before, after = data["reference"], data["candidate"]
    lines = ["AP50 that each kind of mistake costs, reference and candidate"]
    lines += [
        f"  {kind:<12}{before[kind]:.4f}   {after[kind]:.4f}   {after[kind] - before[kind]:+.4f}" for kind in after
    ]
    counts = data.get("counts")
    if counts:
        changes = [
            (_count(counts["candidate"], *where) - _count(counts["reference"], *where), where)
            for where in sorted({where for side in counts.values() for where in _places(side)})
        ]
        changes = sorted((change for change in changes if change[0]), key=lambda change: -abs(change[0]))[:_MOST]
        if changes:
            lines.append(
                "  most changed: " + ", ".join(f"{kind} {count:+d} in {name}" for count, (_, name, kind) in changes)
            )
    return lines


def _places(side: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [(group, name, kind) for group, names in side.items() for name, kinds in names.items() for kind in kinds]


def _count(side: Mapping[str, Any], group: str, name: str, kind: str) -> int:
    return int(side.get(group, {}).get(name, {}).get(kind, 0))


def _layers(data: Mapping[str, Any]) -> list[str]:
    names = [layer["name"] for layer in data["layers"]]
    pictures = ", ".join(data["pictures"])
    decided = blame(layers=data)
    first = decided.layer
    if first is None:
        return [f"no layer of {len(names)} differs by more than {data['k']:g} times what fp16 explains ({pictures})"]
    at = names.index(first["name"])
    lines = [f"the first layer that differs: {first['name']} ({first['operator']}), layer {at + 1} of those looked at"]
    for layer in data["layers"][max(0, at - 2) : at + _MOST - 2]:
        ratio = "not finite" if layer["ratio"] is None else f"{layer['ratio']:.1f} times"
        expected = "beyond fp16" if layer["expected"] is None else f"{layer['expected']:.5f}"
        error = "not finite" if layer["error"] is None else f"{layer['error']:.5f}"
        lines.append(f"  {error:>10}  fp16 explains {expected:<11} {ratio:<10}  {layer['name']}")
    lines.append(f"  limit: {data['k']:g} times; pictures: {pictures}")
    lines.append(f"  {decided.remedy}")
    return lines
