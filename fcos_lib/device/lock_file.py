"""The lock file of a device: opened and locked, and what its text tells of the holder, and of what failed there.

Anybody may have written it; nothing in it is believed but as a name or a reason.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import shlex
import socket
import stat
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

from fcos_lib.errors import DeviceError, refusal_as

MOST_FAULTS = 2
"""Of a device in one run: once may be chance, or somebody else's doing."""
MOST_TEXT = 16384
"""Bytes of a lock file that are looked at."""


def take_lock(descriptor: int) -> bool:
    """Take the lock; if another process has it, close the file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True


def open_lock(path: Path, folder: Path) -> int:
    """The lock file, made for everybody if it is not there yet. In a sticky folder O_CREAT on another's file is refused."""
    with refusal_as(
        DeviceError, f"the lock {path} cannot be opened", "make the folder writable for everybody who tests"
    ):
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            if folder.parent.stat().st_mode & stat.S_ISVTX:  # as in /run/lock: everybody's; an artifact folder is not
                with contextlib.suppress(PermissionError):
                    folder.chmod(0o1777)
        for flags in (os.O_RDWR, os.O_RDONLY):
            with contextlib.suppress(FileNotFoundError, PermissionError):
                return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, 0o666)
        return descriptor


def this_process() -> dict[str, Any]:
    """What a holder writes about itself."""
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


def read_content(path: Path) -> dict[str, Any]:
    """The content of a lock file; empty if there is none, or it cannot be read."""
    try:
        with path.open("rb") as file:
            return parse_content(file.read(MOST_TEXT))
    except OSError:
        return {}


def parse_content(text: bytes) -> dict[str, Any]:
    """The content of a lock file, which anybody may have written; one that cannot be read has a holder without a name."""
    try:
        holder = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        holder = None
    return holder if isinstance(holder, dict) else {"pid": None}


def faults_of(content: dict[str, Any], run: str) -> list[str]:
    """What failed in this run; what failed in others is forgotten."""
    faults = content.get("faults")
    reasons = faults.get("reasons") if isinstance(faults, dict) and run and faults.get("run") == run else None
    return [reason for reason in reasons if isinstance(reason, str)] if isinstance(reasons, list) else []


def stuck_reason(content: dict[str, Any]) -> str:
    """Why everybody has to leave the device alone; empty if nothing is the matter, or the machine was started since."""
    stuck = content.get("stuck")
    reason = stuck.get("reason") if isinstance(stuck, dict) and stuck.get("boot") == boot_id() else None
    return reason[:1000] if isinstance(reason, str) else ""


def reasons_against(content: dict[str, Any], run: str) -> list[str]:
    """The reasons to leave the device of a lock file alone in this run; empty if there are not enough."""
    if stuck := stuck_reason(content):
        return [stuck]
    faults = faults_of(content, run)
    return faults if len(faults) >= MOST_FAULTS else []


@cache
def boot_id() -> str:
    """A name of this start of the machine; empty where the system has none."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def holder_of(content: dict[str, Any]) -> str:
    """The holder as the lock file tells it."""
    try:
        pid, user, since, command = (str(content[name])[:200] for name in ("pid", "user", "since", "command"))
    except KeyError:
        return "somebody who left no name"
    return f"process {pid} of {user} since {since} ({command!r})"
