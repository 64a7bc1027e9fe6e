"""How does a vendor's tool run so that nothing of it outlives us and none of its output fills our memory?"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fcos_lib.watchdog import watch

READ_LIMIT = 256 * 1024
"""Bytes of a tool's output that are looked at: the first and the last halves of this."""

_REAP_S = 10.0
_TICK_S = 1.0


class TimedOut(Exception):
    """The tool was killed, with everything it had started, because its time was over."""


def run_tool(
    command: Sequence[str],
    *,
    log: Path,
    timeout_s: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    tick: Callable[[float], None] | None = None,
) -> int:
    """Run `command` without a shell, write stdout and stderr to `log`, and return the exit status (-n: killed by signal n).

    The tool leads its own process group, and whatever is left of the group is killed in the end, be it after a timeout
    (`TimedOut`), another interruption or an early death of the tool: `atc` starts compiler processes that would go on
    for minutes. The watchdog sees to that if this process is killed. `tick` hears once a second how many have passed. `OSError` if the program cannot be started.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=None if env is None else dict(env),
            start_new_session=True,
        )
    try:
        with watch().tool(process.pid):
            return process.wait(timeout_s) if tick is None else _wait(process, timeout_s, tick)
    except subprocess.TimeoutExpired:
        raise TimedOut from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # a tool that hangs inside the driver cannot be killed
            process.wait(_REAP_S)


def _wait(process: subprocess.Popen[bytes], timeout_s: float, tick: Callable[[float], None]) -> int:
    started = time.monotonic()
    while True:
        passed = time.monotonic() - started
        try:
            return process.wait(min(_TICK_S, max(timeout_s - passed, 0)))
        except subprocess.TimeoutExpired:
            passed = time.monotonic() - started
            if passed >= timeout_s:
                raise
            tick(passed)


def read_output(log: Path) -> str:
    """The text of `log`; of a long one the beginning and the end, `READ_LIMIT` bytes in all."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if size <= READ_LIMIT:
            content = file.read(READ_LIMIT)
        else:
            content = file.read(READ_LIMIT // 2)
            file.seek(size - READ_LIMIT // 2)
            content += b"\n...\n" + file.read(READ_LIMIT // 2)
    return content.decode("utf-8", "replace")


def last_line(text: str) -> str:
    """The last line that is not blank, 300 characters at most; empty if there is none."""
    return next((line.strip()[:300] for line in reversed(text.splitlines()) if line.strip()), "")
