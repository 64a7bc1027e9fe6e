"""The recipe's five steps from a folder of pictures to mAP, as plainly as its scripts do them, through files.

Knows nothing of fcos_lib. The steps are those of `fcos_pth_preprocess.py`, `get_info.py`, ais_bench and
`fcos_pth_postprocess.py`. Where these are wrong (docs/recipe.md) this is right, or nothing could be compared: every picture,
ais_bench's numbering, boxes back by the size that the picture really had. Where they are slow by accident this is not: one
preprocessing process per core with even shares instead of one per 100 pictures, no interpreter started for each step.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH, ROWS = 800, 1333, 100
MEAN_BGR = np.array([102.9801, 115.9465, 122.7717], np.float32)

Run = Callable[[NDArray[np.float32]], tuple[NDArray[np.int64], NDArray[np.float32]]]
"""float32[N, 3, 800, 1333] to labels int64[N, 100] and dets float32[N, 100, 5]."""


def place_of(width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, width and height of a picture in the network input, pixels."""
    scale = min(WIDTH / width, HEIGHT / height)
    resized_width, resized_height = int(width * scale), int(height * scale)
    return (WIDTH - resized_width) // 2, (HEIGHT - resized_height) // 2, resized_width, resized_height


def network_input(picture: Path) -> NDArray[np.float32]:
    """float32[3, 800, 1333] of one picture."""
    image: Any = cv2.imread(str(picture))
    left, top, width, height = place_of(image.shape[1], image.shape[0])
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    normal = image.astype(np.float32) - MEAN_BGR
    right, bottom = WIDTH - width - left, HEIGHT - height - top
    padded = cv2.copyMakeBorder(normal, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)
    return np.ascontiguousarray(padded.transpose(2, 0, 1))


def _write_bin(picture: Path, bins: Path) -> None:
    network_input(picture).tofile(bins / f"{picture.stem}.bin")


def _one_thread() -> None:
    cv2.setNumThreads(1)


def preprocess(pictures: Path, bins: Path) -> None:
    """Step 1: every picture's network input as a file, by one process per core."""
    bins.mkdir()
    with multiprocessing.Pool(initializer=_one_thread) as pool:
        pool.starmap(_write_bin, [(picture, bins) for picture in sorted(pictures.iterdir())])


def write_info(pictures: Path, info: Path) -> None:
    """Step 2: number, path, width and height of every picture, decoded once more for its size."""
    with info.open("w") as file:
        for index, picture in enumerate(sorted(pictures.glob("*.jpg"))):
            image: Any = cv2.imread(str(picture))
            height, width = image.shape[:2]
            file.write(f"{index} {picture} {width} {height}\n")


def infer(run: Run, bins: Path, results: Path, batch: int) -> None:
    """Step 3: read, batch and run the files; two results per picture. The last batch is filled up with its first file."""
    results.mkdir()
    files = sorted(bins.glob("*.bin"))
    for start in range(0, len(files), batch):
        group = files[start : start + batch]
        arrays = [np.fromfile(file, np.float32).reshape(3, HEIGHT, WIDTH) for file in group]
        arrays += arrays[:1] * (batch - len(group))
        labels, dets = run(np.stack(arrays))
        for slot, file in enumerate(group):
            labels[slot].tofile(results / f"{file.stem}_0.bin")
            dets[slot].tofile(results / f"{file.stem}_1.bin")


def postprocess(results: Path, info: Path, annotations: Path, texts: Path, detections: Path) -> None:
    """Step 4: results back into picture pixels; a text file per picture, and one JSON file in COCO's form for all."""
    texts.mkdir()
    categories = sorted(category["id"] for category in json.loads(annotations.read_text())["categories"])
    found: list[dict[str, Any]] = []
    for line in info.read_text().splitlines():
        _, picture, picture_width, picture_height = line.split()
        stem, width, height = Path(picture).stem, int(picture_width), int(picture_height)
        labels = np.fromfile(results / f"{stem}_0.bin", np.int64)
        dets = np.fromfile(results / f"{stem}_1.bin", np.float32).reshape(ROWS, 5)
        left, top, resized_width, resized_height = place_of(width, height)
        dets[:, 0:4:2] = np.clip((dets[:, 0:4:2] - left) / (resized_width / width), 0, width)
        dets[:, 1:4:2] = np.clip((dets[:, 1:4:2] - top) / (resized_height / height), 0, height)
        with (texts / f"{stem}.txt").open("w") as file:
            for label, (x1, y1, x2, y2, score) in zip(labels.tolist(), dets.tolist(), strict=True):
                if score > 0:
                    file.write(f"{label} {score} {x1} {y1} {x2} {y2}\n")
                    box = [x1, y1, x2 - x1, y2 - y1]
                    found.append({"image_id": int(stem), "category_id": categories[label], "bbox": box, "score": score})
    detections.write_text(json.dumps(found))


def evaluate(annotations: Path, detections: Path) -> list[float]:
    """Step 5: COCO's twelve numbers by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(str(detections)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    twelve: list[float] = evaluation.stats.tolist()
    return twelve
