"""Prepared artifacts: made once per test session by the worker that needs them first, then linked into the folders of other runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from filelock import FileLock

KEPT = ("onnx", "onnx-proposals", "om", "om-json", "references", "witness", "champions", "emulator")
"""What a run takes over of an artifact folder; all of it is written once and renamed, so links do."""
_WHOLE = "whole"
PICTURES = 64
"""Of the embedded ones in a run that nothing happened to: enough for a verdict on accuracy, and eight shards of two batches."""


def once(factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], object]) -> Path:
    """A folder of this test session, which `fill` has filled in one worker while the others waited."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # each worker's own lies in the session's
    folder = base / name
    with FileLock(base / f"{name}.lock"):
        if not (folder / _WHOLE).exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that was killed, or failed
            folder.mkdir()
            fill(folder)
            (folder / _WHOLE).touch()
    return folder


def take_over(prepared: Path, artifacts: Path, without: Collection[str] = ()) -> None:
    """Link what is kept of the artifact folder `prepared` into another one, except the kinds `without`."""
    for name in KEPT:
        if name not in without and (prepared / name).is_dir():
            shutil.copytree(prepared / name, artifacts / name, copy_function=_link, symlinks=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def own_cores(cores: Collection[int]) -> set[int]:
    """Those of `cores` that belong to this worker of `-n`, of which several share a core if there are more; all for another process.

    Threads of libraries spin while they wait for each other. Where the runs of two workers share cores, that is a third of the
    work, and of no use to anybody.
    """
    worker, workers = (os.environ.get(f"PYTEST_XDIST_WORKER{end}", "") for end in ("", "_COUNT"))
    if not worker:
        return set(cores)
    shares = min(int(workers), len(cores))
    return set(sorted(cores)[int(worker[2:]) % shares :: shares])


def outer_environment() -> dict[str, str]:
    """The environment of a shell that never heard of CANN, of this pytest, of a CI job or of the emulator."""
    own = ("ASCEND", "FCOS", "GITHUB_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    entries = kept.get("PATH", "").split(os.pathsep)
    kept["PATH"] = os.pathsep.join(entry for entry in entries if "cann-stand-in" not in entry)
    kept.pop("PYTHONPATH", None)
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # container images set it: every one of a thousand starts would compile
    return kept
