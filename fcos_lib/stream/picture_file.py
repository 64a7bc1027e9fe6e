"""Picture files: read, found safe to decode by their header, before a decoder may ask for memory by the gigabyte, and decoded.

Only JPEG and PNG are decoded: OpenCV would read a dozen further formats, whose decoders nobody here needs and which have had
most of the holes. A JPEG's scans are counted, since each costs a pass over the whole picture (libjpeg-turbo's own tools have
`-maxscans` for it).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fcos_lib.files import read_plain

MOST_BYTES = 256 << 20
MOST_PIXELS = 1 << 27
"""134 million, 400 MB decoded; COCO's pictures have 0.3 million."""
MOST_SCANS = 100
"""A progressive JPEG has about 10, and one more for a thumbnail."""

_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_SIZES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Markers of a frame header; the three left out are tables."""


def read_file(path: Path) -> bytes:
    """The bytes of a picture that may be decoded; `ValueError` says why it may not, `OSError` why it cannot be read."""
    data = read_plain(path, MOST_BYTES)
    if not data:
        raise ValueError("is empty (0 bytes)")
    width, height = size_of(data)
    if width * height > MOST_PIXELS:
        raise ValueError(f"says that it has {width} x {height} pixels, more than {MOST_PIXELS:,}")
    if data[:2] == b"\xff\xd8":
        _check_jpeg(data)
    return data


def size_of(data: bytes) -> tuple[int, int]:
    """(width, height) as a JPEG's or PNG's header has them, in pixels, before EXIF; `ValueError` for anything else."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR" and len(data) >= 33:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    at = 2 if data[:2] == b"\xff\xd8" else len(data)
    while at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _SIZES:
            height, width = (int.from_bytes(data[at + field : at + field + 2], "big") for field in (5, 7))
            return width, height
        if marker == 0xFF:  # any number of these may fill
            at += 1
        elif marker in _NO_LENGTH:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise ValueError("is not a picture in JPEG or PNG with a whole header")


def decode(data: bytes) -> NDArray[np.uint8]:
    """BGR uint8[h, w, 3], EXIF orientation applied; `ValueError` for what OpenCV cannot decode."""
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ValueError(f"cannot be decoded ({error.err})") from error
    if decoded is None:
        raise ValueError("is not a picture that OpenCV can decode")
    return np.asarray(decoded, dtype=np.uint8)


def _check_jpeg(data: bytes) -> None:
    # A truncated JPEG decodes to a picture that is grey from the break on, so look for the end of its last scan.
    # It mostly is the end of the file; searching for the start of that scan reads nearly all of it.
    if not data.endswith(b"\xff\xd9") and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise ValueError(f"is truncated ({len(data)} bytes, no end marker)")
    if (scans := data.count(b"\xff\xda")) > MOST_SCANS:
        raise ValueError(f"has {scans} scans, more than {MOST_SCANS}: it would take hours to decode")
