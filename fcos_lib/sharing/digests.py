"""Digests that a run keeps: of the very code that measured and judged, and of what an OM found.

What an OM found has one for each picture, and the root of the tree over all of them. The tree is that of RFC 6962 (and RFC 9162,
section 2.1): one picture can be shown to belong to a root without the others. Leaves and inner nodes are hashed with different
first bytes, so that no node passes for a leaf.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fcos_lib.files import sha256_of
from fcos_lib.sharing.statement import PictureProof
from fcos_lib.store.sources import PACKAGE, ROOT
from fcos_lib.stream.sessions import Detections

TREE = (PACKAGE, "fixtures", "tests/acceptance", "conftest.py", "pytest.ini")
"""What a run of the acceptance suite executes or reads of the checkout; datasets and artifacts have digests of their own."""
LOCK = "requirements.lock"
_TEXTS = (".py", ".toml", ".ini", ".json", ".css", ".js", ".j2")
_HEAD = "fcos_lib picture 1"
"""Begins the entry of a picture: another meaning of what follows gets another number."""


def tree_digest(root: Path = ROOT) -> str:
    """SHA-256 over every source file of `TREE` with its name, 64 hex digits; the same wherever the same checkout lies."""
    digest = hashlib.sha256()
    for path in sorted(_sources(root), key=lambda path: path.relative_to(root).as_posix()):
        digest.update(f"{path.relative_to(root).as_posix()}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()


def lock_digest(root: Path = ROOT) -> str | None:
    """SHA-256 of the lock file, which pins what is installed; None where there is none."""
    try:
        return sha256_of(root / LOCK)
    except OSError:
        return None


def _sources(root: Path) -> list[Path]:
    paths: list[Path] = []
    for name in TREE:
        place = root / name
        paths += [place] if place.is_file() else place.rglob("*")
    return [path for path in paths if path.suffix in _TEXTS and path.is_file()]


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


def detection_digests(subject: str, detections: Mapping[int, Detections], files: Mapping[str, str]) -> dict[str, Any]:
    """What results.json keeps of an evaluation (`evidence.schema.DetectionDigests`), JSON-ready; `files` by id, of these and others."""
    digests = {str(number): found_digest(detections[number]) for number in sorted(detections)}
    return {"subject": subject, "root": root_of_pictures(digests, files), "found": digests}


def _leaves(digests: Mapping[str, str], files: Mapping[str, str]) -> list[bytes]:
    """By ascending id, whatever order the JSON came in."""
    return [picture_leaf(int(number), files[number], digests[number]) for number in sorted(digests, key=int)]


def root_of_pictures(digests: Mapping[str, str], files: Mapping[str, str]) -> str:
    """The root over the pictures in which something was looked for, 64 hex digits; `KeyError` for one without a file."""
    return root_of(_leaves(digests, files)).hex()


def root_by_proof(picture_id: int, proof: PictureProof, digest: str, count: int) -> str:
    """The root that a proof leads to from a picture in which this was found, among so many; `ValueError` if it leads to none."""
    path = [bytes.fromhex(node) for node in proof.path]
    return root_by_path(picture_leaf(picture_id, proof.file, digest), proof.index, count, path).hex()


def inclusion(digests: Mapping[str, str], files: Mapping[str, str], picture: str) -> dict[str, Any]:
    """What leads from a picture to the root, JSON-ready; `KeyError` for none of the pictures."""
    leaf = {"file": files[picture], "found": digests[picture]}
    index = sorted(digests, key=int).index(picture)
    path = path_of(index, _leaves(digests, files))
    return {**leaf, "index": index, "count": len(digests), "path": [node.hex() for node in path]}


_LEAF, _NODE = b"\x00", b"\x01"


def leaf_hash(data: bytes) -> bytes:
    """The 32 bytes that stand for an entry in the tree."""
    return hashlib.sha256(_LEAF + data).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


def _split(count: int) -> int:
    """The largest power of two below `count`, which is at least 2."""
    return 1 << (count - 1).bit_length() - 1


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over the hashes of leaves, in their order; SHA-256 of nothing for none."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    middle = _split(len(leaves))
    return _node_hash(root_of(leaves[:middle]), root_of(leaves[middle:]))


def path_of(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """The hashes that lead from one leaf to the root, from the leaf upwards."""
    if not 0 <= index < len(leaves):
        raise ValueError(f"there is no leaf {index} among {len(leaves)}")
    if len(leaves) == 1:
        return []
    middle = _split(len(leaves))
    if index < middle:
        return [*path_of(index, leaves[:middle]), root_of(leaves[middle:])]
    return [*path_of(index - middle, leaves[middle:]), root_of(leaves[:middle])]


def root_by_path(leaf: bytes, index: int, count: int, path: Sequence[bytes]) -> bytes:
    """The root of a tree of `count` leaves that this path gives for a leaf; `ValueError` if no such tree has such a path."""
    if not 0 <= index < count:
        raise ValueError(f"there is no leaf {index} among {count}")
    node, position, last = leaf, index, count - 1
    for sibling in path:
        if last == 0:
            raise ValueError(f"the path has {len(path)} hashes, which is too many for {count} leaves")
        if position & 1 or position == last:
            node = _node_hash(sibling, node)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            node = _node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise ValueError(f"the path has {len(path)} hashes, which is too few for {count} leaves")
    return node
