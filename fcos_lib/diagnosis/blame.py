"""Blame: the one decision which stage and which layer of an OM lost the mAP, from the evidence that `stages` gathered.

Records come in as `results.json` keeps them, one `Blame` goes out; terminal, page and verbs show it and decide nothing. The
thresholds are those of `[diagnosis.*]` in limits.toml.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fcos_lib.judge.limits import Limit, needed_limit
from fcos_lib.judge.verdict import Verdict

FLOAT32_HELPS = "If rounding is to blame, this layer in float32 helps; a wrong weight, scale or kernel stays wrong."
OVERFLOW = "Its values are infinite or not numbers: in float32 it shows whether fp16's range is to blame."
_INPUT = "It is the first layer: what reaches it may be wrong instead, its order of channels, padding or mean. "
_UNLIKE = "accuracy.unlike_reference"
_PARTS = {
    "preprocess": (
        "network input",
        "Look at what the network is given: the mean, the order of channels, scale, padding and crop that the device is told "
        "(with AIPP: aipp.cfg beside the OM) against those of the recipe.",
    ),
    "network": (
        "network or compiler",
        "Look at the network's weights and what atc fused (fusion_result.json beside the OM), then its precision mode.",
    ),
    "decoding": (
        "decoding of the head",
        "Look at how the head becomes boxes and scores: strides, the half stride of the points, exp or scale of the distances, "
        "sigmoid and centerness in the ONNX given to atc, and the precision that they run in.",
    ),
    "NMS": (
        "post-processing",
        "Look at the attributes of NMS in the ONNX against those in the OM: IoU threshold, score threshold, rows before and after.",
    ),
}
"""By stage: the part that it is, and where to look if that is to blame."""
STAGES = tuple(_PARTS)
"""In the order of a picture's way."""


@dataclass(frozen=True, slots=True)
class Blame:
    """What is to blame for a difference in mAP between an OM and its reference."""

    stages: tuple[str, ...]
    """Those of `STAGES` that lost or gained it, the largest first, then the network if a layer of it differs."""
    part: str
    """What the first of `stages` is, such as `post-processing`; empty without any."""
    why: str
    """`network, -0.0612 of -0.0590`; empty without a ladder."""
    measured: float
    """Share of all that the stages lost and gained, of the first of `stages`; 0 if only `layer` blames it."""
    limit: Limit
    """From which share on a stage is to blame."""
    next_step: str
    """Where to look, in sentences; empty if nothing is to blame."""
    layer: Mapping[str, Any] | None
    """The first layer that differs by more than fp16 explains, if layers were compared and there is one."""
    remedy: str
    """What the error of `layer` says of its cause; empty without a layer."""
    float32_may_help: bool
    """False if the error of `layer` is far beyond any rounding."""


def blame(ladder: Mapping[str, Any] | None = None, layers: Mapping[str, Any] | None = None) -> Blame:
    """Decide from the data of both kinds of evidence of one subject; without one of them, from the other.

    A stage is to blame with a good share of all that was lost and gained, if chance does not explain its part and the loss is not
    `within` the limits, as the ladder says. The network is to blame as well if one of its layers differs, whatever the mAP did.
    """
    stages = sorted(ladder["stages"] if ladder else (), key=lambda stage: -_moved(stage))
    limit, whole = threshold("stage_share"), sum(map(_moved, stages))
    within = bool(ladder and ladder.get("within"))
    blamed = [stage for stage in stages if not within and not chance(stage) and _moved(stage) >= limit.bound * whole]
    names = [str(stage["stage"]) for stage in blamed]
    layer = _first_layer(layers) if layers else None
    remedy = _remedy(layer["ratio"]) if layer else ""
    part = why = next_step = ""
    if ladder:
        why = _why(blamed, _signed(ladder["total"]["value"]), within)
        if layer and "network" not in names:
            of_layer = f"network, {layer['name']}"
            why = f"{why}; {of_layer}" if names else of_layer
            names.append("network")
    if names:
        part, next_step = _PARTS.get(names[0], (names[0], "Look at this stage."))
        if layers and layer and names[0] == "network":
            before = _INPUT if layer is layers["layers"][0] else ""
            next_step = (
                f"{remedy} {before}Look at {layer['name']} in the ONNX given to atc, and at what atc fused it with "
                "(fusion_result.json beside the OM)."
            )
    return Blame(
        tuple(names), part, why, _moved(blamed[0]) / whole if blamed and whole else 0.0, limit,
        next_step, layer, remedy, not layer or remedy in (FLOAT32_HELPS, OVERFLOW),
    )  # fmt: skip


def _why(blamed: Sequence[Mapping[str, Any]], total: str, within: bool) -> str:
    """What each of `blamed` moved, or why it is none."""
    if blamed:
        named = " and ".join(f"{stage['stage']}, {_signed(stage['value'])}" for stage in blamed)
        return f"{named} of {total}"
    if within:
        return f"none: {total} is within its limits; a low mAP is the reference's too"
    return f"none: chance may explain what the stages share of {total}"


def near_the_reference(verdicts: Iterable[Verdict]) -> bool:
    """True if gates of accuracy compared an OM with the reference, and none of them is red: a ladder is then `within` its limits."""
    compared = [
        verdict
        for verdict in verdicts
        if verdict.measurement.gate.startswith("paired.") or verdict.measurement.gate == _UNLIKE
    ]
    return bool(compared) and all(verdict.green for verdict in compared)


def layers_are_worth_a_search(ladder: Mapping[str, Any]) -> bool:
    """True if the network moved the mAP enough, and by a good share of what all stages did, whether by chance or not."""
    moved = {stage["stage"]: _moved(stage) for stage in ladder["stages"]}
    network, share = moved.get("network", 0.0), threshold("stage_share").bound
    return threshold("network_moved").holds(network) and network >= share * sum(moved.values())


def chance(change: Mapping[str, Any]) -> bool:
    """True if chance may explain a difference, taken alone: its interval holds 0, or an end of it is not known."""
    low, high = value_of(change["low"]), value_of(change["high"])
    return low is None or high is None or low <= 0 <= high


def threshold(name: str) -> Limit:
    """A threshold of `[diagnosis.*]`; `UsageError` if limits.toml has none of this name."""
    return needed_limit(f"diagnosis.{name}")


def _first_layer(layers: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first layer that differs, of evidence of the kind `layers`."""
    return next((layer for layer in layers["layers"] if layer["name"] == layers["first"]), None)


def _remedy(ratio: float | None) -> str:
    if ratio is None:
        return OVERFLOW
    rounding = threshold("rounding")
    if rounding.holds(ratio):
        return FLOAT32_HELPS
    return f"More than {rounding.bound:g} times is no rounding: look for a wrong weight, scale or kernel in this layer."


def _moved(stage: Mapping[str, Any]) -> float:
    return abs(value_of(stage["value"]) or 0.0)


def value_of(value: Any) -> float | None:
    """A finite number of stored evidence; None for whatever else stands there."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if known else None


def _signed(value: Any) -> str:
    """A difference in mAP; `–` for what is no number."""
    finite = value_of(value)
    return "–" if finite is None else f"{finite:+.4f}" if round(finite, 4) else "±0.0000"
