"""The devices that ACL lets this process see: ASCEND_RT_VISIBLE_DEVICES, and the numbers that one device has.

A chip has four: NPU id and chip id, which npu-smi shows; a logical id, which counts the chips of the host from 0; and ACL's index, which
counts the visible ones. CANN reads the list up to the first thing that is no logical id, without a word, so that a device may be
another one than was meant, or missing. Here such a list is an error before anything runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from fcos_lib.ascend.npu_tables import Npu
from fcos_lib.errors import DeviceError

VARIABLE = "ASCEND_RT_VISIBLE_DEVICES"
_LIST = re.compile(r"\d{1,9}(?:,\d{1,9})*", re.ASCII)


class DeviceIndex(int):
    """ACL's index of a device, which as text says as well which chip that is: `0 (NPU 5 chip 0)`."""

    chip: str

    def __new__(cls, index: int, chip: str = "") -> DeviceIndex:
        """`chip` is what stands in the brackets; without it there are none."""
        made = super().__new__(cls, index)
        made.chip = chip
        return made

    def __str__(self) -> str:
        return f"{int(self)} ({self.chip})" if self.chip else f"{int(self)}"


def visible_ids(environ: Mapping[str, str], logical_ids: Sequence[int]) -> list[int]:
    """The logical ids of the devices that a process sees, by ACL's index; `logical_ids` are those of the host.

    `DeviceError` for a list that CANN would read otherwise than it looks.
    """
    text = environ.get(VARIABLE)
    if text is None:
        return sorted(logical_ids)
    known = f"the host's logical ids are {', '.join(map(str, sorted(logical_ids)))}"
    read = f"{VARIABLE} is '{text}'"
    advice = (
        f"set it to logical ids (not npu-smi's NPU ids), rising, with commas and without blanks, or unset it; {known}"
    )
    if not _LIST.fullmatch(text):
        what = (
            "a blank" if re.search(r"\s", text) else "a gap" if not text.strip(",0123456789") else "another character"
        )
        raise DeviceError(f"{read}: it has {what} in it, and CANN reads it only up to there", advice)
    ids = [int(part) for part in text.split(",")]
    missing = [number for number in ids if number not in logical_ids]
    if missing:
        raise DeviceError(f"{read}: there is no device {missing[0]}, and CANN reads the list only up to there", advice)
    if ids != sorted(set(ids)):
        raise DeviceError(
            f"{read}: it is not in ascending order, and since CANN 8 no device can be opened then", advice
        )
    return ids


def device_index(index: int, logical_id: int, npu: Npu) -> DeviceIndex:
    """The index with all other numbers of its device; the logical id is left out where it is the same."""
    logical = "" if index == logical_id else f"logical {logical_id}, "
    return DeviceIndex(index, f"{logical}NPU {npu.npu_id} chip {npu.chip_id}")
