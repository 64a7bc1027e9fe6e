"""The NPUs of this machine, their state, and what `atc` calls them: reads the tables of `npu-smi info`.

The tables differ by driver and chip: with or without huge pages, device column and HBM; ids with gaps. A table of a kind
not known here is read as empty.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from fcos_lib.ascend.process import TimedOut, last_line, read_output, run_tool
from fcos_lib.ascend.toolkit import UNKNOWN, Toolkit
from fcos_lib.errors import DeviceError
from fcos_lib.files import one_line

_PAIR = r"(\d{1,9})\s*/\s*(\d{1,9})"
_HEADER = re.compile(r"npu-smi\s+([!-~]{1,64})\s+Version:\s*([!-~]{1,64})", re.ASCII)
_NAMED = re.compile(r"(\d{1,9})\s+([!-~]{1,64})", re.ASCII)
_HEALTH = re.compile(r"(?!NA$)[A-Za-z]{2,16}", re.ASCII)
_STATE = re.compile(rf"(\S{{1,16}})\s+(\S{{1,16}})(?:\s+{_PAIR})?", re.ASCII)
_NUMBERED = re.compile(r"(\d{1,9})(?:\s+(\d{1,9}|-))?", re.ASCII)
_BUS = re.compile(r"NA|-|[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]", re.ASCII)
_USAGE = re.compile(rf"(\S{{1,16}})\s+{_PAIR}(?:\s+{_PAIR})?", re.ASCII)
_NUMBER = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)
_CHIP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)

_EXIT_CAUSES = {
    127: (
        "npu-smi or a library of the driver is missing",
        "install the NPU driver, or mount it into the container (the Ascend docker runtime does, or "
        "-v /usr/local/Ascend/driver:/usr/local/Ascend/driver -v /usr/local/bin/npu-smi:/usr/local/bin/npu-smi)",
    ),
    187: (
        "the NPU driver cannot be reached (dcmi -8005)",
        "check that the driver is loaded and that /dev/davinci* and /dev/davinci_manager are there and readable by you",
    ),
    172: (
        "the NPU is in use by another container (dcmi -8020)",
        "stop that container, or give this one another device",
    ),
}


@dataclass(frozen=True, slots=True)
class Npu:
    """One chip as `npu-smi info` lists it; a card with two chips is two of these."""

    npu_id: int
    """The card. Not contiguous: 0, 32, 2144 and 32768 have been seen."""
    chip_id: int
    """The chip on its card."""
    device_id: int | None
    """The number in the `Device` or `Phy-ID` column; None where the table has neither (910, 910B)."""
    name: str
    """As printed: `310P3`, `910B4`, `Ascend910`."""
    health: str
    """`OK`, `Warning`, `Alarm`, `Critical` or `UNKNOWN`."""
    power_w: float | None
    temperature_c: float | None
    bus_id: str | None
    """PCIe address, None where there is none (Atlas 200I)."""
    aicore_percent: float | None
    """Load of the AI cores when the table was printed."""
    memory_used_mb: int
    """Of the HBM where the chip has one, otherwise of its DDR."""
    memory_total_mb: int


@dataclass(frozen=True, slots=True)
class NpuProcess:
    """A process that holds memory of a chip."""

    npu_id: int
    chip_id: int
    pid: int
    """As the driver sees it; inside a container that may be the host's number."""
    name: str
    memory_mb: int


def parse_versions(text: str) -> tuple[str, str]:
    """The versions of the tool and of the driver in the table's header; they differ on some machines."""
    header = _HEADER.search(text)
    return (header[1], header[2]) if header else (UNKNOWN, UNKNOWN)


def parse_info(text: str) -> list[Npu]:
    """The chips in the output of `npu-smi info`, in its order; empty for anything else, whatever it is."""
    npus = []
    upper: tuple[re.Match[str], str, re.Match[str]] | None = None
    for cells in _rows(text.partition("Process id")[0], 3):
        named, state = _NAMED.fullmatch(cells[0]), _STATE.fullmatch(cells[2])
        if named and state and _HEALTH.fullmatch(cells[1]):
            upper = (named, cells[1], state)
            continue
        numbered, usage = _NUMBERED.fullmatch(cells[0]), _USAGE.fullmatch(cells[2])
        if upper and numbered and usage and _BUS.fullmatch(cells[1]):
            npus.append(_npu(*upper, numbered, cells[1], usage))
        upper = None
    return npus


def parse_processes(text: str) -> list[NpuProcess]:
    """The processes in the second table of `npu-smi info`; empty if there is none."""
    processes = []
    for cells in _rows(text.partition("Process id")[2], 4):
        chip = _NUMBERED.fullmatch(cells[0])
        numbers = [re.fullmatch(r"\d{1,9}", cell, re.ASCII) for cell in (cells[1], cells[3])]
        if chip and chip[2] and chip[2] != "-" and all(numbers):
            processes.append(NpuProcess(int(chip[1]), int(chip[2]), int(cells[1]), one_line(cells[2]), int(cells[3])))
    return processes


def soc_version(npu: Npu, board_text: str | None = None) -> str:
    """What `atc --soc_version` and the OM call this chip: `Ascend310P3`, `Ascend910B4`, `Ascend910_9382`.

    `board_text` is the output of `npu-smi info -t board`, which A3 and 950 chips need: their table says `Ascend910` or
    `Ascend950PR` only. A name of `910B` without a digit is the first 910, not an Atlas A2. `DeviceError` if the name
    cannot be formed.
    """
    name = npu.name
    if name == "Ascend910" or name.removeprefix("Ascend").startswith("950"):
        board = dict(re.findall(r"^\s*(NPU Name|Chip Name)\s*:\s*(\S{1,64})\s*$", board_text or "", re.M))
        chip, model = board.get("Chip Name", name), board.get("NPU Name")
        if model is None:
            raise DeviceError(
                f"npu-smi calls NPU {npu.npu_id} only '{name}', which does not name its exact type",
                f"run npu-smi info -t board -i {npu.npu_id} -c {npu.chip_id} and pass "
                "<Chip Name>_<NPU Name> as the soc_version",
            )
        name = f"{chip}_{model}"
    if not _CHIP_NAME.fullmatch(name):
        raise DeviceError(f"npu-smi calls NPU {npu.npu_id} {name!r}, which is no chip name", "pass the soc_version")
    return name if name.startswith("Ascend") else f"Ascend{name}"


def read_npus(toolkit: Toolkit, timeout: float = 30) -> list[Npu]:
    """The chips that `npu-smi info` lists; `timeout` in seconds. `DeviceError` says why there is no table."""
    return parse_info(read_info(toolkit, timeout))


def read_info(toolkit: Toolkit, timeout: float = 30) -> str:
    """The output of `npu-smi info`: chips, versions and processes. `DeviceError` as for `read_npus`."""
    return _query(toolkit, timeout)


def read_board(toolkit: Toolkit, npu: Npu, timeout: float = 30) -> str:
    """The output of `npu-smi info -t board` for one chip, for `soc_version`. `DeviceError` as for `read_npus`."""
    return _query(toolkit, timeout, "-t", "board", "-i", str(npu.npu_id), "-c", str(npu.chip_id))


def _rows(text: str, count: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("|") and line.endswith("|"):
            cells = [cell.strip() for cell in line[1:-1].split("|")]
            if len(cells) == count:
                yield cells


def _npu(
    named: re.Match[str], health: str, state: re.Match[str], numbered: re.Match[str], bus: str, usage: re.Match[str]
) -> Npu:
    has_hbm = usage[5] is not None and int(usage[5]) > 0
    return Npu(
        npu_id=int(named[1]),
        chip_id=int(numbered[1]),
        device_id=int(numbered[2]) if numbered[2] and numbered[2] != "-" else None,
        name=named[2],
        health=health,
        power_w=_number(state[1]),
        temperature_c=_number(state[2]),
        bus_id=None if bus in {"NA", "-"} else bus,
        aicore_percent=_number(usage[1]),
        memory_used_mb=int(usage[4] if has_hbm else usage[2]),
        memory_total_mb=int(usage[5] if has_hbm else usage[3]),
    )


def _number(cell: str) -> float | None:
    return float(cell) if _NUMBER.fullmatch(cell) else None  # `NA` and `-` where a chip has no sensor


def _own_folder() -> Path:
    """A folder for locks of this user's processes, which nobody else can hold or replace by links."""
    folder = Path(tempfile.gettempdir()) / f"fcos_lib-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise OSError(errno.EPERM, "it is somebody else's, or others can change it")
    except OSError as error:
        raise DeviceError(
            f"{folder} cannot be used for locks ({error.strerror})",
            "remove it, or set TMPDIR to a folder of your own",
        ) from error
    return folder


def _query(toolkit: Toolkit, timeout: float, *arguments: str) -> str:
    if toolkit.npu_smi is None:
        raise DeviceError("npu-smi was not found on PATH or in the driver's folders", _EXIT_CAUSES[127][1])
    command = [str(toolkit.npu_smi), "info", *arguments]
    shown = " ".join(["npu-smi", *command[1:]])
    # The vendor warns against concurrent runs, and parallel test workers would make them.
    lock = FileLock(_own_folder() / "npu-smi.lock", timeout=timeout)
    with tempfile.TemporaryDirectory(prefix="fcos-npu-smi-") as folder:
        log = Path(folder) / "output"
        try:
            with lock:
                status = run_tool(command, log=log, timeout_s=timeout)
        except (TimedOut, Timeout):
            raise DeviceError(
                f"{shown} did not answer within {timeout:g} s",
                "the driver hangs: look at dmesg, and reset the card or restart the machine",
            ) from None
        except OSError as error:
            raise DeviceError(f"{shown} cannot be started ({error})", _EXIT_CAUSES[127][1]) from error
        text = read_output(log)
    if status != 0:
        cause, advice = _EXIT_CAUSES.get(status, ("", f"run {' '.join(command)} by hand"))
        said = last_line(text)
        raise DeviceError(
            f"{shown} ended with status {status}" + f": {cause}" * bool(cause) + f" ('{said}')" * bool(said), advice
        )
    return text
