"""Picture files: read, found safe to decode by their header, before a decoder may ask for memory by the gigabyte, and decoded.

Only JPEG and PNG are decoded: OpenCV would read a dozen further formats, whose decoders nobody here needs and which have had
most of the holes. Other formats are told by their first bytes, whatever their names end with, and refused by name. A JPEG's scans are counted, since each costs a pass over the whole picture (libjpeg-turbo's own tools have
`-maxscans` for it).
"""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from fcos_lib.files import open_plain, read_plain

MOST_BYTES = 256 << 20
MOST_PIXELS = 1 << 27
"""134 million, 400 MB decoded; COCO's pictures have 0.3 million."""
MOST_SCANS = 100
"""A progressive JPEG has about 10, and one more for a thumbnail."""
MOST_CHUNKS = 10_000
"""Of a PNG before its picture; there are about 20 kinds."""

_OTHERS = (
    ("GIF", 0, b"GIF8"), ("WebP", 8, b"WEBP"), ("BMP", 0, b"BM"), ("TIFF", 0, b"II*\0"), ("TIFF", 0, b"MM\0*"),
    ("TIFF", 0, b"II+\0"), ("TIFF", 0, b"MM\0+"), ("AVIF", 4, b"ftypavi"), ("HEIC", 4, b"ftyphei"), ("HEIC", 4, b"ftyphev"),
    ("HEIC", 4, b"ftypmif1"), ("HEIC", 4, b"ftypmsf1"), ("JPEG 2000", 4, b"jP  "), ("JPEG 2000", 0, b"\xff\x4f\xff\x51"),
    ("JPEG XL", 4, b"JXL "), ("JPEG XL", 0, b"\xff\x0a"), ("OpenEXR", 0, b"v/1\x01"), ("Radiance HDR", 0, b"#?R"), ("QOI", 0, b"qoif"),
    *((f"netpbm's P{kind}", 0, f"P{kind}".encode()) for kind in "1234567Ff"), ("Sun raster", 0, b"Y\xa6j\x95"),
    ("SGI", 0, b"\x01\xda"), ("ICO", 0, b"\0\0\1\0"), ("DDS", 0, b"DDS "), ("Photoshop", 0, b"8BPS"), ("PDF", 0, b"%PDF"),
    ("SVG", 0, b"<svg"),
)  # fmt: skip
"""Formats that are not read, each with where its first bytes are and what they are, as libmagic has them."""
_NO_PICTURES = {
    b"<": "HTML or XML, perhaps the page of a failed download",
    b"version https://git-lfs": "a pointer of Git LFS, whose file was not fetched",
    b"PK\3\4": "a ZIP archive",
}
_FIELDS_OF_EXIF = 200
"""Entries of the first directory that are looked at; cameras write about 15."""

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
    else:
        _check_png(data)
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
    for name, start, magic in _OTHERS:
        if data[start : start + len(magic)] == magic:
            raise ValueError(f"is not a picture in JPEG or PNG but in {name}")
    for magic, what in _NO_PICTURES.items():
        if data.startswith(magic):
            raise ValueError(f"is not a picture but {what}")
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


def _check_png(data: bytes) -> None:
    """`ValueError` for an animation with a still picture besides: decoders do not agree on which of them it shows."""
    at, animated, chunks = 8, False, 0
    while at + 8 <= len(data) and (kind := data[at + 4 : at + 8]) not in (b"IDAT", b"fcTL"):
        animated |= kind == b"acTL"
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        chunks += 1
        if chunks > MOST_CHUNKS:
            raise ValueError(f"has more than {MOST_CHUNKS:,} chunks before its picture")
    if animated and data[at + 4 : at + 8] == b"IDAT":
        raise ValueError(
            "is an animated PNG with a still picture that is no part of it: nobody knows which one is annotated"
        )


def orientation_of(path: Path) -> int:
    """The EXIF orientation of a JPEG or PNG, 1 to 8; 1, as it lies, if it says nothing or cannot be read.

    Only what leads there is read, some kilobytes.
    """
    with suppress(OSError, ValueError, struct.error), open_plain(path) as file:
        head = file.read(8)
        block = _exif_of_png(file) if head == b"\x89PNG\r\n\x1a\n" else _exif_of_jpeg(file, head)
        order = {b"II": "<", b"MM": ">"}.get(block[:2], "")
        if order:
            (start,) = struct.unpack_from(f"{order}I", block, 4)
            (count,) = struct.unpack_from(f"{order}H", block, start)
            for entry in range(min(count, _FIELDS_OF_EXIF)):
                tag, kind, _, value = struct.unpack_from(f"{order}HHIH", block, start + 2 + 12 * entry)
                if tag == 0x0112 and kind == 3 and 1 <= value <= 8:
                    return int(value)
    return 1


def _exif_of_jpeg(file: BinaryIO, head: bytes) -> bytes:
    """The TIFF structure in the EXIF segment; empty if there is none before the picture's own."""
    at = 2 if head[:2] == b"\xff\xd8" else -1
    for _ in range(100 if at > 0 else 0):
        file.seek(at)
        marker = file.read(10)
        if len(marker) < 10 or marker[0] != 0xFF or marker[1] in _SIZES or marker[1] == 0xDA:
            break
        length = int.from_bytes(marker[2:4], "big")
        if marker[1] == 0xE1 and marker[4:10] == b"Exif\0\0":
            return file.read(max(0, length - 8))
        at += 1 if marker[1] == 0xFF else 2 + length
    return b""


def _exif_of_png(file: BinaryIO) -> bytes:
    """The chunk eXIf; empty if there is none before the picture's data."""
    for _ in range(100):
        header = file.read(8)
        length = int.from_bytes(header[:4], "big")
        if len(header) < 8 or header[4:] == b"IDAT":
            break
        if header[4:] == b"eXIf":
            return file.read(min(length, 1 << 16))
        file.seek(length + 4, 1)
    return b""
