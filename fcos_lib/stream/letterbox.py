"""Letterbox: a picture becomes the network's input, and boxes come back into the picture.

The arithmetic is the recipe's (`fcos_pth_preprocess.py`): scale to fit, size floored, bilinear on uint8, subtract the
mean, then pad with zeros to the centre. A contract with a deviation divides by it before the padding, as mmdet does, and one
with RGB channels has them in that order. For an OM with AIPP, which does all that itself, the picture stays uint8 and BGR and
is padded with the mean.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.stream.sessions import Detections

_STRIP = 96
"""Rows; their planes at 1,333 columns are what glibc's malloc still keeps for itself, and the caches hold all of them."""


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
    def resized(self) -> tuple[int, int]:
        """(width, height) of the picture in the network input."""
        return self.resized_width, self.resized_height

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
    """Write a BGR picture uint8[h, w, 3] into `out` float32[3, H, W], whatever it held, and say where it lies there.

    A strip of rows at a time is converted where the caches hold it and copied as a whole, which is the fastest way to write.
    """
    fit = geometry(picture.shape[1], picture.shape[0], contract)
    # Resized before it is split: OpenCV may resize a single plane by other means (its HALs do), with other roundings.
    room, strip = _workspace(fit, contract)
    pixels: Any = cv2.resize(picture, fit.resized, dst=room, interpolation=cv2.INTER_LINEAR)
    out[:, : fit.rows.start] = out[:, fit.rows.stop :] = 0.0
    strip[:, : fit.columns.start] = strip[:, fit.columns.stop :] = 0.0
    for start in range(0, fit.resized_height, _STRIP):
        part = pixels[start : start + _STRIP]
        whole, rows = strip[: len(part)], slice(fit.top + start, fit.top + start + len(part))
        for channel, plane, mean, std in zip(
            contract.planes_bgr, cv2.split(part), contract.mean_bgr, contract.std_bgr, strict=True
        ):
            inside = np.subtract(plane, np.float32(mean), out=whole[:, fit.columns], dtype=np.float32)
            if std != 1:  # dividing by 1 changes no bit and costs a pass
                np.divide(inside, np.float32(std), out=inside)
            out[channel, rows] = whole
    return fit


def letterbox_uint8(picture: NDArray[np.uint8], contract: ModelContract, out: NDArray[np.uint8]) -> Geometry:
    """Write a BGR picture uint8[h, w, 3] into `out` uint8[H, W, 3], with the mean around it, and say where it lies there.

    AIPP cannot pad instead: 32 pixels a side are its most, and on 310P a width of 1080 (ATC user guide).
    """
    fit = geometry(picture.shape[1], picture.shape[0], contract)
    row, inside = _padding_row(contract), out[fit.rows]
    out[: fit.rows.start] = out[fit.rows.stop :] = row
    inside[:, : fit.columns.start] = row[: fit.columns.start]
    inside[:, fit.columns.stop :] = row[fit.columns.stop :]
    cv2.resize(picture, fit.resized, dst=inside[:, fit.columns], interpolation=cv2.INTER_LINEAR)
    return fit


def clear(contract: ModelContract, out: NDArray[Any]) -> None:
    """Turn `out`, one slot or several in either layout, into nothing but padding."""
    out[...] = _padding_row(contract) if out.dtype == np.uint8 else 0.0


def blank(contract: ModelContract, batch: int, layout: InputLayout = InputLayout.FLOAT_NCHW) -> NDArray[Any]:
    """A batch of nothing but padding, in this layout: what the unused slots of a last batch hold."""
    if layout is InputLayout.FLOAT_NCHW:
        return np.zeros(contract.input_shape(batch, layout), layout.dtype)  # the system's own zeros cost nothing
    tensor = np.empty(contract.input_shape(batch, layout), layout.dtype)
    clear(contract, tensor)
    return tensor


class _Kept(threading.local):
    """A thread's workspace: memory that goes back to the system and forth costs more time than the arithmetic."""

    pixels: NDArray[np.uint8] = np.empty(0, np.uint8)
    strip: NDArray[np.float32] = np.empty((_STRIP, 0), np.float32)


_kept = _Kept()


def _workspace(fit: Geometry, contract: ModelContract) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Room for the resized picture, uint8[h, w, 3], and for a strip, float32[_STRIP, W]; until it is asked for again."""
    if _kept.strip.shape[1] != contract.width or _kept.pixels.size != 3 * contract.height * contract.width:
        _kept.pixels = np.empty(3 * contract.height * contract.width, np.uint8)
        _kept.strip = np.empty((_STRIP, contract.width), np.float32)
    width, height = fit.resized
    return _kept.pixels[: 3 * height * width].reshape(height, width, 3), _kept.strip


def _padding_row(contract: ModelContract) -> NDArray[np.uint8]:
    """A row of the uint8 input, uint8[W, 3]: copied by rows, as a pixel at a time is slow."""
    return np.tile(np.array(contract.padding_bgr, np.uint8), (contract.width, 1))


def to_picture(boxes: NDArray[np.float32], fit: Geometry) -> NDArray[np.float32]:
    """Boxes float32[K, 4] (x1, y1, x2, y2) from network pixels to picture pixels, clipped to the picture."""
    offset = np.array([fit.left, fit.top, fit.left, fit.top], dtype=np.float32)
    scale = np.array([fit.scale_x, fit.scale_y, fit.scale_x, fit.scale_y], dtype=np.float32)
    limit = np.array([fit.picture_width, fit.picture_height] * 2, dtype=np.float32)
    clipped: NDArray[np.float32] = np.clip((boxes - offset) / scale, np.float32(0), limit)
    return clipped


def in_picture(seen: Detections, fit: Geometry) -> Detections:
    """Detections in network pixels as detections in picture pixels, which keep the model's own boxes as `network`."""
    return Detections(to_picture(seen.boxes, fit), seen.scores, seen.labels, seen.boxes)
