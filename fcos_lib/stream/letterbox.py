"""How does a picture become the network's input, and how do boxes find their way back?

The arithmetic is the recipe's (`fcos_pth_preprocess.py`): scale to fit, size floored, bilinear on uint8, subtract the
mean, then pad with zeros to the centre. For an OM with AIPP, which subtracts the mean itself, the picture stays uint8 and
is padded with the mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import InputLayout, ModelContract


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

    @property
    def rows(self) -> slice:
        """The rows of the network input that the picture takes up."""
        return slice(self.top, self.top + self.resized_height)

    @property
    def columns(self) -> slice:
        """The columns of the network input that the picture takes up."""
        return slice(self.left, self.left + self.resized_width)


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
    resized, place = _resize(picture, contract)
    out[:] = 0.0
    for channel, mean in enumerate(contract.mean_bgr):
        target = out[channel, place.rows, place.columns]
        np.subtract(resized[:, :, channel], np.float32(mean), out=target, dtype=np.float32)
    return place


def letterbox_uint8(picture: NDArray[np.uint8], contract: ModelContract, out: NDArray[np.uint8]) -> Geometry:
    """Write a BGR picture uint8[h, w, 3] into `out` uint8[H, W, 3], with the mean around it, and say where it lies there.

    AIPP cannot pad instead: 32 pixels a side are its most, and on 310P a width of 1080 (ATC user guide).
    """
    resized, place = _resize(picture, contract)
    for border in (
        out[: place.rows.start],
        out[place.rows.stop :],
        out[place.rows, : place.columns.start],
        out[place.rows, place.columns.stop :],
    ):
        border[:] = contract.padding_bgr
    out[place.rows, place.columns] = resized
    return place


def blank(contract: ModelContract, batch: int, layout: InputLayout = InputLayout.FLOAT_NCHW) -> NDArray[Any]:
    """A batch of nothing but padding, in this layout: what the unused slots of a last batch hold."""
    tensor = np.zeros(contract.input_shape(batch, layout), layout.dtype)
    if layout is InputLayout.UINT8_NHWC:
        tensor[:] = np.tile(
            np.array(contract.padding_bgr, np.uint8), (contract.width, 1)
        )  # row by row: a third at a time is slow
    return tensor


def _resize(picture: NDArray[np.uint8], contract: ModelContract) -> tuple[NDArray[np.uint8], Geometry]:
    height, width = picture.shape[:2]
    place = geometry(width, height, contract)
    size = (place.resized_width, place.resized_height)
    resized: Any = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    return resized, place


def to_picture(boxes: NDArray[np.float32], place: Geometry) -> NDArray[np.float32]:
    """Boxes float32[K, 4] (x1, y1, x2, y2) from network pixels to picture pixels, clipped to the picture."""
    offset = np.array([place.left, place.top, place.left, place.top], dtype=np.float32)
    scale = np.array([place.scale_x, place.scale_y, place.scale_x, place.scale_y], dtype=np.float32)
    limit = np.array([place.picture_width, place.picture_height] * 2, dtype=np.float32)
    clipped: NDArray[np.float32] = np.clip((boxes - offset) / scale, np.float32(0), limit)
    return clipped
