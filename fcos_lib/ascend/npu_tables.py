"""The tables of `npu-smi`, read by their headers: chips and processes of `info`, logical ids of `info -m`.

Columns differ by driver and chip: with or without huge pages, device column and HBM, a column for containers; widths from 80 to 114.
A value belongs to the name above it in the same cell, whatever stands beside it. A table that cannot be read, not even one chip of
it, is an error with its first lines: taken for an empty one, a busy device would look idle, and with a chip less, the others would be
taken for those that ACL counts before them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from fcos_lib.ascend.toolkit import UNKNOWN
from fcos_lib.errors import DeviceError
from fcos_lib.files import one_line

_VERSIONS = re.compile(r"npu-smi\s+([!-~]{1,64})\s+Version:\s*([!-~]{1,64})", re.ASCII)
_VALUE = re.compile(r"\S+\s*/\s*\S+|\S+")
_PAIR = re.compile(r"(\d{1,9})\s*/\s*(\d{1,9})", re.ASCII)
_WHOLE = re.compile(r"\d{1,9}", re.ASCII)
_NUMBER = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)
_NAME = re.compile(r"[!-~]{1,64}", re.ASCII)
_HEALTH = re.compile(r"[A-Za-z]{2,16}", re.ASCII)
_BUS = re.compile(r"[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]", re.ASCII)
_NO_CARD = "no NPU card"
_NO_PROCESS = "No running processes found"
_SHOWN_LINES = 4

Row = dict[str, str]
"""Column → value."""


class UnreadableTableError(DeviceError):
    """npu-smi printed a table of a kind that is not known here."""

    def __init__(self, what: str, text: str) -> None:
        lines = [line.strip() for line in text.splitlines() if line.strip(" +-=|")][:_SHOWN_LINES]
        super().__init__(
            f"npu-smi's {what} cannot be read: {one_line(' / '.join(lines)) or 'it printed nothing'}",
            "keep the whole output of the command: docs/adding_a_chip.md says where a new kind of table goes",
        )


@dataclass(frozen=True, slots=True)
class Npu:
    """One chip as `npu-smi info` lists it; a card with two chips is two of these."""

    npu_id: int
    """The card. Not contiguous: 0, 32, 2144 and 32768 have been seen."""
    chip_id: int
    """The chip on its card."""
    device_id: int | None
    """The logical id, which is the number in the `Device` column; None where there is no such column (910, A2, A3)."""
    name: str
    """As printed: `310P3`, `910B4`, `Ascend910`."""
    health: str
    """`OK`, `Warning`, `Alarm`, `Critical` or `UNKNOWN`; `NA` where the driver cannot say."""
    power_w: float | None
    """None on the second chip of a card that measures both together, and without a sensor."""
    temperature_c: float | None
    bus_id: str | None
    """PCIe address, None where there is none (Atlas 200I)."""
    aicore_percent: float | None
    """Load of the AI cores when the table was printed."""
    memory_used_mb: int
    """Of the HBM where the chip has one, otherwise of its DDR."""
    memory_total_mb: int
    """0 where the driver does not tell, as of a chip that does not answer it."""


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
    header = _VERSIONS.search(text)
    return (header[1], header[2]) if header else (UNKNOWN, UNKNOWN)


def parse_info(text: str) -> list[Npu]:
    """The chips in the output of `npu-smi info`, in its order; empty only if it says that there is no card.

    Each has two rows. `UnreadableTableError` if those of one cannot be read, or there are none.
    """
    npus, upper_header, lower_header, upper = list[Npu | None](), list[str](), list[str](), Row()
    for cells in _rows(text.partition("Process id")[0]):
        if "Health" in cells:
            upper_header = cells
        elif "Bus-Id" in cells:
            lower_header, upper = cells, Row()
        elif len(cells) == len(lower_header):
            if upper:
                npus.append(_npu(upper, _fields(lower_header, cells)))
                upper = Row()
            else:
                upper = _fields(upper_header, cells) or {"unreadable": ""}
    read = [npu for npu in npus if npu]
    if upper or len(read) < len(npus) or not (read or _NO_CARD in text):
        raise UnreadableTableError("table of chips", text)
    return read


def parse_processes(text: str) -> list[NpuProcess]:
    """The processes in the second table of `npu-smi info`; empty without one. `UnreadableTableError` if it cannot be read."""
    _, title, table = text.partition("Process id")
    if not title:
        return []
    lines = text.splitlines()
    first = next(position for position, line in enumerate(lines) if title in line)
    header, *rows = list(_rows("\n".join(lines[first:]))) or [[]]
    processes = []
    for cells in rows:
        if cells[0].startswith(_NO_PROCESS):
            continue
        fields = _fields(header, cells)
        npu, chip = fields.get("NPU", fields.get("NPU ID", "")), fields.get("Chip", "0")
        numbers = [npu, chip, fields.get("Process id", ""), fields.get("Process memory(MB)", "")]
        if "Process name" not in fields or not all(map(_WHOLE.fullmatch, numbers)):
            raise UnreadableTableError("table of processes", title + table)
        ids, memory = [int(number) for number in numbers[:3]], int(numbers[3])
        processes.append(NpuProcess(ids[0], ids[1], ids[2], one_line(fields["Process name"]), memory))
    return processes


def parse_logical_ids(text: str) -> dict[tuple[int, int], int]:
    """(NPU id, chip id) → logical id, in the output of `npu-smi info -m`.

    A 950 has no such column: its logical ids are its NPU ids, if each has one chip and none is left out. `DeviceError` if that is
    not so, since a guess would test another device than the one that is named.
    """
    lines = [re.split(r"\s{2,}|\t+", line.strip()) for line in text.splitlines()]
    header = next((cells for cells in lines if {"NPU ID", "Chip ID"} <= set(cells)), [])
    rows = [dict(zip(header, cells, strict=False)) for cells in lines if len(cells) == len(header) and cells != header]
    chips = [row for row in rows if all(_WHOLE.fullmatch(row[name]) for name in ("NPU ID", "Chip ID"))]
    chips = [row for row in chips if "Mcu" not in row.get("Chip Name", "")]
    if not chips:
        raise UnreadableTableError("table of logical ids (info -m)", text)
    if "Chip Logic ID" in header:
        known = [row for row in chips if _WHOLE.fullmatch(row["Chip Logic ID"])]
        return {(int(row["NPU ID"]), int(row["Chip ID"])): int(row["Chip Logic ID"]) for row in known}
    ids = {(int(row["NPU ID"]), int(row["Chip ID"])): int(row["NPU ID"]) for row in chips}
    if sorted(ids.values()) != list(range(len(chips))):
        listed = ", ".join(f"NPU {npu} chip {chip}" for npu, chip in ids)
        raise DeviceError(
            f"npu-smi info -m names no logical ids, and those of {listed} cannot be told",
            "make all chips of the host visible to this container, each under its own number",
        )
    return ids


def _rows(text: str) -> Iterator[list[str]]:
    """The cells of each line between bars."""
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("|") and line.endswith("|") and line.strip("|+-= "):
            yield [cell.strip() for cell in line[1:-1].split("|")]


def _fields(header: list[str], cells: list[str]) -> Row:
    """The values by the names above them; empty unless every cell has as many as its header has names."""
    if len(header) != len(cells):
        return {}
    fields: Row = {}
    for title, cell in zip(header, cells, strict=True):
        names = re.split(r"\s{2,}", title)
        values = [cell] if len(names) == 1 else _VALUE.findall(cell)
        if len(names) != len(values):
            return {}
        fields.update(zip(names, values, strict=True))
    return fields


def _npu(upper: Row, lower: Row) -> Npu | None:
    """The chip of two rows, None if its ids, its name, its health or the column of its memory is missing or no such thing."""
    fields = upper | lower
    npu, chip = fields.get("NPU", fields.get("NPU ID", "")), fields.get("Chip", "0")
    memory = [fields[name] for name in ("HBM-Usage(MB)", "Memory-Usage(MB)") if name in lower]
    if (
        not memory
        or not all(map(_WHOLE.fullmatch, (npu, chip)))
        or not _NAME.fullmatch(fields.get("Name", ""))
        or not _HEALTH.fullmatch(fields.get("Health", ""))
    ):
        return None
    pairs = [pair for pair in map(_PAIR.fullmatch, memory) if pair]
    used = next((pair for pair in pairs if int(pair[2])), pairs[-1] if pairs else None)
    device, bus = fields.get("Device", ""), fields.get("Bus-Id", "")
    return Npu(
        npu_id=int(npu),
        chip_id=int(chip),
        device_id=int(device) if _WHOLE.fullmatch(device) else None,
        name=fields["Name"],
        health=fields["Health"],
        power_w=_number(fields.get("Power(W)", "")),
        temperature_c=_number(fields.get("Temp(C)", "")),
        bus_id=bus if _BUS.fullmatch(bus) else None,
        aicore_percent=_number(fields.get("AICore(%)", "")),
        memory_used_mb=int(used[1]) if used else 0,
        memory_total_mb=int(used[2]) if used else 0,
    )


def _number(cell: str) -> float | None:
    return float(cell) if _NUMBER.fullmatch(cell) else None  # `NA` and `-` where a chip has no sensor
