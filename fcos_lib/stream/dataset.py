"""Datasets: the pictures that a COCO folder holds, and its annotations, both checked before they are believed.

The folder has `annotations/instances_val2017.json` and `val2017/`, as COCO 2017 unpacks. Everything the evaluation relies
on is checked when the folder is opened; a picture's bytes are checked when it is read.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.errors import DatasetError, FeedError, of_the_machine
from fcos_lib.files import sha256_of, some
from fcos_lib.stream.annotations import read_annotations, remarks
from fcos_lib.stream.categories import Naming
from fcos_lib.stream.picture_file import decode, orientation_of, read_file, size_of
from fcos_lib.stream.picture_folder import check_files

ANNOTATIONS = Path("annotations") / "instances_val2017.json"
PICTURES = "val2017"


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture as the annotation file names it; sizes in pixels."""

    id: int
    path: Path
    width: int
    height: int
    below: str = ""
    """Path below the folder of pictures, such as `street/a.jpg`, if it lies in a folder of its own there."""

    @property
    def name(self) -> str:
        """What the picture is called, the same for no other one of its dataset."""
        return self.below or self.path.name


@dataclass(frozen=True, slots=True)
class Dataset:
    """A COCO folder: its pictures by ascending id and its categories."""

    root: Path
    annotations: Path
    annotations_sha256: str
    pictures: tuple[Picture, ...]
    category_ids: dict[str, int]
    """Category id by the class that it is; negative for a class of the contract that no category is."""
    objects_of: Mapping[int, int] = field(default_factory=dict)
    """How many objects are annotated in a picture, crowds included, by its id; one without any is left out."""
    naming: Naming = field(default_factory=Naming)
    """Which contract was named, and which category is which class of it."""
    remarks: tuple[str, ...] = ()
    """What is unusual about the annotations, each with how often it is there and the first ids."""

    def label_ids(self, contract: ModelContract) -> tuple[int, ...]:
        """Category id of each label of the contract, in label order."""
        return tuple(self.category_ids[name] for name in contract.classes)

    @property
    def contract(self) -> ModelContract:
        """The contract that was named, or the one whose classes are the categories; `UsageError` if there is none."""
        return self.naming.contract_of(
            [name for name, number in self.category_ids.items() if number >= 0], self.annotations
        )


def open_dataset(root: Path, naming: Naming | None = None) -> Dataset:
    """Read and check a COCO folder; `DatasetError` says what is missing or wrong and nothing is written.

    `naming` says which category is which class, where names differ.
    """
    if not root.is_dir():
        raise DatasetError(
            f"dataset folder {root} {'is no folder' if root.exists() else 'does not exist'}",
            "pass --dataset FOLDER with annotations/ and val2017/",
        )
    path, folder, naming = root / ANNOTATIONS, root / PICTURES, naming or Naming()
    if not path.is_file():
        here = ", ".join(sorted(entry.name for entry in root.iterdir())[:8]) or "nothing"
        raise DatasetError(
            f"{path} does not exist ({root} holds {here})", "unpack COCO's annotations_trainval2017.zip there"
        )
    annotations = read_annotations(path)
    category_ids = naming.category_ids({record["name"]: record["id"] for record in annotations.categories}, path)
    check_files(folder, {record["file_name"] for record in annotations.images}, path)
    pictures = [
        Picture(image["id"], folder / name, image["width"], image["height"], name if "/" in name else "")
        for image, name in ((image, image["file_name"]) for image in annotations.images)
    ]
    return Dataset(
        root=root,
        annotations=path,
        annotations_sha256=annotations.sha256,
        pictures=tuple(sorted(pictures, key=lambda picture: picture.id)),
        category_ids=category_ids,
        objects_of=Counter(record["image_id"] for record in annotations.objects),
        naming=naming,
        remarks=(*remarks(annotations), *naming.remarks(category_ids, annotations)),
    )


def read_picture(picture: Picture) -> NDArray[np.uint8]:
    """The picture as BGR uint8[h, w, 3], EXIF orientation applied; `DatasetError` if it is broken or not as annotated.

    `FeedError` if the machine cannot read it.
    """
    try:
        data = read_file(picture.path)
        width, height = size_of(data)
        if sorted((width, height)) == sorted((picture.width, picture.height)):  # EXIF may turn it
            decoded = decode(data)
            height, width = decoded.shape[:2]
            if (width, height) == (picture.width, picture.height):
                return decoded
    except (OSError, ValueError) as error:
        raise unusable(picture, error) from error
    orientation = orientation_of(picture.path)
    turned = f" (turned by its EXIF orientation {orientation}, as in the recipe)" if orientation > 1 else ""
    raise DatasetError(
        f"picture {picture.path} is {width} x {height} pixels, annotated as {picture.width} x {picture.height}{turned}",
        "the annotation file belongs to other pictures" + ", or to these as they lie in their files" * bool(turned),
    )


def unusable(picture: Picture, error: OSError | ValueError) -> DatasetError | FeedError:
    """The error that a picture's file comes to which cannot be read, or is none that may be decoded.

    `FeedError` if that is the machine's fault.
    """
    found = f"picture {picture.path} {f'cannot be read ({error.strerror})' if isinstance(error, OSError) else error}"
    if of_the_machine(error):
        return FeedError(found, "the file may be sound: look at its disk or network folder, free memory and dmesg")
    other = " or PNG but in " in found
    return DatasetError(
        found, "convert it to PNG, and name that in the annotation file" if other else "restore the file"
    )


def digest_of_files(pictures: Sequence[Picture]) -> str:
    """20 hex digits over the names and contents of the pictures' files, the same on every host that has the same; errors as below."""
    lines = "".join(f"{picture.name} {file_digest(picture)}\n" for picture in pictures)
    return hashlib.sha256(lines.encode()).hexdigest()[:20]


def file_digest(picture: Picture) -> str:
    """SHA-256 of a picture's file, 64 hex digits; errors as of `unusable` if it cannot be read."""
    try:
        return sha256_of(picture.path)
    except OSError as error:
        raise unusable(picture, error) from error


def turned_by_exif(pictures: Iterable[Picture]) -> Iterator[str]:
    """A remark if files of these pictures are turned when they are decoded: how many, and the first names."""
    turned = [picture.name for picture in pictures if orientation_of(picture.path) > 1]
    if turned:
        yield (
            f"{len(turned)} pictures with an EXIF orientation, which are turned upright, as in the recipe: their boxes have to "
            f"be those of the upright picture ({some(turned)})"
        )


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
