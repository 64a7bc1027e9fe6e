"""Datasets: the pictures that a COCO folder holds, and its annotations, both checked before they are believed.

The folder has `annotations/instances_val2017.json` and `val2017/`, as COCO 2017 unpacks. Everything the evaluation relies
on is checked when the folder is opened; a picture's bytes are checked when it is read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.errors import DatasetError, FeedError
from fcos_lib.files import read_plain, too_many_values, whole_number
from fcos_lib.stream.picture_file import decode, read_file, size_of

ANNOTATIONS = Path("annotations") / "instances_val2017.json"
PICTURES = "val2017"
MOST_BYTES = 256 << 20
MOST_VALUES = 32_000_000
"""Numbers, texts and the like; they take up to 4 GiB of memory. COCO's val2017 has 4 million in 20 MB."""
_LARGEST_ID = 2**53
_UNCHANGED = "use the unchanged COCO 'instances' file, with pictures in it"


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture as the annotation file names it; sizes in pixels."""

    id: int
    path: Path
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """A COCO folder: its pictures by ascending id and its categories."""

    root: Path
    annotations: Path
    annotations_sha256: str
    pictures: tuple[Picture, ...]
    category_ids: dict[str, int]
    """Category id by name."""
    objects: int = 0
    """How many are annotated, crowds included."""

    def label_ids(self, contract: ModelContract) -> tuple[int, ...]:
        """Category id of each label of the contract, in label order."""
        return tuple(self.category_ids[name] for name in contract.classes)


def open_dataset(root: Path) -> Dataset:
    """Read and check a COCO folder; `DatasetError` says what is missing or wrong and nothing is written."""
    if not root.is_dir():
        raise DatasetError(
            f"dataset folder {root} {'is no folder' if root.exists() else 'does not exist'}",
            "pass --dataset FOLDER with annotations/ and val2017/",
        )
    annotations = root / ANNOTATIONS
    if not annotations.is_file():
        here = ", ".join(sorted(entry.name for entry in root.iterdir())[:8]) or "nothing"
        raise DatasetError(
            f"{annotations} does not exist ({root} holds {here})", "unpack COCO's annotations_trainval2017.zip there"
        )
    document, digest = read_annotations(annotations)
    images = _records(document, "images", {"id": int, "file_name": str, "width": int, "height": int}, annotations)
    categories = _records(document, "categories", {"id": int, "name": str}, annotations)
    fields = {"id": int, "image_id": int, "category_id": int, "bbox": list}
    boxes = _records(document, "annotations", fields, annotations)
    if not images or not categories:
        raise DatasetError(f"{annotations} lists no images or no categories", _UNCHANGED)
    for what, records, key in (
        ("image ids", images, "id"), ("file names", images, "file_name"), ("category ids", categories, "id"),
        ("category names", categories, "name"), ("annotation ids", boxes, "id"),
    ):  # fmt: skip
        if len({record[key] for record in records}) != len(records):
            raise DatasetError(f"{annotations} has duplicate {what}", _UNCHANGED)
    _check_boxes(boxes, {record["id"] for record in images}, {record["id"] for record in categories}, annotations)
    folder = root / PICTURES
    _check_files(folder, {record["file_name"] for record in images}, annotations)
    pictures = [Picture(image["id"], folder / image["file_name"], image["width"], image["height"]) for image in images]
    return Dataset(
        root=root,
        annotations=annotations,
        annotations_sha256=digest,
        pictures=tuple(sorted(pictures, key=lambda picture: picture.id)),
        category_ids={record["name"]: record["id"] for record in categories},
        objects=len(boxes),
    )


def _check_boxes(
    boxes: Iterable[dict[str, Any]], images: Collection[int], categories: Collection[int], path: Path
) -> None:
    """`DatasetError` for a box of an image or a category that is not listed, and for one that is not four numbers."""
    for record in boxes:
        which, numbers = f"{path}: annotation {record['id']}", record["bbox"]
        if record["image_id"] not in images or record["category_id"] not in categories:
            raise DatasetError(f"{which} refers to an image or category that the file does not list", _UNCHANGED)
        if len(numbers) != 4 or not all(type(n) in (int, float) and abs(n) < 1e9 for n in numbers):
            raise DatasetError(f"{which} has the box {str(numbers)[:80]}, not four finite numbers", _UNCHANGED)


def _check_files(folder: Path, names: set[str], annotations: Path) -> None:
    """`DatasetError` for pictures that are missing, and for links that lead out of the data set."""
    entries = {entry.name: entry for entry in os.scandir(folder)} if folder.is_dir() else {}
    inside = (folder.parent.resolve(), folder.resolve())
    if outside := [name for name in names & entries.keys() if not _within(entries[name], *inside)]:
        raise DatasetError(
            f"in {folder}, pictures are links that lead out of it: {some(outside)}",
            "put the pictures themselves there, or links to files below the dataset's folder",
        )
    if absent := names - entries.keys():
        raise DatasetError(
            f"{annotations} names pictures that are not in {folder}: {some(absent)}",
            "unpack COCO's val2017.zip there; the annotation file and the folder must belong together",
        )


def read_picture(picture: Picture) -> NDArray[np.uint8]:
    """The picture as BGR uint8[h, w, 3], EXIF orientation applied; `DatasetError` if it is broken or not as annotated."""
    try:
        data = read_file(picture.path)
        width, height = size_of(data)
        if sorted((width, height)) == sorted((picture.width, picture.height)):  # EXIF may turn it
            decoded = decode(data)
            height, width = decoded.shape[:2]
            if (width, height) == (picture.width, picture.height):
                return decoded
    except OSError as error:
        raise DatasetError(f"picture {picture.path} cannot be read ({error.strerror})", "restore the file") from error
    except ValueError as error:
        raise DatasetError(f"picture {picture.path} {error}", "restore the file") from error
    raise DatasetError(
        f"picture {picture.path} is {width} x {height} pixels, annotated as {picture.width} x {picture.height}",
        "the annotation file belongs to other pictures",
    )


def read_annotations(path: Path) -> tuple[dict[str, Any], str]:
    """An annotation file's JSON object and the SHA-256 of the very bytes that it was made of; `DatasetError` if it is none."""
    advice = "fetch or unpack the annotation file again"
    try:
        data = read_plain(path, MOST_BYTES)
        if too_many_values(data, MOST_VALUES):
            raise DatasetError(f"{path} holds more than {MOST_VALUES:,} values", _UNCHANGED)
        document = json.loads(data.decode("utf-8"), parse_int=whole_number)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror})", advice) from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not JSON ({str(error)[:120]})", advice) from error
    if not isinstance(document, dict):
        raise DatasetError(f"{path} holds a {type(document).__name__}, not an object", _UNCHANGED)
    return document, hashlib.sha256(data).hexdigest()


def _within(entry: os.DirEntry[str], *folders: Path) -> bool:
    """True for a file of its own, or a link that stays in one of the folders."""
    if not entry.is_symlink():
        return True
    target = Path(os.path.realpath(entry.path))
    return any(folder in target.parents for folder in folders)


def _records(document: dict[str, Any], key: str, fields: dict[str, type], path: Path) -> list[dict[str, Any]]:
    """The list under `key`, after checking that each entry has these fields with these types."""
    records = document.get(key)
    if not isinstance(records, list):
        raise DatasetError(f"{path} has no list '{key}'", "use a COCO 'instances' file, not captions or keypoints")
    for index, record in enumerate(records):
        which = f"{path}: {key}[{index}]"
        for field, kind in fields.items():
            value: Any = record.get(field) if isinstance(record, dict) else None
            if not isinstance(value, kind) or isinstance(value, bool):
                raise DatasetError(f"{which} has no {kind.__name__} '{field}'", _UNCHANGED)
            if isinstance(value, int) and not 0 <= value <= _LARGEST_ID:
                raise DatasetError(f"{which} has the {field} {value}", _UNCHANGED)
            if isinstance(value, str) and not (value.isprintable() and len(value) <= 255):  # nor half a surrogate pair
                raise DatasetError(
                    f"{which} has a {field} that cannot be printed in a line: {value[:80]!a}",
                    "names are printable text of at most 255 characters",
                )
        if "file_name" in fields and Path(record["file_name"]).name != record["file_name"]:
            raise DatasetError(
                f"{which} has the file name {record['file_name'][:80]!r}, which leaves the folder",
                "file names must be plain names inside val2017/",
            )
        if "width" in fields and not (0 < record["width"] < 65536 and 0 < record["height"] < 65536):
            raise DatasetError(f"{which} has a size outside 1..65535", _UNCHANGED)
    return records


def spread(pictures: Sequence[Picture], count: int) -> tuple[Picture, ...]:
    """`count` of the pictures, or all if they are fewer, spread evenly and in order."""
    count = min(count, len(pictures))
    return tuple(pictures[index * len(pictures) // count] for index in range(count))


def picture_set(dataset: Dataset) -> dict[str, Any]:
    """What tells these pictures from others: how many, the first and last id, and a digest of all; JSON-ready.

    The digest is SHA-256 over the ids in ascending order, in decimal, each with a line feed behind it.
    """
    ids = [picture.id for picture in dataset.pictures]
    digest = hashlib.sha256("".join(f"{picture_id}\n" for picture_id in ids).encode()).hexdigest()
    return {"count": len(ids), "first": ids[0], "last": ids[-1], "ids_sha256": digest}


def refuse_lost(expected: Iterable[int], came: Collection[int]) -> None:
    """`FeedError` if a feed has ended and not every expected picture, by its id, came."""
    lost = [picture_id for picture_id in expected if picture_id not in came]
    if lost:
        raise FeedError(
            f"the feed ended without {len(lost)} of the pictures that it was given: {some(lost)}",
            "run again; if they are lost again, the feed is at fault, not the pictures: report it with these ids",
        )


def not_exactly_once(came: Iterable[int], expected: Sequence[int]) -> str:
    """How the picture ids that came differ from each expected one once; empty if they do not, whatever the order."""
    counted, wanted = Counter(came), set(expected)
    problems = {
        "missing": wanted - counted.keys(),
        "more than once": {picture_id for picture_id, times in counted.items() if times > 1},
        "foreign": counted.keys() - wanted,
    }
    listed = [f"{what}: {some(ids)}" for what, ids in problems.items() if ids]
    return f"pictures {'; '.join(listed)}" if listed else ""


def some(names: Iterable[Any]) -> str:
    """The first five of these ids or names, and how many there are if that is not all of them."""
    ordered = sorted(names)
    listed = ", ".join(map(str, ordered[:5]))
    return f"{listed}, ... ({len(ordered)} in all)" if len(ordered) > 5 else listed
