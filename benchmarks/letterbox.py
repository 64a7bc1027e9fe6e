"""A picture's way into the network beside what cannot be left out: prints the parts and the ratio.

    python -m benchmarks.letterbox [--rounds 200]

The parts are `cv2.imread`, one `cv2.resize` and filling the network input once, each alone; the whole is `read_picture`
and `letterbox`. A generated photograph of 640 x 480 at 800 x 1333, on one core, by turns: the median of each.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import COCO_R50, InputLayout
from fcos_lib.stream.dataset import Picture, read_picture
from fcos_lib.stream.letterbox import blank, geometry, letterbox, letterbox_uint8

WIDTH, HEIGHT = 640, 480
TARGET = 1.4


def draw_photograph(path: Path, random: np.random.Generator, width: int = WIDTH, height: int = HEIGHT) -> Picture:
    """Write a JPEG as large as a photograph's (about 0.5 byte a pixel at quality 90): smooth light, edges, grain."""
    coarse = random.integers(0, 256, (max(2, height // 40), max(2, width // 40), 3), np.uint8)
    picture: NDArray[Any] = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(40):
        corners = (random.uniform(0, 1, 2) + random.normal(0, 0.15, (4, 2))) * (width, height)
        cv2.fillPoly(picture, [corners.astype(np.int32)], random.integers(0, 256, 3).tolist(), cv2.LINE_AA)
    fine = cv2.GaussianBlur(random.normal(0, 22, picture.shape[:2]).astype(np.float32), (0, 0), 1.0)
    grain = random.normal(0, 3.5, picture.shape[:2])
    picture = np.clip(picture + (fine + grain)[..., None], 0, 255).astype(np.uint8)
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return Picture(int(random.integers(1 << 31)), path, width, height)


def medians(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each work, the median over rounds in which all take turns, so that a slow minute hits all alike."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start = time.thread_time()
            work()
            taken[name].append(time.thread_time() - start)
    return {name: float(np.median(times[rounds // 10 :])) for name, times in taken.items()}


def measure(picture: Picture, layout: InputLayout, rounds: int) -> dict[str, float]:
    """Seconds of `imread`, `resize`, `fill` and `whole` for one picture, on one core."""
    cv2.setNumThreads(1)
    write = letterbox if layout is InputLayout.FLOAT_NCHW else letterbox_uint8
    decoded = read_picture(picture)
    size = geometry(picture.width, picture.height, COCO_R50).resized
    filled, out = blank(COCO_R50, 1, layout)[0], blank(COCO_R50, 1, layout)[0]
    works: dict[str, Callable[[], object]] = {
        "imread": lambda: cv2.imread(str(picture.path)),
        "resize": lambda: cv2.resize(decoded, size, interpolation=cv2.INTER_LINEAR),
        "fill": lambda: filled.fill(1),
        "whole": lambda: write(read_picture(picture), COCO_R50, out),
    }
    return medians(works, rounds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200, help="times that each is taken (default: 200)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        picture = draw_photograph(Path(folder) / "picture.jpg", np.random.default_rng(5))
        print(f"a JPEG of {WIDTH} x {HEIGHT} and {picture.path.stat().st_size:,} bytes, OpenCV {cv2.__version__}")
        for layout in InputLayout:
            times = measure(picture, layout, rounds)
            whole = times.pop("whole")
            parts = " + ".join(f"{name} {seconds * 1e3:.2f}" for name, seconds in times.items())
            ratio = whole / sum(times.values())
            print(
                f"{layout.value:<18} {whole * 1e3:.2f} ms = {ratio:.2f} x ({parts}), target at most {TARGET}"
                f"{'' if ratio <= TARGET else '  MISSED'}"
            )


if __name__ == "__main__":
    main()
