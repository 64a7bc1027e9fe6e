"""Runs of pytest in copies of one process, for runs that are short or many: most of what such a run takes is importing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

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
_RUNS = """
jobs, running, statuses = json.load(sys.stdin), {}, {}
for number, (arguments, output) in enumerate(jobs):
    child = os.fork()
    if not child:
        file = os.open(output, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, 1), os.dup2(file, 2)
        sys.argv[1:] = arguments
        status = pytest.main(arguments)
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)
    running[child] = number
    while running and (len(running) >= os.cpu_count() or number == len(jobs) - 1):
        child, status = os.wait()
        statuses[running.pop(child)] = os.waitstatus_to_exitcode(status)
print(json.dumps([statuses[number] for number in range(len(jobs))]))
"""


def run_copies(lines: Sequence[Sequence[str]], folder: Path, environ: Mapping[str, str]) -> list[tuple[int, str]]:
    """Exit status and output of pytest for each of these command lines, in this checkout; `folder` gets the outputs."""
    jobs = [([*line, PLAIN], str(folder / f"{number}.txt")) for number, line in enumerate(lines)]
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED + _RUNS], input=json.dumps(jobs), cwd=ROOT, capture_output=True, text=True,
        timeout=240, env={**environ, "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "200"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [
        (status, Path(output).read_text(encoding="utf-8"))
        for (_, output), status in zip(jobs, json.loads(done.stdout), strict=True)
    ]
