"""Digests of what an OM found: a leaf for each picture and the root over all of them, as a run keeps them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from fcos_lib.sharing.merkle import leaf_hash, path_of, root_of
from fcos_lib.stream.sessions import Detections

_HEAD = "fcos_lib detections 1"
"""Begins what is hashed for a picture: another meaning of the bytes gets another number."""


def detections_leaf(picture_id: int, file_sha256: str, detections: Detections) -> str:
    """The leaf of one picture, 64 hex digits, over every bit of what was found in it.

    Hashed is a line with the picture's id, the SHA-256 of its file and the number of detections, then boxes in network pixels
    (little-endian float32[K, 4]), scores (float32[K]) and labels (int64[K]).
    """
    boxes = detections.boxes if detections.network is None else detections.network
    head = f"{_HEAD}\n{picture_id} {file_sha256} {len(detections)}\n".encode()
    arrays = ((boxes, "<f4"), (detections.scores, "<f4"), (detections.labels, "<i8"))
    return leaf_hash(head + b"".join(np.ascontiguousarray(array, dtype).tobytes() for array, dtype in arrays)).hex()


def picture_list_digest(file_digests: Mapping[int, str]) -> str:
    """SHA-256 over a line for each picture, by ascending id: the id and the SHA-256 of its file."""
    lines = "".join(f"{picture_id} {file_digests[picture_id]}\n" for picture_id in sorted(file_digests))
    return hashlib.sha256(lines.encode()).hexdigest()


def detection_digests(subject: str, found: Mapping[int, Detections], file_digests: Mapping[int, str]) -> dict[str, Any]:
    """What results.json keeps of an evaluation (`evidence.schema.DetectionDigests`), JSON-ready; leaves by ascending id."""
    leaves = {str(number): detections_leaf(number, file_digests[number], found[number]) for number in sorted(found)}
    return {
        "subject": subject,
        "pictures": picture_list_digest({number: file_digests[number] for number in found}),
        "root": root_of_leaves(leaves),
        "leaves": leaves,
    }


def _in_order(leaves: Mapping[str, str]) -> list[str]:
    """The ids as the tree has them, whatever order the JSON came in."""
    return sorted(leaves, key=int)


def root_of_leaves(leaves: Mapping[str, str]) -> str:
    """The root over leaves by picture id, 64 hex digits."""
    return root_of([bytes.fromhex(leaves[number]) for number in _in_order(leaves)]).hex()


def inclusion(leaves: Mapping[str, str], picture: str) -> dict[str, Any]:
    """Where a picture's leaf is in the tree and the path from it to the root, JSON-ready; `KeyError` for none of the pictures."""
    order = _in_order(leaves)
    if picture not in leaves:
        raise KeyError(picture)
    index = order.index(picture)
    path = path_of(index, [bytes.fromhex(leaves[number]) for number in order])
    return {"leaf": leaves[picture], "index": index, "count": len(order), "path": [node.hex() for node in path]}
