"""CANN's tools as processes: time limits, their output, and what libraries print without Python."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from fcos_lib.ascend.watchdog import watch

_STDOUT = 1
_READ_LIMIT = 64 * 1024


class Console:
    """Collects what is written to file descriptor 1 while `capture` is active; the text of the last capture is kept.

    Works below `sys.stdout`, so that printf is caught and a Python-level capture in force stays untouched. The
    redirection holds for the whole process: what other threads print meanwhile is collected too.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="fcos-console-")  # noqa: SIM115 - lives as long as the session
        self._libc = ctypes.CDLL(None)
        self.text = ""

    @contextlib.contextmanager
    def capture(self) -> Iterator[None]:
        """Redirect descriptor 1 into this console; it is restored in every case. Without a stdout, nothing is captured."""
        self.text = ""
        try:
            saved = os.dup(_STDOUT)
        except OSError:  # a service may run with stdout closed
            yield
            return
        try:
            self._flush()
            self._file.seek(0)
            self._file.truncate()
            os.dup2(self._file.fileno(), _STDOUT)
            try:
                yield
            finally:
                self._flush()
                os.dup2(saved, _STDOUT)
                self.text = self._read()
        finally:
            os.close(saved)

    def close(self) -> None:
        """Give the temporary file back."""
        self._file.close()

    def _read(self) -> str:
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(0, size - _READ_LIMIT))  # the cause is printed last
        return self._file.read().decode("utf-8", "replace")

    def _flush(self) -> None:
        """Empty the buffers of Python and of C: printf keeps text back when stdout is not a terminal."""
        with contextlib.suppress(OSError, ValueError, AttributeError):  # sys.stdout may be closed or None
            sys.stdout.flush()
        self._libc.fflush(None)


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
