"""The page docs/faults.md, written from the catalogue, of which every line is a test."""

from __future__ import annotations

from pathlib import Path

from fcos_lib.ascend.acl_errors import CAUSES, Cause
from fcos_lib.errors import DeviceError
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
CAUSES_HEAD = """
## What the runtime says

aclruntime raises the same two exceptions for everything; what it prints before them is looked through for these, in this order
(`fcos_lib/ascend/acl_errors.py`).

| it says | verdict | it means | what to do |
|---|---|---|---|
"""
CLUSTER = """
## A cluster, with `--cluster`

Real nodes and processes on the loopback, in `tests/unit/stream/test_cluster.py` and `tests/unit/test_cluster_suite.py`; *equal* as above.

| fault | verdict | it says | afterwards |
|---|---|---|---|
| kill -9 of a node's raylet in the middle | none: the run is green | `was lost` | its shards go to others; equal |
| kill -9 of the processes that have a node's devices | none: the run is green | `was lost` | equal |
| kill -9 of the run itself | | | the next one goes on with what is recorded; equal |
| a node joins late | none: the run is green | | it takes its share; equal |
| a node with another CANN | none: the run is green | `is left out: CANN 8.1.0-STAND-IN` | equal, unless `--cluster-mixed` |
| a device begins to compute wrongly | none: the run is green | `no longer computes what it computed` | all that it answered is run again; equal |
| a device hangs | none: the run is green | `did not answer in time, and others did its work` | its process is ended; equal |
| two devices differ, and no third decides | FAIL | `the devices disagree` | |
| every device is refused or dies | INFRA | `no NPU of the cluster works for this run` | what is recorded is kept |
| an object store is too small for the OM | INFRA | `the object store of` | |
| nobody answers at HOST:PORT | refused (exit 4) | `there is no cluster at` | within seconds |
| Ray is not installed | refused (exit 4) | `--cluster needs Ray, which is not installed: pip install` | everything else works |
| Ray of another version, here or there | refused (exit 4) | `runs another version of Ray or Python` | |
| no token, or another one | refused (exit 4) | `there is no token`, `does not take this token` | |
| the cluster asks nobody for a token | refused (exit 4) | `asks nobody for a token` | nothing of it is unpickled |
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
    return "".join([*parts, CLUSTER, CAUSES_HEAD, *map(_cause, CAUSES)])


def _cause(cause: Cause) -> str:
    said = ", ".join(f"`{text}`" for text in cause.says)
    return f"| {said} | {'INFRA' if issubclass(cause.kind, DeviceError) else 'FAIL'} | {cause.sentence} | {cause.advice.replace('|', chr(92) + '|')} |\n"


def _line(fault: Fault) -> str:
    words = fault.says[0] if fault.says else ""
    says = f"`` {words} ``" if "`" in words else f"`{words}`" * bool(words)
    after = "; ".join(filter(None, [fault.after, _AGAIN.get(fault.again, "")]))
    verdict = VERDICTS[fault.status] + (f", or {VERDICTS[fault.also]}" if fault.also else "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in (fault.what, verdict, says, after)) + " |\n"
