"""How does a picture become the network's input, and how do boxes find their way back?

The arithmetic is the recipe's (`fcos_pth_preprocess.py`): scale to fit, size floored, bilinear on uint8, subtract the
mean, then pad with zeros to the centre.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where a picture lies in the network input: `network = picture * scale + offset`, per axis."""

    picture_width: int
    picture_height: int
    resized_width: int
    resized_height: int
    left: int
    top: int

    @property
    def scale_x(self) -> float:
        """Network pixels per picture pixel, as really resized (the floored size, not the ideal ratio)."""
        return self.resized_width / self.picture_width

    @property
    def scale_y(self) -> float:
        """Network pixels per picture pixel, vertically."""
        return self.resized_height / self.picture_height


def geometry(width: int, height: int, contract: ModelContract) -> Geometry:
    """The letterbox of a picture of this size (pixels): `min(W/w, H/h)`, floored, at least one pixel, centred."""
    scale = min(contract.width / width, contract.height / height)
    resized_width = max(1, int(width * scale))
    resized_height = max(1, int(height * scale))
    return Geometry(
        picture_width=width,
        picture_height=height,
        resized_width=resized_width,
        resized_height=resized_height,
        left=(contract.width - resized_width) // 2,
        top=(contract.height - resized_height) // 2,
    )


def letterbox(picture: NDArray[np.uint8], contract: ModelContract, out: NDArray[np.float32]) -> Geometry:
    """Write a BGR picture uint8[h, w, 3] into `out` float32[3, H, W] and say where it lies there."""
    height, width = picture.shape[:2]
    place = geometry(width, height, contract)
    resized = cv2.resize(picture, (place.resized_width, place.resized_height), interpolation=cv2.INTER_LINEAR)
    rows = slice(place.top, place.top + place.resized_height)
    columns = slice(place.left, place.left + place.resized_width)
    out[:] = 0.0
    for channel, mean in enumerate(contract.mean_bgr):
        np.subtract(resized[:, :, channel], np.float32(mean), out=out[channel, rows, columns], dtype=np.float32)
    return place


def to_picture(boxes: NDArray[np.float32], place: Geometry) -> NDArray[np.float32]:
    """Boxes float32[K, 4] (x1, y1, x2, y2) from network pixels to picture pixels, clipped to the picture."""
    offset = np.array([place.left, place.top, place.left, place.top], dtype=np.float32)
    scale = np.array([place.scale_x, place.scale_y, place.scale_x, place.scale_y], dtype=np.float32)
    limit = np.array([place.picture_width, place.picture_height] * 2, dtype=np.float32)
    clipped: NDArray[np.float32] = np.clip((boxes - offset) / scale, np.float32(0), limit)
    return clipped
