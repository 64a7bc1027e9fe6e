"""The evidence of a drop as lines of text: the ladder, the error types and the layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_MOST = 5
"""Groups of errors, and layers around the first that differs, that are listed."""
NOT_ROUNDING = 50.0
"""Times the error that fp16 explains. A device may round some times worse than fp16 must; a layer whose weights are lost has
about a thousand times, one whose weights are 2 % off 25 to 57."""
FLOAT32_HELPS = "If rounding is to blame, this layer in float32 helps; a wrong weight, scale or kernel stays wrong."
OVERFLOW = "Its values are infinite or not numbers: in float32 it shows whether fp16's range is to blame."
NO_ROUNDING = (
    f"More than {NOT_ROUNDING:g} times is no rounding: look for a wrong weight, scale or kernel in this layer."
)


def explained(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines for the records that `fcos_lib.diagnosis.stages` made; kinds it does not make are passed over."""
    makers = {"ladder": _ladder, "error_types": _error_types, "layers": _layers}
    return [line for record in records if record["kind"] in makers for line in makers[record["kind"]](record["data"])]


def first_layer(data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first layer that differs, of evidence of the kind `layers`."""
    return next((layer for layer in data["layers"] if layer["name"] == data["first"]), None)


def remedy(layer: Mapping[str, Any]) -> str:
    """What a layer's error says of its cause: `FLOAT32_HELPS`, `OVERFLOW` or `NO_ROUNDING`."""
    if layer["ratio"] is None:
        return OVERFLOW
    return NO_ROUNDING if layer["ratio"] > NOT_ROUNDING else FLOAT32_HELPS


def _ladder(data: Mapping[str, Any]) -> list[str]:
    lines = [f"mAP, candidate minus reference over {data['pictures']} pictures, {data['sentence']}"]
    for stage in [*data["stages"], {"stage": "total", **data["total"]}]:
        interval = f"95 % interval {stage['low']:+.4f} to {stage['high']:+.4f}"
        lines.append(f"  {stage['stage']:<12}{stage['value']:+.4f}   {interval}")
    if "judged" in data:
        lines.append(f"  {'judged':<12}{data['judged']:+.4f}   by the gate, on the OM under test")
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
    first = first_layer(data)
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
    lines.append(f"  {remedy(first)}")
    return lines
