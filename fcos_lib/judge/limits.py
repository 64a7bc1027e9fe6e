"""Which bound holds for which measurement? Reads `limits.toml`, where every bound has a unit, a direction and a source."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = Path(__file__).parent.parent / "limits.toml"


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound: what is allowed, in which direction, and who says so."""

    name: str
    bound: float
    at_least: bool
    """True: the measurement must be at least the bound. False: at most."""
    unit: str
    source: str
    """Where it was published, or what it was derived from."""
    command: str = ""
    """What measured it; empty for published bounds."""
    n: int = 0
    """How many samples were measured."""
    spread: str = ""
    """How far the samples, or repeated runs, lay apart."""
    date: str = ""
    """When it was measured, YYYY-MM-DD."""
    derived: bool = False
    """True if it follows from the run's own baseline or options, so that no limits file has it."""

    def holds(self, value: float) -> bool:
        """Is the value within the bound? The bound itself is allowed, NaN never is."""
        return value >= self.bound if self.at_least else value <= self.bound

    def sentence(self) -> str:
        """`must be at least 0.359 AP`"""
        return f"must be at {'least' if self.at_least else 'most'} {self.bound:g} {self.unit}"

    def certificate(self) -> list[str]:
        """Where the bound comes from, a line each: the source, and for a measured one how it was measured."""
        if not self.command:
            return [self.source]
        return [self.source, f"measured {self.date}, n = {self.n}, spread {self.spread}: {self.command}"]


@cache
def all_limits(path: Path = FILE) -> dict[str, Limit]:
    """Every limit of the file by its dotted name, e.g. `accuracy.coco_r50.mAP`."""
    found: dict[str, Limit] = {}

    def walk(prefix: str, table: dict[str, Any]) -> None:
        if "bound" in table:
            direction = table["direction"]
            if direction not in ("at least", "at most"):
                raise ValueError(f"{path}: {prefix} has the direction {direction!r}; use 'at least' or 'at most'")
            measured = table.get("measured", {})
            found[prefix] = Limit(
                prefix, float(table["bound"]), direction == "at least", table["unit"], table["source"], **measured
            )
            return
        for key, value in table.items():
            walk(f"{prefix}.{key}" if prefix else key, value)

    walk("", tomllib.loads(path.read_text(encoding="utf-8")))
    return found


def find_limit(*names: str) -> Limit | None:
    """The limit with this dotted name, or None if nobody set one."""
    return all_limits().get(".".join(names))
