"""One case as a run: the real suite as a process of its own, on its own copy of prepared artifacts, read from results.json."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.gateproof.case import ALL, PART, REFUSED, Case, Outcome
from tests.prepared import KEPT, outer_environment, take_over

ROOT = Path(__file__).parents[2]
PLUG = Path(__file__).parent / "plug"
TIME_LIMIT = 400
GREEN = ("PASS", "STAND-IN")


class Child:
    """Runs of the suite in one folder."""

    def __init__(self, folder: Path, prepared: Path | None = None, without: Collection[str] = ()) -> None:
        """`folder` gets the artifacts of `prepared`, except `without`."""
        self.folder, self.prepared = folder, prepared
        self.artifacts = folder / "artifacts"
        self.trace = folder / "trace"
        self.trace.mkdir(parents=True)
        if prepared:
            take_over(prepared, self.artifacts, without)

    def run(
        self,
        *options: str,
        marks: str = ALL,
        batch_sizes: str = "4",
        scenario: str = "",
        defect: str = "",
        environment: Mapping[str, str] | None = None,
        explain: bool = False,
    ) -> Outcome:
        """One run of the acceptance suite and what it came to. Without `defect` nothing is injected; `explain` costs time."""
        results = self.artifacts / "results" / "results.json"
        results.unlink(missing_ok=True)
        command, environ = self.command(*options, marks=marks, batch_sizes=batch_sizes, scenario=scenario)
        command += [] if explain else ["--no-explain"]
        environ |= environment or {}
        if defect:
            paths = os.pathsep.join([str(PLUG), str(ROOT)])
            environ |= {"PYTHONPATH": paths, "FCOS_DEFECT": defect, "FCOS_DEFECT_TRACE": str(self.trace)}
        started = time.monotonic()
        done = subprocess.run(
            command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=TIME_LIMIT, check=False
        )
        seconds = time.monotonic() - started
        document = json.loads(results.read_text(encoding="utf-8")) if results.is_file() else {}
        red = red_gates(document)
        if done.returncode == 4 and not document:  # a slip of an option is refused before there are results to keep
            red = {REFUSED: done.stderr.strip()}
        return Outcome(
            done.returncode, red, tuple(_gates(document)), tuple(sorted(self.trace.iterdir())), seconds, document,
            done.stdout + done.stderr,
        )  # fmt: skip

    def command(
        self, *options: str, marks: str = ALL, batch_sizes: str = "4", scenario: str = ""
    ) -> tuple[list[str], dict[str, str]]:
        """The command line of a run, and its environment."""
        command = [sys.executable, "-m", "pytest", "tests/acceptance", "-q", "-p", "no:cacheprovider", "-m", marks]
        command += ["--npu", "emulated", "--batch-sizes", batch_sizes, f"--artifacts={self.artifacts}"]
        # plain: pytest imports what it rewrites by itself, past the finder that plays defects
        command += [f"--benchmark-storage={self.folder / 'benchmarks'}", "--assert=plain", *options]
        return command, outer_environment() | {"FCOS_EMULATOR": scenario}

    def verb(self, *arguments: str) -> str:
        """What `python -m fcos_lib` prints for these arguments; it has to succeed."""
        command = [sys.executable, "-m", "fcos_lib", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=outer_environment(), capture_output=True, text=True, timeout=TIME_LIMIT, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def red_gates(document: Mapping[str, Any]) -> dict[str, str]:
    """What each gate says that is not green, by `promise: measurement`; `REFUSED` if it failed before it could judge."""
    red: dict[str, str] = {}
    for verdict in document.get("verdicts", []):
        if verdict["outcome"] not in GREEN and verdict["limit"]:
            measured = verdict["measurement"]
            said = (
                f"{verdict['outcome']} {verdict['gate']}: {measured['value']} {measured['unit']}; {measured['where']}"
            )
            gate = f"{verdict['promise']}: {measured['name']}"
            red[gate] = f"{red[gate]}\n{said}" if gate in red else said
    for entry in document.get("unjudged", []):
        red[REFUSED] = f"{red.get(REFUSED, '')}\n{entry['outcome']} {entry['test']}: {entry['message']}".strip()
    return red


def _gates(document: Mapping[str, Any]) -> Iterator[str]:
    for verdict in document.get("verdicts", []):
        if verdict["limit"]:
            yield f"{verdict['promise']}: {verdict['measurement']['name']}"


def run_case(case: Case, folder: Path, prepared: Path) -> tuple[Outcome, bool]:
    """A case's run in a new folder, and whether its injection, if it has one, changed a byte."""
    started = time.monotonic()
    child = Child(folder, prepared, {*case.without, *([] if case.champion else ["champions"])})
    further = case.arrange(child) if case.arrange else ()
    outcome = child.run(
        *case.options, *further,
        marks=case.marks, batch_sizes=case.batch_sizes, scenario=case.scenario,
        defect=case.name if case.injections else "", environment=dict(case.environment),
    )  # fmt: skip
    outcome = Outcome(
        outcome.status, outcome.red, outcome.gates, outcome.traces, time.monotonic() - started, outcome.document,
        outcome.output,
    )  # fmt: skip
    return outcome, any(path.name.startswith("changed-") for path in outcome.traces)


SAME_FOR_ALL = {"onnx", "references", "witness"}
"""What any earlier run leaves under a key of all that it was made from. Its OM or champion could be taken for a case's."""


def prepare(folder: Path, earlier: Path | None = None) -> Path:
    """The artifacts of an undisturbed run in a new folder, with its OM as the champion.

    `earlier`: an artifact folder whose ONNX and references, if they are there, need not be made again.
    """
    child = Child(folder, earlier, set(KEPT) - SAME_FOR_ALL)
    outcome = child.run()
    assert outcome.status == 0, f"the undisturbed run is not green:\n{outcome.output}"
    used = {artifact["key"] for artifact in outcome.document["artifacts"]}
    for onnx in (child.artifacts / "onnx").iterdir():
        if onnx.name not in used:  # of other sources or another contract: cases take the only one
            shutil.rmtree(onnx)
    results = str(child.artifacts / "results" / "results.json")
    child.verb("accept", results, "--artifacts", str(child.artifacts), "--why", "gate proof")
    part = child.run(*PART, marks="golden")  # mmdet's detections of the pictures that most cases see
    assert part.status == 0, f"the undisturbed run on a part is not green:\n{part.output}"
    return child.artifacts
