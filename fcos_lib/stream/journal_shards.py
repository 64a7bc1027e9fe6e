"""Shards of a journal: how a data set is cut into them, the file of each, and the locks that say who works on which.

Locks are POSIX record locks (fcntl) on one file, one byte each. The system gives them back when a process dies, however it dies;
they work over NFS; and unlike those of flock (and so of filelock) they do not live on in forked children of a dead process.
A host that vanishes gives up its locks when the NFS server says so: NFS 4 after its lease, NFS 3 when the host is back.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fcos_lib.errors import JournalError
from fcos_lib.stream.array_file import OVERHEAD, Shape, pack_arrays, unpack_arrays
from fcos_lib.stream.dataset import Picture, not_exactly_once
from fcos_lib.stream.sessions import Detections

SHARD_PICTURES = 64
"""At most, unless a batch is larger. What a kill costs: seconds on a device."""
LEAST_SHARDS = 8
"""If there are so many batches: of a small set, too, a killed run leaves something, and several processes have something to do."""
PICTURE_ROWS = 2000
"""Detections that one picture may have in a file; models give 100."""
LOCK = "journal.lock"
_GUARD, USERS, SHARDS = 0, 1, 2
"""Bytes of the lock file: who opens or finishes; who uses the journal, shared; the first shard, which the others follow."""
GUARD_LOOKS, LOOK_S = 15_000, 0.02
"""How often, and after how many seconds each time, it is looked whether the guard is free. Five minutes: opening a journal and
waiting for its last user take seconds. Looks are counted instead of time, since a process that was stopped has not waited."""

_ARRAYS: dict[str, tuple[str, Shape]] = {
    "journal": ("|u1", ("letters",)),
    "ids": ("<i8", ("pictures",)),
    "counts": ("<i8", ("pictures",)),
    "boxes": ("<f4", ("rows", 4)),
    "scores": ("<f4", ("rows",)),
    "labels": ("<i8", ("rows",)),
}


def cut(pictures: Sequence[Picture], batch: int) -> list[tuple[Picture, ...]]:
    """The pictures of each shard: 64 at most, fewer if there would be less than 8 shards; whole batches, at least one each."""
    batches = -(-len(pictures) // batch)
    size = batch * max(1, min(SHARD_PICTURES // batch, -(-batches // LEAST_SHARDS)))
    return [tuple(pictures[first : first + size]) for first in range(0, len(pictures), size)]


def shard_path(folder: Path, shard: int) -> Path:
    """The file of one shard."""
    return folder / f"shard-{shard:05d}.npz"


def largest_shard(pictures: int) -> int:
    """The most bytes that a file with so many pictures has."""
    return OVERHEAD + pictures * (16 + 28 * PICTURE_ROWS)


def pack_shard(token: str, results: Mapping[int, Detections]) -> bytes:
    """The bytes of a shard's file: detections by picture id, in network pixels; `ValueError` if they could not be read again."""
    detections = list(results.values())
    arrays = {
        "journal": np.frombuffer(token.encode(), "u1"),
        "ids": np.array(list(results), "<i8"),
        "counts": np.array([len(seen) for seen in detections], "<i8"),
        "boxes": np.concatenate([seen.boxes for seen in detections]),
        "scores": np.concatenate([seen.scores for seen in detections]),
        "labels": np.concatenate([seen.labels for seen in detections]),
    }
    data = pack_arrays(arrays)
    unpack_shard(data, token, list(results))
    return data


def unpack_shard(data: bytes, token: str, ids: Sequence[int]) -> dict[int, Detections]:
    """Detections by picture id; `ValueError` if the file is damaged, `JournalError` if it is whole and not this shard."""
    most = {"letters": 200, "pictures": len(data), "rows": PICTURE_ROWS * len(ids)}
    arrays = unpack_arrays(data, _ARRAYS, most)
    boxes, scores, labels, counts = (arrays[name] for name in ("boxes", "scores", "labels", "counts"))
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise ValueError("boxes or scores are not all finite")
    if ((counts < 0) | (counts > len(scores))).any() or counts.sum() != len(scores):
        raise ValueError("the pictures' detections do not add up to all rows")
    if arrays["journal"].tobytes() != token.encode():
        wrong = "it has results of another journal, so of another fingerprint or another start"
    elif arrays["ids"].tolist() != list(ids):
        wrong = not_exactly_once(arrays["ids"].tolist(), ids) or "pictures are not in order"
    else:
        parts = (np.split(array, counts.cumsum()[:-1]) for array in (boxes, scores, labels))
        return {picture_id: Detections(*rows) for picture_id, *rows in zip(ids, *parts, strict=True)}
    raise JournalError(wrong, "restore the file, or pass --fresh")


_open_here: set[tuple[int, int]] = set()
"""Lock files that this process has open: record locks do not keep a process from itself, and any close gives them up."""


class Locks:
    """The locks of one folder, held by this process."""

    def __init__(self, folder: Path) -> None:
        """Open the lock file; `JournalError` if this process has it open already."""
        self._path = folder / LOCK
        if self._path.exists() and _identity(os.stat(self._path)) in _open_here:
            raise JournalError(f"{folder} is open in this process already", "close that journal before opening another")
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        self._identity = _identity(os.fstat(self._file))
        _open_here.add(self._identity)

    def take(self, byte: int, *, shared: bool = False) -> bool:
        """Take one lock, or change it from exclusive to shared; False if another process has it."""
        try:
            fcntl.lockf(self._file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB, 1, byte)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise JournalError(
                f"{self._path} cannot be locked ({error.strerror})",
                "put the journal on a file system with locks (NFS needs its lock service)",
            ) from error
        return True

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Alone among those who open, start over or finish; `JournalError` if another one does not come to an end."""
        for _ in range(GUARD_LOOKS):
            if self.take(_GUARD):
                break
            time.sleep(LOOK_S)
        else:
            raise JournalError(
                f"another process has been opening or finishing a journal in {self._path.parent} for "
                f"{GUARD_LOOKS * LOOK_S:g} s",
                f"look which process holds {self._path} (fuser -v) and whether it is stopped; end it and run again",
            )
        try:
            yield
        finally:
            self.give_back(_GUARD)

    def give_back(self, byte: int) -> None:
        """Let others take this lock."""
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, byte)

    def close(self) -> None:
        """Give everything back. Closing twice is harmless."""
        if self._identity in _open_here:
            _open_here.discard(self._identity)
            os.close(self._file)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """What the system says about a file becomes a `JournalError`."""
    try:
        yield
    except OSError as error:
        raise JournalError(
            f"{doing} failed ({error.strerror or error})",
            "check free space and permissions and run again: what is in the journal is kept",
        ) from error
