"""Is a stored result the one that computing it again gives, be it on another CPU?

onnxruntime repeats itself bit by bit on one CPU, whatever the number of threads and the batch size, but picks other kernels for
other instruction sets, which add in another order. Its blocked and its plain convolution differ by up to 5e-6 in a score and
6e-4 px in a box of the same picture (docs/reference.md). The bounds here are 4 and 17 times that, and at most a tenth of what
fp16, another model or another preprocessing changes.
"""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcos_lib.stream.reference_record import Record

BOX = 1e-2
"""Largest difference in a coordinate, network pixels."""
SCORE = 2e-5
"""Largest difference in a score."""
STRAYS = 2
"""Rows of either side without a partner on another CPU: a score or an overlap may fall on the other side of its threshold."""
_ISA = ("avx512f", "avx2", "avx", "amx_tile", "asimd", "sve")


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Model and vector instructions of this CPU, as `AMD EPYC (avx512f avx2 avx)`; the architecture where Linux says nothing."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    name = facts.get("model name") or platform.machine()
    return f"{name} ({' '.join(flag for flag in _ISA if flag in flags)})"


def difference(stored: Record, computed: Record) -> str:
    """How two results for one picture differ beyond what their CPUs explain, in a few words; empty if they do not.

    The order of rows does not count: equal scores may change places. Candidates are compared if both have them.
    """
    strays = 0 if stored.cpu == computed.cpu else STRAYS
    if message := _compare("detections", _detections(stored), _detections(computed), strays):
        return message
    if stored.candidates and computed.candidates:
        return _compare("candidates", _candidates(*stored.candidates), _candidates(*computed.candidates), strays)
    return ""


def _detections(record: Record) -> NDArray[np.float64]:
    """[K, 6] in units of the bounds; labels never within one of each other."""
    found = record.detections
    return np.column_stack([found.boxes / BOX, found.scores / SCORE, 10.0 * found.labels]).astype(np.float64)


def _candidates(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """[M, 4 + C] in units of the bounds."""
    return np.column_stack([boxes / BOX, scores / SCORE]).astype(np.float64)


def _compare(what: str, stored: NDArray[np.float64], computed: NDArray[np.float64], strays: int) -> str:
    """Words if more than `strays` rows of either side have no row of the other within one in every column."""
    from scipy.spatial import cKDTree  # type: ignore[import-untyped]  # a tenth of a second to import

    alone = [
        int(np.isinf(cKDTree(other).query(rows, p=np.inf, distance_upper_bound=1.0)[0]).sum())
        for rows, other in ((stored, computed), (computed, stored))
    ]
    if max(alone) <= strays and abs(len(stored) - len(computed)) <= strays:
        return ""
    return (
        f"{alone[0]} of {len(stored)} stored {what} are not among those computed now, "
        f"{alone[1]} of {len(computed)} computed now not among those stored"
    )
