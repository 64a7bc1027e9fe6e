"""Annotations and detections of any size, drawn at random with known seeds, so that nobody has to download any."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import SHAPES, ModelContract
from fcos_lib.files import sha256_of
from fcos_lib.stream.dataset import ANNOTATIONS, Dataset, Picture
from fcos_lib.stream.sessions import Detections


def contract_of(classes: int) -> ModelContract:
    """Only its classes matter here."""
    return replace(SHAPES, name="generated", classes=tuple(f"class {index}" for index in range(classes)))


def draw_dataset(root: Path, random: np.random.Generator, *, pictures: int, classes: int, boxes: float) -> Dataset:
    """Write the annotation file of a dataset with about `boxes` objects per picture; there are no picture files.

    As in val2017, some classes are far more frequent than others, a picture shows few of them, four in ten objects are small
    and one in a hundred is a crowd.
    """
    share = 1.0 / np.arange(1, classes + 1) ** 0.7
    share /= share.sum()
    annotations = []
    for picture in range(1, pictures + 1):
        shown = random.choice(classes, size=min(classes, 1 + random.geometric(0.45)), p=share)
        for _ in range(int(random.geometric(1 / (boxes + 1)) - 1)):
            width, height = np.exp(random.normal(np.log(50), 0.9) + random.normal(0, 0.35, 2)).clip(4, 400)
            x, y = random.uniform(0, (640 - width, 480 - min(height, 479)))
            category = 1 + int(random.choice(shown))
            box = [round(float(value), 2) for value in (x, y, width, height)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": picture,
                    "category_id": category,
                    "bbox": box,
                    "area": round(box[2] * box[3] * float(random.uniform(0.5, 1)), 2),
                    "iscrowd": int(random.random() < 0.012),
                }
            )
    path = root / ANNOTATIONS
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 640, "height": 480} for n in range(1, pictures + 1)]
    names = contract_of(classes).classes
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return Dataset(
        root=root,
        annotations=path,
        annotations_sha256=sha256_of(path),
        pictures=tuple(Picture(image["id"], root / str(image["file_name"]), 640, 480) for image in images),
        category_ids={category["name"]: category["id"] for category in categories},
    )


def draw_detections(
    dataset: Dataset, random: np.random.Generator, *, classes: int, wrong: float
) -> dict[int, Detections]:
    """A middling detector: four in five objects found, some twice, and about `wrong` false detections per picture."""
    objects: dict[int, list[tuple[list[float], int]]] = {picture.id: [] for picture in dataset.pictures}
    for record in json.loads(dataset.annotations.read_text())["annotations"]:
        objects[record["image_id"]].append((record["bbox"], record["category_id"] - 1))
    detections = {}
    for number, there in objects.items():
        table = np.array([[*box, label] for box, label in there], np.float64).reshape(-1, 5)
        skill = random.normal(0, 0.5)  # pictures are easy or hard as a whole
        table = table[random.random(len(table)) < 1 / (1 + np.exp(-1.4 - skill))]
        table = np.concatenate([table, table[random.random(len(table)) < 0.4]])
        blur = np.exp(random.normal(-2.9 - 0.4 * skill, 0.5, len(table)))
        table[:, :4] += random.normal(0, 1, (len(table), 4)) * (blur * np.sqrt(table[:, 2] * table[:, 3]))[:, None]
        scores = 1 / (1 + np.exp(-random.normal(0.8 + skill - 6 * blur, 0.8)))
        count = random.poisson(wrong)
        corners, sizes = random.uniform(0, 400, (count, 2)), np.exp(random.normal(np.log(50), 0.9, (count, 2)))
        label = np.where(
            random.random(count) < 0.5, table[0, 4] if len(table) else 0, random.integers(0, classes, count)
        )
        table = np.concatenate([table, np.column_stack([corners, sizes, label])])
        scores = np.concatenate([scores, 1 / (1 + np.exp(-random.normal(-1.8, 0.8, count)))])
        table[:, 2:4] = table[:, :2] + table[:, 2:4].clip(1)
        detections[number] = _best(table[:, :4], scores, table[:, 4])
    return detections


def _best(boxes: NDArray[np.float64], scores: NDArray[np.float64], labels: NDArray[np.float64]) -> Detections:
    """The best 100, best first."""
    order = np.argsort(-scores, kind="stable")[:100]
    return Detections(boxes[order].astype(np.float32), scores[order].astype(np.float32), labels[order].astype(np.int64))


def rounded(detections: dict[int, Detections], random: np.random.Generator) -> dict[int, Detections]:
    """As from arithmetic of low precision: boxes and scores move a little, at random."""
    return {
        number: Detections(
            own.boxes + random.normal(0, 0.5, own.boxes.shape).astype(np.float32),
            own.scores + random.normal(0, 0.01, len(own)).astype(np.float32),
            own.labels,
        )
        for number, own in detections.items()
    }


def shifted(detections: dict[int, Detections], random: np.random.Generator) -> dict[int, Detections]:
    """As from a wrong offset: every box moves right and down by 4 % of its size."""
    del random
    return {
        number: Detections(
            own.boxes + np.float32(0.04) * np.tile(own.boxes[:, 2:] - own.boxes[:, :2], 2), own.scores, own.labels
        )
        for number, own in detections.items()
    }


def thinned(detections: dict[int, Detections], random: np.random.Generator) -> dict[int, Detections]:
    """As from a lost feature level: one detection in twenty is missing."""
    kept = {number: random.random(len(own)) >= 0.05 for number, own in detections.items()}
    return {
        number: Detections(own.boxes[kept[number]], own.scores[kept[number]], own.labels[kept[number]])
        for number, own in detections.items()
    }


CHANGES = {"rounded": rounded, "shifted": shifted, "thinned": thinned}
"""What can be done to a reference to make a candidate of it, by name."""
