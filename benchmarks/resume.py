"""Evaluations that are killed again and again, compared with one that was left alone. Prints what the kills cost.

    python -m benchmarks.resume [--kills 50]

A process of its own evaluates the embedded 240 pictures at batch 4 with journal, feed and a stand-in session, whose results
depend on every bit of its input. It gets kill -9 at a random moment between its start and the time that an undisturbed one
takes, and is started again until one gets through; then all over, until there were enough kills. Exits with 1 if the
results differ in one bit from those of `feed.detect`, which knows no journal, if a kill costs more batches than a shard has, or
if a process, a temporary file or a file in /dev/shm is left.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.stream import Device
from fcos_lib.contract import SHAPES, InputLayout
from fcos_lib.stream.dataset import Picture, open_dataset
from fcos_lib.stream.evaluation import detect_journaled, merged
from fcos_lib.stream.feed import detect
from fcos_lib.stream.journal import Journal
from fcos_lib.stream.journal_shards import cut
from fcos_lib.stream.sessions import Detections, Outputs

ROOT = Path(__file__).parents[1]
BATCH = 4
SECONDS_PER_PICTURE = 0.005
MARK = "FCOS_RESUME_BENCHMARK"
"""In the environment of everything that is started here, so that what is left of it can be found."""
SHARED = Path("/dev/shm")
PATIENCE = 10.0
"""Seconds in which processes that have lost the one they worked for may end."""
AMONG, BEFORE = "after the first batch was begun", "before"


class StandIn:
    """A session that finds what every bit of its input says, and notes each run in a log before it begins."""

    contract, layout = SHAPES, InputLayout.FLOAT_NCHW

    def __init__(self, log: Path | None, seconds: float) -> None:
        """`seconds` per picture."""
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666) if log else None
        self._device = Device(seconds)

    def run(self, batch: NDArray[Any]) -> Outputs:
        """Up to a hundred detections per picture."""
        if self._log is not None:
            os.write(self._log, b"%08x\n" % zlib.crc32(batch.data))
        self._device.run(batch)
        labels, dets = np.zeros((len(batch), 100), np.int64), np.zeros((len(batch), 100, 5), np.float32)
        for slot, tensor in enumerate(batch):
            chance = np.random.default_rng(zlib.crc32(tensor.data))
            rows = chance.integers(0, 101)
            labels[slot, :rows] = chance.integers(0, len(SHAPES.classes), rows)
            dets[slot, :rows, :4] = np.sort(chance.uniform(0, 256, (rows, 4)))
            dets[slot, :rows, 4] = np.sort(chance.uniform(0.05, 1, rows))[::-1]
        return Outputs(labels, dets)

    def close(self) -> None:
        """End the log."""
        if self._log is not None:
            os.close(self._log)
            self._log = None

    def __enter__(self) -> StandIn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def journal_in(folder: Path, pictures: Sequence[Picture]) -> Journal:
    """The journal of one evaluation, for those who work in it and for who looks at the end."""
    return Journal(folder, pictures, BATCH, {"model": "stand-in"})


def work() -> None:
    """What the processes do that are killed; the arguments are the journal's folder and the log."""
    folder, log = map(Path, sys.argv[1:])
    with (
        journal_in(folder, pictures()) as journal,
        StandIn(log, SECONDS_PER_PICTURE) as session,
    ):
        detect_journaled(session, journal)


def pictures() -> tuple[Picture, ...]:
    """The embedded ones."""
    return open_dataset(ROOT / "fixtures" / "shapes").pictures


def as_bytes(detections: Mapping[int, Detections]) -> list[tuple[int, bytes, bytes, bytes]]:
    """For comparison bit by bit, the order of the pictures included."""
    return [
        (key, seen.boxes.tobytes(), seen.scores.tobytes(), seen.labels.tobytes()) for key, seen in detections.items()
    ]


class Left:
    """What should not be there any more: processes that were started here, and files."""

    def __init__(self, folder: Path) -> None:
        """`folder` becomes the place for temporary files of everything that is started with `environment`."""
        folder.mkdir()
        self._mark, self._folder, self._shared = uuid.uuid4().hex, folder, _files(SHARED)
        self.environment = {**os.environ, MARK: self._mark, "TMPDIR": str(folder)}

    def processes(self) -> list[str]:
        """Those that do not end by themselves in time."""
        deadline = time.monotonic() + PATIENCE
        while (found := self._processes()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def shared(self) -> list[str]:
        """New files in /dev/shm, whoever made them, that no living process uses; those of others may be about to go.

        Shared memory is files: a folder there is some other program's."""
        deadline = time.monotonic() + PATIENCE
        while (new := _files(SHARED) - self._shared) and (new := new - _in_use()) and time.monotonic() < deadline:
            time.sleep(0.1)  # nothing tells when a file goes
        return sorted(new)

    def temporary(self) -> set[str]:
        """What is in the folder for temporary files."""
        return _names(self._folder)

    def _processes(self) -> list[str]:
        processes = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdecimal() and f"{MARK}={self._mark}".encode() in (entry / "environ").read_bytes():
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    processes.append(f"{entry.name}: {command[:100]}")
            except OSError:  # it has ended, or is somebody else's
                continue
        return processes


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


def _files(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir() if entry.is_file()} if folder.is_dir() else set()


def _in_use() -> set[str]:
    """What of /dev/shm any process has open or in its memory, or works below."""
    paths = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            paths += [line.split(maxsplit=5)[-1] for line in (process / "maps").read_text().splitlines()]
            paths += [os.readlink(entry) for entry in (process / "fd").iterdir()]
    return {Path(name).relative_to(SHARED).parts[0] for name in paths if name.startswith(f"{SHARED}/")}


def until_killed(start: Callable[[], subprocess.Popen[bytes]], moment: float) -> tuple[bool, float]:
    """Start a process and kill it after `moment` seconds; was it killed, and how long did it live? An error of its own is ours."""
    began, process = time.monotonic(), start()
    try:
        status = process.wait(moment)
    except subprocess.TimeoutExpired:
        process.kill()  # SIGKILL, to this process alone
        status = process.wait()
    if status > 0:
        raise RuntimeError(f"a process that nobody killed ended with status {status}")
    return status != 0, time.monotonic() - began


def kill_evaluations(root: Path, kills: int, chance: random.Random) -> list[str]:
    """Kill evaluations until there were enough kills; prints figures, returns what is wrong."""
    known, left, batches = pictures(), Left(root / "temporary"), -(-len(pictures()) // BATCH)
    most = len(cut(known, BATCH)[0]) // BATCH
    with StandIn(None, 0) as session:
        expected = as_bytes(detect(session, known, SHAPES, BATCH))

    def starter(folder: Path, log: Path) -> Callable[[], subprocess.Popen[bytes]]:
        program = [sys.executable, "-c", "from benchmarks.resume import work; work()", str(folder), str(log)]
        return lambda: subprocess.Popen(program, cwd=ROOT, env=left.environment)

    wrong: list[str] = []
    _, alone = until_killed(starter(root / "alone", root / "alone.log"), 600)
    costs: list[int] = []  # batches that each kill made others repeat
    hit: Counter[str] = Counter()
    evaluations = 0
    while hit[AMONG] < kills:
        folder, killed = root / f"journal{evaluations}", True
        logs: list[Path] = []
        while killed:
            logs.append(root / f"{evaluations}-{len(logs)}.log")
            killed, _ = until_killed(starter(folder, logs[-1]), chance.uniform(0, alone))
        runs = [_lines(log) for log in logs]
        everything = Counter(batch for one in runs for batch in one)
        costs += [
            len(set(one) & {batch for later in runs[n:] for batch in later}) for n, one in enumerate(runs[:-1], 1)
        ]
        hit.update(AMONG if one else BEFORE for one in runs[:-1])
        with journal_in(folder, known) as journal:
            if not journal.complete or as_bytes(merged(journal, SHAPES)) != expected:
                wrong.append(f"evaluation {evaluations} has other results than an undisturbed one")
        if len(everything) != batches:
            wrong.append(f"evaluation {evaluations} ran {len(everything)} batches, not {batches}")
        wrong += [f"process left: {found}" for found in left.processes()]
        evaluations += 1
    wrong += [f"file left: {name}" for name in (*left.shared(), *sorted(left.temporary()))]
    if max(costs) > most:
        wrong.append(f"a kill cost {max(costs)} batches, more than the {most} of a shard")
    wrong = list(dict.fromkeys(wrong))  # what is left may be found again after every evaluation
    print(f"| evaluations of {batches} batches, {alone:.1f} s each if left alone | {evaluations} |")
    print(f"| kills | {len(costs)} ({', '.join(f'{count} {when}' for when, count in hit.most_common())}) |")
    print(f"| batches repeated | {sum(costs)}, at most {max(costs)} for a kill; a shard has {most} |")
    print(f"| evaluations whose results differ | {sum('results' in one for one in wrong)} |")
    print(f"| processes and files left | {sum('left:' in one for one in wrong)} |", flush=True)
    return wrong


def _lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def main() -> int:
    """Kill, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="at least so many that hit batches (default: 50)")
    parser.add_argument("--seed", type=int, default=5, help="of the moments (default: 5)")
    args = parser.parse_args()
    chance = random.Random(args.seed)
    print(
        f"{len(os.sched_getaffinity(0))} usable cores, load average before {os.getloadavg()[0]:.1f}\n\n| | |\n|---|---|"
    )
    with tempfile.TemporaryDirectory(prefix="fcos-resume-") as folder:
        wrong = kill_evaluations(Path(folder), args.kills, chance)
    print("\n" + ("\n".join(wrong) or "As an undisturbed run's, bit for bit; nothing left."))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
