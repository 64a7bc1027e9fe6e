"""Shards of a journal: how a data set is cut into them, the file of each, and the digest by which two answers are compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fcos_lib.errors import JournalError, refusal_as
from fcos_lib.stream.array_file import OVERHEAD, Shape, pack_arrays, unpack_arrays
from fcos_lib.stream.dataset import Picture, not_exactly_once
from fcos_lib.stream.sessions import Detections

SHARD_PICTURES = 64
"""At most, unless a batch is larger. What a kill costs: seconds on a device."""
LEAST_SHARDS = 8
"""If there are so many batches: of a small set, too, a killed run leaves something, and several processes have something to do."""
PICTURE_ROWS = 2000
"""Detections that one picture may have in a file; models give 100."""
_MAKER_BYTES = 2000
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
        content = json.loads(data)
        maker = Maker(content["host"], content["logical"], content["physical"])
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError("it does not say which device it is from") from error
    if not (isinstance(maker.host, str) and type(maker.logical) is int and isinstance(maker.physical, str)):
        raise ValueError("it does not say which device it is from")
    return maker


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
