"""`npu-smi` as a process: the NPUs of this machine, their logical ids, and what `atc` calls them."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from fcos_lib.ascend.npu_tables import Npu, parse_info, parse_logical_ids
from fcos_lib.ascend.process import TimedOut, last_line, read_output, run_tool
from fcos_lib.ascend.toolkit import Toolkit
from fcos_lib.errors import DeviceError
from fcos_lib.files import private_folder

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


def read_npus(toolkit: Toolkit, timeout: float = 30) -> list[Npu]:
    """The chips that `npu-smi info` lists; `timeout` in seconds. `DeviceError` says why there is no table."""
    return parse_info(read_info(toolkit, timeout))


def read_info(toolkit: Toolkit, timeout: float = 30) -> str:
    """The output of `npu-smi info`: chips, versions and processes. `DeviceError` as for `read_npus`."""
    return _query(toolkit, timeout)


def read_logical_ids(toolkit: Toolkit, npus: Sequence[Npu], timeout: float = 30) -> list[int]:
    """The logical id of each chip, which counts those of the host from 0: what ACL calls a device.

    It is the `Device` column where the table has one. Otherwise `npu-smi info -m` tells, and where an old driver does not know
    that, the order of the table. `DeviceError` as for `read_npus`, and if the ids cannot be told for certain.
    """
    named = [npu.device_id for npu in npus if npu.device_id is not None]
    if len(named) == len(npus):
        return named
    try:
        text = _query(toolkit, timeout, "-m")
    except DeviceError as error:
        if "not found" not in error.found:
            raise
        return list(range(len(npus)))
    ids = parse_logical_ids(text)
    unknown = [f"NPU {npu.npu_id} chip {npu.chip_id}" for npu in npus if (npu.npu_id, npu.chip_id) not in ids]
    if unknown:
        raise DeviceError(f"npu-smi info -m does not list {', '.join(unknown)}", "compare it with npu-smi info")
    return [ids[npu.npu_id, npu.chip_id] for npu in npus]


def read_board(toolkit: Toolkit, npu: Npu, timeout: float = 30) -> str:
    """The output of `npu-smi info -t board` for one chip, for `soc_version`. `DeviceError` as for `read_npus`."""
    return _query(toolkit, timeout, "-t", "board", "-i", str(npu.npu_id), "-c", str(npu.chip_id))


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
