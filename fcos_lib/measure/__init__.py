"""Numbers, no opinions: what was measured, where and over how much."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number with everything needed to read it without the code that made it."""

    name: str
    """What was measured, e.g. `mAP`."""
    value: float
    unit: str
    n: int
    """How many samples are behind it (pictures, pairs of boxes, rounds); 0 means that nothing was measured."""
    where: str = ""
    """Where the worst or deciding sample is, in words."""
    details: dict[str, Any] = field(default_factory=dict)
    """Further figures for `results.json`; JSON-ready."""
    interval: tuple[float, float] | None = None
    """Where the value may lie, if chance has a part in it. A limit inside is not decided."""
    gate: str = ""
    """Key of the gate that it is for, as `judge.gates` lists them; empty for a number that is part of another."""

    def for_gate(self, key: str) -> Measurement:
        """The same number for the gate with this key."""
        return replace(self, gate=key)


def json_ready(record: Any) -> dict[str, Any]:
    """The fields of a dataclass; numbers that are not finite become text, since JSON has none."""
    values = asdict(record).items()
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value for name, value in values
    }
