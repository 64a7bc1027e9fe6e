"""The cases of the gate proof: every defect and every harmless change, in reading order."""

from __future__ import annotations

from tests.gateproof.case import Case
from tests.gateproof.defects import bookkeeping, controls, device, network, pictures, throughput
from tests.gateproof.defects.sized import SIZED

__all__ = ["CASES", "CONTROLS", "DEFECTS", "SIZED", "case_called"]

CASES: tuple[Case, ...] = (
    *pictures.CASES,
    *network.CASES,
    *device.CASES,
    *bookkeeping.CASES,
    *throughput.CASES,
    *controls.CASES,
)
DEFECTS = tuple(case for case in CASES if not case.control)
CONTROLS = tuple(case for case in CASES if case.control)
WRITERS = (*bookkeeping.WRITERS, *controls.WRITERS)
"""Runs that others begin with; not cases of their own."""


def case_called(name: str) -> Case:
    """The case with this name, the run that one begins with, or a defect of some size, `name=size`."""
    kind, _, size = name.partition("=")
    if size:
        return SIZED[kind].case(name, float(size))
    (case,) = [case for case in (*CASES, *WRITERS) if case.name == name]
    return case
