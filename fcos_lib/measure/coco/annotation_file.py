"""An annotation file by itself: the pictures and objects that any detector is judged by, without the pictures' own files.

`stream.dataset` opens the folder that a run evaluates, pictures and all; this is for results that are there already.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fcos_lib.errors import DatasetError
from fcos_lib.files import without_collector
from fcos_lib.measure.coco.truth import Truth, truth_of
from fcos_lib.stream.annotations import read_annotations

MOST_CELLS = 30_000_000
"""Pictures times categories; they take 32 bytes each."""


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
