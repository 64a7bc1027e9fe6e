"""kill -9 at random moments, whatever the suite is doing: prints what was left behind, exits with 1 for anything.

    python -m benchmarks.kills [--kills 200] [--seed 7] [--phase build|evaluate|throughput|report] [--begin ARTIFACTS]

Four phases on the embedded default and the emulator: building ONNX and OMs from nothing, an evaluation, timed runs, and
the page drawn from results. Each is started again and again and killed at a random moment within the time that an
undisturbed one takes, the controller alone or with all its processes. After each kill: no process is left (those that the
dead one had started end by themselves), nothing in /dev/shm, no lock is held, every artifact that can be seen is whole,
`results.json` and the page are whole or absent. After every ten kills one is let through: its numbers have to be those of
the undisturbed one, bit for bit (rates are not compared, they are never the same).
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.resume import Left
from fcos_lib.files import sha256_of
from fcos_lib.store.artifacts import MANIFEST

ROOT = Path(__file__).parents[1]
ROUND = 10
"""Kills before a run is let through."""
SUITE = (
    "-m",
    "pytest",
    "tests/acceptance",
    "-q",
    "-p",
    "no:cacheprovider",
    "--npu",
    "emulated",
    "--batch-sizes",
    "4",
    "-m",
)


@dataclass(frozen=True, slots=True)
class Phase:
    """Something that the suite does."""

    arguments: tuple[str, ...]
    """Of Python; `{artifacts}` is the folder."""
    share: float
    """Of the kills."""
    fresh: bool = False
    """Does each round begin with an empty artifact folder?"""


BEGIN = ("build", "evaluate")
"""Phases that those build upon which do not begin from nothing."""
PHASES = {
    "build": Phase((*SUITE, "contract", "--artifacts={artifacts}"), 0.25, fresh=True),
    "evaluate": Phase((*SUITE, "accuracy", "--artifacts={artifacts}"), 0.35),
    "throughput": Phase((*SUITE, "throughput", "-k", "published", "--artifacts={artifacts}"), 0.2),
    "report": Phase(("-m", "fcos_lib", "page", "{artifacts}/results/results.json"), 0.2),
}


def numbers(artifacts: Path) -> list[Any]:
    """Everything that the last run measured, but for how its pictures were come by and for rates."""
    verdicts: list[Any] = json.loads((artifacts / "results" / "results.json").read_text(encoding="utf-8"))["verdicts"]
    for verdict in verdicts:
        verdict["measurement"].get("details", {}).pop("evaluation", None)
    return [verdict for verdict in verdicts if verdict["promise"] != "throughput"]


def wrong_in(artifacts: Path) -> Iterator[str]:
    """What is half-written or held in an artifact folder that nobody works in."""
    for manifest in artifacts.glob(f"o*/*/{MANIFEST}"):  # onnx, onnx-proposals, om, om-json
        if manifest.parent.name.startswith("."):  # never looked at, and removed by whoever builds it next
            continue
        for name, entry in json.loads(manifest.read_text(encoding="utf-8"))["files"].items():
            path = manifest.parent / name
            if not path.is_file() or sha256_of(path) != entry["sha256"]:
                yield f"artifact {manifest.parent.parent.name}: {name} is not what its manifest says"
    for folder in artifacts.glob("o*/[!.]*"):
        if not (folder / MANIFEST).is_file():
            yield f"artifact {folder.parent.name}: a folder without a manifest"
    for lock in artifacts.rglob("*.lock"):
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield f"lock {lock.name} is held"
    results, page = artifacts / "results" / "results.json", artifacts / "results" / "evidence.html"
    try:
        if results.is_file():
            json.loads(results.read_text(encoding="utf-8"))
    except ValueError:
        yield "results.json is half-written"
    if page.is_file() and not page.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        yield "the page is half-written"


def start(phase: Phase, artifacts: Path, left: Left) -> subprocess.Popen[bytes]:
    """Begin a phase in a process group of its own."""
    command = [sys.executable, *(word.replace("{artifacts}", str(artifacts)) for word in phase.arguments)]
    environ = left.environment | {"FCOS_EMULATOR": "rate=500"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def let_through(phase: Phase, artifacts: Path, left: Left) -> float:
    """Run a phase to its end; seconds."""
    began = time.monotonic()
    status = start(phase, artifacts, left).wait(600)
    if status not in (0, 7):  # rates without a champion are NO VERDICT
        raise RuntimeError(f"a run that nobody killed ended with status {status}: {artifacts}")
    return time.monotonic() - began


class Ready:
    """Artifacts of runs that nobody killed, with their times and numbers."""

    def __init__(self, root: Path, begin: Path | None) -> None:
        """Those in `begin`, if given, are what the phases build upon that do not begin from nothing."""
        self.artifacts, self._left = root / "ready", Left(root / "temporary")
        self._known: dict[str, tuple[float, list[Any]]] = {}
        self._first, self._empty = () if begin else BEGIN, root / "empty"
        if begin:
            shutil.copytree(begin, self.artifacts)

    def undisturbed(self, name: str) -> tuple[float, list[Any]]:
        """How long a phase takes, in seconds, and what it measures; run once, after those that it builds upon."""
        for one in dict.fromkeys((*(() if PHASES[name].fresh else self._first), name)):
            if one not in self._known:
                artifacts = self._empty if PHASES[one].fresh and not self._first else self.artifacts
                seconds = let_through(PHASES[one], artifacts, self._left)
                self._known[one] = seconds, numbers(artifacts)
        return self._known[name]


def kill_phase(
    name: str, kills: int, ready: Ready, root: Path, chance: random.Random, say: Callable[[str], None]
) -> list[str]:
    """Kill one phase so often; prints a row, returns what is wrong."""
    phase, left, wrong = PHASES[name], Left(root / f"temporary-{name}"), []
    artifacts, (seconds, expected) = root / name, ready.undisturbed(name)
    whole = seconds
    count, modes, missed = 0, Counter[str](), 0
    bar = tqdm(total=kills, desc=name, unit="kill", leave=False, disable=None)
    while count < kills:
        if phase.fresh or not artifacts.exists():
            shutil.rmtree(artifacts, ignore_errors=True)
            if not phase.fresh:
                shutil.copytree(ready.artifacts, artifacts)
        for _ in range(min(ROUND, kills - count)):
            process, moment = start(phase, artifacts, left), chance.uniform(0.05, whole)
            began = time.monotonic()
            try:
                process.wait(moment)
                missed += 1
                whole = time.monotonic() - began  # the undisturbed one was the first, and made what is there now
            except subprocess.TimeoutExpired:
                mode = chance.choice(("controller", "group"))
                if mode == "controller":
                    process.kill()
                else:
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                count, modes = count + 1, modes + Counter([mode])
                bar.update()
            wrong += [f"{name}: process left: {found}" for found in left.processes()]
            wrong += [f"{name}: {found}" for found in wrong_in(artifacts)]
            wrong += [f"{name}: /dev/shm has {found}" for found in left.shared()]
        let_through(phase, artifacts, left)
        if numbers(artifacts) != expected:
            wrong.append(f"{name}: other numbers after {count} kills")
    bar.close()
    wrong = list(dict.fromkeys(wrong))
    say(
        f"| {name} | {seconds:.1f} | {count} ({', '.join(f'{n} {mode}' for mode, n in modes.items())}) | {missed} | {len(wrong)} |"
    )
    return wrong


def main() -> int:
    """Kill, look and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="over all phases (default: 200)")
    parser.add_argument("--seed", type=int, default=7, help="of the moments (default: 7)")
    parser.add_argument("--phase", choices=tuple(PHASES), action="append", help="only this one; may be repeated")
    parser.add_argument(
        "--begin", type=Path, metavar="ARTIFACTS", help="of an undisturbed run of accuracy: spares making them"
    )
    args = parser.parse_args()
    chosen = args.phase or list(PHASES)
    whole = sum(PHASES[name].share for name in chosen)
    print("| phase | s undisturbed | kills | ended before | wrong |\n|---|---|---|---|---|")
    wrong = []
    with tempfile.TemporaryDirectory(prefix="fcos-kills-") as folder:
        root = Path(folder)
        ready = Ready(root, args.begin)
        for name in chosen:
            kills = -(-int(args.kills * PHASES[name].share) // whole)
            chance = random.Random(f"{args.seed} {name}")
            wrong += kill_phase(name, int(kills), ready, root, chance, lambda row: print(row, flush=True))
    print("\n" + ("\n".join(wrong) or "Nothing half-written, held or left; numbers as undisturbed, bit for bit."))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
