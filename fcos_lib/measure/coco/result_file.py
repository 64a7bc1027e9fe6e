"""COCO result files: a JSON list of one entry per detection, of any detector and categories, read in pieces.

The form is that of pycocotools' `loadRes`: `image_id`, `category_id`, `bbox` (x, y, width, height in picture pixels) and `score`;
other keys do not count. A file of 1 GB is never in memory: of each piece only numbers are kept, 56 bytes for a detection.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
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
_BOUNDARY = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*\{")
_BLANK = re.compile(r"[ \t\r\n]*")
_KEYS = (b'"image_id"', b'"category_id"', b'"bbox"', b'"score"')
_ADVICE = "pass a COCO result file: a JSON list with image_id, category_id, bbox [x, y, width, height] and score of each detection"

_Id = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Length = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]


class _Entry(msgspec.Struct, gc=False):
    """One detection as the file has it."""

    image_id: _Id
    category_id: _Id
    bbox: tuple[_Length, _Length, _Length, _Length]
    score: Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]


@without_collector()
def read_detections(path: Path, truth: Truth) -> Rows:
    """The detections of a result file, in its order; pictures that it does not name have none.

    `UsageError` names the file and the entry that is none, or that is of a picture or category which `truth` does not list.
    """
    pieces = [_located(entries, first, path, truth) for first, entries in _File(path).pieces()]
    if not pieces:
        return Rows(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))
    return Rows(*(np.concatenate(column) for column in zip(*pieces, strict=True)))


def _located(
    entries: list[_Entry], first: int, path: Path, truth: Truth
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Boxes, scores, picture and category indices of entries, the first of which has this number."""
    known = {
        "picture": (truth.picture_ids, attrgetter("image_id")),
        "category": (np.array(list(truth.category_ids.values()), np.int64), attrgetter("category_id")),
    }
    indices = []
    for what, (listed, given) in known.items():
        ids = np.fromiter(map(given, entries), np.int64, len(entries))
        index = np.minimum(np.searchsorted(listed, ids), len(listed) - 1)
        if (unknown := listed[index] != ids).any():
            at = int(unknown.argmax())
            raise UsageError(
                f"{path}: detections[{first + at}] is of the {what} {ids[at]}, which the annotation file does not list",
                "pass the annotation file of the pictures and categories that the detector was asked for",
            )
        indices.append(index)
    lengths = chain.from_iterable(map(attrgetter("bbox"), entries))
    boxes = np.fromiter(lengths, np.float64, 4 * len(entries)).reshape(-1, 4)
    scores = np.fromiter(map(attrgetter("score"), entries), np.float64, len(entries))
    return boxes, scores, indices[0], indices[1]


@dataclass(slots=True)
class _File:
    """A result file while it is read."""

    path: Path
    count: int = 0
    """Entries until now."""
    decoder: msgspec.json.Decoder[list[_Entry]] = field(default_factory=lambda: msgspec.json.Decoder(list[_Entry]))

    def pieces(self) -> Iterator[tuple[int, list[_Entry]]]:
        """The number of the first entry, from 0, and some entries, at least one."""
        try:
            with open_plain(self.path) as file:
                if os.fstat(file.fileno()).st_size > MOST_BYTES:
                    self._refuse(f"has more than {MOST_BYTES >> 30} GiB")
                yield from self._entries(file)
        except OSError as error:
            raise UsageError(f"{self.path} cannot be read ({error.strerror or error})", _ADVICE) from error

    def _entries(self, file: BinaryIO) -> Iterator[tuple[int, list[_Entry]]]:
        rest = file.read(PIECE).lstrip(b" \t\r\n")
        if rest[:1] != b"[":
            self._refuse("holds no JSON list")
        rest = rest[1:]
        more = b"all"
        while more:
            more = file.read(PIECE)
            rest += more
            piece, rest = _cut(rest) if more else self._closed(rest)
            entries, left = self._decoded(piece)
            if entries:
                yield self.count, entries
            self.count += len(entries)
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

    def _decoded(self, piece: bytes) -> tuple[list[_Entry], bytes]:
        """The entries of a piece, and what is left of it: an entry that goes on behind it, or that is none."""
        try:
            entries = self.decoder.decode(b"[%b]" % piece)
            if piece.count(b":") == len(_KEYS) * len(entries):  # every entry has these keys, so none has one more
                return entries, b""
            if b"\\u" not in piece and all(piece.count(key) == len(entries) for key in _KEYS):
                return entries, b""
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            pass
        return self._one_by_one(piece)

    def _one_by_one(self, piece: bytes) -> tuple[list[_Entry], bytes]:
        """The same, slowly: says which entry is wrong, and finds a key that an entry has twice."""
        try:
            text = piece.decode("utf-8")
        except UnicodeDecodeError:
            self._refuse("is not UTF-8")
        decoder = json.JSONDecoder(object_pairs_hook=once, parse_int=whole_number, parse_constant=_no_number)
        entries: list[_Entry] = []
        at = start = _after_blanks(text, 0)
        while at < len(text):
            number = self.count + len(entries)
            try:
                value, end = decoder.raw_decode(text, at)
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
        return entries, text[start:].encode()

    def _refuse(self, fault: str, number: int | None = None) -> NoReturn:
        which = "" if number is None else f": detections[{number}]"
        raise UsageError(f"{self.path}{which} {fault}", _ADVICE)


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


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"it has the number {name}")
