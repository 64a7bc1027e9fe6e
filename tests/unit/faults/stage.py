"""The stage of a fault: real processes in a folder of their own, with prepared artifacts, and what is left of them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from fcos_lib.files import sha256_of
from fcos_lib.store.artifacts import MANIFEST
from tests.copies import Copies, Copy
from tests.gateproof.child import Child
from tests.prepared import outer_environment

ROOT = Path(__file__).parents[3]
GATE = ("contract", "-k", "every_row and batch2")
"""The cheapest gate that needs the whole way: ONNX, OM, device."""
ACCURACY = ("accuracy", "-k", "candidate_reaches", "--pictures", "60")
"""The one that keeps a journal; so few pictures are NO VERDICT."""
SLOW = "rate=20"
"""A device on which the sixty pictures take three seconds: enough to hit them. A journal belongs to what the emulator plays."""
MARK = "STAGE_OF_A_FAULT"
TIME_LIMIT = 100
PRELUDE = """
import json, os, resource, signal, sys, time
from pathlib import Path
from fcos_lib.errors import FcosError
from fcos_lib.judge.exit_status import outcome_of
folder, artifacts, root = map(Path, sys.argv[1:])
def judged(call):
    try:
        print(call(), flush=True)
    except (Exception, KeyboardInterrupt) as error:
        print(error, flush=True)
        sys.exit({"INFRA": 8, "FAIL": 1}[outcome_of(error).value])
"""


@dataclass(frozen=True, slots=True)
class Said:
    """How a process ended, and all that it printed."""

    status: int
    """As the shell has it, but -n for one killed by signal n."""
    output: str
    document: Mapping[str, Any] = field(default_factory=dict)
    """results.json, if one was written."""


class Process:
    """A process that is started anew, and can be asked for what a copy can."""

    def __init__(self, command: list[str], environ: Mapping[str, str], output: IO[bytes]) -> None:
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=dict(environ), stdout=output, stderr=output, start_new_session=True
        )
        self.pid = self._process.pid

    def wait(self, seconds: float) -> int | None:
        """Its exit status, None if it still runs after so many seconds."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> int:
        """End it and what it started; its exit status."""
        os.killpg(self.pid, signal.SIGKILL)
        return self._process.wait()


class Running:
    """A process that is under way, the leader of its group."""

    def __init__(self, process: Process | Copy, log: Path, results: Path) -> None:
        self._process, self._log, self._results = process, log, results
        self.pid = process.pid

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def until(self, what: Callable[[], Any]) -> Any:
        """Wait until something is so, while the process runs; what it is."""
        end = time.monotonic() + TIME_LIMIT
        while time.monotonic() < end:
            if result := what():
                return result
            assert self.is_alive, f"it ended too early:\n{self.output}"
            time.sleep(0.01)
        pytest.fail(f"it never came to that:\n{self.output}")

    @property
    def is_alive(self) -> bool:
        """False as soon as it has ended: its process id may be another's then."""
        return self._process.wait(0) is None

    def kill(self) -> None:
        """kill -9 of this process alone."""
        os.kill(self.pid, signal.SIGKILL)

    def ended(self) -> Said:
        """Wait for its end."""
        status = self._process.wait(TIME_LIMIT)
        if status is None:
            self._process.kill()
            pytest.fail(f"it hangs:\n{self.output}")
        document = json.loads(self._results.read_text(encoding="utf-8")) if self._results.is_file() else {}
        return Said(status, self.output, document)


class Stage:
    """One fault's folder, and its processes."""

    def __init__(self, folder: Path, prepared: Path, copies: Copies, without: Collection[str] = ()) -> None:
        self.folder, self._child, self._copies = folder, Child(folder, prepared, without), copies
        self.artifacts = self._child.artifacts
        self.artifacts.mkdir(exist_ok=True)
        self.journals = self.artifacts / "journal"
        self._mark, self._started = uuid.uuid4().hex, list[Running]()
        self._temporary = folder / "temporary"
        self._temporary.mkdir()
        self._mounts = contextlib.ExitStack()

    def start(
        self, marks: str, *options: str, scenario: str = "", environment: Mapping[str, str] | None = None
    ) -> Running:
        """Begin a run of the suite at batch size 2: a copy, unless Python itself is told something."""
        command, environ = self._child.command(*options, marks=marks, batch_sizes="2", scenario=scenario)
        environ |= environment or {}
        if any(name.startswith("PYTHON") for name in environment or ()):
            return self._start(Process, command, environ)
        return self._start(self._copies.start, command[command.index("pytest") + 1 :], environ)

    def suite(self, *arguments: str, **how: Any) -> Said:
        """A run of the suite, by default of the cheapest gate."""
        return self.start(*(arguments or GATE), **how).ended()

    def begin(self, text: str, scenario: str = "") -> Running:
        """Begin a program that has this package, a folder, the artifacts and the project's root, and `judged`."""
        command = [sys.executable, "-c", PRELUDE + text, str(self.folder), str(self.artifacts), str(ROOT)]
        return self._start(Process, command, outer_environment() | {"FCOS_EMULATOR": scenario})

    def program(self, text: str, scenario: str = "") -> Said:
        """Such a program to its end; of what is `judged`, the exit status is that of the suite."""
        return self.begin(text, scenario).ended()

    def _start(self, begin: Callable[..., Process | Copy], command: list[str], environ: Mapping[str, str]) -> Running:
        results = self.artifacts / "results" / "results.json"
        results.unlink(missing_ok=True)
        own = {MARK: self._mark, "TMPDIR": str(self._temporary), "PYTHONUNBUFFERED": "1"}
        log = self.folder / f"log-{len(self._started)}.txt"
        with log.open("wb") as output:
            process = begin(command, {**environ, **own}, output)
        self._started.append(Running(process, log, results))
        return self._started[-1]

    def small_disk(self, folder: Path, size: str = "200k", more: str = "") -> None:
        """Mount a small disk there; skips without the right to."""
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"mode=0700,size={size}{more}", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        self._mounts.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=False)

    def processes(self) -> dict[int, str]:
        """Command lines of those that this stage started and that still live, by process id."""
        result = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and self._is_own(entry):
                    result[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return result

    def _is_own(self, process: Path) -> bool:
        """A copy keeps the environment of what it was copied from, but what it starts has the mark."""
        marked = f"{MARK}={self._mark}".encode() in (process / "environ").read_bytes()
        return marked or any(run.is_alive and run.pid == int(process.name) for run in self._started)

    def process(self, words: str) -> int:
        """The first process with these words in its command line, 0 if there is none."""
        return next((pid for pid, command in self.processes().items() if words in command), 0)

    def holder(self) -> int:
        """The process that holds NPU 0, 0 if it cannot be told."""
        try:
            return int(json.loads((self.artifacts / "locks" / "npu-0.lock").read_text())["pid"])
        except (OSError, ValueError, KeyError):
            return 0

    def left(self) -> list[str]:
        """What should not be there any more, a line each."""
        return [*self._processes_left(), *self._locks_left(), *self._halves_left(), *self._files_left()]

    def _processes_left(self) -> Iterator[str]:
        end = time.monotonic() + 5
        while (alive := self.processes()) and time.monotonic() < end:
            time.sleep(0.02)
        for pid, command in alive.items():
            yield f"process {pid} still runs: {command[:200]}"
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _locks_left(self) -> Iterator[str]:
        for path in self.artifacts.rglob("*.lock"):
            for take in (fcntl.flock, fcntl.lockf):
                with path.open("rb+") as file:
                    try:
                        take(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except OSError:
                        yield f"{path.name} is locked"

    def _halves_left(self) -> Iterator[str]:
        for folder in [path for kind in ("onnx", "om", "om-json") for path in (self.artifacts / kind).glob("[!.]*")]:
            try:
                files = json.loads((folder / MANIFEST).read_text())["files"]
                wrong = [name for name, entry in files.items() if sha256_of(folder / name) != entry["sha256"]]
            except (OSError, ValueError) as error:
                wrong = [str(error)]
            yield from (f"artifact {folder.name} is not whole: {name}" for name in wrong)

    def _files_left(self) -> Iterator[str]:
        for path in self._temporary.glob("*fcos*"):
            if path.name != f"fcos_lib-{os.getuid()}":  # holds the lock with which those who ask npu-smi take turns
                yield f"{path.name} is left in TMPDIR"
        for name in ("npu", "feed", "watchdog", "console"):
            yield from (f"/dev/shm/{path.name} is left" for path in Path("/dev/shm").glob(f"*fcos-{name}*"))

    def close(self) -> None:
        """Unmount, and end whatever still runs."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._mounts.close()
