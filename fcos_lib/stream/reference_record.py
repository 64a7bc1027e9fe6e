"""Record of the reference's results for one picture: its file, and the comparison with what onnxruntime computes now."""

from __future__ import annotations

import platform
import re
import stat
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.errors import StoreError, refusal_as
from fcos_lib.files import write_whole
from fcos_lib.stream.array_file import OVERHEAD, Shape, pack_arrays, unpack_arrays
from fcos_lib.stream.sessions import Detections

FORMAT = 2
"""Part of the key of every record: raised when records, or what the code puts into them, change their meaning."""
_RECORD = re.compile(r"[0-9a-f]{20}/[0-9a-f]{2}/[0-9a-f]{64}\.npz")
_TEMPORARY = ".tmp"
_ABANDONED_S = 24 * 3600.0
_CPU_NAME = 200
_DIGITS = 64
"""Of the SHA-256 that a record's file is called by, and the record holds as well."""


@dataclass(frozen=True, slots=True)
class Record:
    """What the reference makes of one picture, in network pixels."""

    size: tuple[int, int]
    """Width and height of the decoded picture, pixels."""
    detections: Detections
    proposals: tuple[NDArray[np.float32], NDArray[np.float32]] | None
    """What reached NMS: boxes float32[M, 4] and scores float32[M, C]; None if it was not asked for."""
    cpu: str
    """Where it was computed: printable ASCII, for people."""


def write_record(path: Path, record: Record) -> None:
    """Write `path` as `write_file` does."""
    arrays: dict[str, Any] = {
        "size": np.array(record.size, "<i8"),
        "boxes": np.ascontiguousarray(record.detections.boxes, "<f4"),
        "scores": np.ascontiguousarray(record.detections.scores, "<f4"),
        "labels": np.ascontiguousarray(record.detections.labels, "<i8"),
        "cpu": np.frombuffer(record.cpu.encode()[:_CPU_NAME], np.uint8),
        "picture": np.frombuffer(path.stem.encode(), np.uint8),
    }
    if record.proposals:
        arrays["proposal_boxes"] = np.ascontiguousarray(record.proposals[0], "<f4")
        arrays["proposal_scores"] = np.ascontiguousarray(record.proposals[1], "<f4")
    write_file(path, pack_arrays(arrays))


def write_file(path: Path, data: bytes) -> None:
    """`write_whole`, in a folder that need not be there yet; `StoreError` if that fails."""
    with refusal_as(
        StoreError,
        f"{path} cannot be written",
        "check free space and permissions, or pass another folder with --references FOLDER",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)


def read_record(path: Path, contract: ModelContract) -> Record | None:
    """The record in `path`, None if there is none; `ValueError` if it is not one that `write_record` can have written."""
    rows, proposals, classes = contract.max_detections, contract.proposals, len(contract.classes)
    largest = OVERHEAD + rows * 28 + proposals * (4 + classes) * 4
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > largest:
            raise ValueError(f"{status.st_size} bytes, at most {largest} in a plain file are expected")
        wanted: dict[str, tuple[str, Shape]] = {
            "cpu": ("u1", ("letters",)),
            "picture": ("u1", ("digits",)),
            "size": ("<i8", (2,)),
            "boxes": ("<f4", ("rows", 4)),
            "scores": ("<f4", ("rows",)),
            "labels": ("<i8", ("rows",)),
            "proposal_boxes": ("<f4", (proposals, 4)),
            "proposal_scores": ("<f4", (proposals, classes)),
        }
        optional = ("proposal_boxes", "proposal_scores")
        arrays = unpack_arrays(
            path.read_bytes(), wanted, {"letters": _CPU_NAME, "digits": _DIGITS, "rows": rows}, optional
        )
        if arrays["picture"].tobytes() != path.stem.encode():  # its file was exchanged for another's
            raise ValueError("it is another picture's")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ValueError(f"not a record ({error})") from error
    detections = Detections(arrays["boxes"], arrays["scores"], arrays["labels"])
    before = (arrays["proposal_boxes"], arrays["proposal_scores"]) if "proposal_boxes" in arrays else None
    finite = all(bool(np.isfinite(array).all()) for array in arrays.values())
    if not finite or (detections.scores <= 0).any() or ((detections.labels < 0) | (detections.labels >= classes)).any():
        raise ValueError("not a record (a box, score or label that no model returns)")
    letters = arrays["cpu"].tobytes().decode("ascii", "replace")
    name = "".join(letter if letter.isprintable() else "?" for letter in letters)
    width, height = (int(length) for length in arrays["size"])
    return Record((width, height), detections, before, name)


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

    The order of rows does not count: equal scores may change places. Proposals are compared if both have them.
    """
    strays = 0 if stored.cpu == computed.cpu else STRAYS
    if message := _compare("detections", _detections(stored), _detections(computed), strays):
        return message
    if stored.proposals and computed.proposals:
        return _compare("proposals", _proposals(*stored.proposals), _proposals(*computed.proposals), strays)
    return ""


def _detections(record: Record) -> NDArray[np.float64]:
    """[K, 6] in units of the bounds; labels never within one of each other."""
    detections = record.detections
    return np.column_stack([detections.boxes / BOX, detections.scores / SCORE, 10.0 * detections.labels]).astype(
        np.float64
    )


def _proposals(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.float64]:
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
