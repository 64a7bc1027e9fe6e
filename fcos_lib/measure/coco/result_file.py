"""COCO result files: a JSON list of one entry per detection, of any detector and categories, read in pieces.

The form is that of pycocotools' `loadRes`: `image_id`, `category_id`, `bbox` (x, y, width, height in picture pixels) and `score`;
other keys do not count. A file of 1 GB is never in memory: of each piece only numbers are kept, 56 bytes for a detection.

Entries become columns by way of MessagePack, in which a number takes nine bytes whatever it is, so that every entry is as long
as the others and numpy reads them all at once.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, BinaryIO, NoReturn

import msgspec
import numpy as np
from numpy.typing import NDArray

from fcos_lib.errors import UsageError
from fcos_lib.files import open_plain, whole_number, without_collector
from fcos_lib.measure.coco.rows import Rows
from fcos_lib.measure.coco.truth import Truth
from fcos_lib.records import once, record_of

MOST_BYTES = 4 << 30
MOST_DETECTIONS = 12_000_000
"""Matching them takes up to 4 GB of memory."""
PIECE = 4 << 20
"""Bytes of the file that are looked at together; no entry may be longer than two of them."""
PART = 1 << 18
"""Bytes of a piece that are decoded together: their objects are to stay in a core's cache, which takes half the time."""
_BOUNDARY = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*\{")
_BLANK = re.compile(r"[ \t\r\n]*")
_ADVICE = "pass a COCO result file: a JSON list with image_id, category_id, bbox [x, y, width, height] and score of each detection"
_LARGEST_ID = 2**53 - 1
_ID = msgspec.Meta(ge=0, le=_LARGEST_ID)
_Length = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]


class _Entry(msgspec.Struct, gc=False):
    """One detection as the file has it. Ids are whole numbers, which 640.0 is too, as for pycocotools."""

    image_id: Annotated[float, _ID]
    category_id: Annotated[float, _ID]
    bbox: tuple[_Length, _Length, _Length, _Length]
    score: Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]


class _Ids(msgspec.Struct):
    """Of an entry that is looked at by itself: here the type says what is wrong with an id."""

    image_id: Annotated[int, _ID]
    category_id: Annotated[int, _ID]


def _layout() -> np.dtype[np.void]:
    """An entry in MessagePack: a byte for how many fields there are, then each one's name and value, with a byte before each."""
    offsets, at = [], 1
    for name in _Entry.__struct_fields__:
        at += 1 + len(name)
        offsets.append(at + 1)
        at += 1 + 4 * 9 if name == "bbox" else 9
    box = np.dtype({"names": list("xywh"), "formats": [">f8"] * 4, "offsets": [1, 10, 19, 28]})
    formats = [box if name == "bbox" else ">f8" for name in _Entry.__struct_fields__]
    return np.dtype({"names": list(_Entry.__struct_fields__), "formats": formats, "offsets": offsets})


_LAYOUT = _layout()
_KEYS = tuple(b'"%b"' % name.encode() for name in _Entry.__struct_fields__)
_PACK = msgspec.msgpack.Encoder()
_Columns = NDArray[np.void]


@without_collector()
def read_detections(path: Path, truth: Truth) -> Rows:
    """The detections of a result file, in its order; pictures that it does not name have none.

    `UsageError` names the file and the entry that is none, or that is of a picture or category which `truth` does not list.
    """
    pieces = [_located(columns, first, path, truth) for first, columns in _File(path).pieces()]
    none = _located(_packed([]), 0, path, truth)
    return Rows(*(np.concatenate(column) for column in zip(none, *pieces, strict=True)))


def _packed(entries: list[_Entry]) -> _Columns:
    """Entries as a structured array of `_LAYOUT`."""
    packed = _PACK.encode(entries)
    return np.frombuffer(packed, _LAYOUT, offset=len(packed) - len(entries) * _LAYOUT.itemsize)


def _located(
    columns: _Columns, first: int, path: Path, truth: Truth
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Boxes, scores, picture and category indices of entries, the first of which has this number."""
    known = {"picture": truth.picture_ids, "category": np.array(list(truth.category_ids.values()), np.int64)}
    indices = []
    for (what, listed), key in zip(known.items(), ("image_id", "category_id"), strict=True):
        given = columns[key].astype(np.float64)
        ids = given.astype(np.int64)
        index = np.minimum(np.searchsorted(listed, ids), len(listed) - 1)
        if (unknown := listed[index] != given).any():
            at = int(unknown.argmax())
            raise UsageError(
                f"{path}: detections[{first + at}] is of the {what} {given[at]:.16g}, which the annotation file does not list",
                "pass the annotation file of the pictures and categories that the detector was asked for",
            )
        indices.append(index)
    boxes = np.column_stack([columns["bbox"][side].astype(np.float64) for side in "xywh"])
    return boxes, columns["score"].astype(np.float64), indices[0], indices[1]


@dataclass(slots=True)
class _File:
    """A result file while it is read."""

    path: Path
    count: int = 0
    """Entries until now."""
    decoder: msgspec.json.Decoder[list[_Entry]] = field(default_factory=lambda: msgspec.json.Decoder(list[_Entry]))

    def pieces(self) -> Iterator[tuple[int, _Columns]]:
        """The number of the first entry, from 0, and some entries, or none."""
        try:
            with open_plain(self.path) as file:
                if os.fstat(file.fileno()).st_size > MOST_BYTES:
                    self._refuse(f"has more than {MOST_BYTES >> 30} GiB")
                yield from self._entries(file)
        except OSError as error:
            raise UsageError(f"{self.path} cannot be read ({error.strerror or error})", _ADVICE) from error

    def _entries(self, file: BinaryIO) -> Iterator[tuple[int, _Columns]]:
        rest = file.read(PIECE).lstrip(b" \t\r\n")
        if rest[:1] != b"[":
            self._refuse("holds no JSON list")
        rest = rest[1:]
        more = b"all"
        while more:
            more = file.read(PIECE)
            rest += more
            piece, rest = _cut(rest) if more else self._closed(rest)
            parts, left = self._decoded(piece)
            for columns in parts:
                yield self.count, columns
                self.count += len(columns)
            if self.count > MOST_DETECTIONS:
                self._refuse(f"holds more than {MOST_DETECTIONS:,} detections")
            rest = (b"%b,%b" % (left, rest) if left and rest else left or rest).lstrip(b" \t\r\n")
            if len(rest) > 2 * PIECE:
                break
        if rest:
            self._refuse(f"is no JSON object, is cut off or is longer than {2 * PIECE >> 20} MiB", self.count)

    def _closed(self, rest: bytes) -> tuple[bytes, bytes]:
        """What stands before the end of the list, and nothing behind it."""
        body = rest.rstrip(b" \t\r\n")
        if body[-1:] != b"]":
            self._refuse("is cut off: the list does not end")
        return body[:-1], b""

    def _decoded(self, piece: bytes) -> tuple[list[_Columns], bytes]:
        """The entries of a piece, and what is left of it: an entry that goes on behind it, or that is none."""
        parts: list[_Columns] = []
        start = 0
        while start < len(piece):
            boundary = _BOUNDARY.search(piece, start + PART)
            part = piece[start : boundary.start() + 1 if boundary else len(piece)]
            try:
                entries = self.decoder.decode(b"[%b]" % part)
                plain = _once_each(part, len(entries))
            except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
                plain = False
            if not plain:
                slowly, left = self._one_by_one(piece[start:], self.count + sum(map(len, parts)))
                return [*parts, *slowly], left
            parts.append(_packed(entries))
            start = boundary.end() - 1 if boundary else len(piece)
        return parts, b""

    def _one_by_one(self, piece: bytes, before: int) -> tuple[list[_Columns], bytes]:
        """The same, slowly, with `before` entries before them: says which one is wrong, and finds a key that one has twice."""
        try:
            text = piece.decode("utf-8")
        except UnicodeDecodeError:
            self._refuse("is not UTF-8")
        decoder = json.JSONDecoder(
            object_pairs_hook=once, parse_float=_number, parse_int=whole_number, parse_constant=_number
        )
        entries: list[_Entry] = []
        at = start = _after_blanks(text, 0)
        while at < len(text):
            number = before + len(entries)
            try:
                value, end = decoder.raw_decode(text, at)
                record_of(value, _Ids)
                entries.append(record_of(value, _Entry))
            except (json.JSONDecodeError, UnicodeDecodeError):
                break  # may go on in the next piece
            except RecursionError:
                self._refuse("is nested too deeply", number)
            except ValueError as error:
                self._refuse(f"is no detection: {error}", number)
            start = at = _after_blanks(text, end)
            if at < len(text):
                if text[at] != ",":
                    break
                at = _after_blanks(text, at + 1)
                start = at if at < len(text) else start
        return [_packed(entries)], text[start:].encode()

    def _refuse(self, fault: str, number: int | None = None) -> NoReturn:
        which = "" if number is None else f": detections[{number}]"
        raise UsageError(f"{self.path}{which} {fault}", _ADVICE)


def _once_each(part: bytes, count: int) -> bool:
    """True if none of so many entries, all of which have these keys, can have one of them twice."""
    if part.count(b":") == len(_KEYS) * count:
        return True
    return b"\\u" not in part and all(part.count(key) == count for key in _KEYS)


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """Data before and after the last comma that seems to stand between two entries; the comma itself is left out."""
    start = len(data)
    while start > 0:
        start = max(0, min(start - 4096, 4 * start - 3 * len(data)))
        boundary = None
        for boundary in _BOUNDARY.finditer(data, start):  # noqa: B007 - the last one, without a list of all
            pass
        if boundary:
            return data[: boundary.start() + 1], data[boundary.end() - 1 :]
    return b"", data


def _after_blanks(text: str, at: int) -> int:
    blanks = _BLANK.match(text, at)
    return blanks.end() if blanks else at


def _number(text: str) -> float | int:
    """A number with a point or an exponent, a whole one where it may be an id; `ValueError` for NaN and Infinity."""
    if text[-1].isalpha():
        raise ValueError(f"it has the number {text}")
    number = float(text)
    return int(number) if number.is_integer() and abs(number) <= _LARGEST_ID else number
