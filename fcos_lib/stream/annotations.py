"""Annotation files: a COCO 'instances' file, checked and brought into one form, with what is unusual about it counted.

What pycocotools takes is taken, with the numbers that it gives; what has no meaning there is refused by file and entry. Fields
that nothing here reads are not looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np

from fcos_lib.errors import DatasetError
from fcos_lib.files import read_plain, some, too_many_values, whole_number, without_collector

MOST_BYTES = 256 << 20
MOST_VALUES = 32_000_000
"""Numbers, texts and the like; they take up to 4 GiB of memory. COCO's val2017 has 4 million in 20 MB."""
LARGEST_ID = 2**63 - 1
"""Of a picture, a category or an object: what numpy's int64 holds."""
UNCHANGED = "use the unchanged COCO 'instances' file, with pictures in it"
_NUMBERS = {int, float}
_EXACT = 2.0**53
"""From here on a number such as 9007199254740993.0 may have been another one before JSON made it a float."""

_Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Annotations:
    """What an annotation file says, all ids and sizes as int; lists in the order of the file."""

    images: list[_Record]
    """`id`, `file_name`, `width`, `height`"""
    categories: list[_Record]
    """`id`, `name`"""
    objects: list[_Record]
    """`id`, `image_id`, `category_id`, `bbox`, and as the file has them `area` and `iscrowd`"""
    sha256: str
    """Of the very bytes that were read."""


@without_collector()
def read_annotations(path: Path, checked: str = "") -> Annotations:
    """An annotation file, checked; `DatasetError` names the entry that makes no sense.

    `checked` is the SHA-256 of a file that was checked before: what is read has the same form, and is not looked through again.
    """
    document, digest = _read(path)
    images = _records(document, "images", ("id", "width", "height"), "file_name", path)
    categories = _records(document, "categories", ("id",), "name", path)
    objects = _records(document, "annotations", ("id", "image_id", "category_id"), "", path)
    for index, image in enumerate(images):
        if "/" in image["file_name"]:
            image["file_name"] = _within_folder(image["file_name"], f"{path}: images[{index}]")
    annotations = Annotations(images, categories, objects, digest)
    if digest != checked:
        _check(annotations, path)
    return annotations


def _check(annotations: Annotations, path: Path) -> None:
    """`DatasetError` for what is there twice or not at all, and for numbers that are no sizes or no boxes."""
    images, categories, objects = annotations.images, annotations.categories, annotations.objects
    if not images or not categories:
        raise DatasetError(f"{path} lists no images or no categories", UNCHANGED)
    for index, image in enumerate(images):
        if not (0 < image["width"] < 65536 and 0 < image["height"] < 65536):
            raise DatasetError(f"{path}: images[{index}] has a size outside 1..65535", UNCHANGED)
    for what, records, key in (
        ("image ids", images, "id"), ("file names", images, "file_name"), ("category ids", categories, "id"),
        ("category names", categories, "name"),
    ):  # fmt: skip
        values = [record[key] for record in records]
        if len(set(values)) != len(values):
            raise DatasetError(f"{path} has duplicate {what}: {some(_repeated(values))}", UNCHANGED)
    _check_boxes(objects, {record["id"] for record in images}, {record["id"] for record in categories}, path)


def _read(path: Path) -> tuple[_Record, str]:
    """The file's JSON object and the SHA-256 of the bytes that it was made of."""
    advice = "fetch or unpack the annotation file again"
    try:
        data = read_plain(path, MOST_BYTES)
        if too_many_values(data, MOST_VALUES):
            raise DatasetError(f"{path} holds more than {MOST_VALUES:,} values", UNCHANGED)
        document = _parsed(data)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror})", advice) from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not JSON ({str(error)[:120]})", advice) from error
    if not isinstance(document, dict):
        raise DatasetError(f"{path} holds a {type(document).__name__}, not an object", UNCHANGED)
    return document, hashlib.sha256(data).hexdigest()


def _parsed(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.MsgspecError:  # json takes three times as long, and takes NaN, which is refused where it stands
        return json.loads(data.decode("utf-8"), parse_int=whole_number)


def _records(document: _Record, key: str, numbers: Sequence[str], text: str, path: Path) -> list[_Record]:
    """The list under `key`, with these fields made whole numbers and this one, if any, checked to be a name."""
    records = document.get(key)
    if not isinstance(records, list):
        raise DatasetError(f"{path} has no list '{key}'", "use a COCO 'instances' file, not captions or keypoints")
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            raise DatasetError(f"{path}: {key}[{index}] is no object", UNCHANGED)
    for field in numbers:
        values = [record.get(field) for record in records]
        if {*map(type, values)} <= {int} and min(values, default=0) >= 0 and max(values, default=0) <= LARGEST_ID:
            continue  # all of COCO's own files, without a look at each
        for index, (record, value) in enumerate(zip(records, values, strict=True)):
            record[field] = _whole(value, field, f"{path}: {key}[{index}]")
    for index, record in enumerate(records if text else ()):
        _check_name(record.get(text), text, f"{path}: {key}[{index}]")
    return records


def _whole(value: Any, field: str, which: str) -> int:
    """The whole number that a value is; `DatasetError` for a text, for half a picture and for what int64 cannot hold."""
    if type(value) is float and value.is_integer() and abs(value) < _EXACT:  # pandas and MATLAB write 640.0
        value = int(value)
    if type(value) is not int:
        fault = (
            f"no int '{field}'" if value is None else f"the {field} {json.dumps(value)[:40]}, which is no whole number"
        )
        raise DatasetError(f"{which} has {fault}", f"ids and sizes are whole numbers without quotes; {UNCHANGED}")
    if not 0 <= value <= LARGEST_ID:
        raise DatasetError(f"{which} has the {field} {value}", f"ids and sizes are 0 to 2^63-1; {UNCHANGED}")
    return value


def _check_name(value: Any, field: str, which: str) -> None:
    if not isinstance(value, str):
        raise DatasetError(f"{which} has no str '{field}'", UNCHANGED)
    if not (value.isprintable() and len(value) <= 255):  # nor half a surrogate pair
        raise DatasetError(
            f"{which} has a {field} that cannot be printed in a line: {value[:80]!a}",
            "names are printable text of at most 255 characters",
        )


def _within_folder(name: str, which: str) -> str:
    """A file name with folders in it, in its shortest form; `DatasetError` if it may lead out of the pictures' folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.name or name.endswith("/"):
        raise DatasetError(
            f"{which} has the file name {name[:80]!r}, which leaves the folder",
            "file names are paths below val2017/, such as a.jpg or street/a.jpg",
        )
    return str(path)


def _check_boxes(objects: Sequence[_Record], images: set[int], categories: set[int], path: Path) -> None:
    """`DatasetError` for a box of an image or a category that is not listed, and for one that is not four numbers."""
    for index, record in enumerate(objects):
        numbers = record.get("bbox")
        if record["image_id"] not in images or record["category_id"] not in categories:
            raise DatasetError(
                f"{path}: annotation {record['id']} refers to an image or category that the file does not list",
                UNCHANGED,
            )
        if not isinstance(numbers, list):
            raise DatasetError(f"{path}: annotations[{index}] has no list 'bbox'", UNCHANGED)
        if len(numbers) != 4 or not {*map(type, numbers)} <= _NUMBERS or not _finite(*numbers):
            raise DatasetError(
                f"{path}: annotation {record['id']} has the box {str(numbers)[:80]}, not four finite numbers", UNCHANGED
            )


def _finite(x: float, y: float, width: float, height: float) -> bool:
    """True for lengths that may be a box's; NaN is within no bounds."""
    return -1e9 < x < 1e9 and -1e9 < y < 1e9 and -1e9 < width < 1e9 and -1e9 < height < 1e9


def remarks(annotations: Annotations) -> Iterator[str]:
    """What somebody should know about the file before believing a number: how often, the first ids, and what is made of it."""
    objects, images = annotations.objects, annotations.images
    if without := [record["id"] for record in objects if "area" not in record]:
        yield f"{len(without)} boxes without an area, which is taken for width x height (annotations {some(without)})"
    if without := [record["id"] for record in objects if "iscrowd" not in record]:
        yield f"{len(without)} boxes without iscrowd, which are taken for single objects (annotations {some(without)})"
    yield from _unusual_boxes(annotations)
    numbers = [record["id"] for record in objects]
    if again := _repeated(numbers):
        yield (
            f"{len(again)} annotation ids of more than one box, for all of which pycocotools, and so this suite, takes the last: "
            f"{len(numbers) - len(set(numbers))} boxes are not seen (ids {some(again)})"
        )
    if 0 in numbers:
        yield "a box with the annotation id 0, which pycocotools, and so this suite, counts as never found"
    busy = {record["image_id"] for record in objects}
    if objects and (empty := [image["id"] for image in images if image["id"] not in busy]):
        yield f"{len(empty)} pictures without an object (ids {some(empty)})"
    if not objects:
        yield f"no object in any of {len(images)} pictures, so there is no mAP: what compares NPU and reference judges"


def _repeated(values: Sequence[Any]) -> list[Any]:
    """The values that are there more than once."""
    return [value for value, count in Counter(values).items() if count > 1]


def _unusual_boxes(annotations: Annotations) -> Iterator[str]:
    """Boxes that reach out of their picture by more than a pixel, which is what rounding does, and boxes of no size."""
    if not annotations.objects:
        return
    sizes = {image["id"]: (image["width"], image["height"]) for image in annotations.images}
    numbers = [record["id"] for record in annotations.objects]
    boxes = np.array([record["bbox"] for record in annotations.objects], np.float64)
    ends = np.array([sizes[record["image_id"]] for record in annotations.objects], np.float64)
    outside = (boxes[:, :2] < -1).any(axis=1) | (boxes[:, :2] + boxes[:, 2:] > ends + 1).any(axis=1)
    flat = (boxes[:, 2:] <= 0).any(axis=1)
    for rows, what in (
        (outside, "boxes that reach out of their picture, used as they are"),
        (flat, "boxes without width or height, which nothing can find"),
    ):
        if rows.any():
            yield f"{int(rows.sum())} {what} (annotations {some([numbers[row] for row in np.flatnonzero(rows)])})"
