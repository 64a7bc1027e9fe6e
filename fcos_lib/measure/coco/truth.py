"""Ground truth: the objects that the annotation file says are in each picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.errors import DatasetError
from fcos_lib.stream.dataset import Dataset, read_annotations


@dataclass(frozen=True, slots=True)
class Truth:
    """The objects of P pictures in K categories, in the order of the annotation file; lengths in picture pixels."""

    picture_ids: NDArray[np.int64]
    """int64[P], ascending; pictures without an object included."""
    category_ids: dict[str, int]
    """Category id by name, by ascending id; the position in this order is a category's index."""
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
                "choose at least one picture of the data set, each once",
            )
        rows = np.isin(self.pictures, np.searchsorted(self.picture_ids, kept))
        return replace(
            self,
            picture_ids=kept,
            boxes=self.boxes[rows],
            areas=self.areas[rows],
            crowd=self.crowd[rows],
            numbered=self.numbered[rows],
            pictures=np.searchsorted(kept, self.picture_ids[self.pictures[rows]]),
            categories=self.categories[rows],
        )

    def label_categories(self, contract: ModelContract) -> NDArray[np.int64]:
        """Category index of each label of the contract; `DatasetError` if a class has no category."""
        missing = [name for name in contract.classes if name not in self.category_ids]
        if missing:
            raise DatasetError(
                f"{len(missing)} classes of contract '{contract.name}' are no categories of the data set (first: {missing[:3]})",
                "evaluate with the data set that the model was trained for",
            )
        index = {name: position for position, name in enumerate(self.category_ids)}
        return np.array([index[name] for name in contract.classes], np.int64)


def read_truth(dataset: Dataset) -> Truth:
    """Every object of an opened dataset; `DatasetError` if one has no area or no crowd flag."""
    document, digest = read_annotations(dataset.annotations)
    if digest != dataset.annotations_sha256:
        raise DatasetError(f"{dataset.annotations} changed since the dataset was opened", "leave the dataset alone")
    annotations = document["annotations"]
    for record in annotations:
        area, crowd = record.get("area"), record.get("iscrowd")
        if isinstance(area, bool) or not isinstance(area, int | float) or not abs(area) < 1e18 or crowd not in (0, 1):
            raise DatasetError(
                f"{dataset.annotations}: annotation {record['id']} has the area {str(area)[:40]} and iscrowd {str(crowd)[:40]}",
                "use the unchanged COCO annotation file: an area is a finite number, iscrowd is 0 or 1",
            )
    picture_ids = np.array([picture.id for picture in dataset.pictures], np.int64)
    category_ids = dict(sorted(dataset.category_ids.items(), key=lambda item: item[1]))
    numbers = np.array(list(category_ids.values()), np.int64)
    return Truth(
        picture_ids=picture_ids,
        category_ids=category_ids,
        boxes=np.array([record["bbox"] for record in annotations], np.float64).reshape(-1, 4),
        areas=np.array([record["area"] for record in annotations], np.float64),
        crowd=np.array([record["iscrowd"] == 1 for record in annotations], bool),
        numbered=np.array([record["id"] != 0 for record in annotations], bool),
        pictures=np.searchsorted(picture_ids, np.array([record["image_id"] for record in annotations], np.int64)),
        categories=np.searchsorted(numbers, np.array([record["category_id"] for record in annotations], np.int64)),
        annotations_sha256=dataset.annotations_sha256,
    )
