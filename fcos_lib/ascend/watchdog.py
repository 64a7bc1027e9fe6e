"""The watchdog: a process that ends this one when a call into a device's library never returns, since the call holds the GIL.

While a call is under way, no Python of this process runs: no thread, no signal handler, no timer. So this module is also a
program. It shares a page of memory with the process that it guards, in which it notes until when a call may take; it
looks there twice a second, which costs the guarded process nothing but two writes per call. When the time is over it says so
on stderr and in a file, and sends SIGFPE, for which the guarded process has set C's own `_exit` as handler: that runs without
Python, and its argument, the number of the signal, is 8, which is the exit status of INFRA. What does not end by that is killed.

A tool that this process waits for (`atc`) is noted there as well: if this process is killed, the other ends the tool.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LIMIT_S = 300.0
"""Of one call. A decision: far beyond any run or load that anybody has reported, and short beside a night in CI."""
_LOOK_MS = 500
_MOST_TEXT = 2048
_PATIENCE_S = 5.0
_PR_SET_PDEATHSIG = 1
_PAGE = struct.Struct("<dI")
"""When the call under way must have returned (`time.monotonic`, one clock for all processes; 0: none is), length of what it is."""
_GROUP = struct.Struct("<i")
"""At the end of the page: the process group of the tool under way; 0: none is."""


class Watchdog:
    """The process that watches this one. It ends with it."""

    def __init__(self, limit_s: float, note: Path | None) -> None:
        """`note` is the file that gets the reason, if a call has to be ended after `limit_s` seconds."""
        self.limit_s = limit_s
        memory = os.memfd_create("fcos-watchdog")
        try:
            os.ftruncate(memory, mmap.PAGESIZE)
            self._page = mmap.mmap(memory, mmap.PAGESIZE)
            # As a file and without `site`: nothing but the standard library is imported, so that it is there soon.
            command = [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(memory), str(note or "")]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # never written to: its end tells the other that this process is gone
                stdout=subprocess.DEVNULL,
                pass_fds=(memory,),
                start_new_session=True,  # Ctrl-C is for this process, which then ends the other
            )
        finally:
            os.close(memory)

    @contextlib.contextmanager
    def guard(self, what: str) -> Iterator[None]:
        """Let this process end unless the block does in time; `what` is the call, as the subject of a sentence."""
        text = f"{what} has not returned for {self.limit_s:g} s".encode()[:_MOST_TEXT]
        self._page[_PAGE.size : _PAGE.size + len(text)] = text
        before = _libc().signal(signal.SIGFPE, _c_exit())
        self._page[: _PAGE.size] = _PAGE.pack(time.monotonic() + self.limit_s, len(text))
        try:
            yield
        finally:
            self._page[: _PAGE.size] = _PAGE.pack(0.0, 0)
            _libc().signal(signal.SIGFPE, before)

    @contextlib.contextmanager
    def tool(self, group: int) -> Iterator[None]:
        """Have this process group killed if this process dies within the block."""
        span = slice(mmap.PAGESIZE - _GROUP.size, mmap.PAGESIZE)
        before, self._page[span] = self._page[span], _GROUP.pack(group)
        try:
            yield
        finally:
            self._page[span] = before

    def close(self) -> None:
        """End the watching process and wait for that."""
        self.forget()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:  # it is stopped: it would keep this process from ending
            self._process.kill()
            self._process.wait()

    def forget(self) -> None:
        """Let go of it, as a forked child must, which it does not watch."""
        assert self._process.stdin is not None
        self._process.stdin.close()


_watching: dict[int, Watchdog] = {}
"""This process's, by its id: a forked child has none until it needs one."""


def watch(limit_s: float | None = None, note: Path | None = None) -> Watchdog:
    """This process's watchdog, begun if there is none; with a limit a new one, whose stderr is the one of now."""
    process = os.getpid()
    _mind_the_end()
    if process in _watching and limit_s is not None:
        _watching.pop(process).close()
    if process not in _watching:
        _watching[process] = Watchdog(LIMIT_S if limit_s is None else limit_s, note)
    return _watching[process]


def end_with_parent() -> None:
    """Let this process be killed with its parent, as a worker that would go on computing for nobody; Linux only."""
    with contextlib.suppress(AttributeError):
        _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def guard(what: str) -> contextlib.AbstractContextManager[None]:
    """Let this process end unless the block does in time."""
    return watch().guard(what)


@functools.cache
def _mind_the_end() -> None:
    atexit.register(_end)
    os.register_at_fork(after_in_child=_forget)


def _end() -> None:
    for watchdog in _watching.values():
        watchdog.close()
    _watching.clear()


def _forget() -> None:
    for watchdog in _watching.values():
        watchdog.forget()
        watchdog._process.returncode = 0  # it is not this process's child, and subprocess would warn that it still runs
    _watching.clear()


@functools.cache
def _libc() -> Any:
    """C's `signal`: Python's own would have to wait for the GIL."""
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    return libc


@functools.cache
def _c_exit() -> int | None:
    return ctypes.cast(_libc()._exit, ctypes.c_void_p).value


def main(process: int, memory: int, note: str) -> None:
    """Watch `process` until it ends, whose page is the file `memory`; the reason for ending it goes to stderr and `note`."""
    page = mmap.mmap(memory, mmap.PAGESIZE)
    gone = select.poll()
    gone.register(0, select.POLLIN)
    while not gone.poll(_LOOK_MS):
        until, length = _PAGE.unpack(page[: _PAGE.size])
        if not 0 < until < time.monotonic():
            continue
        text = page[_PAGE.size : _PAGE.size + length].decode("utf-8", "replace")
        if _PAGE.unpack(page[: _PAGE.size])[0] != until:  # it has just returned
            continue
        _say(f"INFRA: {text}; process {process} is ended", note)
        for number in (signal.SIGFPE, signal.SIGKILL):
            os.kill(process, number)
            if gone.poll(int(1000 * _PATIENCE_S)):
                return
        _say(f"INFRA: {text}, and process {process} cannot be killed: it hangs inside the driver", note)
        return
    (group,) = _GROUP.unpack(page[-_GROUP.size :])
    if group > 0:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def _say(sentence: str, note: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"\n{sentence}\n".encode())
    if note:
        with contextlib.suppress(OSError):
            Path(note).write_text(sentence + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
