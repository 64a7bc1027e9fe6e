"""`npu-smi` as a process: the NPUs of this machine, what `atc` calls them, and the numbers that each of them has.

There are four: NPU id and chip id, which npu-smi shows; a logical id, which counts the chips of the host from 0; and ACL's index,
which counts those that ASCEND_RT_VISIBLE_DEVICES leaves visible. CANN reads that list up to the first thing that is no logical id,
without a word, so that a device may be another one than was meant, or missing. Here such a list is an error before anything runs.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from fcos_lib.ascend.npu_tables import Npu, parse_logical_ids
from fcos_lib.ascend.process import TimedOut, last_line, read_output, run_tool
from fcos_lib.ascend.toolkit import Toolkit
from fcos_lib.errors import DeviceError
from fcos_lib.files import private_folder

TIME_LIMIT_S = 30.0
"""Of one call, and of the wait for others'."""
VARIABLE = "ASCEND_RT_VISIBLE_DEVICES"
_LIST = re.compile(r"\d{1,9}(?:,\d{1,9})*", re.ASCII)
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


def read_info(toolkit: Toolkit) -> str:
    """The output of `npu-smi info`: chips, versions and processes. `DeviceError` says why there is none."""
    return _query(toolkit)


def read_logical_ids(toolkit: Toolkit, npus: Sequence[Npu]) -> list[int]:
    """The logical id of each chip, which counts those of the host from 0: what ACL calls a device.

    It is the `Device` column where the table has one. Otherwise `npu-smi info -m` tells, and where an old driver does not know
    that, the order of the table. `DeviceError` as for `read_info`, and if the ids cannot be told for certain.
    """
    named = [npu.device_id for npu in npus if npu.device_id is not None]
    if len(named) == len(npus):
        return named
    try:
        text = _query(toolkit, "-m")
    except DeviceError as error:
        if "not found" not in error.found:
            raise
        return list(range(len(npus)))
    ids = parse_logical_ids(text)
    unknown = [f"NPU {npu.npu_id} chip {npu.chip_id}" for npu in npus if (npu.npu_id, npu.chip_id) not in ids]
    if unknown:
        raise DeviceError(f"npu-smi info -m does not list {', '.join(unknown)}", "compare it with npu-smi info")
    return [ids[npu.npu_id, npu.chip_id] for npu in npus]


def read_board(toolkit: Toolkit, npu: Npu) -> str:
    """The output of `npu-smi info -t board` for one chip, for `soc_version`. `DeviceError` as for `read_info`."""
    return _query(toolkit, "-t", "board", "-i", str(npu.npu_id), "-c", str(npu.chip_id))


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


def _own_folder() -> Path:
    """A folder for locks of this user's processes, which nobody else can hold or replace by links."""
    folder = Path(tempfile.gettempdir()) / f"fcos_lib-{os.getuid()}"
    try:
        return private_folder(folder)
    except OSError as error:
        raise DeviceError(
            f"{folder} cannot be used for locks ({error.strerror})",
            "remove it, or set TMPDIR to a folder of your own",
        ) from error


def _query(toolkit: Toolkit, *arguments: str) -> str:
    if toolkit.npu_smi is None:
        raise DeviceError("npu-smi was not found on PATH or in the driver's folders", _EXIT_CAUSES[127][1])
    command = [str(toolkit.npu_smi), "info", *arguments]
    shown = " ".join(["npu-smi", *command[1:]])
    # The vendor warns against concurrent runs, and parallel test workers would make them.
    lock = FileLock(_own_folder() / "npu-smi.lock", timeout=TIME_LIMIT_S)
    with tempfile.TemporaryDirectory(prefix="fcos-npu-smi-") as folder:
        log = Path(folder) / "output"
        try:
            with lock:
                status = run_tool(command, log=log, timeout_s=TIME_LIMIT_S)
        except (TimedOut, Timeout):
            raise DeviceError(
                f"{shown} did not answer within {TIME_LIMIT_S:g} s",
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
