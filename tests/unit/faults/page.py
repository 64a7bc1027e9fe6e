"""The page docs/faults.md, written from the catalogue, of which every line is a test."""

from __future__ import annotations

from pathlib import Path

from tests.unit.faults.catalogue import compiler, devices, disk, machine, pictures, processes
from tests.unit.faults.fault import VERDICTS, Fault

PAGE = Path(__file__).parents[3] / "docs" / "faults.md"
GROUPS = {
    "Before anything runs, with `--npu required`": machine.FAULTS,
    "The compiler": compiler.FAULTS,
    "The device": devices.FAULTS,
    "Processes": processes.FAULTS,
    "Disk, memory, clock": disk.FAULTS,
    "Pictures": pictures.FAULTS,
}
HEAD = """\
# Faults

What goes wrong on a runner, and what the suite makes of it: real processes, real signals, a real full disk. Each line is a test
in `tests/unit/faults/`; this page is written from them (`tools/make_faults_page.py`).

INFRA (exit 8) is the machine, FAIL (exit 1) the model or what was given. Whatever happens, afterwards no process of the run is
alive, no lock is held, no artifact is half there, and nothing is left in shared memory or in the temporary folder; the tests
look. *Green again*: the same command, without the fault, is green. *Equal*: it goes on where the other was interrupted, and its
numbers are those of an undisturbed run, bit for bit.
"""
_AGAIN = {"green": "green again", "equal": "equal"}


def all_faults() -> list[Fault]:
    """The catalogue."""
    return [fault for faults in GROUPS.values() for fault in faults]


def text() -> str:
    """The page."""
    parts = [HEAD]
    for title, faults in GROUPS.items():
        parts += [f"\n## {title}\n\n", "| fault | verdict | it says | afterwards |\n|---|---|---|---|\n"]
        parts += map(_line, faults)
    return "".join(parts)


def _line(fault: Fault) -> str:
    words = fault.says[0] if fault.says else ""
    says = f"`` {words} ``" if "`" in words else f"`{words}`" * bool(words)
    after = "; ".join(filter(None, [fault.after, _AGAIN.get(fault.again, "")]))
    verdict = VERDICTS[fault.status] + (f", or {VERDICTS[fault.also]}" if fault.also else "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in (fault.what, verdict, says, after)) + " |\n"
