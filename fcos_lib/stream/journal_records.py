"""One batch of results as one line, and the lines that can be trusted of a file that broke off.

A line is `crc32 of the rest as 8 hex digits, space, JSON, newline`. Boxes and scores are little-endian float32 in base64,
so that they come back bit for bit. Everything here is pure: bytes in, records out, `ValueError` with a reason for the rest.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fcos_lib.files import whole_number
from fcos_lib.stream.picture_ids import not_exactly_once
from fcos_lib.stream.sessions import Detections

SHARD_PICTURES = 64
PICTURE_BYTES = 1 << 16
"""What one picture may take up in a line; 100 rows take about 3,200 bytes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a dataset is cut: into batches, always the same ones, and these into shards of whole batches."""

    picture_ids: tuple[int, ...]
    batch: int

    @property
    def shard_batches(self) -> int:
        """Batches of one shard: about 64 pictures, at least one batch."""
        return max(1, SHARD_PICTURES // self.batch)

    @property
    def batches(self) -> int:
        """Batches of the whole dataset; the last may be short."""
        return -(-len(self.picture_ids) // self.batch)

    @property
    def shards(self) -> int:
        """Shards of the whole dataset; the last may be short."""
        return -(-self.batches // self.shard_batches)

    def batches_of(self, shard: int) -> range:
        """The batches of one shard."""
        first = shard * self.shard_batches
        return range(first, min(first + self.shard_batches, self.batches))

    def ids_of(self, batches: range) -> tuple[int, ...]:
        """The picture ids of consecutive batches."""
        return self.picture_ids[batches.start * self.batch : batches.stop * self.batch]


@dataclass(frozen=True, slots=True)
class Record:
    """One batch of results."""

    token: str
    """Of the journal that it belongs to."""
    batch: int
    found: tuple[tuple[int, Detections], ...]
    """Picture ids in the order of the batch, each with what was found there; boxes in network pixels, as the model gave them."""

    @property
    def picture_ids(self) -> tuple[int, ...]:
        """The pictures of the batch."""
        return tuple(picture_id for picture_id, _ in self.found)


def encode_record(record: Record) -> bytes:
    """The record as one line with its newline; `ValueError` for what `parse_record` would not take."""
    pictures = []
    for picture_id, seen in record.found:
        if seen.boxes.dtype != np.float32 or seen.scores.dtype != np.float32 or seen.labels.dtype != np.int64:
            raise ValueError(f"picture {picture_id} has other types than float32 boxes and scores and int64 labels")
        if seen.boxes.shape != (len(seen), 4) or seen.scores.shape != (len(seen),) or seen.labels.shape != (len(seen),):
            raise ValueError(f"picture {picture_id} has boxes, scores and labels of different lengths")
        if not (np.isfinite(seen.boxes).all() and np.isfinite(seen.scores).all()):
            raise ValueError(f"picture {picture_id} has boxes or scores that are not finite")
        entry = {"id": picture_id, "labels": seen.labels.tolist()}
        pictures.append(entry | {"boxes": _as_text(seen.boxes), "scores": _as_text(seen.scores)})
    content = {"journal": record.token, "batch": record.batch, "pictures": pictures}
    payload = json.dumps(content, separators=(",", ":")).encode()
    if len(payload) > PICTURE_BYTES * max(1, len(pictures)):
        raise ValueError(f"batch {record.batch} takes {len(payload):,} bytes, too many for {len(pictures)} pictures")
    return b"%08x %s\n" % (zlib.crc32(payload), payload)


def parse_record(line: bytes) -> Record:
    """The record of one line without its newline; `ValueError` says what is wrong with it."""
    checksum, space, payload = line[:8], line[8:9], line[9:]
    if space != b" " or checksum != b"%08x" % zlib.crc32(payload):
        raise ValueError("its checksum does not fit")
    content = parse_json(payload)
    pictures = _field(content, "pictures", list)
    if not pictures or len(payload) > PICTURE_BYTES * len(pictures):
        raise ValueError(f"it has {len(payload):,} bytes for {len(pictures)} pictures")
    found = tuple(_parse_picture(entry) for entry in pictures)
    return Record(_field(content, "journal", str), _field(content, "batch", int), found)


def read_lines(data: bytes) -> tuple[list[Record], int]:
    """The whole records at the start of a shard's bytes, and how many bytes these take.

    What follows is damage: a line that broke off, or several after a loss of power. The caller cuts it away and repeats
    the batch. `ValueError` if a whole record comes after the damage: that is no interrupted write.
    """
    records: list[Record] = []
    whole, damage = 0, ""
    *lines, _ = data.split(b"\n")  # what follows the last newline broke off, or is empty
    for number, line in enumerate(lines, 1):
        try:
            record = parse_record(line)
        except ValueError as error:
            damage = damage or f"record {number} is damaged ({error})"
            continue
        if damage:
            raise ValueError(f"{damage}, and record {number} behind it is whole")
        records.append(record)
        whole += len(line) + 1
    return records, whole


def read_shard(data: bytes, plan: Plan, shard: int, token: str) -> tuple[list[Record], int]:
    """As `read_lines`; `ValueError` unless the records are the shard's first batches in order, all of this journal."""
    records, whole = read_lines(data)
    if any(record.token != token for record in records):
        raise ValueError("it has results of another journal, so of another fingerprint or another start")
    batches = plan.batches_of(shard)[: len(records)]
    ids = [picture_id for record in records for picture_id in record.picture_ids]
    if [record.batch for record in records] != list(batches) or tuple(ids) != plan.ids_of(batches):
        wrong = not_exactly_once(ids, plan.ids_of(batches)) or "they are not in order"
        raise ValueError(f"it does not hold its batches once each: {wrong}")
    return records, whole


def parse_json(data: bytes) -> dict[str, Any]:
    """A JSON object, without NaN or infinity; `ValueError` for anything else."""
    try:
        content = json.loads(data, parse_constant=_refuse_constant, parse_int=whole_number)
    except RecursionError as error:
        raise ValueError("its JSON is nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, not an object")
    return content


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _field(content: Any, name: str, kind: type) -> Any:
    """A field of exactly this type (`True` is no int)."""
    value = content.get(name) if isinstance(content, dict) else None
    if type(value) is not kind:
        raise ValueError(f"it has no {kind.__name__} '{name}'")
    return value


def _parse_picture(entry: Any) -> tuple[int, Detections]:
    labels = _field(entry, "labels", list)
    if not all(type(label) is int and -(2**63) <= label < 2**63 for label in labels):
        raise ValueError("it has a label that is no int64")
    boxes, scores = (_floats(_field(entry, name, str), name) for name in ("boxes", "scores"))
    if len(boxes) != 4 * len(labels) or len(scores) != len(labels):
        raise ValueError(f"it has {len(boxes)} box numbers and {len(scores)} scores for {len(labels)} labels")
    seen = Detections(boxes.reshape(-1, 4), scores, np.array(labels, np.int64))
    return _field(entry, "id", int), seen


def _floats(text: str, name: str) -> NDArray[np.float32]:
    data = base64.b64decode(text, validate=True)
    if len(data) % 4:
        raise ValueError(f"its {name} are {len(data)} bytes, which are no float32")
    numbers = np.frombuffer(data, "<f4").astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ValueError(f"its {name} are not all finite")
    return numbers


def _as_text(numbers: NDArray[np.float32]) -> str:
    return base64.b64encode(numbers.astype("<f4").tobytes()).decode("ascii")
