"""`npu-smi` in software: what it prints on the server that the scenario plays.

`info`, `info -m` and `info -t board -i N -c M`, which is all that this suite asks, with npu-smi's exit statuses. The tables are
real ones, so whoever keeps them must label them by the toolkit's version.
"""

from __future__ import annotations

import sys

from fcos_lib.emulator.scenario import Chip, current
from fcos_lib.errors import UsageError

_CONSOLE_LOG = "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\n"
_GARBAGE = """\
+-----------------------------------------------------------------------+
| NPU-ID | Name        | Status | Utilization(%) | HBM(MB)              |
+========+=============+========+================+======================+
| Ascend 910B          | Normal | 35             | 2048 of 65536        |
+-----------------------------------------------------------------------+
"""
"""Columns that nobody prints, as circulate on web pages: nothing in it may be taken for a chip."""
_TROUBLES = {
    "187": (f"{_CONSOLE_LOG}dcmi module initialize failed. ret is -8005\n", 187),
    "172": (f"{_CONSOLE_LOG}dcmi model initialized failed, because the device is used. ret is -8020\n", 172),
    "none": ("There is no NPU card on this server.\n", 0),
    "garbage": (_GARBAGE, 0),
}
"""What is printed, and the exit status, whatever was asked."""
_UNKNOWN = """\
Command or option is not found.

Usage: npu-smi info [options...]

    -m                Show the logical ids of all chips
    -t type           Show the information of a type: board
    -i %d             Card ID
    -c %d             Chip ID
"""


def answer(arguments: list[str], chip: Chip) -> tuple[str, int]:
    """What npu-smi prints for these arguments on a healthy server, and its exit status."""
    if arguments == ["info"]:
        return chip.table, 0
    if arguments == ["info", "-m"]:
        return chip.logical_ids, 0
    if arguments[:2] != ["info", "-t"] or arguments[2:4:2] != ["board"] or arguments[3::2] != ["-i", "-c"]:
        return _UNKNOWN, 255
    asked = tuple(arguments[4::2])
    for ids in chip.ids:
        if asked == tuple(map(str, ids)):
            return chip.board(*ids), 0
    return f"Error parameter of -{'c' if asked[0] in {str(npu) for npu, _ in chip.ids} else 'i'}\n", 255


def main(arguments: list[str] | None = None) -> int:
    """Print what npu-smi would; returns its exit status (2 if `FCOS_EMULATOR` cannot be understood)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        scenario = current()
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    if scenario.npu_smi == "absent":
        print("npu-smi: command not found", file=sys.stderr)
        return 127
    text, status = _TROUBLES.get(scenario.npu_smi) or answer(arguments, scenario.server)
    sys.stdout.write(text)
    return status


if __name__ == "__main__":
    sys.exit(main())
