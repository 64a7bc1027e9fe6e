"""Half an hour of the suite's machinery: whether memory, descriptors, threads, shared memory or processes grow.

    python -m benchmarks.soak [--minutes 30] [--artifacts FOLDER]

One process opens a session on the emulator, evaluates the embedded pictures through feed and journal, closes it, and begins
again, by turns at batch 1, 4 and 16. After each evaluation it counts. Exits with 1 if an evaluation finds something else
than the first one of its batch size, or if the mean of the last quarter exceeds that of the second by more than 2 % and
8 MiB (memory) or by more than 1 (everything else). The first quarter is left out: caches fill.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import threading
import time
import uuid
from pathlib import Path

from tqdm import tqdm

from benchmarks.resume import as_bytes
from fcos_lib.artifacts.from_checkpoint import onnx_artifact
from fcos_lib.artifacts.om import om_artifact, om_path
from fcos_lib.ascend.atc_command import AtcOptions
from fcos_lib.ascend.om_session import OmSession
from fcos_lib.contract import SHAPES
from fcos_lib.device.npus import use_emulator
from fcos_lib.options.option import path
from fcos_lib.store.artifacts import Store
from fcos_lib.stream.dataset import open_dataset
from fcos_lib.stream.evaluation import detect_journaled
from fcos_lib.stream.journal import Journal
from fixtures.settings import EMBEDDED, EMBEDDED_CHECKPOINT

BATCHES = (1, 4, 16)
MEMORY = ("memory MiB", "children MiB")


def counts() -> dict[str, float]:
    """What this process and those that it started have now."""
    children = [entry for entry in Path("/proc").iterdir() if entry.name.isdecimal() and _parent(entry) == os.getpid()]
    return {
        "memory MiB": _pss(Path("/proc/self")),
        "children MiB": sum(map(_pss, children)),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count() + len(os.listdir("/proc/self/task")),
        "processes": len(children),
        "/dev/shm": len(os.listdir("/dev/shm")),
    }


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def _pss(process: Path) -> float:
    """MiB, shared pages by their share."""
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    except (OSError, StopIteration):
        return 0.0


def main() -> int:
    """Go round, count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--artifacts", type=path, default=Path(".artifacts"))
    args = parser.parse_args()
    store = Store(args.artifacts)
    device = use_emulator(store.root / "emulator")[0]
    models = onnx_artifact(store, SHAPES, EMBEDDED_CHECKPOINT)
    oms = {
        batch: om_path(om_artifact(store, models, SHAPES, device.toolkit, AtcOptions(device.soc_version, batch)))
        for batch in BATCHES
    }
    pictures, journals = open_dataset(EMBEDDED).pictures, store.root / f"soak-{uuid.uuid4().hex[:8]}"
    first: dict[int, object] = {}
    seen: list[dict[str, float]] = []
    differ, ends = 0, time.monotonic() + 60 * args.minutes
    bar = tqdm(desc=f"{args.minutes:g} minutes", unit=" evaluations", leave=False, disable=None)
    while time.monotonic() < ends:
        batch = BATCHES[len(seen) % len(BATCHES)]
        with (
            Journal(journals, pictures, batch, {"batch": batch}, fresh=True) as journal,
            OmSession(oms[batch], SHAPES, batch) as session,
        ):
            detections, _ = detect_journaled(session, journal)
        differ += first.setdefault(batch, as_bytes(detections)) != as_bytes(detections)
        del detections
        seen.append(counts())
        bar.update()
    bar.close()
    shutil.rmtree(journals, ignore_errors=True)
    quarter = max(1, len(seen) // 4)
    print(
        f"{len(seen)} evaluations of {len(pictures)} pictures, a session each, in {args.minutes:g} minutes; {differ} differ\n"
    )
    print("| | first | second quarter | last quarter | most |\n|---|---|---|---|---|")
    grown = []
    for name in seen[0]:
        values = [one[name] for one in seen]
        before, after = statistics.fmean(values[quarter : 2 * quarter] or values), statistics.fmean(values[-quarter:])
        print(f"| {name} | {values[0]:.1f} | {before:.1f} | {after:.1f} | {max(values):.1f} |")
        if after - before > (max(8, 0.02 * before) if name in MEMORY else 1):
            grown.append(name)
    print("\n" + (f"grown: {', '.join(grown)}" if grown else "flat"))
    return 1 if grown or differ else 0


if __name__ == "__main__":
    sys.exit(main())
