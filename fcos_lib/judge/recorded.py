"""Limits for a new model, recorded: what a stored run measured and had no limit for, as sections for limits.toml.

A bound is not made of the measurement alone, or whatever was measured would be right. mAP may lose the 1 % that ModelZoo usually
grants. All else gets the bound of `shapes`, lengths scaled to the input, if what was measured is within it; if not, no bound is
written but why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcos_lib.contract import SHAPES, ModelContract
from fcos_lib.errors import UsageError
from fcos_lib.files import one_line
from fcos_lib.judge.gate import AT_LEAST
from fcos_lib.judge.limits import Limit

_GRANTED = 0.01
_ACCEPTED = f"less {_GRANTED:.0%}, the acceptance that ModelZoo usually grants"


def recorded_limits(document: Mapping[str, Any], contract: ModelContract, limits: Mapping[str, Limit]) -> list[str]:
    """A section of TOML for each limit that the run's verdicts lacked; a comment where none can be recorded.

    `document` is a results.json; `UsageError` if it lacks none, or was made with another contract.
    """
    lacking = [entry for entry in document["verdicts"] if entry["lacks"] and contract.name in entry["lacks"].split(".")]
    if not lacking:
        raise UsageError(
            f"the run lacked no limit of the contract '{contract.name}'", "record a run in which gates were NO VERDICT"
        )
    names = sorted({entry["lacks"] for entry in lacking})
    return [_section(name, [each for each in lacking if each["lacks"] == name], document, contract, limits) for name in names]  # fmt: skip


def _section(
    name: str,
    entries: list[Mapping[str, Any]],
    document: Mapping[str, Any],
    contract: ModelContract,
    limits: Mapping[str, Limit],
) -> str:
    pattern = limits.get(name.replace(f".{contract.name}.", f".{SHAPES.name}."))
    measured = [entry for entry in entries if isinstance(entry["measurement"]["value"], int | float) and entry["measurement"]["n"]]  # fmt: skip
    if pattern is None or len(measured) < len(entries):
        return f"# [{name}] is not recorded: {'nothing was measured' if pattern else 'shapes has no such limit'}.\n"
    values = [(float(entry["measurement"]["value"]), entry) for entry in measured]
    value, entry = (min if pattern.at_least else max)(values, key=lambda pair: pair[0])
    details = entry["measurement"].get("details", {})
    data_set = details.get("data_set") if pattern.pictures else None
    if pattern.pictures:
        bound, source = _accuracy(value, pattern)
    else:
        bound, source = _scaled(name, pattern, contract)
        if not (value >= bound if pattern.at_least else value <= bound):
            return f"# [{name}] is not recorded: {value:.4g} {pattern.unit} is beyond {bound:.4g}, {source}. Find out why first.\n"
    run = document["run"]
    lines = [
        f"[{name}]",
        f"bound = {bound:.6g}",
        f"direction = {json.dumps(AT_LEAST if pattern.at_least else 'at most')}",
        f"unit = {json.dumps(pattern.unit)}",
        f"source = {json.dumps(source + _on_what(document, entry))}",
    ]
    if data_set:
        name_of_set = Path(str((run.get("settings") or {}).get("dataset", "mine"))).name
        kept = {"name": name_of_set, **{key: data_set[key] for key in ("count", "first", "last", "ids_sha256") if key in data_set}}  # fmt: skip
        lines.append(f"pictures = {_inline(kept)}")
    command = "pytest " + " ".join(run.get("command", [])[1:]) if run.get("command") else "pytest"
    spread = f"{value:.4g}, {entry['subject']}, worst of {len(measured)}"
    certificate = {
        "command": one_line(command, 300), "n": entry["measurement"]["n"], "spread": spread,
        "date": str(run.get("started_at", ""))[:10],
    }  # fmt: skip
    lines.append(f"measured = {_inline(certificate)}")
    return "\n".join(lines) + "\n"


def _accuracy(value: float, pattern: Limit) -> tuple[float, str]:
    """1 % below what was measured, or above it for a limit on what is too good."""
    if pattern.at_least:
        return value * (1 - _GRANTED), f"recorded: {value:.4f}, {_ACCEPTED}"
    return value * (1 + _GRANTED), f"recorded: {value:.4f}; {_GRANTED:.0%} more is as wrong as less"


def _scaled(name: str, pattern: Limit, contract: ModelContract) -> tuple[float, str]:
    """The bound of `shapes`; a length in pixels grows with the input."""
    if pattern.unit != "px":
        return pattern.bound, "the bound of shapes"
    wide, high = contract.width / SHAPES.width, contract.height / SHAPES.height
    factor = {"centre_x": wide, "centre_y": high}.get(name.rpartition(".")[2], max(wide, high))
    return pattern.bound * factor, f"the bound of shapes, scaled to {contract.width} x {contract.height}"


def _on_what(document: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """`; onnxruntime 1.32.0, Ascend310P3, CANN 8.0`, and that no hardware was asked."""
    environment = document["environment"]
    device = environment.get("device") or {}
    packages = environment.get("packages") or {}
    parts = [f"onnxruntime {packages.get('onnxruntime') or 'unknown'}"]
    if entry["subject"] != "reference":
        parts += filter(None, (device.get("soc_version"), f"CANN {device.get('cann_version') or 'unknown'}"))
    text = one_line("; " + ", ".join(parts), 200)
    return f"{text}. Never run on hardware" if entry["stand_in"] else text


def _inline(table: Mapping[str, Any]) -> str:
    return "{ " + ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()) + " }"
