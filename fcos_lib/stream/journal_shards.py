"""Shards of a journal: how a dataset is cut into them, the file of each, digests of an answer and of what it is about, and the lock."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcos_lib.errors import JournalError, refusal_as
from fcos_lib.records import plain_json, record_of
from fcos_lib.store.artifacts import own_folder
from fcos_lib.stream.array_file import OVERHEAD, Shape, pack_arrays, unpack_arrays
from fcos_lib.stream.dataset import Picture, not_exactly_once
from fcos_lib.stream.sessions import Detections

LOCK = "journal.lock"
PATIENCE_LOOKS, LOOK_S = 50, 0.2
"""Ten seconds, in looks, for the process that has the journal to end: one that was just killed, for instance."""
SHARD_PICTURES = 64
"""At most, unless a batch is larger. What a kill costs: seconds on a device."""
LEAST_SHARDS = 8
"""If there are so many batches: of a small set, too, a killed run leaves something, and several processes have something to do."""
PICTURE_ROWS = 2000
"""Detections that one picture may have in a file; models give 100."""
_MAKER_BYTES = 2000
_PARTS = re.compile(r"\.?(journal\.json|shard-\d{5,}\.npz)(-[0-9a-f]{32}\.tmp)?", re.ASCII)
"""What a journal consists of besides its lock, what a killed writer leaves, and the header that journals had until format 2."""
_ARRAYS: dict[str, tuple[str, Shape]] = {
    "journal": ("|u1", ("letters",)),
    "maker": ("|u1", ("bytes",)),
    "ids": ("<i8", ("pictures",)),
    "counts": ("<i8", ("pictures",)),
    "boxes": ("<f4", ("rows", 4)),
    "scores": ("<f4", ("rows",)),
    "labels": ("<i8", ("rows",)),
}


@dataclass(frozen=True, slots=True)
class Maker:
    """The device that answered a shard."""

    host: str
    logical: int
    """The id that the runtime takes, counted over all devices of the host."""
    physical: str
    """Card and chip as npu-smi counts them, such as `5/0`."""

    def __str__(self) -> str:
        return f"NPU {self.logical} ({self.physical} in npu-smi) on {self.host}"


def cut(pictures: Sequence[Picture], batch: int) -> list[tuple[Picture, ...]]:
    """The pictures of each shard: 64 at most, fewer if there would be less than 8 shards; whole batches, at least one each."""
    batches = -(-len(pictures) // batch)
    size = batch * max(1, min(SHARD_PICTURES // batch, -(-batches // LEAST_SHARDS)))
    return [tuple(pictures[first : first + size]) for first in range(0, len(pictures), size)]


def shard_path(folder: Path, shard: int) -> Path:
    """The file of one shard."""
    return folder / f"shard-{shard:05d}.npz"


def clear(folder: Path) -> None:
    """Remove all shards, and what a killed writer left of one."""
    for entry in list(os.scandir(folder)):
        if _PARTS.fullmatch(entry.name):
            os.unlink(entry.path)


def largest_shard(pictures: int) -> int:
    """The most bytes that a file with so many pictures has."""
    return OVERHEAD + pictures * (16 + 28 * PICTURE_ROWS)


def pack_shard(subject: str, results: Mapping[int, Detections], maker: Maker) -> bytes:
    """The bytes of a shard's file: detections by picture id, in network pixels; `ValueError` if they could not be read again.

    `subject` is the digest of what the journal is about.
    """
    detections = list(results.values())
    arrays = {
        "journal": np.frombuffer(subject.encode(), "u1"),
        "maker": np.frombuffer(json.dumps(asdict(maker)).encode(), "u1"),
        "ids": np.array(list(results), "<i8"),
        "counts": np.array([len(seen) for seen in detections], "<i8"),
        "boxes": np.concatenate([seen.boxes for seen in detections]),
        "scores": np.concatenate([seen.scores for seen in detections]),
        "labels": np.concatenate([seen.labels for seen in detections]),
    }
    data = pack_arrays(arrays)
    unpack_shard(data, subject, list(results))
    return data


def unpack_shard(data: bytes, subject: str, ids: Sequence[int]) -> tuple[dict[int, Detections], Maker]:
    """Detections by picture id and who found them; `ValueError` if the file is damaged, `JournalError` if it is not this shard."""
    most = {"letters": 200, "bytes": _MAKER_BYTES, "pictures": len(data), "rows": PICTURE_ROWS * len(ids)}
    arrays = unpack_arrays(data, _ARRAYS, most)
    boxes, scores, labels, counts = (arrays[name] for name in ("boxes", "scores", "labels", "counts"))
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise ValueError("boxes or scores are not all finite")
    if ((counts < 0) | (counts > len(scores))).any() or counts.sum() != len(scores):
        raise ValueError("the pictures' detections do not add up to all rows")
    if arrays["journal"].tobytes() != subject.encode():
        wrong = "it has results of another journal, so of another fingerprint, batch size or other pictures"
    elif arrays["ids"].tolist() != list(ids):
        wrong = not_exactly_once(arrays["ids"].tolist(), ids) or "pictures are not in order"
    else:
        parts = (np.split(array, counts.cumsum()[:-1]) for array in (boxes, scores, labels))
        results = {picture_id: Detections(*rows) for picture_id, *rows in zip(ids, *parts, strict=True)}
        return results, _maker(arrays["maker"].tobytes())
    raise JournalError(wrong, "restore the file, or pass --fresh")


def _maker(data: bytes) -> Maker:
    try:
        return record_of(plain_json(data), Maker)
    except ValueError as error:
        raise ValueError("it does not say which device it is from") from error


def answer_digest(results: Mapping[int, Detections]) -> str:
    """16 hex digits over every bit of a shard's results, in their order."""
    digest = hashlib.sha256()
    for picture_id, seen in results.items():
        digest.update(f"{picture_id} {len(seen)}\n".encode())
        for array in (seen.boxes, seen.scores, seen.labels):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def disk_errors(doing: str) -> AbstractContextManager[None]:
    """What the system says about a file becomes a `JournalError`."""
    advice = "check free space and permissions and run again: what is in the journal is kept"
    return refusal_as(JournalError, f"{doing} failed", advice)


def subject_digest(fingerprint: Mapping[str, Any], pictures: Sequence[Picture], batch: int) -> str:
    """SHA-256 over everything that must be equal for results to be of one evaluation."""
    subject = {
        "fingerprint": dict(fingerprint),
        "batch size": batch,
        "pictures of each shard": [len(shard) for shard in cut(pictures, batch)],
        "pictures": [picture.id for picture in pictures],
    }
    return hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()


def locked(folder: Path) -> int:
    """The descriptor of the folder's lock, which is held; `JournalError` if another process keeps it."""
    for look in range(PATIENCE_LOOKS):
        if look:
            time.sleep(LOOK_S)
        own_folder(folder, "results that are found there count", "--artifacts")
        path = folder / LOCK
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:  # the folder was removed by the process that had it
            continue
        with suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), os.stat(path)):  # or it was removed with its journal
                return file
        os.close(file)
    raise JournalError(
        f"another process is working in the journal {folder}",
        f"wait until it has ended (fuser -v {folder / LOCK} names it), or pass another folder with --artifacts FOLDER",
    )
