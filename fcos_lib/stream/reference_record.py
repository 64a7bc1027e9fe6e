"""The reference's results of one picture as a file, and whether they are still what onnxruntime computes."""

from __future__ import annotations

import io
import os
import platform
import re
import stat
import time
import zipfile
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.errors import StoreError
from fcos_lib.stream.sessions import Detections

FORMAT = 1
"""Part of the key of every record: raised when records, or what the code puts into them, change their meaning."""
_RECORD = re.compile(r"[0-9a-f]{20}/[0-9a-f]{2}/[0-9a-f]{64}\.npz")
_TEMPORARY = ".tmp"
_ABANDONED_S = 24 * 3600.0
_CPU_NAME = 200
_OVERHEAD = 1 << 14  # zip's and numpy's headers of seven arrays


@dataclass(frozen=True, slots=True)
class Record:
    """What the reference makes of one picture, in network pixels."""

    size: tuple[int, int]
    """Width and height of the decoded picture, pixels."""
    detections: Detections
    candidates: tuple[NDArray[np.float32], NDArray[np.float32]] | None
    """What reached NMS: boxes float32[M, 4] and scores float32[M, C]; None if it was not asked for."""
    cpu: str
    """Where it was computed: printable ASCII, for people."""


def write_record(path: Path, record: Record) -> None:
    """Write `path` in one step: readers on any host see the old file, the new one or none. `OSError` as it comes."""
    arrays: dict[str, Any] = {
        "size": np.array(record.size, "<i8"),
        "boxes": np.ascontiguousarray(record.detections.boxes, "<f4"),
        "scores": np.ascontiguousarray(record.detections.scores, "<f4"),
        "labels": np.ascontiguousarray(record.detections.labels, "<i8"),
        "cpu": np.frombuffer(record.cpu.encode()[:_CPU_NAME], np.uint8),
    }
    if record.candidates:
        arrays["candidate_boxes"] = np.ascontiguousarray(record.candidates[0], "<f4")
        arrays["candidate_scores"] = np.ascontiguousarray(record.candidates[1], "<f4")
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    write_whole(path, packed.getvalue())


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under another name and rename it; a killed writer leaves at most a hidden `*.tmp`. `StoreError` if that fails."""
    temporary = path.parent / f".{path.name}-{uuid4().hex}{_TEMPORARY}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written ({error.strerror or error})",
            "check free space and permissions, or pass another folder with --references FOLDER",
        ) from error


def read_record(path: Path, contract: ModelContract) -> Record | None:
    """The record in `path`, None if there is none; `ValueError` if it is not one that `write_record` can have written."""
    try:
        found = path.lstat()
        rows, candidates, classes = contract.max_detections, contract.candidates, len(contract.classes)
        largest = _OVERHEAD + rows * 28 + candidates * (4 + classes) * 4
        if not stat.S_ISREG(found.st_mode) or found.st_size > largest:
            raise ValueError(f"{found.st_size} bytes, at most {largest} in a plain file are expected")
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            (cpu,) = _read(archive, {"cpu": ("u1", (None,))}, _CPU_NAME)
            (size,) = _read(archive, {"size": ("<i8", (2,))})
            boxes, scores, labels = _read(
                archive, {"boxes": ("<f4", (None, 4)), "scores": ("<f4", (None,)), "labels": ("<i8", (None,))}, rows
            )
            before: list[NDArray[Any]] = []
            if "candidate_boxes.npy" in archive.namelist():
                before = _read(
                    archive,
                    {"candidate_boxes": ("<f4", (candidates, 4)), "candidate_scores": ("<f4", (candidates, classes))},
                )
    except FileNotFoundError:
        return None
    except Exception as error:  # zipfile, struct and numpy raise whatever they stumble over
        raise ValueError(f"not a record ({type(error).__name__}: {str(error)[:200]})") from error
    finite = all(bool(np.isfinite(array).all()) for array in (boxes, scores, *before))
    if not finite or (scores <= 0).any() or (labels < 0).any() or (labels >= classes).any():
        raise ValueError("not a record (a box, score or label that no model returns)")
    name = "".join(letter if letter.isprintable() else "?" for letter in cpu.tobytes().decode("ascii", "replace"))
    width, height = (int(length) for length in size)
    return Record((width, height), Detections(boxes, scores, labels), (before[0], before[1]) if before else None, name)


def _read(
    archive: zipfile.ZipFile, wanted: dict[str, tuple[str, tuple[int | None, ...]]], rows: int = 0
) -> list[NDArray[Any]]:
    """Arrays of these types and shapes, where None stands for one number up to `rows`; `ValueError` for anything else."""
    arrays: list[NDArray[Any]] = []
    length: int | None = None
    for name, (dtype, shape) in wanted.items():
        entry = archive.getinfo(f"{name}.npy")
        if entry.compress_type != zipfile.ZIP_STORED:  # stored members are never larger than the file
            raise ValueError(f"'{name}' is compressed")
        with archive.open(entry) as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError(f"'{name}' has another version of numpy's format")
            found, fortran, found_dtype = np.lib.format.read_array_header_1_0(file)
            if length is None and found and 0 <= found[0] <= rows:
                length = found[0]
            expected = tuple(length if number is None else number for number in shape)
            if fortran or found_dtype != np.dtype(dtype) or found != expected:
                raise ValueError(f"'{name}' is {found_dtype}{list(found)}, expected {dtype}{list(shape)}")
            arrays.append(np.frombuffer(file.read(), dtype).reshape(found).copy())
    return arrays


def prune_records(root: Path, limit_bytes: int, keep: Collection[Path]) -> int:
    """Remove the longest unused records `root/<key>/<two digits>/<SHA-256>.npz` until they fit the limit; bytes removed.

    `keep` stays, and so does whatever is no record, but for what killed writers left behind a day ago.
    """
    records = []
    for path in root.glob("*/??/*"):
        with suppress(OSError):  # another process was faster
            entry = path.lstat()
            if _RECORD.fullmatch(path.relative_to(root).as_posix()):
                records.append((entry.st_mtime, entry.st_size, path))
            elif path.name.endswith(_TEMPORARY) and entry.st_mtime < time.time() - _ABANDONED_S:
                path.unlink()
    excess = sum(size for _, size, _ in records) - limit_bytes
    removed = 0
    for _, size, path in sorted(records):
        if removed >= excess:
            break
        if path not in keep:
            with suppress(OSError):
                path.unlink()
                removed += size
    return removed


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
