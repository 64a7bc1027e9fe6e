"""An annotation file by itself: the pictures and objects that any detector is judged by, without the pictures' own files.

`stream.dataset` opens the folder that a run evaluates, pictures and all; this is for results that are there already.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from fcos_lib.errors import DatasetError
from fcos_lib.files import read_plain, too_many_values, whole_number
from fcos_lib.measure.coco.truth import Truth
from fcos_lib.records import Line, once, place_of
from fcos_lib.stream.dataset import MOST_BYTES, MOST_VALUES

MOST_CELLS = 30_000_000
"""Pictures times categories; they take 32 bytes each."""
_ADVICE = "pass a COCO 'instances' file: images, categories, and annotations with bbox, area and iscrowd"
_KEYS = (b'"image_id"', b'"category_id"', b'"bbox"', b'"area"', b'"iscrowd"')

_Id = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Length = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]


class _Image(msgspec.Struct, gc=False):
    id: _Id
    file_name: Line = ""


class _Category(msgspec.Struct, gc=False):
    id: _Id
    name: Line


class _Object(msgspec.Struct, gc=False):
    id: _Id
    image_id: _Id
    category_id: _Id
    bbox: tuple[_Length, _Length, _Length, _Length]
    area: Annotated[float, msgspec.Meta(ge=-1e18, le=1e18)]
    iscrowd: Literal[0, 1]


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Object]
    categories: list[_Category]


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """What an annotation file holds."""

    path: Path
    truth: Truth
    file_names: dict[int, str]
    """By picture id; empty for a picture without one."""


def read_annotation_file(path: Path) -> AnnotationFile:
    """The objects of an annotation file; `DatasetError` names the file, and the entry that is wrong."""
    try:
        data = read_plain(path, MOST_BYTES)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror or error})", _ADVICE) from error
    if too_many_values(data, MOST_VALUES):
        raise DatasetError(f"{path} holds more than {MOST_VALUES:,} values", _ADVICE)
    try:
        document = msgspec.json.decode(data, type=_File)
        if b"\\u" in data or any(data.count(key) != len(document.annotations) for key in _KEYS):
            json.loads(data, object_pairs_hook=once, parse_int=whole_number)
    except RecursionError as error:
        raise DatasetError(f"{path} is nested too deeply", _ADVICE) from error
    except ValueError as error:  # msgspec's own errors as well
        raise DatasetError(f"{path} is no annotation file ({place_of(error)})", _ADVICE) from error
    return AnnotationFile(
        path,
        _truth(document, path, hashlib.sha256(data).hexdigest()),
        {image.id: image.file_name for image in document.images},
    )


def _truth(document: _File, path: Path, digest: str) -> Truth:
    picture_ids = _ids(document.images, "images", path)
    category_ids = dict(sorted(((entry.name, entry.id) for entry in document.categories), key=lambda item: item[1]))
    numbers = _ids(document.categories, "categories", path)
    if len(category_ids) != len(numbers):
        raise DatasetError(f"{path} has two categories of one name", _ADVICE)
    if not len(picture_ids) or not len(numbers) or len(picture_ids) * len(numbers) > MOST_CELLS:
        raise DatasetError(
            f"{path} lists {len(picture_ids):,} images and {len(numbers):,} categories",
            f"their product is to be 1 to {MOST_CELLS:,}",
        )
    objects = document.annotations
    ids = _ids(objects, "annotations", path, ordered=False)
    return Truth(
        picture_ids=picture_ids,
        category_ids=category_ids,
        boxes=np.array([entry.bbox for entry in objects], np.float64).reshape(-1, 4),
        areas=np.array([entry.area for entry in objects], np.float64),
        crowd=np.array([entry.iscrowd == 1 for entry in objects], bool),
        numbered=ids != 0,
        pictures=_index(picture_ids, [entry.image_id for entry in objects], "image", path),
        categories=_index(numbers, [entry.category_id for entry in objects], "category", path),
        annotations_sha256=digest,
    )


def _ids(
    entries: Sequence[_Image | _Category | _Object], what: str, path: Path, ordered: bool = True
) -> NDArray[np.int64]:
    """Their ids, ascending or as in the file; `DatasetError` if two have the same."""
    ids = np.array([entry.id for entry in entries], np.int64)
    unique, first = np.unique(ids, return_index=True)
    if len(unique) != len(ids):
        again = np.setdiff1d(np.arange(len(ids)), first)[0]
        raise DatasetError(f"{path}: {what}[{again}] has the id {ids[again]}, which an earlier one has", _ADVICE)
    return unique if ordered else ids


def _index(listed: NDArray[np.int64], given: Sequence[int], what: str, path: Path) -> NDArray[np.int64]:
    ids = np.array(given, np.int64)
    index = np.minimum(np.searchsorted(listed, ids), len(listed) - 1)
    if (unknown := listed[index] != ids).any():
        at = int(unknown.argmax())
        raise DatasetError(
            f"{path}: annotations[{at}] is of the {what} {ids[at]}, which the file does not list", _ADVICE
        )
    return index
