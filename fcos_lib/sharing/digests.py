"""Digests of what an OM found: one for each picture, and the root of the tree over all of them, as a run keeps them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from fcos_lib.sharing.merkle import leaf_hash, path_of, root_of
from fcos_lib.stream.sessions import Detections

_HEAD = "fcos_lib picture 1"
"""Begins the entry of a picture: another meaning of what follows gets another number."""


def found_digest(detections: Detections) -> str:
    """SHA-256 over every bit of what was found in a picture, 64 hex digits.

    Hashed are boxes in network pixels (little-endian float32[K, 4]), scores (float32[K]) and labels (int64[K]), behind a line
    with K.
    """
    boxes = detections.boxes if detections.network is None else detections.network
    arrays = ((boxes, "<f4"), (detections.scores, "<f4"), (detections.labels, "<i8"))
    data = b"".join(np.ascontiguousarray(array, dtype).tobytes() for array, dtype in arrays)
    return hashlib.sha256(f"{len(detections)}\n".encode() + data).hexdigest()


def picture_leaf(picture_id: int, file_sha256: str, found_sha256: str) -> bytes:
    """The leaf of a picture: of its id, its file and what was found in it, so that none passes for another."""
    return leaf_hash(f"{_HEAD}\n{picture_id} {file_sha256} {found_sha256}\n".encode())


def picture_list_digest(files: Mapping[str, str]) -> str:
    """SHA-256 over a line for each picture, by ascending id: the id and the SHA-256 of its file."""
    lines = "".join(f"{number} {files[number]}\n" for number in sorted(files, key=int))
    return hashlib.sha256(lines.encode()).hexdigest()


def detection_digests(subject: str, found: Mapping[int, Detections], files: Mapping[str, str]) -> dict[str, Any]:
    """What results.json keeps of an evaluation (`evidence.schema.DetectionDigests`), JSON-ready; `files` by id, of these and others."""
    digests = {str(number): found_digest(found[number]) for number in sorted(found)}
    return {"subject": subject, "root": root_of_pictures(digests, files), "found": digests}


def _leaves(found: Mapping[str, str], files: Mapping[str, str]) -> list[bytes]:
    """By ascending id, whatever order the JSON came in."""
    return [picture_leaf(int(number), files[number], found[number]) for number in sorted(found, key=int)]


def root_of_pictures(found: Mapping[str, str], files: Mapping[str, str]) -> str:
    """The root over the pictures in which something was looked for, 64 hex digits; `KeyError` for one without a file."""
    return root_of(_leaves(found, files)).hex()


def inclusion(found: Mapping[str, str], files: Mapping[str, str], picture: str) -> dict[str, Any]:
    """What leads from a picture to the root, JSON-ready; `KeyError` for none of the pictures."""
    leaf = {"file": files[picture], "found": found[picture]}
    index = sorted(found, key=int).index(picture)
    path = path_of(index, _leaves(found, files))
    return {**leaf, "index": index, "count": len(found), "path": [node.hex() for node in path]}
