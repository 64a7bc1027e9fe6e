"""Leases: one process at a time may use an NPU, on the whole machine; the kernel frees what a dead process held.

A lock file per device, held with flock(2). Its text names the holder, for those who wait; a holder that ends as it should
takes it away, so that a name in a lock that nobody holds is that of one who died: the device may be in any state. What failed
on a device is noted there as well, and after the second time in a run, or once it computes otherwise than before, the device is left alone by that run. One that stays
unusable until it is reset is left alone by everybody, until somebody takes the file away or the machine starts anew. The lock is
the physical device's, whatever number ASCEND_RT_VISIBLE_DEVICES gives it. Containers exclude each other only if they share the
folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from fcos_lib.ascend.acl_errors import StuckDeviceError
from fcos_lib.device.lock_file import (
    MOST_FAULTS,
    MOST_TEXT,
    boot_id,
    faults_of,
    holder_of,
    open_lock,
    parse_content,
    read_content,
    reasons_against,
    stuck_reason,
    take_lock,
    this_process,
)
from fcos_lib.device.npus import Device
from fcos_lib.errors import DeviceError

_POLL_S = 0.2
_held: dict[Path, Lease] = {}
"""The leases of this process: a fixture and the test that asked for it may share one."""


class ChangedDeviceError(DeviceError):
    """The device no longer computes what it computed: whatever it answers in this run, to any OM, proves nothing."""


class Lease:
    """A device that this process holds."""

    def __init__(self, device: Device, path: Path, descriptor: int, run: str, command: str) -> None:
        """Read what the last holder left, and write who holds it now."""
        self.device = device
        self.name = f"device {device.device_id}"
        self._path = path
        self._descriptor, self._run = descriptor, run
        left = parse_content(os.pread(descriptor, MOST_TEXT, 0))
        self.faults = faults_of(left, run)
        """What failed on the device in this run, a sentence each."""
        self._stuck = stuck_reason(left)
        self._left = {name: value for name, value in left.items() if name not in ("faults", "stuck")}
        self.left_by = holder_of(left) if self._left else ""
        """The process that died while it held the device; empty if its last holder gave it back."""
        if self._left and run and left.get("run") == run:
            self.faults.append(f"{self.left_by} died while it held it")
        self._counted: weakref.WeakSet[DeviceError] = weakref.WeakSet()
        self._myself = this_process() | {"run": run} | ({"command": command[:500]} if command else {})
        self._write(self._myself)

    @property
    def quarantined(self) -> bool:
        """True if this run, or everybody, has to leave the device alone."""
        return bool(self._stuck) or (bool(self._run) and len(self.faults) >= MOST_FAULTS)

    def trust(self) -> None:
        """The device does what it did before: whoever left it behind did no harm."""
        self.left_by, self._left = "", {}

    def blame(self, error: DeviceError) -> None:
        """The device failed; the same error counts once, but one that computes otherwise is left alone by this run at once."""
        if error not in self._counted:
            self._counted.add(error)
            self.faults += [error.found] * (MOST_FAULTS if isinstance(error, ChangedDeviceError) else 1)
            if isinstance(error, StuckDeviceError):
                self._stuck = f"{error.found[:400]} ({error.advice}; then delete {self._path})"
            self._write(self._myself)

    def give_back(self) -> None:
        """Let others have it; what nobody has made sure of stays written, as do the faults."""
        self._write(self._left)
        os.close(self._descriptor)  # which is what gives the lock back

    def forget(self) -> None:
        """In a forked child: flock's locks live as long as any copy of the descriptor, so the parent's death would free nothing."""
        os.close(self._descriptor)

    def _write(self, holder: dict[str, Any]) -> None:
        faults = {"run": self._run, "reasons": [fault[:400] for fault in self.faults[-MOST_FAULTS:]]}
        content = holder | ({"faults": faults} if self.faults else {})
        content |= {"stuck": {"reason": self._stuck, "boot": boot_id()}} if self._stuck else {}
        with contextlib.suppress(OSError):  # another user's file, or a full disk: held all the same, without a name
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(content).encode() if content else b"", 0)


def lock_folder(device: Device, artifacts: Path) -> Path:
    """Where the locks of real devices are, the same for everybody here; those of an emulator belong to its artifact folder."""
    if device.stand_in:
        return artifacts / "locks"
    system = Path("/run/lock")
    return (system if os.access(system, os.W_OK) else Path(tempfile.gettempdir())) / "fcos_lib"


def held_here() -> tuple[Lease, ...]:
    """The leases of this process."""
    return tuple(_held.values())


@contextlib.contextmanager
def lease(
    devices: Sequence[Device],
    folder: Path,
    *,
    timeout_s: float = 3600,
    say: Callable[[str], None] | None = None,
    run: str = "",
    command: str = "",
) -> Iterator[Lease]:
    """Hold the first of `devices` that is free, waiting for one if none is; `say` hears once who holds them, or who died.

    A process that holds one of them already gets the same one. A `DeviceError` that passes through is the device's, and with
    a `run` (an id) counts against it there. `DeviceError` names the holders after `timeout_s` seconds, the devices that this
    run has had to give up if no others are left, or says why the folder cannot be used. `command` is what others read about
    this process, by default its command line.
    """
    paths = {folder / f"npu-{device.logical_id}.lock": device for device in devices}
    held_already = next((path for path in paths if path in _held), None)
    if held_already:
        with _blamed(_held[held_already]):
            yield _held[held_already]
        return
    path, held_lease = _take_one(paths, folder, timeout_s, say, (run, command))
    _mind_forks()
    _held[path] = held_lease
    try:
        with _blamed(held_lease):
            yield held_lease
    finally:
        if _held.get(path) is held_lease:  # or this is a forked child, which holds nothing
            del _held[path]
            held_lease.give_back()


@contextlib.contextmanager
def _blamed(held_lease: Lease) -> Iterator[None]:
    try:
        yield
    except DeviceError as error:
        held_lease.blame(error)
        raise


def _take_one(
    paths: dict[Path, Device],
    folder: Path,
    timeout_s: float,
    say: Callable[[str], None] | None,
    who: tuple[str, str],
) -> tuple[Path, Lease]:
    """`who` is the run and its command."""
    end, said = time.monotonic() + timeout_s, False
    while True:
        given_up = {path: reasons for path in paths if (reasons := reasons_against(read_content(path), who[0]))}
        for path, device in paths.items():
            descriptor = -1 if path in given_up else open_lock(path, folder)
            if descriptor < 0 or not take_lock(descriptor):
                continue
            held_lease = Lease(device, path, descriptor, *who)
            if not held_lease.quarantined:
                if held_lease.left_by and say:
                    say(f"{held_lease.name} was not given back by {held_lease.left_by}: it may be in any state")
                return path, held_lease
            held_lease.give_back()
            given_up[path] = reasons_against(read_content(path), who[0]) or held_lease.faults
        if len(given_up) == len(paths):
            why = "; ".join(
                f"device {paths[path].device_id}: {' | '.join(dict.fromkeys(given_up[path]))}" for path in given_up
            )
            raise DeviceError(
                f"no NPU is left for this run, each has failed {MOST_FAULTS} times, computes otherwise than before or needs a reset ({why})",
                "look at npu-smi info -t health and at dmesg; the next run tries those again that need no reset",
            )
        holders = "; ".join(
            f"device {device.device_id} by {holder_of(read_content(path))}"
            for path, device in paths.items()
            if path not in given_up
        )
        if time.monotonic() > end:
            raise DeviceError(
                f"no NPU became free within {timeout_s:g} s: {holders}", "wait for it, or end that process"
            )
        if say and not said:
            say(f"waiting for an NPU, held: {holders}")
            said = True
        time.sleep(_POLL_S)


def _forget() -> None:
    for held_lease in _held.values():
        held_lease.forget()
    _held.clear()


@cache
def _mind_forks() -> None:
    os.register_at_fork(after_in_child=_forget)
