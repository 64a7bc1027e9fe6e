"""Runs of pytest as copies of one process: real processes, without the half second in which each would import the suite."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from tests.prepared import outer_environment

ROOT = Path(__file__).parents[1]
IMPORTED = """
import importlib, json, os, sys
import conftest
for name in (*conftest.pytest_plugins, "cv2", "onnx", "onnxruntime", "pytest"):
    importlib.import_module(name)
import pytest
"""
"""How a program begins that is copied. Its runs need `PLAIN`."""
PLAIN = "--assert=plain"
"""What is imported already is not rewritten, and pytest would warn."""
_STARTER = """
import contextlib, socket
orders = socket.socket(fileno=int(sys.argv[1]))
while True:
    order, streams, *_ = socket.recv_fds(orders, 1 << 20, 4)
    if not order:
        break
    if not os.fork():
        orders.close()
        run, ends = json.loads(order), streams[3]
        if child := os.fork():
            os.closerange(0, ends)  # else who reads what the run prints would wait for this copy as well
            os.write(ends, b"%d\\n" % child)
            os.write(ends, b"%d\\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            os._exit(0)
        os.setsid()
        for number in range(3):
            os.dup2(streams[number], number)
        os.closerange(3, ends + 1)
        os.umask(run["umask"])
        os.sched_setaffinity(0, run["cores"])
        os.environ.clear()
        os.environ.update(run["environ"])
        sys.argv[1:] = run["arguments"]
        status = pytest.main(run["arguments"])
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)
    for stream in streams:
        os.close(stream)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
"""
"""Makes a copy for each order. Another copy waits for it and says its process id, and later how it ended."""


class Copy:
    """A run that is under way, the leader of its session."""

    def __init__(self, ends: int) -> None:
        self._ends = os.fdopen(ends, "rb", buffering=0)  # nothing is read ahead of `select`
        self.pid = int(self._ends.readline())
        self._status: int | None = None

    def wait(self, seconds: float) -> int | None:
        """Its exit status, -n if signal n ended it; None if it still runs after so many seconds."""
        if self._status is None and select.select([self._ends], [], [], seconds)[0]:
            with self._ends:
                self._status = int(self._ends.readline())
        return self._status

    def kill(self) -> int:
        """End it and what it started, unless it has ended just now; its exit status."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        status = self.wait(60)
        assert status is not None, f"process {self.pid} was killed a minute ago"
        return status


class Copies:
    """The process that is copied."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders

    def start(
        self,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        out: IO[bytes] | None = None,
        err: IO[bytes] | None = None,
    ) -> Copy:
        """Begin a run of pytest in this checkout, with the caller's umask and cores, and nothing to read.

        Errors go where the output goes, if not to a file of their own; without any file both are lost. What Python itself reads
        in an environment when it starts, as `PYTHONPATH`, does nothing here.
        """
        (umask,) = re.findall(r"^Umask:\s*(\d+)$", Path("/proc/self/status").read_text(encoding="ascii"), re.M)
        run = {
            "arguments": [*arguments, PLAIN], "environ": dict(environ), "umask": int(umask, 8), "cores": [*os.sched_getaffinity(0)],
        }  # fmt: skip
        ends, written = os.pipe()
        with open(os.devnull, "r+b", buffering=0) as nothing, os.fdopen(written, "wb") as said:
            files = (nothing, out or nothing, err or out or nothing, said)
            socket.send_fds(self._orders, [json.dumps(run).encode()], [file.fileno() for file in files])
        return Copy(ends)

    def run(
        self, arguments: Sequence[str], environ: Mapping[str, str], timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """A run of pytest to its end, as `subprocess.run` has it."""
        with TemporaryFile() as out, TemporaryFile() as err:
            copy = self.start(arguments, environ, out, err)
            status = copy.wait(timeout)
            if status is None:
                copy.kill()
            said = [file.seek(0) or file.read().decode() for file in (out, err)]
        if status is None:
            raise subprocess.TimeoutExpired(list(arguments), timeout, *said)
        return subprocess.CompletedProcess(list(arguments), status, *said)

    def run_all(
        self, lines: Sequence[Sequence[str]], environ: Mapping[str, str]
    ) -> list[subprocess.CompletedProcess[str]]:
        """Runs with each of these arguments, as many at a time as there are cores."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(lambda line: self.run(line, environ), lines))


@contextmanager
def open_copies() -> Iterator[Copies]:
    """Start the process that is copied; it ends with the block, its copies go on."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environ = outer_environment() | {"OPENBLAS_NUM_THREADS": "1"}  # threads would not be copied
    command = [sys.executable, "-u", "-c", IMPORTED + _STARTER, str(theirs.fileno())]
    with subprocess.Popen(command, cwd=ROOT, env=environ, pass_fds=[theirs.fileno()]), ours:
        theirs.close()
        yield Copies(ours)
