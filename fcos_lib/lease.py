"""Who may use which NPU now? One holder at a time, on the whole machine; the kernel takes the lock back when it dies.

A lock file per device, held with flock(2). Its text names the holder, for those who wait. Containers exclude each other only
if they share the folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import shlex
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fcos_lib.device import Device
from fcos_lib.errors import DeviceError

_POLL_S = 0.2
_MOST_TEXT = 4096
_held: dict[Path, int] = {}
"""Locks of this process, with how often each is held: a fixture and the test that asked for it may share one."""


def lock_folder(device: Device, artifacts: Path) -> Path:
    """Where the locks of real devices are, the same for everybody here; those of an emulator belong to its artifact folder."""
    if device.stand_in:
        return artifacts / "locks"
    system = Path("/run/lock")
    return (system if os.access(system, os.W_OK) else Path(tempfile.gettempdir())) / "fcos_lib"


@contextlib.contextmanager
def lease(
    devices: Sequence[Device], folder: Path, *, timeout_s: float = 3600, say: Callable[[str], None] | None = None
) -> Iterator[Device]:
    """Hold the first of `devices` that is free, waiting for one if none is; `say` hears once who holds them.

    A process that holds one of them already gets the same one. `DeviceError` names the holders after `timeout_s` seconds,
    or says why the folder cannot be used.
    """
    paths = {folder / f"npu-{device.device_id}.lock": device for device in devices}
    mine = next((path for path in paths if path in _held), None)
    if mine:
        _held[mine] += 1
        try:
            yield paths[mine]
        finally:
            _held[mine] -= 1
        return
    path, descriptor = _take_one(list(paths), folder, timeout_s, say)
    _held[path] = 1
    try:
        yield paths[path]
    finally:
        del _held[path]
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)  # which is what gives the lock back


def _take_one(
    paths: Sequence[Path], folder: Path, timeout_s: float, say: Callable[[str], None] | None
) -> tuple[Path, int]:
    end, said = time.monotonic() + timeout_s, False
    while True:
        for path in paths:
            descriptor = _open(path, folder)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            with contextlib.suppress(OSError):  # another user's file: held all the same, without a name
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(_myself()).encode(), 0)
            return path, descriptor
        holders = "; ".join(f"{path.stem} by {_holder(path)}" for path in paths)
        if time.monotonic() > end:
            raise DeviceError(
                f"no NPU became free within {timeout_s:g} s: {holders}", "wait for it, or end that process"
            )
        if say and not said:
            say(f"waiting for an NPU, held: {holders}")
            said = True
        time.sleep(_POLL_S)


def _open(path: Path, folder: Path) -> int:
    """The lock file, made for everybody if it is not there yet. In a sticky folder O_CREAT on another's file is refused."""
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(PermissionError):
                folder.chmod(0o1777)
        for flags in (os.O_RDWR, os.O_RDONLY):
            with contextlib.suppress(FileNotFoundError, PermissionError):
                return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, 0o666)
        return descriptor
    except OSError as error:
        raise DeviceError(
            f"the lock {path} cannot be opened ({error.strerror})", "make the folder writable for everybody who tests"
        ) from error


def _myself() -> dict[str, Any]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return {
        "pid": os.getpid(),
        "user": user,
        "host": socket.gethostname(),
        "command": shlex.join(sys.argv)[:500],
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _holder(path: Path) -> str:
    """The holder as its lock file tells it, which anybody may have written."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MOST_TEXT))
        pid, user, since, command = (str(found[name])[:200] for name in ("pid", "user", "since", "command"))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return "somebody who left no name"
    return f"process {pid} of {user} since {since} ({command!r})"
