"""Draw the embedded default: a COCO folder of pictures with coloured shapes, the same bytes on every run.

    python tools/draw_shapes.py fixtures/shapes

Sizes of objects are chosen in network pixels (256 x 427 input), from 8 to most of the picture, so that all five pyramid
levels have something to find.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import SHAPES
from fcos_lib.options.option import path
from fcos_lib.stream.letterbox import geometry

CATEGORY_IDS = {
    "red square": 3, "blue disc": 7, "yellow triangle": 11, "red disc": 18, "cyan triangle": 25, "blue square": 40,
    "magenta star": 58, "green ring": 90,
}  # fmt: skip
COLOURS = {  # BGR
    "red": (45, 45, 205), "blue": (205, 60, 45), "yellow": (40, 200, 215), "cyan": (215, 200, 40),
    "magenta": (190, 50, 190), "green": (60, 170, 60),
}  # fmt: skip
GREY_SAFE = ("magenta star", "green ring")  # the classes that a grey picture can still tell apart
PICTURE_SIZES = (
    (480, 320), (480, 320), (500, 375), (640, 427), (427, 256), (600, 300), (320, 480), (300, 400), (400, 400),
)  # fmt: skip
VALIDATION_SEED, TRAINING_SEED = 20261123, 7
PICTURES = 240
JPEG_QUALITY = 88


@dataclass(frozen=True, slots=True)
class Scene:
    """A drawing: BGR uint8[h, w, 3] and what is in it (boxes in picture pixels, x y w h)."""

    picture: NDArray[np.uint8]
    boxes: list[tuple[float, float, float, float]]
    names: list[str]
    crowd: list[bool]


def _outline(shape: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """A closed polygon in a unit box around 0, stretched and turned a little at random."""
    if shape == "square":
        points = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float)
        turn = rng.uniform(-0.3, 0.3)
    elif shape == "triangle":
        points = np.array([(0, -1), (0.95, 0.8), (-0.95, 0.8)], float)
        turn = rng.uniform(-0.5, 0.5) + math.pi * rng.integers(0, 2)
    elif shape == "star":
        angles = np.arange(10) * math.pi / 5
        points = np.stack([np.sin(angles), -np.cos(angles)], 1) * np.where(np.arange(10) % 2, 0.45, 1.0)[:, None]
        turn = rng.uniform(-0.6, 0.6)
    else:  # disc and ring
        angles = np.arange(64) * math.pi / 32
        points = np.stack([np.cos(angles), np.sin(angles)], 1)
        turn = rng.uniform(-0.4, 0.4)
    points = points * [rng.uniform(0.75, 1.35), 1.0]
    rotation = np.array([(math.cos(turn), -math.sin(turn)), (math.sin(turn), math.cos(turn))])
    turned: NDArray[np.float64] = points @ rotation.T
    return turned / np.abs(turned).max()


def _background(width: int, height: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A muted gradient with slow noise, grey strokes and blots: things to overlook."""
    corners = rng.integers(70, 190, (2, 2, 1)) + rng.integers(-25, 26, (2, 2, 3))
    canvas = cv2.resize(corners.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(0, 9, (height // 12 + 1, width // 12 + 1, 3)).astype(np.float32)
    canvas += cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    picture = np.clip(canvas, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(0, 6)):
        grey = int(rng.integers(30, 226))
        start, end = rng.integers(0, [width, height], (2, 2))
        cv2.line(picture, start.tolist(), end.tolist(), (grey, grey, grey), int(rng.integers(1, 5)), cv2.LINE_AA)
    for _ in range(rng.integers(0, 4)):
        grey = int(rng.integers(50, 206))
        centre = rng.integers(0, [width, height]).tolist()
        axes = rng.integers(4, max(6, height // 6), 2).tolist()
        cv2.ellipse(picture, centre, axes, float(rng.uniform(0, 180)), 0, 360, (grey, grey, grey), -1, cv2.LINE_AA)
    return picture


def _paint(picture: NDArray[np.uint8], name: str, points: NDArray[np.float64], rng: np.random.Generator) -> None:
    colour_name, shape = name.split()
    colour = np.clip(np.array(COLOURS[colour_name]) + rng.integers(-38, 39, 3) + rng.integers(-25, 26), 0, 255).tolist()
    fixed = np.round(points * 16).astype(np.int32)
    polygons = [fixed]
    if shape == "ring":
        polygons.append(np.round((points - points.mean(0)) * 16 * 0.55 + points.mean(0) * 16).astype(np.int32))
    cv2.fillPoly(picture, polygons, colour, cv2.LINE_AA, shift=4)
    if rng.random() < 0.4:
        cv2.polylines(picture, polygons, True, [int(c * 0.5) for c in colour], 1, cv2.LINE_AA, shift=4)


def _covered(box: tuple[float, ...], others: list[tuple[float, float, float, float]]) -> float:
    """Largest share of the smaller of two boxes that overlaps, over all others."""
    worst = 0.0
    for other in others:
        wide = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
        high = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
        if wide > 0 and high > 0:
            worst = max(worst, wide * high / min(box[2] * box[3], other[2] * other[3]))
    return worst


def draw_scene(rng: np.random.Generator, kind: str = "any", crowds: bool = False) -> Scene:
    """One drawing. `kind`: any, empty, crowded, large, border, grey; `crowds` adds an area annotated as `iscrowd`."""
    if kind == "any":
        kind = str(
            rng.choice(["plain", "crowded", "large", "border", "grey", "empty"], p=[0.5, 0.2, 0.15, 0.1, 0.02, 0.03])
        )
    width, height = PICTURE_SIZES[rng.integers(len(PICTURE_SIZES))]
    if kind == "large":
        width, height = PICTURE_SIZES[rng.integers(6)]  # portraits are too narrow for the coarsest level
    picture = _background(width, height, rng)
    scale = geometry(width, height, SHAPES).scale_x
    names = GREY_SAFE if kind == "grey" else tuple(CATEGORY_IDS)
    scene = Scene(picture, [], [], [])

    def place(name: str, size: float, centre: NDArray[np.float64], allowed: float) -> bool:
        points = _outline(name.split()[1], rng) * size / 2 + centre
        low, high = points.min(0), points.max(0)
        inner_low, inner_high = np.maximum(low, 0), np.minimum(high, [width, height])
        extent = inner_high - inner_low
        if (extent * scale < 5).any() or extent.prod() < 0.45 * (high - low).prod():
            return False
        box = (float(inner_low[0]), float(inner_low[1]), float(extent[0]), float(extent[1]))
        if _covered(box, scene.boxes) > allowed:
            return False
        _paint(picture, name, points, rng)
        scene.boxes.append(box)
        scene.names.append(name)
        scene.crowd.append(False)
        return True

    def anywhere() -> NDArray[np.float64]:
        spot: NDArray[np.float64] = rng.uniform(0.03, 0.97, 2) * [width, height]
        return spot

    if crowds:
        _draw_crowd(scene, rng, scale)
    if kind == "large":
        aim = rng.uniform(200, 400) / scale
        wide = min(aim, 1.5 * width)
        while not place(str(rng.choice(names)), wide, rng.uniform(0.35, 0.65, 2) * [width, height], 1.0):
            wide *= 0.9
    if kind == "border":
        for edge in ((0.0, 0.5), (1.0, 0.5), (0.5, 0.0), (0.5, 1.0)):
            wobble = rng.uniform(-0.3, 0.3, 2) * [edge[0] == 0.5, edge[1] == 0.5]
            place(str(rng.choice(names)), rng.uniform(20, 90) / scale, (np.array(edge) + wobble) * [width, height], 0.3)
    if kind == "crowded":
        for _ in range(rng.integers(2, 4)):
            name, spot = str(rng.choice(names)), anywhere()
            size, step = rng.uniform(18, 60) / scale, rng.normal(0, 1, 2)
            step *= size * rng.uniform(0.42, 0.7) / np.linalg.norm(step)
            for index in range(rng.integers(3, 8)):
                place(name, size * rng.uniform(0.9, 1.1), spot + step * index, 0.62)
    if kind != "empty":
        for _ in range(rng.integers(2, 9)):
            size = math.exp(rng.uniform(math.log(9), math.log(180))) / scale
            place(str(rng.choice(names)), size, anywhere(), 0.3)
    if kind == "grey":
        picture[:] = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[:, :, None]
    return scene


def _draw_crowd(scene: Scene, rng: np.random.Generator, scale: float) -> None:
    """A heap of small shapes of one class that nobody would annotate one by one."""
    height, width = scene.picture.shape[:2]
    name = str(rng.choice(list(CATEGORY_IDS)))
    extent = np.array([rng.uniform(60, 120), rng.uniform(30, 70)]) / scale
    corner = rng.uniform(0, 1, 2) * (np.array([width, height]) - extent)
    for _ in range(40):
        points = _outline(name.split()[1], rng) * rng.uniform(4, 7) / scale
        centre = corner + rng.uniform(0.1, 0.9, 2) * extent
        _paint(scene.picture, name, np.clip(points + centre, corner, corner + extent), rng)
    scene.boxes.append((float(corner[0]), float(corner[1]), float(extent[0]), float(extent[1])))
    scene.names.append(name)
    scene.crowd.append(True)


def kind_of(index: int) -> str:
    """What the picture with this index shows; a fixed plan, so that each kind is there."""
    if index == 17:
        return "grey"
    return {0: "empty", 1: "crowded", 2: "large", 3: "border", 4: "crowded", 5: "large"}.get(index % 20, "plain")


def write_folder(folder: Path) -> None:
    """Draw the whole validation set into a COCO folder."""
    pictures, annotations = [], []
    (folder / "val2017").mkdir(parents=True, exist_ok=True)
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for index in range(PICTURES):
        rng = np.random.default_rng([VALIDATION_SEED, index])
        kind = kind_of(index)
        scene = draw_scene(rng, kind, crowds=index % 24 == 9)
        picture_id = 1000 + 7 * index
        name = f"{picture_id:012d}.jpg"
        stored = scene.picture[:, :, 0] if kind == "grey" else scene.picture
        cv2.imwrite(str(folder / "val2017" / name), stored, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        height, width = stored.shape[:2]
        pictures.append({"id": picture_id, "file_name": name, "width": width, "height": height})
        for box, label, crowd in zip(scene.boxes, scene.names, scene.crowd, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": picture_id, "category_id": CATEGORY_IDS[label],
                    "bbox": [round(value, 2) for value in box], "area": round(box[2] * box[3], 2),
                    "iscrowd": int(crowd),
                }
            )  # fmt: skip
    document = {
        "info": {"description": "Coloured shapes, drawn by tools/draw_shapes.py", "version": "1", "year": 2026},
        "licenses": [{"id": 1, "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}],
        "images": pictures,
        "annotations": annotations,
        "categories": [{"id": number, "name": name, "supercategory": "shape"} for name, number in CATEGORY_IDS.items()],
    }
    path = folder / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")
    print(
        f"{len(pictures)} pictures, {len(annotations)} objects, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=path, help="where the COCO folder is written, e.g. fixtures/shapes")
    write_folder(parser.parse_args().folder)
