"""Detections and annotation files that the tests of measuring are about; detections from rows of numbers, and from objects."""

import json
from dataclasses import replace

import numpy as np

from fcos_lib.contract import SHAPES
from fcos_lib.measure.coco.truth import Truth
from fcos_lib.stream.dataset import open_dataset
from fcos_lib.stream.sessions import Detections

CONTRACT = replace(SHAPES, classes=("cat", "dog", "bird"))
CATEGORIES = {"dog": 3, "empty": 5, "cat": 18, "bird": 90}


def detections(*rows):
    """Rows of x1, y1, x2, y2, score, label."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(table[:, :4].astype(np.float32), table[:, 4].astype(np.float32), table[:, 5].astype(np.int64))


NOTHING = detections()


def objects(boxes, categories, contract, pictures=None, count=1, crowd=None):
    """Objects by corners, category, picture (default: all in the first of `count`), and whether they are crowds."""
    corners = np.array(boxes, np.float64).reshape(-1, 4)
    sizes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    none = np.zeros(len(sizes), np.int64)
    return Truth(
        picture_ids=np.arange(count),
        category_ids={name: number + 1 for number, name in enumerate(contract.classes)},
        boxes=sizes,
        areas=sizes[:, 2] * sizes[:, 3],
        crowd=none.astype(bool) if crowd is None else np.array(crowd),
        numbered=np.ones(len(sizes), bool),
        pictures=none if pictures is None else pictures,
        listed=none if pictures is None else pictures,
        categories=np.array(categories, np.int64),
        annotations_sha256="0" * 64,
    )


def found_objects(truth, contract):
    """Every object that is no crowd, as a detection of score 1, by picture id."""
    label = {category: label for label, category in enumerate(truth.label_categories(contract).tolist())}
    by_picture = {}
    for position, number in enumerate(truth.picture_ids.tolist()):
        rows = (truth.pictures == position) & ~truth.crowd
        boxes = truth.boxes[rows].astype(np.float32)
        boxes[:, 2:] += boxes[:, :2]
        labels = np.array([label[category] for category in truth.categories[rows].tolist()], np.int64)
        by_picture[number] = Detections(boxes, np.ones(len(boxes), np.float32), labels)
    return by_picture


def with_own_scores(by_picture, seed=0):
    """The same detections, each with a score of its own."""
    random = np.random.default_rng(seed)
    return {
        number: replace(side, scores=random.random(len(side)).astype(np.float32)) for number, side in by_picture.items()
    }


def shaken(by_picture, classes, seed):
    """The same detections moved by a few pixels and rescored, one in ten lost, one in ten of any class."""
    random = np.random.default_rng(seed)
    result = {}
    for number, side in by_picture.items():
        kept = random.random(len(side)) < 0.9
        boxes = side.boxes[kept] + random.normal(0, 3, (kept.sum(), 4)).astype(np.float32)
        labels = np.where(random.random(kept.sum()) < 0.9, side.labels[kept], random.integers(0, classes, kept.sum()))
        result[number] = Detections(boxes, random.random(kept.sum()).astype(np.float32).round(1), labels)
    return result


def write_dataset(root, annotations, pictures):
    """A COCO folder whose pictures are empty files: only the annotations are read here."""
    (root / "annotations").mkdir(parents=True)
    (root / "val2017").mkdir()
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 640, "height": 480} for n in pictures]
    for image in images:
        (root / "val2017" / image["file_name"]).touch()
    categories = [{"id": number, "name": name} for name, number in reversed(CATEGORIES.items())]
    path = root / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps({"images": images, "categories": categories, "annotations": annotations}))
    return open_dataset(root)


def annotation(number, picture, category, box, **more):
    """One object; its area is the box's unless said otherwise."""
    return {
        "id": number, "image_id": picture, "category_id": CATEGORIES[category], "bbox": box,
        "area": box[2] * box[3], "iscrowd": 0, **more,
    }  # fmt: skip
