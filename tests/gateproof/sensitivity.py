"""Sensitivity of the gates: each continuous defect is made smaller and larger until the border is known.

`python -m tests.gateproof.sensitivity [--artifacts FOLDER] [NAME ...]` bisects on a logarithmic scale with runs of the real
suite, prints a table and writes `results/sensitivity.json`. Minutes; nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.gateproof.catalogue import SIZED, case_called
from tests.gateproof.child import ROOT, prepare, run_case

STEPS = 7


@dataclass(frozen=True, slots=True)
class Border:
    """Between which sizes a defect begins to be caught."""

    name: str
    unit: str
    green: float
    """The largest that no gate noticed."""
    red: float
    """The smallest that was caught."""
    gates: tuple[str, ...]
    """The gates that caught it."""


def border_of(name: str, prepared: Path, scratch: Path, steps: int = STEPS) -> Border:
    """Bisect one defect; `ValueError` unless its smallest size is green and its largest red."""
    sized = SIZED[name]
    gates = tuple(_red(name, sized.largest, prepared, scratch))
    if not gates or tuple(_red(name, sized.smallest, prepared, scratch)):
        raise ValueError(f"{name} is not green at {sized.smallest} {sized.unit} and red at {sized.largest}")
    green, red = sized.smallest, sized.largest
    for _ in range(steps):
        size = math.sqrt(green * red)
        fired = tuple(_red(name, size, prepared, scratch))
        green, red, gates = (green, size, fired) if fired else (size, red, gates)
    return Border(name, sized.unit, green, red, gates)


def _red(name: str, size: float, prepared: Path, scratch: Path) -> Iterator[str]:
    case = case_called(f"{name}={size!r}")
    try:
        outcome, changed = run_case(case, scratch / "run", prepared)
        if case.injections and not changed:
            raise ValueError(f"{case.name} changed no byte:\n{outcome.output}")
        yield from outcome.red
    finally:
        shutil.rmtree(scratch / "run")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=list(SIZED), metavar="NAME")
    parser.add_argument("--artifacts", type=Path, default=ROOT / ".artifacts")
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    print("| defect | unseen | caught | by |\n|---|---|---|---|")
    borders = []
    with tempfile.TemporaryDirectory(prefix="gateproof-") as scratch:
        prepared = prepare(Path(scratch) / "prepared")
        for name in arguments.names:
            border = border_of(name, prepared, Path(scratch), arguments.steps)
            borders.append(border)
            row = (SIZED[name].what, f"{border.green:.3g} {border.unit}", f"{border.red:.3g} {border.unit}")
            print(f"| {' | '.join(row)} | {'; '.join(border.gates)} |", flush=True)
    target = arguments.artifacts / "results" / "sensitivity.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps([asdict(border) for border in borders], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
