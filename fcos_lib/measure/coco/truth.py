"""Ground truth: the objects that the annotation file says are in each picture.

`stream.dataset` opens the folder that a run evaluates, pictures and all; `read_annotation_file` is for results that are there already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.errors import DatasetError
from fcos_lib.files import without_collector
from fcos_lib.stream.annotations import Annotations, read_annotations
from fcos_lib.stream.dataset import Dataset

MOST_CELLS = 30_000_000
"""Pictures times categories; they take 32 bytes each."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The objects of P pictures in K categories, in the order of the annotation file; lengths in picture pixels."""

    picture_ids: NDArray[np.int64]
    """int64[P], ascending; pictures without an object included."""
    category_ids: dict[str, int]
    """Category id by class, by ascending id; the position in this order is a category's index. No object has a negative one."""
    boxes: NDArray[np.float64]
    """float64[G, 4]: x, y, width, height"""
    areas: NDArray[np.float64]
    """float64[G], as annotated: of the object's mask, not of its box."""
    crowd: NDArray[np.bool_]
    """bool[G], regions that hold too many objects to annotate each."""
    numbered: NDArray[np.bool_]
    """bool[G], False for an annotation with id 0, which pycocotools takes for "no match"."""
    pictures: NDArray[np.int64]
    """int64[G], index into `picture_ids`"""
    listed: NDArray[np.int64]
    """int64[G], the picture that the object counts with when only some of them are asked for: the same, but for ids that are given twice."""
    categories: NDArray[np.int64]
    """int64[G], index of the category"""
    annotations_sha256: str

    @property
    def names(self) -> tuple[str, ...]:
        """Category names by index."""
        return tuple(self.category_ids)

    @property
    def corners(self) -> NDArray[np.float64]:
        """float64[G, 4]: x1, y1, x2, y2"""
        return np.concatenate([self.boxes[:, :2], self.boxes[:, :2] + self.boxes[:, 2:]], axis=1)

    def only(self, picture_ids: Iterable[int]) -> Truth:
        """The same for some of the pictures; `DatasetError` if one is unknown, given twice, or none is given."""
        given = list(picture_ids)
        kept = np.unique(np.array(given, np.int64))
        unknown = np.setdiff1d(kept, self.picture_ids)
        if len(kept) != len(given) or len(unknown) or not given:
            raise DatasetError(
                f"{len(given)} pictures were chosen, {len(given) - len(kept)} of them twice and {len(unknown)} that the "
                f"annotation file does not list (first: {unknown[:3].tolist()})",
                "choose at least one picture of the dataset, each once",
            )
        wanted = np.isin(self.picture_ids, kept)
        rows = wanted[self.pictures] & wanted[self.listed]
        return replace(
            self,
            picture_ids=kept,
            boxes=self.boxes[rows],
            areas=self.areas[rows],
            crowd=self.crowd[rows],
            numbered=self.numbered[rows],
            pictures=np.searchsorted(kept, self.picture_ids[self.pictures[rows]]),
            listed=np.searchsorted(kept, self.picture_ids[self.listed[rows]]),
            categories=self.categories[rows],
        )

    def label_categories(self, contract: ModelContract) -> NDArray[np.int64]:
        """Category index of each label of the contract; `DatasetError` if a class has no category."""
        missing = [name for name in contract.classes if name not in self.category_ids]
        if missing:
            raise DatasetError(
                f"{len(missing)} classes of contract '{contract.name}' are no categories of the dataset (first: {missing[:3]})",
                "evaluate with the dataset that the model was trained for",
            )
        index = {name: position for position, name in enumerate(self.category_ids)}
        return np.array([index[name] for name in contract.classes], np.int64)


def read_truth(dataset: Dataset) -> Truth:
    """Every object of an opened dataset; `DatasetError` if the area of one is no number, or its crowd flag neither 0 nor 1."""
    annotations = read_annotations(dataset.annotations, checked=dataset.annotations_sha256)
    if annotations.sha256 != dataset.annotations_sha256:
        raise DatasetError(f"{dataset.annotations} changed since the dataset was opened", "leave the dataset alone")
    return truth_of(annotations, dataset.category_ids, dataset.annotations)


def truth_of(annotations: Annotations, category_ids: Mapping[str, int], path: Path) -> Truth:
    """Every object of an annotation file, its categories called as in `category_ids`; errors as in `read_truth`."""
    objects = annotations.objects
    _complete(objects, path)
    last = {record["id"]: record for record in objects}
    listed = objects
    if len(last) != len(objects):
        # As in pycocotools' loadAnns: picture by picture it looks each id up, and finds the last object of that id.
        listed = sorted(objects, key=lambda record: record["image_id"])
        objects = [last[record["id"]] for record in listed]
    picture_ids = np.sort(np.array([record["id"] for record in annotations.images], np.int64))
    category_ids = dict(sorted(category_ids.items(), key=lambda item: item[1]))
    numbers = np.array(list(category_ids.values()), np.int64)
    pictures, said = (
        np.searchsorted(picture_ids, np.array([record["image_id"] for record in records], np.int64))
        for records in (objects, listed)
    )
    return Truth(
        picture_ids=picture_ids,
        category_ids=category_ids,
        boxes=np.array([record["bbox"] for record in objects], np.float64).reshape(-1, 4),
        areas=np.array([record["area"] for record in objects], np.float64),
        crowd=np.array([record["iscrowd"] == 1 for record in objects], bool),
        numbered=np.array([record["id"] != 0 for record in objects], bool),
        pictures=pictures,
        listed=said,
        categories=np.searchsorted(numbers, np.array([record["category_id"] for record in objects], np.int64)),
        annotations_sha256=annotations.sha256,
    )


def _complete(objects: Sequence[dict[str, Any]], path: Path) -> None:
    """Give objects without area or crowd flag the usual ones; `DatasetError` for values that nothing can be sorted by."""
    for record in objects:
        if "area" not in record:
            record["area"] = record["bbox"][2] * record["bbox"][3]
        area, crowd = record["area"], record.setdefault("iscrowd", 0)
        if isinstance(area, bool) or not isinstance(area, int | float) or not abs(area) < 1e18 or crowd not in (0, 1):
            raise DatasetError(
                f"{path}: annotation {record['id']} has the area {area!r:.40} and iscrowd {crowd!r:.40}",
                "use the unchanged COCO annotation file: an area is a finite number, iscrowd is 0 or 1",
            )


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """What an annotation file holds."""

    path: Path
    truth: Truth
    file_names: dict[int, str]
    """By picture id."""


@without_collector()
def read_annotation_file(path: Path) -> AnnotationFile:
    """The objects of an annotation file; `DatasetError` names the file, and the entry that is wrong."""
    annotations = read_annotations(path)
    images, categories = annotations.images, annotations.categories
    if len(images) * len(categories) > MOST_CELLS:
        raise DatasetError(
            f"{path} lists {len(images):,} images and {len(categories):,} categories",
            f"their product is to be 1 to {MOST_CELLS:,}",
        )
    truth = truth_of(annotations, {record["name"]: record["id"] for record in categories}, path)
    return AnnotationFile(path, truth, {record["id"]: record["file_name"] for record in images})
