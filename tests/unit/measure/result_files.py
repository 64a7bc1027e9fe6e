"""A small COCO annotation file and result files of two detectors, with the quirks of real ones."""

import contextlib
import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

CATEGORIES = {90: "toothbrush", 1: "person", 18: "dog", 3: "car"}
"""In the order of the file; ids have gaps, and no picture shows a toothbrush."""


def draw(folder, seed=0, pictures=24, ties=True):
    """Write `instances.json`, `a.json` and `b.json`; B finds what A finds, a little worse.

    Pictures are unsorted and some show nothing; objects are crowds with an RLE, tied, and on the borders of the sizes; detections
    are over 100 in one picture, tied unless told otherwise, whole numbers or not, and carry keys that do not count.
    """
    random = np.random.default_rng(seed)
    ids = (random.permutation(np.arange(1, 400))[:pictures] * 1000).tolist()
    sides, objects, found = np.array([8, 16, 32, 33, 64, 96, 97, 160]), [], {"a": [], "b": []}
    for number, picture in enumerate(ids):
        for _ in range(0 if number % 6 == 5 else random.integers(1, 9)):
            box = [*(random.integers(0, 24, 2) * 10).tolist(), *random.choice(sides, 2).tolist()]
            crowd, kind = int(random.random() < 0.1), int(random.choice([1, 1, 18, 3]))
            shape = {"counts": [272, 2, 4], "size": [480, 640]} if crowd else [[1.5, 2, 3, 4, 5, 6]]
            area = float(random.choice([box[2] * box[3], 0.7 * box[2] * box[3], 1024, 9216]))
            objects.append({"segmentation": shape, "area": area, "iscrowd": crowd, "image_id": picture, "bbox": box, "category_id": kind, "id": len(objects) + 7})  # fmt: skip
            for _ in range(random.integers(0, 3)):
                moved = (np.array(box) + random.normal(0, 2.5, 4)).round(2).clip(0)
                other = int(random.choice(list(CATEGORIES))) if random.random() < 0.15 else kind
                found["a"].append(_entry(picture, other, moved, random.uniform(0.3, 1)))
        for _ in range(130 if number == 2 else random.integers(0, 5)):
            box = [*random.integers(0, 300, 2), *random.choice(sides, 2)]
            found["a"].append(_entry(picture, int(random.choice([1, 3])), box, random.uniform(0, 0.6)))
    if ids:
        found["a"] = [entry for entry in found["a"] if entry["image_id"] != ids[0]]
    for entry in found["a"]:
        if random.random() < 0.9:
            box = (np.array(entry["bbox"], float) + random.normal(0, 2, 4)).round(2).clip(0)
            found["b"].append(
                _entry(entry["image_id"], entry["category_id"], box, entry["score"] * random.uniform(0.8, 1))
            )
    for entries in found.values():
        random.shuffle(entries)
        for number, entry in enumerate(entries):
            entry["score"] = round(entry["score"], 1) if ties else round(entry["score"], 6) + number * 1e-9
    images = [{"id": number, "file_name": f"{number:012d}.jpg", "width": 640, "height": 480} for number in ids]
    categories = [{"supercategory": "x", "id": number, "name": name} for number, name in CATEGORIES.items()]
    paths = {name: folder / f"{name}.json" for name in ("instances", "a", "b")}
    folder.mkdir(exist_ok=True)
    paths["instances"].write_text(
        json.dumps({"info": {}, "images": images, "annotations": objects, "categories": categories})
    )
    for name, entries in found.items():
        paths[name].write_text(json.dumps(entries, separators=(",", ":") if name == "a" else None))
    return SimpleNamespace(**paths, ids=ids)


def _entry(picture, category, box, score):
    entry = {
        "image_id": picture,
        "category_id": category,
        "bbox": [float(value) for value in box],
        "score": float(score),
    }
    if all(value.is_integer() for value in entry["bbox"]):
        entry["bbox"] = [int(value) for value in entry["bbox"]]
        entry |= {"id": 5, "area": 1, "segmentation": {"size": [480, 640], "counts": 'a},{"b\\[['}}
    return entry


def by_pycocotools(instances, results, pictures=None):
    """pycocotools' own evaluation, accumulated: of a result file, of its entries, or of rows as `loadRes` takes them; over some pictures."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(instances))
        if isinstance(results, Path) or len(results):
            found = truth.loadRes(str(results) if isinstance(results, Path) else results)
        else:  # loadRes cannot represent "nothing found"
            found = COCO()
            found.dataset = {**truth.dataset, "annotations": []}
            found.createIndex()
        evaluation = COCOeval(truth, found, "bbox")
        if pictures:
            evaluation.params.imgIds = pictures
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation
